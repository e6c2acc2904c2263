"""Calls a gateway with RTP and measures what comes back: correlation, underruns, delay of each packet.

Speaks just enough SIP for one call over UDP on loopback: INVITE with the transfer's id, ACK, BYE.
"""

import argparse
import json
import re
import socket
import struct
import sys
import threading
import time
import urllib.request
import uuid
import wave

import numpy as np

FRAME = 160
TABLE = []
for code in range(256):
    value = ~code & 0xFF
    size = ((((value & 0x0F) << 3) + 0x84) << ((value >> 4) & 7)) - 0x84
    TABLE.append(-size if value & 0x80 else size)
ULAW = np.array(TABLE, dtype=np.int32)
ORDER = np.argsort(ULAW, kind="stable")


def encode(samples):
    """µ-law of 16-bit samples: the nearest of its values."""
    values = ULAW[ORDER]
    right = np.clip(np.searchsorted(values, samples), 1, 255)
    nearer = right - (samples - values[right - 1] < values[right] - samples)
    return ORDER[nearer].astype(np.uint8)


def speech(path, seconds):
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).astype(np.int32)
    repeated = np.tile(samples, seconds * 8000 // len(samples) + 1)[: seconds * 8000]
    # a little noise, so that no stretch of it is like another
    return encode(repeated + np.random.default_rng(1).integers(-200, 200, len(repeated)))


def register(api):
    transfer = str(uuid.uuid4())
    body = {"id": transfer, "externalConversationId": transfer, "type": "SIP", "inputContext": {"taskName": "measure"}}
    request = urllib.request.Request(
        api + "/generativeagent/v1/call-transfers",
        json.dumps(body).encode(),
        {"content-type": "application/json", "asapp-api-id": "lab", "asapp-api-secret": "lab-secret"},
    )
    urllib.request.urlopen(request, timeout=10).read()
    return transfer


class Call:
    def __init__(self, gateway, transfer):
        self.gateway = gateway
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.bind(("127.0.0.1", 0))
        self.sip.settimeout(15)
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind(("127.0.0.1", 0))
        self.here = "127.0.0.1:%d" % self.sip.getsockname()[1]
        self.id, self.tag, self.transfer = uuid.uuid4().hex, uuid.uuid4().hex[:8], transfer
        self.target, self.to = "sip:agent@%s:%d" % gateway, "<sip:agent@%s:%d>" % gateway

    def send(self, method, number, extra="", body=""):
        head = (
            f"{method} {self.target} SIP/2.0\r\nVia: SIP/2.0/UDP {self.here};rport;branch=z9hG4bK{uuid.uuid4().hex}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:measure@{self.here}>;tag={self.tag}\r\nTo: {self.to}\r\n"
            f"Call-ID: {self.id}\r\nCSeq: {number} {method}\r\nContact: <sip:measure@{self.here}>\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.sip.sendto(head.encode(), self.gateway)

    def answer(self):
        """The final response to what was sent; a repeated INVITE is not needed on loopback."""
        while True:
            text = self.sip.recv(65535).decode()
            status = re.match(r"SIP/2.0 (\d+)", text)
            if status and int(status[1]) >= 200:
                return int(status[1]), text

    def place(self):
        port = self.rtp.getsockname()[1]
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
        )
        self.send("INVITE", 1, f"X-ASAPP-CallTransferId: {self.transfer}\r\nContent-Type: application/sdp\r\n", sdp)
        status, text = self.answer()
        if status != 200:
            sys.exit(f"refused: {text.splitlines()[0]}")
        self.to = re.search(r"^To: (.*)\r$", text, re.M | re.I)[1]
        self.target = re.search(r"^Contact: .*<([^>]+)>", text, re.M | re.I)[1]
        self.send("ACK", 1)
        host = re.search(r"^c=IN IP4 (\S+)", text, re.M)[1]
        return host, int(re.search(r"^m=audio (\d+)", text, re.M)[1])

    def hang_up(self):
        self.send("BYE", 2)
        self.answer()


def talk(call, remote, audio):
    """Sends the audio in time; gives when each packet went, and every packet that came with its time."""
    count, sent, heard, over = len(audio) // FRAME, [], [], threading.Event()

    def listen():
        call.rtp.settimeout(0.5)
        while not over.is_set():
            try:
                packet = call.rtp.recv(2048)
            except TimeoutError:
                continue
            now = time.perf_counter()
            if len(packet) == 12 + FRAME and packet[1] & 0x7F == 0:
                heard.append((struct.unpack("!I", packet[4:8])[0], now, packet[12:]))

    listener = threading.Thread(target=listen)
    listener.start()
    start = time.perf_counter() + 0.1
    for n in range(count):
        time.sleep(max(0.0, start + n * 0.02 - time.perf_counter()))
        header = struct.pack("!BBHII", 0x80, 0, n & 0xFFFF, n * FRAME, 0xFEED)
        call.rtp.sendto(header + audio[n * FRAME : (n + 1) * FRAME].tobytes(), remote)
        sent.append(time.perf_counter())
    time.sleep(1.0)
    over.set()
    listener.join()
    return sent, heard


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    power = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / power) if power else 0.0


def judge(audio, sent, heard, own_ms):
    first = heard[0][0]
    heard = sorted({stamp - first: (stamp - first, at, data) for stamp, at, data in heard}.values())
    length = heard[-1][0] + FRAME
    stream, arrival = np.full(length, 0xFF, dtype=np.uint8), np.full(length // FRAME + 1, np.nan)
    for stamp, at, data in heard:
        stream[stamp : stamp + FRAME] = np.frombuffer(data, dtype=np.uint8)
        arrival[stamp // FRAME] = at
    said, back = ULAW[audio].astype(float), ULAW[stream].astype(float)
    size = 1 << (len(said) + len(back)).bit_length()
    lags = np.fft.irfft(np.fft.rfft(back, size) * np.conj(np.fft.rfft(said, size)), size)
    lag = int(np.argmax(lags[: len(back)]))
    usable = min(len(said), len(back) - lag)
    whole = correlation(said[:usable], back[lag : lag + usable])
    breaks, window = 0, 3200
    for start in range(0, usable - window, window):
        if correlation(said[start : start + window], back[lag + start : lag + start + window]) < 0.95:
            breaks += 1
    delays = []
    for n in range(usable // FRAME):
        at = arrival[(n * FRAME + lag) // FRAME]
        if not np.isnan(at):
            delays.append((at - sent[n]) * 1000 - own_ms)
    delays = np.array(delays)
    return {
        "packets": len(sent),
        "returned": len(delays),
        "correlation": round(whole, 5),
        "breaks": breaks,
        "own_ms": own_ms,
        "delay_ms": {f"p{p}": round(float(np.percentile(delays, p)), 1) for p in (1, 50, 90, 99)},
    }


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--sip", default="127.0.0.1:5060")
    options.add_argument("--api", default="http://127.0.0.1:8080")
    options.add_argument("--speech", required=True)
    options.add_argument("--seconds", type=int, default=30)
    options.add_argument("--own-ms", type=float, default=40.0, help="the agent's own delay, taken off")
    given = options.parse_args()
    host, port = given.sip.rsplit(":", 1)
    call = Call((host, int(port)), register(given.api))
    remote = call.place()
    audio = speech(given.speech, given.seconds)
    sent, heard = talk(call, remote, audio)
    call.hang_up()
    if not heard:
        sys.exit("nothing came back")
    verdict = judge(audio, sent, heard, given.own_ms)
    good = (
        verdict["correlation"] >= 0.99
        and verdict["breaks"] == 0
        and verdict["delay_ms"]["p50"] <= 140
        and verdict["delay_ms"]["p99"] <= 200
    )
    print(json.dumps({**verdict, "as_held_to": good}))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
