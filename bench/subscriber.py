"""A websocket client that costs little: it reads headers and positions of frames, and decodes only what it must.

A delivery costs it a few microseconds, so that a thousand of them on one core leave the server to be measured.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable
from typing import cast

import msgspec

ITEMS = (b'{"type":"events"', b'{"type":"notes"')
POSITION = b'"position":'
EVENT = b'"note_id"'  # once in each event; quotes inside of texts are escaped
NOWHERE = 1 << 62  # an offset with no frame behind it
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Frame(msgspec.Struct):
    """The fields of server frames that matter here."""

    type: str
    position: int = 0
    head: int = 0
    code: str = ""


class Subscriber(asyncio.Protocol):
    """One connection. It remembers where to resume, and counts the frames with items, and the events in them."""

    def __init__(self, path: str, feed: str | None, after: int | None, changed: Callable[[Subscriber], None]) -> None:
        """`feed` None: it subscribes to nothing, each frame is one event. `changed` is called after each frame."""
        self._path, self._feed, self._after, self._changed = path, feed, after, changed
        self._rest = b""
        self._upgraded = False
        self.transport: asyncio.Transport | None = None
        self.ready = False
        self.frames = self.events = 0
        self.position = after or 0
        self.last = (b"", 0, 0)  # the bytes that hold the last frame with items, and where it is in them
        self.arrivals: list[tuple[int, float]] | None = None  # a list: the times of frames are kept
        self.closed: int | str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the upgrade, and subscribes without waiting for the answer."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own, which does not inherit from asyncio's
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {self._path} HTTP/1.1", "Host: bench", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
        self.transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        """Takes whole frames off the stream, and keeps the rest."""
        data = self._rest + data if self._rest else data
        offset = 0 if self._upgraded else self._upgrade(data)
        while (frame := bounds(data, offset)) is not None:
            start, end = frame
            self._take(data, data[offset] & 0x0F, start, end)
            offset = end
        self._rest = data if offset == NOWHERE else data[offset:]

    def connection_lost(self, error: Exception | None) -> None:
        """Remembers that it ended, with the close code if one came."""
        self.closed = self.closed or (repr(error) if error else "end")
        self.ready = False
        self._changed(self)

    def _upgrade(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return NOWHERE
        if not data.startswith(b"HTTP/1.1 101"):
            return self._fail(f"expected 101, got {data[:200]!r}")
        self._upgraded = True
        if self._feed is None:
            self.ready = True
            self._changed(self)
        else:
            self._subscribe()
        return end + 4

    def _fail(self, reason: str) -> int:
        assert self.transport
        self.closed = reason
        self.transport.abort()
        return NOWHERE

    def _subscribe(self) -> None:
        message: dict[str, object] = {"type": "subscribe", "id": "s", "feed": self._feed}
        if self._after is not None:
            message["after"] = self._after
        self._send(TEXT, msgspec.json.encode(message))

    def _send(self, opcode: int, payload: bytes) -> None:
        assert self.transport and len(payload) < 126
        self.transport.write(bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload)  # a mask of zeros

    def _take(self, data: bytes, opcode: int, start: int, end: int) -> None:
        if opcode == TEXT and (self._feed is None or data.startswith(ITEMS, start)):
            self._items(data, start, end)
        elif opcode == TEXT:
            self._control(msgspec.json.decode(data[start:end], type=Frame), data[start:end])
        elif opcode == PING:
            self._send(PONG, data[start:end])
        elif opcode == CLOSE:
            self.closed = int.from_bytes(data[start : start + 2], "big")

    def _items(self, data: bytes, start: int, end: int) -> None:
        self.frames += 1
        self.events += 1 if self._feed is None else data.count(EVENT, start, end)
        self.last = (data, start, end)
        if self._feed is not None:
            self.position = position_of(data, start, end)
        if self.arrivals is not None:
            self.arrivals.append((self.position, time.monotonic()))
        self._changed(self)

    def _control(self, frame: Frame, payload: bytes) -> None:
        if frame.type in ("events", "notes"):  # spelled with other white space than is looked for above
            self._items(payload, 0, len(payload))
        elif frame.type in ("error", "reset"):
            self._fail(f"expected a subscription, got {payload!r}")
        elif frame.type == "subscribed" and self._after is None:
            self.position = max(self.position, frame.head)
        elif frame.type == "caught_up":
            self.position = max(self.position, frame.position)
            self.ready = True
            self._changed(self)


def bounds(data: bytes, offset: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `offset` begins and ends; None when it is not whole yet."""
    if len(data) < offset + 2:
        return None
    length, start = data[offset + 1], offset + 2
    if length >= 126:
        wide = 2 if length == 126 else 8
        if len(data) < start + wide:
            return None
        length, start = int.from_bytes(data[start : start + wide], "big"), start + wide
    return (start, start + length) if start + length <= len(data) else None


def position_of(data: bytes, start: int, end: int) -> int:
    """The frame's position: its last field as a rule, so that nothing needs to be decoded."""
    place = data.rfind(POSITION, start, end) + len(POSITION)
    digits = data[place : end - 1]
    return int(digits) if digits.isdigit() else msgspec.json.decode(data[start:end], type=Frame).position
