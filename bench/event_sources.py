"""Subscribers of PocketBase's realtime feed, as many as wanted: server-sent events, read in a thread of their own.

The protocol: `GET /api/realtime` begins with an event that names the client; a POST with that name says what it wants.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from bench.server import Server
from bench.subscribers import ANSWER_S_MAX, Figures
from bench.writer import Connection

T = TypeVar("T")

PATH = "/api/realtime"
WANTED = "notes/*"
EVENT = f"event:{WANTED}\n".encode()
CONNECTING_MAX = 100


class EventSources:
    """All subscribers of one server. Use as a context manager: their connections end on leaving."""

    def __init__(self, server: Server) -> None:
        """None is connected yet."""
        self._server = server
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._reading: list[asyncio.Task[None]] = []
        self._frames = self._bytes = 0
        self._wanted = 0
        self._there = threading.Event()

    def __enter__(self) -> EventSources:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the connections and the thread."""
        self._ask(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def connect(self, count: int) -> None:
        """Connects so many, each subscribed to all notes."""
        self._ask(self._connect(count))

    def received(self, frames: int) -> None:
        """Waits until they have received so many events in all."""
        self._there.clear()
        self._wanted = frames
        if self._frames < frames and not self._there.wait(ANSWER_S_MAX):
            raise self._server.failed(f"expected {frames} events at its subscribers, got {self._frames}")

    def figures(self) -> Figures:
        """What they saw so far; the CPU is that of the whole measuring process."""
        return Figures(
            self._frames, self._bytes, len(self._reading), 0, time.process_time(), time.monotonic(), closed={}, last=""
        )

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S_MAX)

    async def _connect(self, count: int) -> None:
        limit = asyncio.Semaphore(CONNECTING_MAX)

        async def one() -> None:
            async with limit:
                await self._open()

        await asyncio.gather(*(one() for _ in range(count)))

    async def _open(self) -> None:
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode())
        while not (line := await reader.readline()).startswith(b"data:"):
            if not line:
                raise self._server.failed("expected the first event, got the end of the connection")
        name = json.loads(line.removeprefix(b"data:"))["clientId"]
        asking = await Connection.open(self._server)
        await asking.post(json.dumps({"clientId": name, "subscriptions": [WANTED]}), PATH)
        asking.close()
        self._reading.append(asyncio.create_task(self._read(reader, writer)))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(64 * 1024):
                self._bytes += len(chunk)
                # An event's first line is never cut: the server writes each in one piece, far below a packet's size.
                self._frames += chunk.count(EVENT)
                if self._frames >= self._wanted:
                    self._there.set()
        finally:
            writer.close()

    async def _close(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
