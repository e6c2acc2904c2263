"""A stand-in for a Realtime server: enough of the protocol to hold the bridge to it without a key or a network.

It greets when asked for a response, notices that somebody speaks by loudness, answers, and hands back after the second time.
"""

import asyncio
import base64
import json
import os
import signal

from websockets.asyncio.server import serve

# a second of a soft tone, as µ-law bytes 20 steps from silence
TONE = bytes(0x8A if n % 16 < 8 else 0x0A for n in range(8000))
LOUD, QUIET_FRAMES = 0x60, 30


class Model:
    def __init__(self, socket):
        self.socket, self.items, self.turns, self.quiet, self.speaking = socket, 0, 0, 0, False
        self.configured = False

    async def send(self, kind, **fields):
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def speak(self, seconds):
        self.items += 1
        item = f"item_{self.items}"
        for _ in range(seconds * 5):
            delta = base64.b64encode(TONE[:1600]).decode()
            await self.send("response.output_audio.delta", item_id=item, response_id="r", content_index=0, delta=delta)
        await self.send("response.output_audio_transcript.done", item_id=item, transcript=f"sentence {self.items}")

    async def hear(self, audio):
        loud = sum(byte & 0x7F < LOUD for byte in audio) * 5 > len(audio)
        self.quiet = 0 if loud else self.quiet + 1
        if loud and not self.speaking:
            self.speaking = True
            await self.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")
        elif self.speaking and self.quiet > QUIET_FRAMES:
            self.speaking = False
            self.turns += 1
            await self.send("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="u")
            await self.send("conversation.item.input_audio_transcription.completed", item_id="u", transcript=f"turn {self.turns}")
            await self.speak(1)
            if self.turns == 2:
                arguments = json.dumps({"to": "AGENT", "reason": "asked"})
                await self.send("response.function_call_arguments.done", name="hand_back", call_id="c", arguments=arguments)


async def talk(socket):
    model = Model(socket)
    await model.send("session.created", session={})
    async for text in socket:
        event = json.loads(text)
        kind = event["type"]
        if kind == "session.update":
            audio = event["session"]["audio"]
            formats = {audio["input"]["format"]["type"], audio["output"]["format"]["type"]}
            if formats != {"audio/pcmu"} or event["session"]["tools"][0]["name"] != "hand_back":
                await model.send("error", error={"message": "unexpected session"})
            model.configured = True
            await model.send("session.updated", session=event["session"])
        elif kind == "response.create":
            # a long greeting, to be interrupted
            await model.speak(10)
        elif kind == "input_audio_buffer.append":
            await model.hear(base64.b64decode(event["audio"]))
        elif kind == "conversation.item.truncate":
            print("truncated", event["item_id"], event["audio_end_ms"], flush=True)
            await model.send("conversation.item.truncated", item_id=event["item_id"])


async def main():
    over = asyncio.get_running_loop().create_future()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, lambda: over.done() or over.set_result(None))
    async with serve(talk, "127.0.0.1", int(os.environ.get("STUB_PORT", "8769"))):
        await over


if __name__ == "__main__":
    asyncio.run(main())
