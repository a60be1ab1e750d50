"""A process full of subscribers: commands as JSON lines on stdin, one answer a line on stdout.

`Subscribers` is the handle that measurements hold; `main` is the process.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.child import Child
from bench.server import Server
from bench.subscriber import Subscriber

ANSWER_S_MAX = 120.0  # for what all of them wait for
ASK_S_MAX = 600.0  # for a whole command: thousands that come back may have to wait several times
CONNECTING_MAX = 500  # handshakes at once: below the listen backlog of 1,024


class Figures(msgspec.Struct, frozen=True):
    """What all subscribers saw so far, and the CPU of who subscribes and who writes: their process and this one."""

    frames: int
    events: int
    cpu_s: float
    clock_s: float
    last: str = ""  # the last frame with items


class Subscribers:
    """The process. Use as a context manager: it is ended on leaving."""

    def __init__(self, server: Server) -> None:
        """Subscribers of this server; none is connected yet."""
        self._child = Child("bench.subscribers", server.host, str(server.port))

    def __enter__(self) -> Subscribers:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._child.end()

    def connect(self, count: int, feed: str | None = "events", after: int | None = None, reads: bool = True) -> float:
        """Connects and waits until all have caught up; the seconds that it took."""
        return float(self._ask("connect", count=count, feed=feed, after=after, reads=reads))

    def resume(self, server: Server) -> tuple[float, int]:
        """Connects all again at once, each from its own position; who is cut off before it has caught up comes again.

        The seconds until all have caught up, and how many had to come again.
        """
        seconds, again = self._ask("resume", host=server.host, port=server.port)
        return float(seconds), int(again)

    def reached(self, position: int) -> float:
        """Waits until each has this position; the time (of the monotonic clock) when the last one had it."""
        return float(self._ask("reached", position=position))

    def received(self, events: int) -> float:
        """Waits until each has received so many events in all; the time when the last one had."""
        return float(self._ask("received", events=events))

    def lost(self) -> None:
        """Waits until all connections have ended."""
        self._ask("lost")

    def figures(self) -> Figures:
        """What they saw so far."""
        found = msgspec.convert(self._ask("figures"), Figures)
        return msgspec.structs.replace(found, cpu_s=found.cpu_s + time.process_time())

    def arrivals(self, file: Path) -> list[list[tuple[int, float]]]:
        """For each subscriber the positions and times of the frames since this was last asked; none the first time."""
        self._ask("arrivals", file=str(file))
        found: list[list[tuple[int, float]]] = pickle.loads(file.read_bytes())
        return found

    def _ask(self, verb: str, **given: Any) -> Any:
        self._child.tell(json.dumps({"verb": verb, **given}))
        answer = json.loads(self._child.answer(ASK_S_MAX))
        if "error" in answer:
            raise ConnectionError(f"subscribers: {verb}: {answer['error']}")
        return answer["answer"]


class Crowd:
    """All subscribers of this process. A condition over all is counted, not looked for: frames are many."""

    def __init__(self, host: str, port: int) -> None:
        """Of the server at this address."""
        self._address = (host, port)
        self._members: list[Subscriber] = []
        self._holds: Callable[[Subscriber], bool] = lambda member: True
        self._waiting: set[Subscriber] = set()
        self._done = asyncio.Event()

    async def connect(self, count: int, feed: str | None, after: int | None, reads: bool) -> float:
        """See `Subscribers.connect`."""
        started = time.monotonic()
        limit = asyncio.Semaphore(CONNECTING_MAX)
        new = [Subscriber("/ws", feed, after, self._changed) for _ in range(count)]
        self._members += new
        await asyncio.gather(*(self._open(member, limit, reads) for member in new))
        await self._all(lambda member: member.ready)
        if not reads:
            for member in new:
                assert member.transport
                member.transport.pause_reading()
        return time.monotonic() - started

    async def resume(self, host: str, port: int) -> tuple[float, int]:
        """See `Subscribers.resume`."""
        self._address = (host, port)
        started, again = time.monotonic(), 0
        limit = asyncio.Semaphore(CONNECTING_MAX)
        while gone := [member for member in self._members if member.closed is not None]:
            again += len(gone)
            new = [self._successor(member) for member in gone]
            self._members = [member for member in self._members if member.closed is None] + new
            await asyncio.gather(*(self._open(member, limit, True) for member in new))
            await self._all(lambda member: member.ready or member.closed is not None)
        return time.monotonic() - started, again - len(self._members)

    def _successor(self, gone: Subscriber) -> Subscriber:
        """Goes on where the other one was."""
        new = Subscriber("/ws", "events", gone.position, self._changed)
        new.frames, new.events = gone.frames, gone.events
        return new

    async def reached(self, position: int) -> float:
        """See `Subscribers.reached`."""
        return await self._all(lambda member: member.position >= position)

    async def received(self, events: int) -> float:
        """See `Subscribers.received`."""
        return await self._all(lambda member: member.events >= events)

    async def lost(self) -> float:
        """See `Subscribers.lost`."""
        return await self._all(lambda member: member.closed is not None)

    async def figures(self) -> dict[str, Any]:
        """See `Subscribers.figures`."""
        figures = Figures(
            frames=sum(member.frames for member in self._members),
            events=sum(member.events for member in self._members),
            cpu_s=time.process_time(),
            clock_s=time.monotonic(),
            last=last_frame(self._members[0]) if self._members else "",
        )
        return msgspec.structs.asdict(figures)

    async def arrivals(self, file: str) -> None:
        """See `Subscribers.arrivals`."""
        Path(file).write_bytes(pickle.dumps([member.arrivals or [] for member in self._members]))
        for member in self._members:
            member.arrivals = []

    async def _open(self, member: Subscriber, limit: asyncio.Semaphore, reads: bool) -> None:
        async with limit:
            connection = socket.socket()
            connection.setblocking(False)
            if not reads:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a small window: it is full soon
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(connection, self._address)
                await loop.create_connection(lambda: member, sock=connection)
            except OSError as error:
                connection.close()
                member.connection_lost(error)

    async def _all(self, holds: Callable[[Subscriber], bool]) -> float:
        self._holds = holds
        self._waiting = {member for member in self._members if not holds(member)}
        self._done.clear()
        if self._waiting and all(member.closed is None for member in self._waiting):
            await asyncio.wait_for(self._done.wait(), ANSWER_S_MAX)
        if self._waiting:
            reasons = {str(member.closed) for member in self._waiting if member.closed is not None}
            raise ConnectionError(f"{len(self._waiting)} were not there, some had been closed: {sorted(reasons)[:5]}")
        return time.monotonic()

    def _changed(self, member: Subscriber) -> None:
        if member not in self._waiting:
            return
        if self._holds(member):
            self._waiting.discard(member)
        if not self._waiting or (member.closed is not None and member in self._waiting):
            self._done.set()


def last_frame(member: Subscriber) -> str:
    """The last frame with items that it received."""
    data, start, end = member.last
    return data[start:end].decode()


async def run(host: str, port: int) -> None:
    """Answers commands until stdin ends."""
    loop = asyncio.get_running_loop()
    crowd = Crowd(host, port)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        given = json.loads(line)
        try:
            answer = {"answer": await getattr(crowd, given.pop("verb"))(**given)}
        except (OSError, TimeoutError) as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


def main() -> None:
    """The process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
