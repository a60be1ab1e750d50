"""A process full of clients that send one byte a second: half of them a header, half of them a body.

It says when all of them are connected, and in the end after how many seconds the last one was closed.
`SlowClients` is the handle that a measurement holds; `main` is the process.
"""

from __future__ import annotations

import asyncio
import sys
import time

from bench.child import Child
from bench.server import Server

DRIP_S = 1.0
GIVEN_UP_S = 60.0
CONNECTED_S_MAX = 30.0
CONNECTING_MAX = 100  # at once: far below the listen backlog
BEGINNINGS = (
    b"POST /notes HTTP/1.1\r\nHost: bench\r\nX-Slow: ",
    b"POST /notes HTTP/1.1\r\nHost: bench\r\nContent-Length: 1000\r\n\r\n",
)


class SlowClients:
    """The process, with so many clients of each kind. Use as a context manager: it is ended on leaving."""

    def __init__(self, server: Server, of_each_kind: int) -> None:
        """Connects them all."""
        self._child = Child("bench.slow_clients", server.host, str(server.port), str(of_each_kind))
        try:
            self._child.answer(CONNECTED_S_MAX)
        except BaseException:
            self._child.kill()
            raise

    def __enter__(self) -> SlowClients:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._child.kill()

    def closed_s(self) -> float:
        """Waits until all are closed: seconds that the last one was open."""
        return float(self._child.answer(GIVEN_UP_S + CONNECTED_S_MAX))


async def run(host: str, port: int, of_each_kind: int) -> None:
    """Connect, drip, and say when. One that cannot connect ends all: fewer would be no measurement."""
    places = asyncio.Semaphore(CONNECTING_MAX)
    connected = [asyncio.get_running_loop().create_future() for _ in range(len(BEGINNINGS) * of_each_kind)]
    async with asyncio.TaskGroup() as group:
        clients = [
            group.create_task(drip(host, port, BEGINNINGS[number % len(BEGINNINGS)], places, begun))
            for number, begun in enumerate(connected)
        ]
        await asyncio.gather(*connected)
        print("connected", flush=True)
    print(max(client.result() for client in clients), flush=True)


async def drip(host: str, port: int, beginning: bytes, places: asyncio.Semaphore, begun: asyncio.Future[None]) -> float:
    """One client: seconds until it was closed."""
    async with places:
        reader, writer = await asyncio.open_connection(host, port)
    began = time.monotonic()
    begun.set_result(None)
    writer.write(beginning)
    closed = asyncio.create_task(reader.read())
    while not closed.done() and time.monotonic() - began < GIVEN_UP_S:
        writer.write(b"x")
        await asyncio.wait({closed}, timeout=DRIP_S)
    writer.transport.abort()
    await asyncio.gather(closed, return_exceptions=True)
    return time.monotonic() - began


def main() -> None:
    """The process."""
    host, port, of_each_kind = sys.argv[1:]
    asyncio.run(run(host, int(port), int(of_each_kind)))


if __name__ == "__main__":
    main()
