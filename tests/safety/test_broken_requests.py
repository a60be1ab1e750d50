"""Bytes that are no request: each is told what is wrong in a problem, and thousands of them leave the log readable."""

import asyncio
import json
import random
import re
import struct
from itertools import chain, islice, repeat

import aiohttp
import pytest

from tests.faults.process import Server, until
from tests.safety.issuer import SECRET, Issuer
from tests.safety.raw import send
from tests.sizes import count

HOST = b"Host: a\r\n"
POST = b"POST /notes HTTP/1.1\r\n" + HOST
UPGRADE = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
BODY = b'Content-Length: 16\r\n\r\n{"title":"Milk"}'

# What was sent → the statuses that may be answered; 0: the connection is closed and nothing is said.
BROKEN: dict[str, tuple[bytes, set[int]]] = {
    "nothing": (b"", {0}),
    "empty lines": (b"\r\n" * 20, {0, 400}),
    "rubbish": (b"rubbish\r\n\r\n", {400}),
    "zeros": (bytes(1000), {400}),
    "binary": (random.Random(7).randbytes(4000), {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), {400}),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "HTTP/0.9": (b"GET /notes\r\n\r\n", {200}),
    "HTTP/9.9": (b"GET /notes HTTP/9.9\r\n" + HOST + b"\r\n", {400}),
    "SMTP": (b"EHLO example\r\nMAIL FROM:<a@example>\r\n", {400}),
    "SOCKS": (b"\x05\x01\x00", {0, 400}),
    "half a line": (b"GET /no", {0, 400}),
    "half a header": (b"GET /notes HTTP/1.1\r\nHost: a\r\nX-", {0, 400}),
    "no host": (b"GET /notes HTTP/1.1\r\n\r\n", {400}),
    "two hosts": (b"GET /notes HTTP/1.1\r\n" + HOST + HOST + b"\r\n", {400}),
    "space in the path": (b"GET /no tes HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "bytes in the path": (b"GET /notes/\xed\xa0\x80 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    "bad host in the path": (b"GET http://[::bad/ HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "unknown method": (b"STEAL /notes HTTP/1.1\r\n" + HOST + b"\r\n", {400, 405}),
    "NUL in a header": (b"GET /notes HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", {400}),
    "NUL in a name": (b"GET /notes HTTP/1.1\r\n" + HOST + b"X\0: a\r\n\r\n", {400}),
    "no colon": (b"GET /notes HTTP/1.1\r\n" + HOST + b"X\r\n\r\n", {400}),
    "space before the colon": (b"GET /notes HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n", {400}),
    "folded header": (b"GET /notes HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", {400}),
    "line feeds alone": (b"GET /notes HTTP/1.1\n" + b"Host: a\n\n", {400}),
    "long header": (b"GET /notes HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 9000 + b"\r\n\r\n", {431}),
    "long name": (b"GET /notes HTTP/1.1\r\n" + HOST + b"x" * 9000 + b": x\r\n\r\n", {431}),
    "long path": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {431}),
    "many headers": (
        b"GET /notes HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        {431},
    ),
    "endless header": (b"GET /notes HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 3_000_000, {431}),
    "length and chunks": (POST + b"Transfer-Encoding: chunked\r\n" + BODY, {400}),
    "two lengths": (POST + b"Content-Length: 3\r\n" + BODY, {400}),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n{}", {400}),
    "length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", {400}),
    "length in hex": (POST + b"Content-Length: 0x2\r\n\r\n{}", {400}),
    "length beyond all": (POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}", {400, 413}),
    "unknown coding": (POST + b"Transfer-Encoding: magic\r\n\r\n{}", {400}),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk without a size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk with a bad end": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n", {400}),
    "chunk that breaks later": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n\r\n", {400}),
    "chunk of 2^64": (POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n", {400}),
    "broken chunks to nowhere": (
        b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n\r\n",
        {400, 404},
    ),
    "half a body": (POST + b"Content-Length: 100\r\n\r\n{", {0, 400}),
    "half a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n64\r\n{", {0, 400}),
    "expects magic": (POST + b"Expect: magic\r\n" + BODY, {400, 417}),
    "upgrade to nothing": (
        b"GET /notes/1 HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: x\r\n\r\nxx",
        {400, 404},
    ),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404, 405}),
    "websocket without a key": (
        b"GET /ws HTTP/1.1\r\n" + HOST + UPGRADE + b"Sec-WebSocket-Version: 13\r\n\r\n",
        {400, 426},
    ),
    "websocket of 1999": (
        b"GET /ws HTTP/1.1\r\n" + HOST + UPGRADE + b"Sec-WebSocket-Version: 1\r\n" + KEY + b"\r\n",
        {400, 426},
    ),
    "no JSON": (POST + b"Content-Length: 1\r\n\r\n{", {400}),
    "nested JSON": (POST + b"Content-Length: 50000\r\n\r\n" + b"[" * 50000, {400}),
    "bad UTF-8": (POST + b'Content-Length: 14\r\n\r\n{"title":"\xff\xfe"}', {400}),
    "odd bytes in headers": (POST + b"Idempotency-Key: \xff\r\nIf-Match: \xfe\r\ntraceparent: \xed\r\n" + BODY, {422}),
    "odd type": (POST + b"Content-Type: \xff/\xfe; charset=\xfd\r\n" + BODY, {415}),
    "bad authorization": (POST + b"Authorization: Bearer \xff\xfe\r\n" + BODY, {201}),
}


def statuses(answer: bytes) -> list[int]:
    """The status of each answer."""
    return [int(status) for status in re.findall(rb"HTTP/\d\.\d (\d{3}) ", answer)]


@pytest.fixture
async def started(server: Server) -> Server:
    """A service that runs, as it runs for its users."""
    await server.start()
    return server


async def test_each_broken_request_is_answered_with_a_problem(started: Server) -> None:
    """Whatever comes, the answer is a problem that repeats nothing of it, and the connection is closed."""
    for name, (sent, expected) in BROKEN.items():
        answer = await send(started.url, sent, answered=0 not in expected)
        assert set(statuses(answer) or [0]) <= expected, f"{name}: {answer[:300]!r}"
        if answer and not expected & {200, 201}:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"Content-Type: application/problem+json" in head, name
            assert b"Server: notelog" in head, name
            assert json.loads(body.partition(b"HTTP/1.")[0])["status"] == statuses(answer)[0], name
    assert not [line for line in started.log_lines() if line.get("level") not in ("info", None)]
    assert await started.is_ready()


@pytest.mark.faults
async def test_thousands_of_broken_requests_leave_the_log_readable(started: Server) -> None:
    """10,000 broken requests log no traceback, and at most 100 lines."""
    requests = count("broken_requests")
    before = len(started.log_lines())
    small = [broken for broken in BROKEN.values() if len(broken[0]) < 60_000]
    work = islice(chain.from_iterable(repeat(small)), requests)

    async def client() -> None:
        for sent, expected in work:
            await send(started.url, sent, answered=0 not in expected)

    await asyncio.gather(*(client() for _ in range(20)))
    assert await started.is_ready()
    lines = started.log_lines()[before:]
    print(f"{requests} broken requests, {len(lines)} lines in the log")
    assert len(lines) <= 100, started.last_lines()
    assert "Traceback" not in str(lines)
    assert sum(line.get("count", 0) for line in lines) > 0


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A websocket frame, right or wrong (RFC 6455 §5.2)."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size)
    if not masked:
        return bytes([first]) + length + payload
    return bytes([first, length[0] | 0x80]) + length[1:] + bytes(4) + payload


BROKEN_FRAMES: dict[str, bytes] = {
    "not masked": frame(1, b"{}", masked=False),
    "reserved bits": frame(1, b"{}", reserved=7),
    "compressed": frame(1, b"{}", reserved=4),
    "unknown opcode": frame(3, b"{}"),
    "unknown control": frame(11, b""),
    "long ping": frame(9, b"x" * 126),
    "ping in parts": frame(9, b"x", final=False),
    "continues nothing": frame(0, b"{}"),
    "text within text": frame(1, b"{", final=False) + frame(1, b"}"),
    "bad UTF-8": frame(1, b"\xff\xfe"),
    "half a surrogate pair": frame(1, b'{"type":"\xed\xa0\x80"}'),
    "close with one byte": frame(8, b"x"),
    "close with a bad code": frame(8, struct.pack(">H", 1005)),
    "close with bad UTF-8": frame(8, struct.pack(">H", 1000) + b"\xff"),
    "length of 2^63": b"\x81\xff" + b"\xff" * 8 + bytes(4),
    "endless text": frame(1, b"x" * 60_000, final=False) + frame(0, b"x" * 60_000, final=False),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "binary": frame(2, b"{}"),
    "array": frame(1, b"[]"),
    "number": frame(1, b"1"),
    "nested": frame(1, b"[" * 60_000),
    "type is a list": frame(1, b'{"type":[]}'),
    "half a frame": frame(1, b"x" * 100)[:50],
    "gone": b"",
}


async def test_broken_frames_close_the_websocket_and_nothing_else(started: Server) -> None:
    """Whatever a client sends on a websocket, it is closed, nothing is logged as our fault, and others feel nothing."""
    upgrade = b"GET /ws HTTP/1.1\r\n" + HOST + UPGRADE + b"Sec-WebSocket-Version: 13\r\n" + KEY + b"\r\n"
    async with started.session.ws_connect(started.url + "/ws") as healthy:
        for name, sent in BROKEN_FRAMES.items():
            answer = await send(started.url, upgrade + sent)
            assert answer.startswith(b"HTTP/1.1 101 "), name
        await healthy.send_json({"type": "subscribe", "id": "s", "feed": "notes"})
        types = [(await healthy.receive_json(timeout=10))["type"] for _ in range(3)]
        assert types == ["hello", "subscribed", "caught_up"]
    assert not [line for line in started.log_lines() if line.get("level") not in ("info", None)], started.last_lines()


async def test_a_client_that_goes_away_is_no_fault(started: Server) -> None:
    """Clients that vanish in the middle of a body, an answer or a wait leave no error behind."""
    async with aiohttp.ClientSession() as session:
        async with session.post(started.url + "/notes", json={"title": "Milk", "description": "x" * 60_000}) as made:
            assert made.status == 201
    requests = [
        POST + b"Content-Length: 500000\r\n\r\n" + b"x" * 200_000,
        POST + BODY,
        b"GET /notes HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /notes HTTP/1.1\r\n" + HOST + b"Notelog-Min-Position: 9999\r\n\r\n",
        b"GET /events HTTP/1.1\r\n" + HOST + b"Accept: application/x-ndjson\r\n\r\n",
    ]
    for sent in requests * 20:
        _, writer = await asyncio.open_connection(*started.url.removeprefix("http://").split(":"))
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()
    await until(started.is_ready, 10, "the service is well")
    assert not [line for line in started.log_lines() if line.get("level") == "error"], started.last_lines()


async def test_no_token_stands_in_a_log(server: Server, issuer: Issuer) -> None:
    """With every request logged, neither the secret nor a token, good or bad, is in what the service writes."""
    secret = SECRET.decode()
    await server.start(
        environment={"NOTELOG_AUTH_SECRET": secret, "NOTELOG_AUTH_AUDIENCE": "notelog", "NOTELOG_ACCESS_LOG": "true"}
    )
    good = issuer.token("notes:read notes:write audit:read", shared=True)
    tokens = {"good": good, **issuer.bad_tokens("notes:read", shared=True)}
    for token in tokens.values():
        headers = f"Host: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        for line in ("GET /notes", "POST /notes", "GET /ws", f"GET /notes?token={token[:2000]}"):
            await send(server.url, f"{line} HTTP/1.1\r\n{headers}".encode())
        async with server.session.ws_connect(server.url + "/ws") as socket:
            await socket.send_json({"type": "auth", "token": token})
            await socket.receive(timeout=10)
    await server.stop()
    text = server.log.read_text()
    assert text.count("\n") > len(tokens), "the requests were not logged"
    for name, token in tokens.items():
        for part in (token, token.rpartition(".")[2] or token):
            assert len(part) < 20 or part not in text, name
    assert secret not in text
