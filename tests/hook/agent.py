#!/usr/bin/env python3
"""An agent of our own for tests from outside, on nothing but Python's standard library, so that it shares no code
with the gateway: Twilio Media Streams or Genesys AudioHook over ws or wss, with client certificates, and a webhook.
It checks every proof that it was told to, says a file, keeps what it hears, and completes when a key is pressed.

What it saw is written as JSON lines to --log; `{"saw": "refused", "why": …}` when a proof did not hold."""

import argparse
import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

FRAME = 160


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0", help="ADDRESS:PORT")
    parser.add_argument("--protocol", choices=["twilio", "audiohook"], default="twilio")
    parser.add_argument("--stereo", action="store_true", help="choose both channels where they are offered")
    parser.add_argument("--certificate"), parser.add_argument("--key"), parser.add_argument("--client-ca")
    parser.add_argument("--bearer"), parser.add_argument("--hmac"), parser.add_argument("--twilio-token")
    parser.add_argument("--api-key"), parser.add_argument("--client-secret", help="base64")
    parser.add_argument("--say", help="a file of u-law, 8 kHz, without a header")
    parser.add_argument("--heard", help="where to keep the caller, in the same form")
    parser.add_argument("--far", help="where to keep the party reached")
    parser.add_argument("--complete", default='{"transferType":"SYSTEM"}')
    parser.add_argument("--hello", action="store_true", help="opt in to tracks")
    parser.add_argument("--log", required=True)
    return parser.parse_args()


class Refused(Exception):
    pass


class Agent:
    def __init__(self, opts):
        self.opts = opts
        self.lock = threading.Lock()
        self.log = open(opts.log, "w", encoding="utf-8")

    def saw(self, what, **more):
        with self.lock:
            self.log.write(json.dumps({"saw": what, **more}) + "\n")
            self.log.flush()

    def serve(self):
        host, port = self.opts.listen.rsplit(":", 1)
        listener = socket.create_server((host, int(port)), backlog=64)
        tls = None
        if self.opts.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self.opts.certificate, self.opts.key)
            if self.opts.client_ca:
                tls.verify_mode = ssl.CERT_REQUIRED
                tls.load_verify_locations(self.opts.client_ca)
        print("ready", listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.take, args=(connection, tls), daemon=True).start()

    def take(self, connection, tls):
        try:
            scheme = ("ws", "http")
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
                scheme = ("wss", "https")
                peer = connection.getpeercert()
                self.saw("tls", version=connection.version(), client=str(peer and peer.get("subject")))
            head, body = request(connection)
            if head["method"] == "POST":
                self.webhook(connection, head, body, scheme)
            else:
                self.upgrade(connection, head, scheme[0])
        except Refused as why:
            self.saw("refused", why=str(why))
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        except (OSError, ValueError, KeyError, EOFError) as error:
            self.saw("broken", why=repr(error))
        finally:
            connection.close()

    def proofs(self, head, url, form, call):
        opts = self.opts
        if opts.bearer and head.get("authorization") != f"Bearer {opts.bearer}":
            raise Refused("bearer")
        if opts.twilio_token:
            text = url + "".join(name + value for name, value in sorted(form))
            want = base64.b64encode(hmac.digest(opts.twilio_token.encode(), text.encode(), "sha1")).decode()
            if not hmac.compare_digest(want, head.get("x-twilio-signature", "")):
                raise Refused("X-Twilio-Signature")
        if opts.hmac:
            stamp = head.get("x-hook-timestamp", "0")
            sid = call or head.get("x-hook-callsid", "")
            want = hmac.digest(opts.hmac.encode(), f"{stamp}.{url}.{sid}".encode(), "sha256").hex()
            if not hmac.compare_digest(want, head.get("x-hook-signature", "")):
                raise Refused("X-Hook-Signature")
            if abs(time.time() - int(stamp)) > 300:
                raise Refused("X-Hook-Timestamp")
        if opts.client_secret:
            self.message_signature(head)

    def message_signature(self, head):
        """HTTP message signature as AudioHook has it."""
        name, parameters = head["signature-input"].split("=", 1)
        names = [it.strip('"') for it in parameters[1 : parameters.index(")")].split()]
        for wanted in ["@request-target", "@authority", "audiohook-organization-id", "audiohook-session-id",
                       "audiohook-correlation-id", "x-api-key"]:
            if wanted not in names:
                raise Refused(f"{wanted} is not signed")
        special = {"@request-target": head["target"], "@authority": head["host"]}
        lines = [f'"{it}": {special.get(it, head.get(it))}' for it in names]
        base = "\n".join(lines + [f'"@signature-params": {parameters}'])
        secret = base64.b64decode(self.opts.client_secret)
        want = base64.b64encode(hmac.digest(secret, base.encode(), "sha256")).decode()
        if head["signature"] != f"{name}=:{want}:":
            raise Refused("signature")
        terms = dict(it.split("=", 1) for it in parameters[parameters.index(")") + 2 :].split(";"))
        if not int(terms["created"]) - 5 <= time.time() <= int(terms["expires"]):
            raise Refused("signature's time")
        if head["x-api-key"] != self.opts.api_key:
            raise Refused("x-api-key")

    def webhook(self, connection, head, body, scheme):
        form = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
        fields = dict(form)
        url = f"{scheme[1]}://{head['host']}{head['target']}"
        self.proofs(head, url, form, fields["CallSid"])
        self.saw("webhook", fields={name: value for name, value in fields.items() if "oken" not in name})
        stream = f"{scheme[0]}://{head['host']}/stream"
        twiml = (f'<?xml version="1.0"?><Response><Say>Hello</Say><Connect><Stream url="{stream}">'
                 '<Parameter name="by" value="webhook &amp; TwiML"/></Stream></Connect></Response>').encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(twiml) + twiml)

    def upgrade(self, connection, head, scheme):
        self.proofs(head, f"{scheme}://{head['host']}{head['target']}", [], None)
        proof = hashlib.sha1((head["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           b"Sec-WebSocket-Accept: " + base64.b64encode(proof) + b"\r\n\r\n")
        stream = (Twilio if self.opts.protocol == "twilio" else AudioHook)(self, Socket(connection))
        stream.run()
        self.keep(self.opts.heard, stream.inbound)
        self.keep(self.opts.far, stream.outbound)
        self.saw("closed", heard=len(stream.inbound), far=len(stream.outbound))

    def keep(self, path, audio):
        if path and audio:
            with open(path + ".part", "wb") as file:
                file.write(audio)
            os.replace(path + ".part", path)

    def speech(self):
        return open(self.opts.say, "rb").read() if self.opts.say else b""


class Socket:
    """RFC 6455, the server's side."""

    def __init__(self, connection):
        self.connection = connection

    def send(self, opcode, data):
        size = len(data)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([size])
        elif size < 65536:
            head += bytes([126]) + struct.pack(">H", size)
        else:
            head += bytes([127]) + struct.pack(">Q", size)
        self.connection.sendall(head + data)

    def messages(self):
        """Text and binary messages; pings are answered, and a close is."""
        whole, kind = b"", None
        while True:
            first, second = exactly(self.connection, 2)
            if not second & 0x80:
                raise ValueError("a client's frame is not masked")
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", exactly(self.connection, 2))
            elif size == 127:
                (size,) = struct.unpack(">Q", exactly(self.connection, 8))
            mask = exactly(self.connection, 4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(exactly(self.connection, size)))
            opcode = first & 0x0F
            if opcode == 8:
                self.send(8, data)
                return
            if opcode == 9:
                self.send(10, data)
            elif opcode in (0, 1, 2):
                kind, whole = opcode or kind, whole + data
                if first & 0x80:
                    yield kind, whole
                    whole = b""


class Twilio:
    def __init__(self, agent, link):
        self.agent, self.link = agent, link
        self.inbound, self.outbound = bytearray(), bytearray()
        self.sid = None

    def say(self, message):
        message["streamSid"] = self.sid
        self.link.send(1, json.dumps(message).encode())

    def run(self):
        for number, (kind, text) in enumerate(self.link.messages()):
            if kind != 1:
                raise ValueError("not a text message")
            message = json.loads(text)
            event = message["event"]
            if number < 2 and event != ("connected", "start")[number]:
                raise ValueError(f"message {number} is {event}")
            if event == "media":
                media = message["media"]
                track = self.inbound if media["track"] == "inbound" else self.outbound
                track += base64.b64decode(media["payload"])
                continue
            if event == "start":
                self.sid = message["streamSid"]
                parameters = message["start"]["customParameters"]
                self.agent.saw("start", parameters={k: v for k, v in parameters.items() if k != "hookToken"},
                               tracks=message["start"]["tracks"])
                if parameters.get("phase") == "bridged":
                    continue
                if self.agent.opts.hello:
                    self.say({"event": "hook.hello", "version": "1.0", "features": ["tracks"]})
                speech = self.agent.speech()
                if speech:
                    self.say({"event": "media", "media": {"payload": base64.b64encode(speech).decode()}})
                    self.say({"event": "mark", "mark": {"name": "said"}})
                continue
            self.agent.saw(event, message=message)
            if event == "dtmf" and message["dtmf"]["digit"] == "1":
                self.say({"event": "hook.complete", "id": "c1", "outputContext": json.loads(self.agent.opts.complete)})


class AudioHook:
    def __init__(self, agent, link):
        self.agent, self.link = agent, link
        self.inbound, self.outbound = bytearray(), bytearray()
        self.id, self.seq, self.heard_seq, self.stereo = None, 0, 0, False

    def say(self, kind, parameters):
        self.seq += 1
        self.link.send(1, json.dumps({"version": "2", "id": self.id, "type": kind, "seq": self.seq,
                                      "clientseq": self.heard_seq, "parameters": parameters}).encode())

    def run(self):
        for kind, data in self.link.messages():
            if kind == 2:
                if self.stereo:
                    self.inbound += data[0::2]
                    self.outbound += data[1::2]
                else:
                    self.inbound += data
                continue
            message = json.loads(data)
            self.heard_seq += 1
            if message["seq"] != self.heard_seq or message["serverseq"] != self.seq or message["version"] != "2":
                raise ValueError(f"out of sequence: {message}")
            self.take(message["type"], message["parameters"], message)

    def take(self, kind, parameters, message):
        if kind == "ping":
            return self.say("pong", {})
        if kind == "open":
            self.id = message["id"]
            offered = parameters["media"]
            wanted = [it for it in offered if (len(it["channels"]) == 2) == self.agent.opts.stereo] or offered
            self.stereo = len(wanted[0]["channels"]) == 2
            variables = {k: v for k, v in parameters["inputVariables"].items() if k != "hookToken"}
            self.agent.saw("open", variables=variables, participant=parameters["participant"], offered=offered)
            self.say("opened", {"startPaused": False, "media": [wanted[0]]})
            speech = self.agent.speech()
            if speech:
                self.link.send(2, speech)
            return None
        self.agent.saw(kind, message=message)
        if kind == "dtmf" and parameters["digit"] == "1":
            context = json.loads(self.agent.opts.complete)
            flat = {k: v if isinstance(v, str) else json.dumps(v) for k, v in context.items()}
            self.say("disconnect", {"reason": "completed", "outputVariables": flat})
        if kind == "close":
            self.say("closed", {})
        return None


def exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the connection ended")
        data += part
    return data


def request(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(connection, 1)
    lines = head.decode().split("\r\n")
    method, target, _ = lines[0].split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = exactly(connection, int(fields.get("content-length", 0)))
    return {"method": method, "target": target, **fields}, body


if __name__ == "__main__":
    try:
        Agent(options()).serve()
    except KeyboardInterrupt:
        sys.exit(0)
