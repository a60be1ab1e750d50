"""Websocket clients that follow a feed through every fault, and resume where their last frame ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import aiohttp

from .checker import Event, differences
from .process import Server, until

PAUSE_S = 0.02


class Follower:
    """Follows one feed from the beginning for as long as the `async with` block lasts.

    It owns what a client has to keep: the position and the epoch of the last frame. `oddities` collects frames
    that should not have come, such as a `reset` on a log that was not taken back.
    """

    feed = ""

    def __init__(self, server: Server) -> None:
        self.position = 0
        self.epoch: str | None = None
        self.connections = 0
        self.oddities: list[str] = []
        self._server = server

    async def __aenter__(self) -> Follower:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        (result,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(result, Exception) and error is None:
            raise result

    async def reaches(self, position: int, within_s: float = 30.0) -> None:
        """Wait until everything up to this position has come. Raises NotInTime."""
        await until(lambda: self.position >= position or self._task.done(), within_s, f"feed {self.feed} at {position}")

    def broken_promises(self, events: Sequence[Event]) -> list[str]:
        """What this client saw that the log does not say, and the other way round."""
        raise NotImplementedError

    def take(self, frame: dict[str, Any]) -> None:
        """Keep what is in a frame of the feed."""
        raise NotImplementedError

    async def _follow(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                if self._server.up.is_set():
                    with suppress(aiohttp.ClientError, OSError):  # the process was killed: come back
                        await self._connect(session)
                await asyncio.sleep(PAUSE_S)

    async def _connect(self, session: aiohttp.ClientSession) -> None:
        async with session.ws_connect(self._server.url + "/ws") as socket:
            self.connections += 1
            subscribe = {"type": "subscribe", "id": "follow", "feed": self.feed, "after": self.position}
            await socket.send_json(subscribe | ({"epoch": self.epoch} if self.epoch else {}))
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._handle(message.json())

    def _handle(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == self.feed:
            self.take(frame)
            self._move(frame["position"])
        elif kind == "subscribed":
            self.epoch = frame["epoch"]
        elif kind == "caught_up":
            self._move(frame["position"])
        elif kind != "hello":
            self.oddities.append(f"feed {self.feed} at {self.position}: {frame}")

    def _move(self, position: int) -> None:
        if position < self.position:
            self.oddities.append(f"feed {self.feed} went back from {self.position} to {position}")
        self.position = position


class EventsFollower(Follower):
    """Keeps every event it is sent: each must come once."""

    feed = "events"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.seen: list[Event] = []

    def take(self, frame: dict[str, Any]) -> None:
        self.seen += [
            Event(event["position"], event["note_id"], event["version"], event["type"], event["data"])
            for event in frame["events"]
        ]

    def broken_promises(self, events: Sequence[Event]) -> list[str]:
        expected = list(events)
        if self.seen == expected:
            return self.oddities
        wrong = next((pair for pair in zip(self.seen, expected, strict=False) if pair[0] != pair[1]), "its end")
        return [*self.oddities, f"saw {len(self.seen)} events, the log has {len(expected)}; first unlike: {wrong}"]


class NotesFollower(Follower):
    """Keeps the notes as the frames make them: they must end as the fold of the log."""

    feed = "notes"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.notes: dict[int, dict[str, Any]] = {}

    def take(self, frame: dict[str, Any]) -> None:
        self.notes |= {note["id"]: note for note in frame["notes"]}
        for note_id in frame["removed"]:
            self.notes.pop(note_id, None)

    def broken_promises(self, events: Sequence[Event]) -> list[str]:
        return [*self.oddities, *differences(events, self.notes)]
