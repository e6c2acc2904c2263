"""A voice agent without a cloud: Silero's voice detector in pipecat, Whisper in a process of its own, Flite as its voice.

It answers what it understands, can be interrupted, reports transcripts, and gives the caller to a person who asks for one.
"""

import asyncio
import os
import re
import tempfile
import wave

import aiohttp
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 16000
STT = f"http://127.0.0.1:{os.environ.get('STT_PORT', '8767')}/"
# what was said just before the detector was sure
LEAD = RATE * 2 // 2

app = FastAPI()


async def spoken(text: str) -> bytes:
    """Text as 16-bit PCM at RATE: flite's slt voice speaks at 16 kHz."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        flite = await asyncio.create_subprocess_exec("flite", "-voice", "slt", "-t", text, "-o", file.name)
        if await flite.wait() != 0:
            raise RuntimeError("flite cannot speak")
        with wave.open(file.name) as sound:
            assert sound.getframerate() == RATE
            return sound.readframes(sound.getnframes())


def reply(words: str, context: dict) -> tuple[str, dict | None]:
    """What to say, and the result of the call if it is over. A language model's place."""
    heard = re.sub(r"[^a-z ]", "", words.lower())
    if re.search(r"\b(agent|person|human|somebody|operator|representative)\b", heard):
        return "One moment, I will get you a person.", {
            "transferType": "AGENT",
            "currentTaskName": context.get("taskName", "voice agent"),
            "transferVariables": {"asked": words},
        }
    if re.search(r"\b(bye|goodbye|nothing|thats all)\b", heard):
        return "Thank you for calling. Goodbye.", {"transferType": "SYSTEM", "transferVariables": {"last": words}}
    return f"I heard: {words}.", None


class Agent(FrameProcessor):
    def __init__(self, context: dict):
        super().__init__()
        self.context = context
        self.buffer = bytearray()
        self.speaking = False
        self.turn: asyncio.Task | None = None
        self.turns = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.buffer += frame.audio
            if not self.speaking:
                del self.buffer[:-LEAD]
            return
        await self.push_frame(frame, direction)
        if direction != FrameDirection.DOWNSTREAM:
            return
        if isinstance(frame, StartFrame):
            hello = {"event": "hook.hello", "version": "1.0", "features": ["transcript"], "agent": "local-voice-agent"}
            await self.push_frame(OutputTransportMessageUrgentFrame(message=hello))
            self.take_turn(self.say("Hello. How can I help you?"))
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            self.speaking = True
            # empties pipecat's queue, and by its serializer's clear the gateway's
            await self.push_frame(InterruptionFrame())
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self.speaking = False
            audio, self.buffer = bytes(self.buffer), bytearray()
            self.take_turn(self.answer(audio))
        elif isinstance(frame, InputDTMFFrame) and frame.button.value == "0":
            self.take_turn(self.finish({"transferType": "AGENT", "transferVariables": {"asked": "key 0"}}))

    def take_turn(self, turn):
        if self.turn:
            self.turn.cancel()
        self.turn = asyncio.create_task(turn)

    async def say(self, text: str):
        audio = await spoken(text)
        for start in range(0, len(audio), RATE // 5):
            await self.push_frame(OutputAudioRawFrame(audio[start : start + RATE // 5], RATE, 1))

    async def answer(self, audio: bytes):
        async with aiohttp.ClientSession() as http, http.post(STT, data=audio) as answer:
            words = (await answer.text()).strip()
        if not words:
            return
        self.turns += 1
        print(f"caller: {words}", flush=True)
        transcript = {"event": "hook.transcript", "utterance": str(self.turns), "track": "inbound", "final": True, "text": words}
        await self.push_frame(OutputTransportMessageUrgentFrame(message=transcript))
        text, result = reply(words, self.context)
        await self.say(text)
        if result:
            await self.finish(result)

    async def finish(self, result: dict):
        # in the order of the audio; the gateway plays what is queued before it hands the caller back
        await self.push_frame(OutputTransportMessageFrame(message={"event": "hook.complete", "outputContext": result}))


@app.websocket("/ws")
async def call(websocket: WebSocket):
    await websocket.accept()
    _, data = await parse_telephony_websocket(websocket)
    serializer = TwilioFrameSerializer(
        stream_sid=data["stream_id"],
        call_sid=data["call_id"],
        params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
    )
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer),
    )
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.6)))
    worker = PipelineWorker(
        Pipeline([transport.input(), vad, Agent(dict(data["body"])), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_client_disconnected")
    async def gone(_transport, _client):
        await worker.cancel()

    await WorkerRunner(handle_sigint=False).run(worker)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8766")), log_level="warning")
