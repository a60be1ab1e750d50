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
CHUNK_BYTES = 64 * 1024
END_S_MAX = 5.0


class EventSources:
    """All subscribers of one server. Use as a context manager: their connections end on leaving."""

    def __init__(self, server: Server) -> None:
        """None is connected yet."""
        self._server = server
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)  # a stuck one holds up no exit
        self._reading: list[asyncio.Task[None]] = []
        self._events = 0
        self._wanted = 0
        self._there = threading.Event()

    def __enter__(self) -> EventSources:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the connections and the thread."""
        try:
            self._ask(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(END_S_MAX)
            if not self._thread.is_alive():
                self._loop.close()

    def connect(self, count: int) -> None:
        """Connects so many, each subscribed to all notes."""
        self._ask(self._connect(count))

    def received(self, events: int) -> None:
        """Waits until they have received so many events, all of them together."""
        self._wanted = events * len(self._reading)
        while self._events < self._wanted:
            # A signal may be an old one, so the number is looked at again after each.
            if not self._there.wait(ANSWER_S_MAX):
                raise self._server.failed(f"expected {self._wanted} events at its subscribers, got {self._events}")
            self._there.clear()

    def figures(self) -> Figures:
        """What they saw so far; an event is a frame of its own, and they live in this process."""
        return Figures(self._events, self._events, time.process_time(), time.monotonic())

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
        rest = b""  # an event's first line may be cut
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                text = rest + chunk
                self._events += text.count(EVENT)
                rest = text[1 - len(EVENT) :]
                if self._events >= self._wanted:
                    self._there.set()
        finally:
            writer.close()

    async def _close(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
