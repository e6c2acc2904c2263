"""Bridges handback to a server that speaks the OpenAI Realtime protocol: µ-law goes both ways as it is.

OPENAI_REALTIME_URL and OPENAI_API_KEY name the server; any compatible one will do.
"""

import asyncio
import json
import os
import signal

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

URL = os.environ.get("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime?model=gpt-realtime")
KEY = os.environ.get("OPENAI_API_KEY", "")
VOICE = os.environ.get("OPENAI_VOICE", "marin")
INSTRUCTIONS = os.environ.get(
    "INSTRUCTIONS",
    "You answer a telephone. Be brief. Call hand_back when the caller asks for a person, or has nothing more to ask.",
)

# the model's way to end the call
HAND_BACK = {
    "type": "function",
    "name": "hand_back",
    "description": "Ends the conversation and gives the caller back.",
    "parameters": {
        "type": "object",
        "properties": {
            "to": {"type": "string", "enum": ["AGENT", "SYSTEM"], "description": "AGENT for a person"},
            "reason": {"type": "string"},
        },
        "required": ["to"],
    },
}


def session(context: dict) -> dict:
    pcmu = {"type": "audio/pcmu"}
    about = f"{INSTRUCTIONS}\nThe task is {context.get('taskName', 'not given')}. Known: {context.get('inputContext', '{}')}"
    return {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": about,
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": pcmu, "turn_detection": {"type": "server_vad", "interrupt_response": True}},
                "output": {"format": pcmu, "voice": VOICE},
            },
            "tools": [HAND_BACK],
        },
    }


class Call:
    def __init__(self, gateway, model, start):
        self.gateway, self.model = gateway, model
        self.sid, self.context = start["streamSid"], start["start"].get("customParameters", {})
        # what the model is saying: its item, what was sent of it in ms, and what the marks say was heard
        self.item, self.sent_ms, self.heard_ms = None, 0, 0

    async def to_gateway(self, event: str, **fields):
        await self.gateway.send(json.dumps({"event": event, "streamSid": self.sid, **fields}))

    async def to_model(self, kind: str, **fields):
        await self.model.send(json.dumps({"type": kind, **fields}))

    async def hear_caller(self):
        async for text in self.gateway:
            message = json.loads(text)
            if message["event"] == "media":
                await self.to_model("input_audio_buffer.append", audio=message["media"]["payload"])
            elif message["event"] == "mark" and message["mark"].get("played", True):
                item, _, ms = message["mark"]["name"].rpartition(":")
                if item == self.item:
                    self.heard_ms = int(ms)
            elif message["event"] == "stop":
                return

    async def hear_model(self):
        async for text in self.model:
            event = json.loads(text)
            kind = event["type"]
            # the second name is that of servers of the beta protocol
            if kind in ("response.output_audio.delta", "response.audio.delta"):
                await self.say(event)
            elif kind == "input_audio_buffer.speech_started":
                await self.interrupt()
            elif kind == "conversation.item.input_audio_transcription.completed":
                await self.to_gateway("hook.transcript", track="inbound", final=True, text=event["transcript"])
            elif kind in ("response.output_audio_transcript.done", "response.audio_transcript.done"):
                await self.to_gateway("hook.transcript", track="outbound", final=True, text=event["transcript"])
            elif kind == "response.function_call_arguments.done" and event.get("name", "hand_back") == "hand_back":
                await self.hand_back(json.loads(event["arguments"] or "{}"))
            elif kind == "error":
                print("model:", event.get("error"), flush=True)

    async def say(self, event: dict):
        if event["item_id"] != self.item:
            self.item, self.sent_ms, self.heard_ms = event["item_id"], 0, 0
        self.sent_ms += len(event["delta"]) * 3 // 4 // 8
        await self.to_gateway("media", media={"payload": event["delta"]})
        await self.to_gateway("mark", mark={"name": f"{self.item}:{self.sent_ms}"})

    async def interrupt(self):
        """The caller speaks: what is queued falls silent, and the model learns how far it was heard."""
        await self.to_gateway("clear")
        if self.item and self.heard_ms < self.sent_ms:
            await self.to_model(
                "conversation.item.truncate", item_id=self.item, content_index=0, audio_end_ms=self.heard_ms
            )
        self.item = None

    async def hand_back(self, arguments: dict):
        to = arguments.get("to") if arguments.get("to") in ("AGENT", "SYSTEM") else "AGENT"
        variables = {name: value for name, value in arguments.items() if name != "to"}
        result = {"transferType": to, "currentTaskName": self.context.get("taskName"), "transferVariables": variables}
        # after what is queued, which is when "drained"
        await self.to_gateway("hook.complete", outputContext=result, when="drained")


async def bridge(gateway):
    start = None
    async for text in gateway:
        message = json.loads(text)
        if message["event"] == "start":
            start = message
            break
    if start is None:
        return
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    async with connect(URL, additional_headers=headers, max_size=2**24) as model:
        call = Call(gateway, model, start)
        await model.send(json.dumps(session(call.context)))
        await call.to_model("response.create")
        sides = [asyncio.create_task(call.hear_caller()), asyncio.create_task(call.hear_model())]
        _, open_sides = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        for side in open_sides:
            side.cancel()
        await asyncio.gather(*sides, return_exceptions=True)


async def main():
    over = asyncio.get_running_loop().create_future()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, lambda: over.done() or over.set_result(None))
    async with serve(bridge, "127.0.0.1", int(os.environ.get("PORT", "8768")), max_size=2**22):
        await over


if __name__ == "__main__":
    asyncio.run(main())
