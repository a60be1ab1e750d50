"""A small asynchronous writer: POSTs with the moment of each one's start and answer, and the position it was given."""

from __future__ import annotations

import asyncio
import time

from msgspec import Struct

from bench.server import Server

ANSWER_S_MAX = 30.0


class Write(Struct, frozen=True):
    """One answered POST; times are of the monotonic clock, which all processes of a machine share.

    It was due when it should have been sent: a server that keeps its client waiting delays the next one too.
    """

    due: float
    answered: float
    position: int


async def write_all(server: Server, body: str, count: int, clients: int, path: str = "/notes") -> list[Write]:
    """`count` POSTs as fast as the clients get their answers."""
    left = iter(range(count))
    done: list[Write] = []

    async def client() -> None:
        connection = await Connection.open(server)
        for number in left:
            done.append(await connection.post(body % number, path))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return done


async def write_at_rate(server: Server, body: str, per_s: float, seconds: float, clients: int = 4) -> list[Write]:
    """POSTs at even intervals; one that its client's last answer has delayed counts from when it was due."""
    left = iter(range(int(per_s * seconds)))
    began = time.monotonic()
    done: list[Write] = []

    async def client() -> None:
        connection = await Connection.open(server)
        for number in left:
            due = began + number / per_s
            if (early_s := due - time.monotonic()) > 0:
                await asyncio.sleep(early_s)
                due = time.monotonic()  # a timer that wakes a little late is no fault of the server's
            done.append(await connection.post(body % number, due=due))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return done


class Connection:
    """One kept connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `open`."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, server: Server) -> Connection:
        """Connects."""
        return cls(*await asyncio.open_connection(server.host, server.port))

    async def post(self, body: str, path: str = "/notes", due: float | None = None) -> Write:
        """One POST, whole; it is due now unless it was before."""
        due = time.monotonic() if due is None else due
        lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", "", body]
        self._writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(ANSWER_S_MAX):
            status, headers = parse(await self._reader.readuntil(b"\r\n\r\n"))
            await self._reader.readexactly(int(headers.get("content-length", "0")))
        if status >= 300:
            raise ConnectionError(f"expected a success, got {status}")
        return Write(due, time.monotonic(), int(headers.get("notelog-position", "0")))

    def close(self) -> None:
        """Closes at once."""
        self._writer.close()


def parse(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of a response."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in headers.items()}
