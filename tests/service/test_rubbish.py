"""Whatever is sent: an answer below 500, as a problem, and no traceback in the log."""

import asyncio
import json
import logging
import random
import struct
from collections.abc import Iterator

import pytest

from tests.service.running import Running

HEAD = b"Host: notelog\r\nContent-Type: application/json\r\n"
GOOD = b'{"title":"Milk"}'


@pytest.fixture(autouse=True)
def nothing_is_our_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged with a traceback or as an error, whatever a client sends."""
    caplog.set_level(logging.INFO)
    yield
    ours = [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert not ours, [record.getMessage() for record in ours]


async def exchange(notelog: Running, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, half-close, and read the one answer: status, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(notelog.url.rsplit(":", 1)[1]))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))
    finally:
        writer.close()


def request(line: bytes, headers: bytes = b"", body: bytes = b"") -> bytes:
    """The bytes of a request."""
    return line + b" HTTP/1.1\r\n" + HEAD + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def is_problem(status: int, headers: dict[str, str], body: bytes) -> bool:
    """Whether an answer is a problem of its own status."""
    return headers["content-type"] == "application/problem+json" and json.loads(body)["status"] == status


LINES = [
    b"GET /notes/0",
    b"GET /notes/-1",
    b"GET /notes/1.0",
    b"GET /notes/1e3",
    b"GET /notes/x",
    b"GET /notes/%00",
    b"GET /notes/%ff",
    b"GET /notes/%d9%a1",
    b"GET /notes/9223372036854775808",
    b"GET /notes/" + b"9" * 400,
    b"GET /notes/1%0d%0aX:%20y",
    b"GET /notes/1/2/3",
    b"GET /notes//restore",
    b"GET /../../etc/passwd",
    b"GET /%2e%2e/%2e%2e/etc/passwd",
    b"GET /problems/%ff",
    b"GET /problems/../x",
    b"GET //",
    b"GET /notes?limit=0",
    b"GET /notes?limit=-1",
    b"GET /notes?limit=1001",
    b"GET /notes?limit=" + b"9" * 400,
    b"GET /notes?limit=1.5",
    b"GET /notes?limit=%d9%a1",
    b"GET /notes?limit=",
    b"GET /notes?limit",
    b"GET /notes?limit=1&limit=2",
    b"GET /notes?limit=%ff",
    b"GET /notes?%ff=%ff",
    b"GET /notes?%00=%00",
    b"GET /notes?colour=red",
    b"GET /notes?cursor=",
    b"GET /notes?cursor=x",
    b"GET /notes?cursor=%ff%00",
    b"GET /notes?cursor=====",
    b"GET /notes?cursor=W10",
    b"GET /notes?cursor=" + b"Wy" * 3000,
    b"GET /notes?=&=&;",
    b"GET /notes/1?x=y",
    b"DELETE /notes/x",
    b"POST /notes/1",
    b"POST /notes/x/restore",
    b"PATCH /notes",
    b"BREW /notes",
    b"TRACE /notes",
    b"CONNECT notelog:80",
    b"OPTIONS *",
    b"GET *",
    b"GET http://elsewhere/notes/x",
    b"GET /ws",
]


async def test_odd_paths_and_queries(notelog: Running) -> None:
    """An odd path, id, query or method is refused as a problem."""
    for line in LINES:
        status, headers, body = await exchange(notelog, request(line))
        assert 200 <= status < 500, line
        assert status < 400 or is_problem(status, headers, body), line


HEADERS = [
    b"If-Match: \r\n",
    b"If-Match: \xff\xfe\r\n",
    b'If-Match: "\xff"\r\nIdempotency-Key: a\r\n',
    b"If-Match: " + b'"1",' * 1500 + b"\r\n",
    b"If-Match: " + b'"' * 8000 + b"\r\n",
    b"If-None-Match: \xff\r\n",
    b"If-None-Match: " + b'W/"' * 2500 + b"\r\n",
    b"Idempotency-Key: \r\n",
    b"Idempotency-Key: \xff\r\n",
    b"Idempotency-Key: a b\r\n",
    b"Idempotency-Key: " + b"k" * 256 + b"\r\n",
    b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
    b"Notelog-Min-Position: -1\r\n",
    b"Notelog-Min-Position: \xff\r\n",
    b"Notelog-Min-Position: \r\n",
    b"Notelog-Min-Position: " + b"9" * 400 + b"\r\n",
    b"traceparent: \xff\xff\r\n",
    b"traceparent: " + "ä".encode() * 1500 + b"\r\n",
    b"traceparent: " + b"0" * 8000 + b"\r\n",
    b"Content-Type: \r\n",
    b"Content-Type: \xff\r\n",
    b"Content-Type: text/plain\r\n",
    b"Content-Type: application/json; charset=\xff\r\n",
    b"Content-Type: ;;;\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: \xff\r\n",
    b"Accept: \xff\r\n",
    b"Accept-Encoding: \xff\r\n",
    b"Cookie: \xff=\xff; =;;;\r\n",
    b"Range: bytes=\xff\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Forwarded-For: \xff\r\n",
    b"Authorization: \xff\r\n",
    b"Origin: \xff\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"X: " + b"a" * 8000 + b"\r\n",
]


@pytest.mark.parametrize("line", [b"POST /notes", b"PUT /notes/1", b"DELETE /notes/1", b"GET /notes/1", b"GET /notes"])
async def test_odd_headers(notelog: Running, line: bytes) -> None:
    """An odd header is refused as a problem or counts for nothing."""
    await notelog.note()
    body = GOOD if line[:2] in (b"PO", b"PU") else b""
    for odd in HEADERS:
        base = b"Host: notelog\r\n" if b"Content-Type" in odd else HEAD
        sent = line + b" HTTP/1.1\r\n" + base + odd + b"Content-Length: %d\r\n\r\n" % len(body) + body
        status, headers, answer = await exchange(notelog, sent)
        assert 100 <= status < 500, odd
        assert status < 400 or is_problem(status, headers, answer), odd


NOT_HTTP = {
    b"rubbish\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": 400,
    b"GET /notes HTTP/9.9\r\nHost: a\r\n\r\n": 400,
    b"GET /notes/\xff HTTP/1.1\r\nHost: a\r\n\r\n": 400,
    b"GET /notes HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n": 400,
    b"GET /notes HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n": 400,
    b"POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n": 400,
    b"POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n": 400,
    b"POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab": 400,
    b"POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
    b"POST /notes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n": 400,
    b"POST /notes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n\r\n": 400,
    b"GET /notes HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n": 431,
    b"GET /notes HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5_000 + b"\r\n": 431,
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n": 431,
}


async def test_what_is_no_http_gets_a_problem(notelog: Running) -> None:
    """What cannot be read as HTTP, or has too much in its head, is answered with a problem too."""
    for sent, expected in NOT_HTTP.items():
        status, headers, body = await exchange(notelog, sent)
        assert status == expected, sent[:100]
        assert is_problem(status, headers, body), sent[:100]


BODIES = [
    b"",
    b"{",
    b"[" * 1_000_000,
    b'{"title":' * 100_000,
    b"\xff" * 1000,
    b'{"title":"\\ud800"}',
    b'{"title":"\\u0000"}',
    b'{"\\u0000":"\\ud83d"}',
    b'{"title":"a","priority":%b}' % (b"9" * 100_000),
    b'{"title":"a","priority":1e999999}',
    b'{"title":"a","created_at":"%b"}' % (b"1" * 100_000),
    b'{"' + b"k" * 100_000 + b'":1}',
    b"{" + b",".join(b'"k%d":1' % number for number in range(50_000)) + b"}",
    b'{"title":"' + b"a" * 1_000_000 + b'"}',
    b'{"title":"a","version":"' + b"\\u0001" * 100_000 + b'"}',
]


@pytest.mark.parametrize("line", [b"POST /notes", b"PUT /notes/1", b"PATCH /notes/1"])
async def test_odd_bodies(notelog: Running, line: bytes) -> None:
    """An odd body is refused with 400 or 422 and nothing is appended, or what is odd in it counts for nothing."""
    await notelog.note("a")
    for body in BODIES:
        head = notelog.log.head
        status, headers, answer = await exchange(notelog, request(line, body=body))
        if b"version" in body:
            assert status in (200, 201), body[:100]
        else:
            assert status in (400, 422), body[:100]
            assert is_problem(status, headers, answer)
            assert notelog.log.head == head
            assert len(answer) < 1_000_000


@pytest.mark.parametrize("reset", [False, True])
async def test_clients_that_go_in_the_middle(notelog: Running, reset: bool) -> None:
    """A client that goes at any moment of its request, in order or not, disturbs nobody."""
    whole = request(b"POST /notes", body=GOOD)
    for length in range(0, len(whole), 3):
        _, writer = await asyncio.open_connection("127.0.0.1", int(notelog.url.rsplit(":", 1)[1]))
        writer.write(whole[:length])
        await writer.drain()
        if reset:
            # SO_LINGER of 0 makes the close a reset.
            writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))
        writer.close()
    assert (await notelog.post(json={"title": "still here"})).status == 201


async def test_bytes_by_chance(notelog: Running, dice: random.Random) -> None:
    """A good request with bytes changed, left out or doubled by chance is answered, or the connection is closed."""
    await notelog.note()
    for _ in range(300):
        sent = bytearray(request(dice.choice([b"PUT /notes/1", b"POST /notes", b"GET /notes?limit=1"]), body=GOOD))
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(sent))
            sent[place : place + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 2))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(notelog.url.rsplit(":", 1)[1]))
        writer.write(sent)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), bytes(sent)
    assert (await notelog.get("/readyz")).status == 200
