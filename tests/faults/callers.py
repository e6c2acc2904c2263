"""Callers for the fault tests: an SBC of its own mind over UDP or TCP, with nothing but Python's library.

A call is followed by rules that do not depend on the gateway's state: the SBC takes a re-INVITE, a REFER and a BYE inside its
dialog, refuses what is out of order, and notes what it saw, with times. Everything stays on loopback.
"""

import asyncio
import itertools
import random
import time

SDP = (
    "v=0\r\no=sbc {n} {n} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
)
GIVE_UP = 32.0


def parse(data):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), []).append(value.strip())
    return lines[0], fields, body


class Call:
    """One call, as its SBC sees it."""

    def __init__(self, sbc, transfer, refers=True):
        self.sbc, self.transfer = sbc, transfer
        self.id = f"{transfer}-{random.getrandbits(48):x}"
        self.tag = f"{random.getrandbits(32):x}"
        self.status, self.their_tag, self.target, self.routes = None, None, None, []
        self.accepted_at = self.ended_at = None
        self.seen = []  # (time, method) of each new request inside the dialog
        self.last_cseq, self.cseq = 0, 1
        self.responses = {}  # (method, cseq) of theirs -> what was answered
        self.refused = 0
        self.referred_to = []
        self.notify_acks = asyncio.Event()
        self.done = asyncio.Event()

    def note(self, what):
        self.seen.append((time.monotonic(), what))

    def methods(self):
        return [what for _, what in self.seen]

    def hop(self):
        return self.routes[0].split("<")[1].split(">")[0] if self.routes else self.target

    def sdp(self):
        return SDP.format(n=random.randint(1, 1 << 30), ip=self.sbc.ip, port=40000).encode()

    def request(self, method, cseq, extra="", body=b"", uri=None):
        to = f";tag={self.their_tag}" if self.their_tag else ""
        uri = uri or self.target or f"sip:agent@{self.sbc.gateway[0]}:{self.sbc.gateway[1]}"
        route = "".join(f"Route: {value}\r\n" for value in self.routes)
        return (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.sbc.transport} {self.sbc.ip}:{self.sbc.port};branch=z9hG4bK{random.getrandbits(60):x};rport\r\n"
            f"From: <sip:caller@{self.sbc.ip}>;tag={self.tag}\r\nTo: <sip:agent@{self.sbc.gateway[0]}>{to}\r\n"
            f"Call-ID: {self.id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{route}"
            f"Contact: <sip:caller@{self.sbc.ip}:{self.sbc.port};transport={self.sbc.transport.lower()}>\r\n"
            f"{extra}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def invite(self):
        """Places the call: its final status, or 408."""
        extra = f"X-ASAPP-CallTransferId: {self.transfer}\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, REFER, NOTIFY, UPDATE\r\n"
        invite = self.request("INVITE", 1, extra + "Content-Type: application/sdp\r\n", self.sdp())
        self.answer = asyncio.get_running_loop().create_future()
        self.provisional = False
        self.sbc.calls[self.id] = self
        await self.repeat(invite, self.answer)
        self.status = self.answer.result() if self.answer.done() else 408
        if self.status >= 300:
            self.done.set()
        return self.status

    async def repeat(self, message, future):
        pause, until = 0.5, time.monotonic() + GIVE_UP
        await self.sbc.send(message, self.sbc.gateway)
        while not future.done() and time.monotonic() < until:
            await asyncio.wait([future], timeout=min(pause, until - time.monotonic()))
            if not future.done() and self.sbc.transport == "UDP" and not self.provisional:
                await self.sbc.send(message, self.sbc.gateway)
            pause = min(pause * 2, 4.0)

    async def response(self, line, fields):
        status = int(line.split()[1])
        number, method = fields["cseq"][0].split()
        if method == "INVITE":
            self.provisional = True
            if status < 200:
                return
            if self.their_tag is None and ";tag=" in fields["to"][0]:
                self.their_tag = fields["to"][0].split(";tag=")[1].split(";")[0]
            if status < 300:
                self.target = fields["contact"][0].split("<")[1].split(">")[0]
                self.routes = list(reversed(fields.get("record-route", [])))
                if self.accepted_at is None:
                    self.accepted_at = time.monotonic()
            await self.sbc.send(self.request("ACK", 1), self.sbc.way(self.hop()))
            if not self.answer.done():
                self.answer.set_result(status)
        elif method == "NOTIFY":
            self.notify_acks.set()
        elif method == "BYE":
            self.finish()

    def finish(self):
        if self.ended_at is None:
            self.ended_at = time.monotonic()
        self.done.set()

    async def asked(self, line, fields, reply):
        """A request of the gateway's inside the dialog."""
        number, method = fields["cseq"][0].split()
        number = int(number)
        if method == "ACK":
            return
        before = self.responses.get((method, number))
        if before:
            return await reply(before)

        async def answer(status, extra="", body=b""):
            message = respond(line, fields, status, extra, body)
            self.responses[(method, number)] = message
            await reply(message)

        if number <= self.last_cseq:
            self.refused += 1
            return await answer("500 Out of order")
        if self.ended_at:
            return await answer("481 Call does not exist")
        self.last_cseq = number
        self.note(method)
        contact = f"Contact: <sip:caller@{self.sbc.ip}:{self.sbc.port};transport={self.sbc.transport.lower()}>\r\n"
        if method == "INVITE":
            self.target = fields["contact"][0].split("<")[1].split(">")[0]
            await answer("200 OK", contact + "Content-Type: application/sdp\r\n", self.sdp())
        elif method == "REFER":
            self.target = fields["contact"][0].split("<")[1].split(">")[0]
            self.referred_to.append(fields["refer-to"][0])
            await answer("202 Accepted", contact)
            asyncio.get_running_loop().create_task(self.notify())
        elif method == "BYE":
            await answer("200 OK")
            self.reason = fields.get("reason", [""])[0]
            self.finish()
        else:
            await answer("200 OK", contact)

    async def notify(self):
        for fragment, state in (("100 Trying", "active;expires=60"), ("200 OK", "terminated;reason=noresource")):
            self.cseq += 1
            body = f"SIP/2.0 {fragment}\r\n".encode()
            extra = f"Event: refer\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n"
            message = self.request("NOTIFY", self.cseq, extra, body)
            for _ in range(6):
                self.notify_acks.clear()
                await self.sbc.send(message, self.sbc.way(self.hop()))
                try:
                    await asyncio.wait_for(self.notify_acks.wait(), 1.0)
                    break
                except asyncio.TimeoutError:
                    continue

    async def hang_up(self):
        self.cseq += 1
        message = self.request("BYE", self.cseq)
        for _ in range(4):
            if not self.done.is_set():
                await self.sbc.send(message, self.sbc.way(self.hop()))
                await asyncio.wait([asyncio.ensure_future(self.done.wait())], timeout=1.0)
        self.finish()


def respond(line, fields, status, extra="", body=b""):
    copied = "".join(f"Via: {via}\r\n" for via in fields["via"])
    for name in ("From", "To", "Call-ID", "CSeq"):
        copied += f"{name}: {fields[name.lower()][0]}\r\n"
    return f"SIP/2.0 {status}\r\n{copied}{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Sbc(asyncio.DatagramProtocol):
    """All callers of one address, over one transport."""

    def __init__(self, ip, gateway, transport="UDP"):
        self.ip, self.gateway, self.transport = ip, gateway, transport
        self.calls, self.strays = {}, 0
        self.streams = {}

    async def start(self):
        loop = asyncio.get_running_loop()
        if self.transport == "UDP":
            self.socket, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.ip, 0))
            self.port = self.socket.get_extra_info("sockname")[1]
        else:
            self.server = await asyncio.start_server(self.read, self.ip, 0)
            self.port = self.server.sockets[0].getsockname()[1]
        return self

    def way(self, uri):
        host = (uri or "").split("@")[-1].removeprefix("sip:").split(";")[0]
        address, _, port = host.partition(":")
        return (address, int(port)) if port.isdigit() else self.gateway

    async def send(self, message, to):
        if self.transport == "UDP":
            self.socket.sendto(message, to)
            return
        writer = self.streams.get(to)
        if writer is None or writer.is_closing():
            try:
                reader, writer = await asyncio.open_connection(*to, local_addr=(self.ip, 0))
            except OSError:
                return
            self.streams[to] = writer
            asyncio.get_running_loop().create_task(self.read(reader, writer))
        writer.write(message)

    async def read(self, reader, writer):
        async def reply(message):
            writer.write(message)

        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
                await self.take(head + await reader.readexactly(length), reply)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            writer.close()  # either side ended it, or the test is over

    def datagram_received(self, data, address):
        async def reply(message):
            self.socket.sendto(message, address)

        asyncio.get_running_loop().create_task(self.take(data, reply))

    def error_received(self, error):
        pass  # the port of a dead gateway

    async def take(self, data, reply):
        if not data.strip():
            return
        line, fields, _ = parse(data)
        call = self.calls.get(fields.get("call-id", [""])[0])
        if line.startswith("SIP/2.0"):
            if call:
                await call.response(line, fields)
        elif call:
            await call.asked(line, fields, reply)
        elif line.startswith("OPTIONS"):
            await reply(respond(line, fields, "200 OK"))
        elif not line.startswith("ACK"):
            self.strays += 1
            await reply(respond(line, fields, "481 No such call"))


counter = itertools.count(1)
