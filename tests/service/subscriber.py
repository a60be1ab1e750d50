"""A websocket client as the tests use it, on the library ``websockets``, and the copy of the notes that one keeps."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.service.running import WITHIN_S, Running

Frame = dict[str, Any]


class Subscriber:
    """One connection, after its ``hello``."""

    def __init__(self, connection: ClientConnection, hello: Frame) -> None:
        self.connection = connection
        self.hello = hello

    async def frame(self) -> Frame:
        """The next frame, whatever it is."""
        return decoded(await asyncio.wait_for(self.connection.recv(), WITHIN_S))

    async def frames(self, count: int) -> list[Frame]:
        """The next frames."""
        return [await self.frame() for _ in range(count)]

    async def send(self, **fields: Any) -> None:
        """Send a frame."""
        await self.connection.send(json.dumps(fields))

    async def ask(self, **fields: Any) -> Frame:
        """Send a frame, and return the next one that comes."""
        await self.send(**fields)
        return await self.frame()

    async def subscribe(self, id_: str = "s", feed: str = "events", **fields: Any) -> Frame:
        """Subscribe, and return the frame ``subscribed``."""
        frame = await self.ask(type="subscribe", id=id_, feed=feed, **fields)
        assert (frame["type"], frame["id"]) == ("subscribed", id_), frame
        return frame

    async def catch_up(self, id_: str = "s") -> list[Frame]:
        """All frames up to ``caught_up``, which is the last one."""
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] != "caught_up":
            frames.append(await self.frame())
            assert frames[-1]["id"] == id_
        return frames

    async def reach(self, position: int) -> list[Frame]:
        """All frames up to the one that reaches a position."""
        frames: list[Frame] = []
        while not frames or frames[-1].get("position", -1) < position:
            frames.append(await self.frame())
        return frames

    async def follow(self, id_: str = "s", feed: str = "events", **fields: Any) -> list[Frame]:
        """Subscribe and catch up."""
        await self.subscribe(id_, feed, **fields)
        return await self.catch_up(id_)

    async def close_code(self) -> int:
        """Read on until the service closes; its code."""
        async with asyncio.timeout(WITHIN_S):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


@asynccontextmanager
async def connected(notelog: Running, receive_bytes: int = 0, **options: Any) -> AsyncIterator[Subscriber]:
    """A connection to the service. ``receive_bytes``: how much the kernel takes for a client that does not read."""
    if receive_bytes:
        options["sock"] = small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", int(notelog.url.rsplit(":", 1)[1])))
    url = notelog.url.replace("http", "ws") + "/ws"
    async with connect(url, close_timeout=1, **options) as connection:
        hello = decoded(await asyncio.wait_for(connection.recv(), WITHIN_S))
        assert hello["type"] == "hello"
        yield Subscriber(connection, hello)


def decoded(message: str | bytes) -> Frame:
    """A frame, which must be a text with a JSON object."""
    assert isinstance(message, str), "expected a text frame"
    frame = json.loads(message)
    assert isinstance(frame, dict)
    return frame


def events_of(frames: list[Frame]) -> list[Frame]:
    """The events in some frames of the feed ``events``."""
    return [event for frame in frames if frame["type"] == "events" for event in frame["events"]]


def positions_of(frames: list[Frame]) -> list[int]:
    """The positions of the events in some frames."""
    return [event["position"] for event in events_of(frames)]


class Copy:
    """The notes that a client of the feed ``notes`` has, and where it would resume."""

    def __init__(self, notes: dict[int, Frame] | None = None, position: int = 0) -> None:
        self.notes = dict(notes or {})
        self.position = position

    def take(self, frames: list[Frame]) -> None:
        """Take what the frames say, and hold them to what every frame of this feed must be."""
        for frame in frames:
            if frame["type"] == "notes":
                self._take_notes(frame)
            if "position" in frame:
                assert frame["position"] >= self.position, "a place to resume went back"
                self.position = frame["position"]

    def _take_notes(self, frame: Frame) -> None:
        ids = [note["id"] for note in frame["notes"]]
        assert len(set(ids)) == len(ids), "a note stands twice in a frame"
        assert not set(ids) & set(frame["removed"]), "a note is there and removed in one frame"
        places = [note["position"] for note in frame["notes"]]
        assert places == sorted(places), "notes are not in the order of their changes"
        assert all(self.position < place <= frame["position"] for place in places), "a change at a place already seen"
        self.notes |= {note["id"]: note for note in frame["notes"]}
        for id_ in frame["removed"]:
            self.notes.pop(id_, None)
