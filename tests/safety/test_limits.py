"""How much one client may take: requests, websockets, bytes."""

import asyncio
import contextlib
import io
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from structlog.testing import capture_logs

from service.errors import TooManyRequests
from service.http import rate_limits as limits
from service.http.requests import BODY_BYTES_MAX
from service.live.places import Places, counted_address
from service.settings import Secret
from tests.faults.process import Server
from tests.safety.issuer import SECRET, Issuer
from tests.service.running import Answer, Running, until

MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}


async def ask(running: Running, token: str | None = None, path: str = "/notes") -> Answer:
    """A read."""
    return await running.ask("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})


async def connect(running: Running, stack: AsyncExitStack) -> int | None:
    """Open a websocket that stays open: None if it is greeted, else the close code."""
    connected = await stack.enter_async_context(running.session.ws_connect(running.url + "/ws"))
    message = await connected.receive(timeout=10)
    return None if message.type is aiohttp.WSMsgType.TEXT else int(message.data)


async def test_an_address_has_so_many_requests_in_a_time(running: Running) -> None:
    """What is over the limit gets 429 with Retry-After; what is open to all is not counted, nor refused."""
    await running.start(rate_limit="3/hour")
    assert [(await ask(running)).status for _ in range(5)] == [200, 200, 200, 429, 429]
    refused = await ask(running)
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert refused.json["type"] == "/problems/too-many-requests"
    changed = await running.ask("POST", "/notes", {"title": "Milk"})
    assert (changed.status, running.log.head) == (429, 0)
    for path in ("/healthz", "/readyz", "/openapi.json", "/"):
        assert (await ask(running, path=path)).status == 200
    with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
        await running.session.ws_connect(running.url + "/ws")


async def test_a_window_opens_again(running: Running) -> None:
    """After Retry-After seconds a client is let in again."""
    await running.start(rate_limit="2/second")
    statuses = [(await ask(running)).status for _ in range(6)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses

    async def let_in() -> bool:
        return (await ask(running)).status == 200

    await until(let_in, "the next window")


async def test_subjects_are_counted_apart(running: Running, issuer: Issuer) -> None:
    """One subject's requests are not another's, though both come from one address; bad tokens count for the address."""
    await running.start(rate_limit="2/hour", auth_secret=Secret(SECRET), auth_audience="notelog")
    alice, bob = (issuer.token("notes:read", shared=True, sub=name) for name in ("alice", "bob"))
    assert [(await ask(running, alice)).status for _ in range(3)] == [200, 200, 429]
    assert [(await ask(running, bob)).status for _ in range(3)] == [200, 200, 429]
    assert [(await ask(running, "rubbish")).status for _ in range(3)] == [401, 401, 429]
    assert (await ask(running)).status == 429


@pytest.mark.parametrize(
    ("text", "amount", "seconds"),
    [("20", 20, 1), ("20/second", 20, 1), ("600 per minute", 600, 60), ("5/10 seconds", 5, 10), (" 7/hour ", 7, 3600)],
)
def test_a_rate_is_written_as_people_write_it(text: str, amount: int, seconds: int) -> None:
    """A number alone is a second's."""
    rate = limits.parse_rate(text)
    assert (rate.amount, rate.get_expiry()) == (amount, seconds)


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "5/fortnight", "0/second", "1.5/second", "²"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """A rate that means nothing ends the start."""
    with pytest.raises(ValueError, match="expected requests in a time"):
        limits.parse_rate(text)


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood from ever new addresses does not make the counts grow; windows that are over go first."""
    monkeypatch.setattr(limits, "COUNTED_MAX", 100)
    windows = limits.Windows()
    rate = limits.RateLimit(limits.parse_rate("1/hour"))
    rate._limiter.storage = windows
    for number in range(1000):
        rate.take(f"10.0.{number // 250}.{number % 250}", None)
    assert len(windows._windows) == 100
    with pytest.raises(TooManyRequests):
        rate.take("10.0.3.249", None)


def test_a_window_ends_at_its_time_whatever_is_done_to_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set, back or forth, neither keeps anybody out nor lets anybody in."""
    now, clock = [1_000_000.0], iter(range(10**6, 0, -(10**5)))
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(limits.time, "time", lambda: next(clock))
    rate = limits.RateLimit(limits.parse_rate("1/minute"))
    rate.take("10.0.0.1", None)
    with pytest.raises(TooManyRequests) as caught:
        rate.take("10.0.0.1", None)
    assert caught.value.retry_after_s == 60
    now[0] += 60
    rate.take("10.0.0.1", None)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("unix", "unix"),
    ],
)
def test_a_client_cannot_hop_through_its_own_addresses(address: str | None, counted: str) -> None:
    """An IPv6 client has 2^64 addresses to itself: they count as one."""
    assert counted_address(address) == counted


def test_places_are_given_back() -> None:
    """A place that was left is free again, in all and for its address."""
    places = Places(3, 2)
    assert [places.take(address) for address in ("a", "a", "a", "b", "b")] == [True, True, False, True, False]
    places.leave("a")
    assert [places.take(address) for address in ("b", "a")] == [True, False]
    for address in ("a", "b", "b"):
        places.leave(address)
    assert [places.take("c") for _ in range(3)] == [True, True, False]


async def test_there_are_so_many_websockets_in_all(running: Running) -> None:
    """One too many is closed with 4429; when another one has gone there is room again."""
    await running.start(max_connections=2)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            assert [await connect(running, first) for _ in range(4)] == [None, None, 4429, 4429]

        async def room() -> bool:
            async with AsyncExitStack() as tried:
                return await connect(running, tried) is None

        await until(room, "a place is free")
        await connect(running, stack)


async def test_an_address_has_so_many_websockets(running: Running) -> None:
    """One too many of an address is closed with 4429, however many places there are."""
    await running.start(max_connections_per_address=3)
    async with AsyncExitStack() as stack:
        assert [await connect(running, stack) for _ in range(5)] == [None, None, None, 4429, 4429]


async def test_there_is_no_limit_unless_it_is_set(running: Running) -> None:
    """A load test or a proxy in front is not cut down by limits that nobody has asked for."""
    await running.start()
    async with AsyncExitStack() as stack:
        assert [await connect(running, stack) for _ in range(60)] == [None] * 60
        assert [(await ask(running)).status for _ in range(300)] == [200] * 300


@pytest.mark.parametrize("said", [True, False])
async def test_a_body_has_a_mebibyte(running: Running, said: bool) -> None:
    """A body of 1 MiB is read; one byte more is 413, whether its length was said or it just keeps coming."""
    await running.start()

    async def post(size: int) -> int:
        body = b'{"title":"Milk"' + b" " * (size - 16) + b"}"
        assert len(body) == size

        async def chunks():
            for start in range(0, size, 65536):
                yield body[start : start + 65536]

        return (await running.ask("POST", "/notes", data=io.BytesIO(body) if said else chunks(), headers=JSON)).status

    assert BODY_BYTES_MAX == MIB
    assert (await post(MIB), running.log.head) == (201, 1)
    assert (await post(MIB + 1), running.log.head) == (413, 1)


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(running: Running) -> None:
    """Nobody waits for a gigabyte that will be refused: 413 at once."""
    await running.start()
    answer = await running.raw(b"POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_compressed_body_is_not_unpacked(running: Running) -> None:
    """A small body that would become a large one is refused by its Content-Encoding."""
    await running.start()
    answer = await running.ask("POST", "/notes", data=b"x", headers={"Content-Encoding": "gzip"})
    assert answer.status == 415


async def test_a_frame_has_64_kib(running: Running) -> None:
    """A frame of the client that is larger closes the connection with 1009."""
    await running.start()
    async with running.session.ws_connect(running.url + "/ws") as connected:
        await connected.receive(timeout=10)
        await connected.send_str('{"type":"unsubscribe","id":"s"}'.ljust(64 * 1024))
        assert (await connected.receive_json(timeout=10))["code"] == "unknown_subscription"
        await connected.send_str('{"type":"unsubscribe","id":"s"}'.ljust(64 * 1024 + 1))
        message = await connected.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_close_codes_are_counted_in_few_series(running: Running) -> None:
    """A client may end with any code; those that are not known are counted as one, so that nobody can make series."""
    await running.start()
    for code in (1000, 4400, *range(4000, 4007)):
        async with running.session.ws_connect(running.url + "/ws") as connected:
            await connected.receive(timeout=10)
            await connected.close(code=code)

    async def counted() -> bool:
        text = (await ask(running, path="/metrics")).body.decode()
        closes = dict(re.findall(r'websocket_closes_total{code="(\w+)"} ([\d.]+)', text))
        return closes == {"1000": "1.0", "4400": "1.0", "other": "7.0"}

    await until(counted, "all nine are counted, in three series")


async def test_frames_have_a_rate(running: Running) -> None:
    """A hundred frames at once are answered; of more than that and 50 a second, ``rate_limited`` is said."""
    await running.start()
    async with running.session.ws_connect(running.url + "/ws") as connected:
        await connected.receive(timeout=10)
        began = time.monotonic()
        for number in range(300):
            await connected.send_json({"type": "unsubscribe", "id": str(number)})
        codes = [(await connected.receive_json(timeout=10))["code"] for _ in range(300)]
        earned = 50 * (time.monotonic() - began)
        assert codes[:100] == ["unknown_subscription"] * 100
        assert codes.count("rate_limited") >= 200 - earned - 1
        assert set(codes) <= {"unknown_subscription", "rate_limited"}


async def test_a_reader_that_stops_is_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a large answer and takes nothing of it is cut off; whoever takes it slowly gets it whole."""
    monkeypatch.setattr("service.http.protocol.STALL_S", 0.3)
    await running.start()
    for _ in range(20):
        await running.note(description="x" * 65_000)
    host, port = running.url.removeprefix("http://").split(":")
    request = b"GET /notes?limit=1000 HTTP/1.1\r\nHost: a\r\n\r\n" * 8  # a page has 1 MiB
    loop = asyncio.get_running_loop()
    with socket.socket() as stalled, socket.socket() as slow:
        for client in (stalled, slow):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, (host, int(port)))
            await loop.sock_sendall(client, request)
        taken, whole = 0, 8_000_000
        while taken < whole:
            chunk = await loop.sock_recv(slow, 65536)
            assert chunk, f"the slow reader was cut off after {taken} bytes"
            taken += len(chunk)
            await asyncio.sleep(0.001)
        left = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := await loop.sock_recv(stalled, 65536):
                left += len(chunk)
        assert left < whole / 2


async def test_a_slow_reader_of_the_stream_gets_it_whole(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the log as NDJSON may take any time, if there is progress; who makes none is no error of ours."""
    await running.start()
    for _ in range(100):
        await running.note(description="x" * 65_000)
    timeout = asyncio.timeout
    loop = asyncio.get_running_loop()
    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr("service.http.protocol.STALL_S", 0.3)
        # Any that is left in the way of the answer is a hundredth of what it was.
        patch.setattr(asyncio, "timeout", lambda delay: timeout(delay and delay / 100))
        with read_of_stream(running) as slow, read_of_stream(running) as stalled:
            taken = b""
            while not taken.endswith(b"\r\n0\r\n\r\n"):
                chunk = await loop.sock_recv(slow, 65536)
                assert chunk, f"the slow reader was cut off after {len(taken)} bytes"
                taken += chunk
                await asyncio.sleep(0.03)
            left = 0
            with contextlib.suppress(ConnectionResetError):
                while chunk := await loop.sock_recv(stalled, 65536):
                    left += len(chunk)
            assert left < len(taken) / 2
    assert not [line for line in lines if line["log_level"] == "error"]


@contextlib.contextmanager
def read_of_stream(running: Running) -> Iterator[socket.socket]:
    """A connection that has asked for the whole log as NDJSON, and takes little at once."""
    host, port = running.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect((host, int(port)))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: application/x-ndjson\r\n\r\n")
        client.setblocking(False)
        yield client


async def test_without_descriptors_those_who_are_connected_are_served(server: Server) -> None:
    """When the system gives no more sockets, open connections go on, and others are let in when there is room again."""
    await server.start(wrapper=["prlimit", "--nofile=128:128"])
    assert any("NOTELOG_MAX_CONNECTIONS" in str(line) for line in server.log_lines())

    async def write(title: str) -> int:
        async with server.session.post(server.url + "/notes", json={"title": title}) as response:
            return response.status

    assert await write("before") == 201
    host, port = server.url.removeprefix("http://").split(":")
    crowd = [socket.socket() for _ in range(300)]
    try:
        for client in crowd:
            client.setblocking(False)
            client.connect_ex((host, int(port)))
        for number in range(20):
            assert await write(f"meanwhile {number}") == 201
    finally:
        for client in crowd:
            client.close()
    async with aiohttp.ClientSession() as another, another.get(server.url + "/notes?count=true") as response:
        assert (await response.json())["count"] == 21
    assert not [line for line in server.log_lines() if line.get("level") == "error"], server.last_lines()
