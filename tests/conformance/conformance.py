#!/usr/bin/env python3
"""RFC 6455 conformance of an echo server: the cases of Autobahn|Testsuite's sections 1 to 7, 9 and 10, written anew for
Python 3 and nothing else, and a section 0 of opening handshakes.

    conformance.py ws://127.0.0.1:9001/ [--only PREFIX] [--verbose]

Every case opens a connection, sends raw bytes and compares everything that comes back, up to the end of the TCP stream,
which must be an orderly one. Prints `N passed, N failed`.
"""

import argparse
import base64
import hashlib
import os
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

PATIENCE = 20.0  # seconds for one answer; nothing here should take one
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NAMES = {TEXT: "text", BINARY: "binary", CLOSE: "close", PONG: "pong"}


class Failure(Exception):
    pass


def frame(opcode, payload=b"", fin=True, rsv=0, length=None, mask=True):
    """A client's frame. `length` forces a form: 0, 16 or 64 bits."""
    if isinstance(payload, str):
        payload = payload.encode()
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask else 0
    n = len(payload)
    if length is None:
        length = 0 if n < 126 else 16 if n < 65536 else 64
    if length == 0:
        head = struct.pack("!BB", first, bit | n)
    elif length == 16:
        head = struct.pack("!BBH", first, bit | 126, n)
    else:
        head = struct.pack("!BBQ", first, bit | 127, n)
    if not mask:
        return head + payload
    key = os.urandom(4)
    stream = (key * (n // 4 + 1))[:n]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + key + masked.to_bytes(n, "big")


def close(code=None, reason=b""):
    if isinstance(reason, str):
        reason = reason.encode()
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Connection:
    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data, chop=None):
        if not chop:
            self.socket.sendall(data)
            return
        for at in range(0, len(data), chop):
            self.socket.sendall(data[at : at + chop])

    def more(self):
        try:
            data = self.socket.recv(1 << 20)
        except socket.timeout:
            raise Failure("no answer")
        except ConnectionResetError:
            raise Failure("connection reset")
        self.buffer += data
        return bool(data)

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                raise Failure("ended within the handshake: %r" % self.buffer)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head.decode("latin-1")

    def handshake(self, path, host):
        key = base64.b64encode(os.urandom(16))
        self.send(
            b"GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (path.encode(), host.encode(), key)
        )
        head = self.head()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        if not head.startswith("HTTP/1.1 101 ") or accept not in head:
            raise Failure("handshake: " + head)

    def event(self):
        """The next frame as (name, payload), or ("end", b"")."""
        need = 2
        while True:
            buffer = self.buffer
            if len(buffer) >= need:
                first, second = buffer[0], buffer[1]
                at, n = 2, second
                if second & 0x80:
                    raise Failure("a server must not mask")
                if n >= 126:
                    at = 4 if n == 126 else 10
                    if len(buffer) >= at:
                        n = struct.unpack("!H" if at == 4 else "!Q", buffer[2:at])[0]
                    else:
                        n = 0
                need = at + n
                if len(buffer) >= need and (second < 126 or len(buffer) >= at):
                    self.buffer = buffer[need:]
                    payload = buffer[at:need]
                    if first & 0x70 or not first & 0x80 or first & 0x0F not in NAMES:
                        raise Failure("first byte %#x" % first)
                    return NAMES[first & 0x0F], payload
            if not self.more():
                if self.buffer:
                    raise Failure("ended within a frame")
                return "end", b""


class Case:
    """`send` is a list of bytes, each of which is one write; `expect` a list of events: ("text", b"…"), ("close", 1000).
    A case that does not itself lead to a close is closed by the client with 1000 and expects that back."""

    def __init__(self, name, send, expect, chop=None, handshake=None):
        self.name, self.chop, self.handshake = name, chop, handshake
        self.send = [send] if isinstance(send, bytes) else send
        self.expect = expect
        if not handshake and not any(kind == "close" for kind, _ in expect):
            self.send = self.send + [close(1000)]
            self.expect = expect + [("close", 1000)]

    def run(self, url):
        connection = Connection((url.hostname, url.port))
        try:
            if self.handshake is not None:
                self.run_handshake(connection)
                return
            connection.handshake(url.path or "/", url.netloc)
            for data in self.send:
                try:
                    connection.send(data, self.chop)
                except (BrokenPipeError, ConnectionResetError):
                    break
            for wanted, payload in self.expect:
                kind, got = connection.event()
                if kind != wanted:
                    raise Failure("%s %r instead of %s" % (kind, got[:80], wanted))
                if kind == "close":
                    code = struct.unpack("!H", got[:2])[0] if got else None
                    codes = payload if isinstance(payload, tuple) else (payload,)
                    if code not in codes:
                        raise Failure("close %s instead of %s" % (code, codes))
                    got[2:].decode()
                elif got != payload:
                    raise Failure("%s of %d bytes differs from %d bytes" % (kind, len(got), len(payload)))
            kind, got = connection.event()
            if kind != "end":
                raise Failure("%s %r after the close" % (kind, got[:80]))
        finally:
            connection.socket.close()

    def run_handshake(self, connection):
        for data in self.send:
            connection.send(data, self.chop)
        status = int(connection.head().split(" ", 2)[1])
        if status != self.handshake:
            raise Failure("status %d instead of %d" % (status, self.handshake))


def text(payload):
    return ("text", payload.encode() if isinstance(payload, str) else payload)


def section_0():
    """Opening handshakes."""
    lines = [
        b"GET / HTTP/1.1",
        b"Host: localhost",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]

    def request(**changes):
        out = list(lines)
        for index, line in changes.items():
            out[int(index[1:])] = line
        return b"\r\n".join(line for line in out if line is not None) + b"\r\n\r\n"

    table = [
        (request(), 101),
        (request(_2=b"upgrade: WebSocket"), 101),
        (request(_3=b"Connection: keep-alive, upgrade"), 101),
        (request(_1=b"Host: localhost\r\nSec-WebSocket-Extensions: permessage-deflate"), 101),
        (request(_4=None), 426),
        (request(_4=b"Sec-WebSocket-Version: 8"), 426),
        (request(_2=None), 426),
        (request(_3=None), 426),
        (request(_5=None), 400),
        (request(_5=b"Sec-WebSocket-Key: c2hvcnQ="), 400),
        (request(_5=b"Sec-WebSocket-Key: ***"), 400),
        (request(_0=b"GET / HTTP/1.0"), 400),
        (request(_0=b"POST / HTTP/1.1"), 405),
    ]
    for index, (data, status) in enumerate(table, 1):
        yield Case("0.1.%d" % index, data, [], handshake=status)
        yield Case("0.2.%d" % index, data, [], handshake=status, chop=1)


def section_1():
    """Framing."""
    sizes = [0, 125, 126, 127, 128, 65535, 65536]
    for part, opcode, kind, byte in [(1, TEXT, "text", b"*"), (2, BINARY, "binary", b"\xfe")]:
        for index, size in enumerate(sizes, 1):
            payload = byte * size
            yield Case("1.%d.%d" % (part, index), frame(opcode, payload), [(kind, payload)])
        payload = byte * 65536
        yield Case("1.%d.8" % part, frame(opcode, payload), [(kind, payload)], chop=997)
    # Lengths that are not in their shortest form.
    for index, (size, form) in enumerate([(0, 16), (125, 16), (0, 64), (125, 64), (126, 64), (65535, 64)], 1):
        yield Case("1.3.%d" % index, frame(TEXT, b"x" * size, length=form), [("close", 1002)])
    yield Case("1.3.7", struct.pack("!BBQ", 0x81, 0xFF, 1 << 63) + b"mask", [("close", (1002, 1009))])
    yield Case("1.3.8", frame(TEXT, b"Hello", mask=False), [("close", 1002)])


def section_2():
    """Pings and pongs."""
    binary = bytes([0, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0, 0xFF])
    ping = lambda payload: frame(PING, payload)
    yield Case("2.1", ping(b""), [("pong", b"")])
    yield Case("2.2", ping(b"Hello, world!"), [("pong", b"Hello, world!")])
    yield Case("2.3", ping(binary), [("pong", binary)])
    yield Case("2.4", ping(b"\xfe" * 125), [("pong", b"\xfe" * 125)])
    yield Case("2.5", ping(b"\xfe" * 126), [("close", 1002)])
    yield Case("2.6", ping(b"\xfe" * 125), [("pong", b"\xfe" * 125)], chop=1)
    yield Case("2.7", frame(PONG), [])
    yield Case("2.8", frame(PONG, b"unsolicited"), [])
    yield Case("2.9", [frame(PONG, b"unsolicited"), ping(b"ping")], [("pong", b"ping")])
    pings = [b"payload-%d" % n for n in range(10)]
    yield Case("2.10", [ping(p) for p in pings], [("pong", p) for p in pings])
    yield Case("2.11", b"".join(ping(p) for p in pings), [("pong", p) for p in pings], chop=1)
    yield Case("2.12", b"".join(ping(p) for p in pings), [("pong", p) for p in pings])


def section_3():
    """Reserved bits."""
    for rsv in range(1, 8):
        bad = frame(TEXT, b"Hello, world!", rsv=rsv)
        yield Case("3.1.%d" % rsv, bad, [("close", 1002)])
        before = [frame(TEXT, b"Hello"), bad, frame(PING)]
        yield Case("3.2.%d" % rsv, before, [text("Hello"), ("close", 1002)])
        yield Case("3.3.%d" % rsv, b"".join(before), [text("Hello"), ("close", 1002)], chop=1)
        yield Case("3.4.%d" % rsv, frame(BINARY, bytes(8), rsv=rsv), [("close", 1002)])
        yield Case("3.5.%d" % rsv, frame(PING, b"Hello", rsv=rsv), [("close", 1002)])
        yield Case("3.6.%d" % rsv, frame(CLOSE, rsv=rsv), [("close", 1002)])


def section_4():
    """Reserved opcodes."""
    for part, opcodes in [(1, range(3, 8)), (2, range(11, 16))]:
        for index, opcode in enumerate(opcodes, 1):
            name = "4.%d.%d" % (part, index)
            yield Case(name + "a", frame(opcode), [("close", 1002)])
            yield Case(name + "b", frame(opcode, b"reserved opcode payload"), [("close", 1002)])
            frames = [frame(TEXT, b"Hello"), frame(opcode), frame(PING)]
            yield Case(name + "c", frames, [text("Hello"), ("close", 1002)])
            yield Case(name + "d", b"".join(frames), [text("Hello"), ("close", 1002)], chop=1)


def section_5():
    """Fragmentation."""
    begin = lambda p, opcode=TEXT: frame(opcode, p, fin=False)
    more = lambda p: frame(CONTINUATION, p, fin=False)
    last = lambda p: frame(CONTINUATION, p)
    error = [("close", 1002)]
    ping = frame(PING, b"ping payload")
    pong = ("pong", b"ping payload")
    table = [
        ([frame(PING, b"a", fin=False), last(b"b")], error),
        ([frame(PONG, b"a", fin=False), last(b"b")], error),
        ([begin(b"frag1"), last(b"frag2")], [text("frag1frag2")]),
        ([begin(b"frag1"), ping, last(b"frag2")], [pong, text("frag1frag2")]),
        ([begin(b"1"), more(b"2"), ping, more(b"3"), ping, last(b"4")], [pong, pong, text("1234")]),
        ([begin(b"a", BINARY), more(b"\xff"), last(b"\x00")], [("binary", b"a\xff\x00")]),
        ([last(b"no message"), frame(TEXT, b"Hello")], error),
        ([more(b"no message"), frame(TEXT, b"Hello")], error),
        ([frame(TEXT, b"Hello"), last(b"no message")], [text("Hello")] + error),
        ([frame(TEXT, b"Hello"), more(b"no message"), last(b"x")], [text("Hello")] + error),
        ([begin(b"frag1"), frame(TEXT, b"frag2")], error),
        ([begin(b"frag1"), begin(b"frag2")], error),
        ([begin(b"frag1"), frame(BINARY, b"frag2")], error),
        ([begin(b"1"), last(b"2"), last(b"3")], [text("12")] + error),
        ([begin(b"1"), last(b"2"), begin(b"3"), last(b"4")], [text("12"), text("34")]),
        ([begin(b""), more(b""), last(b"")], [text("")]),
        ([begin(b""), more(b"middle"), last(b"")], [text("middle")]),
        ([frame(CLOSE, struct.pack("!H", 1000), fin=False)], error),
        ([begin(b"x")] + [more(b"x")] * 1000 + [last(b"x")], [text("x" * 1002)]),
    ]
    for index, (frames, expect) in enumerate(table, 1):
        yield Case("5.%da" % index, frames, expect)
        yield Case("5.%db" % index, b"".join(frames), expect)
        if len(frames) < 100:
            yield Case("5.%dc" % index, b"".join(frames), expect, chop=1)


def section_6():
    """UTF-8."""
    good = [
        "Hello-µ@ßöäüàá-UTF-8!!",
        "",
        "κόσμε",
        "\0",
        "\x7f",
        "\u0080",
        "\u07ff",
        "\u0800",
        "\uffff",
        "\U00010000",
        "\U0010ffff",
        "\ud7ff",
        "\ue000",
        "\ufffd",
        "\ufffe\U0001fffe\U0010ffff",
        "𠜎𠜱𠝹𠱓𠱸𠲖𠳏",
    ]
    for index, value in enumerate(good, 1):
        data = value.encode()
        yield Case("6.1.%d" % index, frame(TEXT, data), [text(data)])
        parts = [data[i : i + 1] for i in range(len(data))]
        frames = [frame(TEXT, b"", fin=False)] + [frame(CONTINUATION, p, fin=False) for p in parts]
        frames.append(frame(CONTINUATION))
        yield Case("6.2.%d" % index, b"".join(frames), [text(data)])
        yield Case("6.3.%d" % index, frame(TEXT, data * 50), [text(data * 50)], chop=1)
    bad = [
        "cebae1bdb9cf83cebcceb5eda080656469746564",
        "80", "bf", "80bf", "80bf80", "80bf80bf80bf80",
        "c020", "e020", "f020", "fe", "ff", "fefeffff",
        "c0af", "e080af", "f08080af", "f8808080af", "fc80808080af",
        "c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf",
        "c080", "e08080", "f0808080", "f880808080", "fc8080808080",
        "eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf", "eda080edb080", "edafbfedbfbf",
        "f4908080", "f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf",
        "c3", "e1bd", "e1", "f09f98", "f09f", "f0", "cebae1bdb9cf83cebcce",
    ]
    for index, value in enumerate(bad, 1):
        data = bytes.fromhex(value)
        yield Case("6.4.%d" % index, frame(TEXT, data), [("close", 1007)])
        yield Case("6.5.%d" % index, frame(TEXT, data), [("close", 1007)], chop=1)
        half = len(data) // 2
        split = frame(TEXT, data[:half], fin=False) + frame(CONTINUATION, data[half:])
        yield Case("6.6.%d" % index, split, [("close", 1007)])
        yield Case("6.7.%d" % index, frame(BINARY, data), [("binary", data)])
    # Found before the message is over: what follows the bad byte is never sent.
    start = "κόσμε".encode()
    for index, value in enumerate(["f490", "eda0", "c0", "80", "f8", "c328"], 1):
        data = start + bytes.fromhex(value)
        yield Case("6.8.%d" % index, frame(TEXT, data, fin=False), [("close", 1007)])
        whole = frame(TEXT, data + b"edited" * 10)
        yield Case("6.9.%d" % index, whole[: 6 + len(data)], [("close", 1007)], chop=1)


def section_7():
    """Closing."""
    yield Case("7.1.1", [frame(TEXT, b"Hello"), close(1000)], [text("Hello"), ("close", 1000)])
    yield Case("7.1.2", [close(1000), close(1000)], [("close", 1000)])
    yield Case("7.1.3", [close(1000), frame(PING)], [("close", 1000)])
    yield Case("7.1.4", [close(1000), frame(TEXT, b"Hello")], [("close", 1000)])
    yield Case("7.1.5", [frame(TEXT, b"1", fin=False), close(1000), frame(CONTINUATION, b"2")], [("close", 1000)])
    large = b"x" * 262144
    sequence = [frame(TEXT, large), frame(TEXT, b"Hello"), close(1000), frame(PING)]
    yield Case("7.1.6", sequence, [text(large), text("Hello"), ("close", 1000)])
    yield Case("7.3.1", close(), [("close", None)])
    yield Case("7.3.2", frame(CLOSE, b"\x03"), [("close", 1002)])
    yield Case("7.3.3", close(1000), [("close", 1000)])
    yield Case("7.3.4", close(1000, "Hello World!"), [("close", 1000)])
    yield Case("7.3.5", close(1000, "*" * 123), [("close", 1000)])
    yield Case("7.3.6", close(1000, "*" * 124), [("close", 1002)])
    yield Case("7.5.1", close(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), [("close", 1007)])
    valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
    for index, code in enumerate(valid, 1):
        yield Case("7.7.%d" % index, close(code), [("close", code)])
    invalid = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
    for index, code in enumerate(invalid, 1):
        yield Case("7.9.%d" % index, close(code), [("close", 1002)])


def section_9():
    """Limits: large messages, whole, in fragments and in small writes."""
    for part, opcode, kind in [(1, TEXT, "text"), (2, BINARY, "binary")]:
        for index, size in enumerate([64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20], 1):
            payload = b"*" * size
            yield Case("9.%d.%d" % (part, index), frame(opcode, payload), [(kind, payload)])
        payload = b"*" * (4 << 20)
        for index, size in enumerate([64, 1024, 65536, 1 << 20, 4 << 20], 1):
            cut = [payload[i : i + size] for i in range(0, len(payload), size)]
            frames = [frame(opcode, cut[0], fin=False)] + [frame(CONTINUATION, p, fin=False) for p in cut[1:]]
            frames = b"".join(frames) + frame(CONTINUATION)
            yield Case("9.%d.%d" % (part + 2, index), frames, [(kind, payload)])
        payload = b"*" * (1 << 20)
        for index, size in enumerate([64, 256, 1024, 4096], 1):
            yield Case("9.%d.%d" % (part + 4, index), frame(opcode, payload), [(kind, payload)], chop=size)
        for index, size in enumerate([0, 16, 64, 256, 1024], 1):
            payloads = [b"*" * size] * 1000
            frames = b"".join(frame(opcode, p) for p in payloads)
            yield Case("9.%d.%d" % (part + 6, index), frames, [(kind, p) for p in payloads])
    yield Case("9.9.1", frame(BINARY, b"*" * ((16 << 20) + 1))[:14], [("close", 1009)])


def section_10():
    """A message in many frames of one size."""
    payload = b"*" * 65536
    cut = [payload[i : i + 1300] for i in range(0, len(payload), 1300)]
    frames = [frame(TEXT, cut[0], fin=False)] + [frame(CONTINUATION, p, fin=False) for p in cut[1:-1]]
    frames.append(frame(CONTINUATION, cut[-1]))
    yield Case("10.1.1", frames, [text(payload)])


SECTIONS = [section_0, section_1, section_2, section_3, section_4, section_5, section_6, section_7, section_9, section_10]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("url", help="ws:// address of the echo server")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--verbose", action="store_true", help="name every case")
    arguments = parser.parse_args()
    url = urlsplit(arguments.url)

    def run(case):
        try:
            case.run(url)
            return case, None
        except Exception as error:  # a case that breaks is a case that fails
            return case, "%s: %s" % (type(error).__name__, error)

    passed = failed = 0
    for section in SECTIONS:
        cases = [case for case in section() if case.name.startswith(arguments.only)]
        with ThreadPoolExecutor(8) as pool:
            for case, error in pool.map(run, cases):
                if error is None:
                    passed += 1
                    if arguments.verbose:
                        print("case %s ok" % case.name)
                else:
                    failed += 1
                    print("case %s FAILED: %s" % (case.name, error))
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
