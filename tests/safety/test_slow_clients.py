"""Clients that send very slowly: they are closed in time, and others hardly notice them."""

import asyncio
import json
import time
from contextlib import suppress

import aiohttp
import pytest

from tests.faults.process import Server
from tests.safety.raw import address
from tests.sizes import count

pytestmark = pytest.mark.faults

SOCKETS = count("slow_sockets")  # of each kind
DRIP_EVERY_S = 1.0
CLOSED_WITHIN_S = 20.0
# The healthy client's requests: each a create and a read. How long they take is measured in bench/slow.py.
SAMPLES = 100

LENGTH = b"Host: a\r\nContent-Length: 1000\r\n\r\n"
# What is sent at once, and what drips.
SLOW = {
    "slow headers": (b"POST /notes HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"x"),
    "slow bodies": (b"POST /notes HTTP/1.1\r\n" + LENGTH, b"x"),
}
IDLE = {
    "that say nothing": (b"", b""),
    "that say nothing more": (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "with a body that nobody reads": (b"GET /notes HTTP/1.1\r\n" + LENGTH, b"x"),
    "slow to a second request": (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /no", b"x"),
}


class Dripping:
    """A client that sends a beginning, and then a little now and then until it is closed."""

    def __init__(self, beginning: bytes, drop: bytes) -> None:
        self.answer = b""
        self.open_s = float("inf")
        self._beginning = beginning
        self._drop = drop

    async def run(self, url: str) -> None:
        reader, writer = await asyncio.open_connection(*address(url))
        began = time.monotonic()
        reading = asyncio.create_task(self._read(reader))
        with suppress(ConnectionError):
            writer.write(self._beginning)
            while not reading.done() and time.monotonic() - began < 2 * CLOSED_WITHIN_S:
                writer.write(self._drop)
                await writer.drain()
                await asyncio.wait({reading}, timeout=DRIP_EVERY_S)
        if not reading.done():
            await asyncio.wait({reading}, timeout=1.0)
        if reading.done():
            self.open_s = time.monotonic() - began
        reading.cancel()
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                self.answer += chunk


async def test_slow_clients_are_closed_and_others_go_on(server: Server) -> None:
    """Slow headers, slow bodies (408) and idle connections are closed within 20 s; a healthy client is served."""
    await server.start()
    await healthy_client(server)
    dripping = {name: [Dripping(*how) for _ in range(SOCKETS)] for name, how in SLOW.items()}
    idle = {name: [Dripping(*how)] for name, how in IDLE.items()}
    kinds = dripping | idle
    clients = [asyncio.create_task(client.run(server.url)) for some in kinds.values() for client in some]
    await healthy_client(server)
    assert not any(client.done() for client in clients[:SOCKETS]), "the slow headers were not there all the time"
    await asyncio.gather(*clients)
    for name, some in kinds.items():
        times_s = [client.open_s for client in some]
        print(f"{len(some)} {name}: closed after {min(times_s):.1f} to {max(times_s):.1f} s")
        assert max(times_s) < CLOSED_WITHIN_S, name
    for client in dripping["slow bodies"]:
        assert client.answer.startswith(b"HTTP/1.1 408 "), client.answer[:100]
        assert json.loads(client.answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/timeout"
    await healthy_client(server)
    status, page = await server.read("/notes?count=true&limit=1")
    assert (status, page["count"]) == (200, 3 * SAMPLES), "a slow body appended something"
    assert not [line for line in server.log_lines() if line.get("level") != "info"], server.last_lines()


async def healthy_client(server: Server) -> None:
    """Creates and reads notes, and is answered each time."""
    async with aiohttp.ClientSession() as session:
        for number in range(SAMPLES):
            async with session.post(server.url + "/notes", json={"title": f"note {number}"}) as made:
                assert made.status == 201
                location = made.headers["Location"]
            async with session.get(server.url + location) as read:
                assert read.status == 200
