"""Who delivers events: a running server, its crowd of subscribers, and how one event or many of them reach them all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

from bench.client import ask_on, connect
from bench.contender import BODY, NOTES, RECORDS, bare, notelog, pocketbase
from bench.event_sources import EventSources
from bench.server import Server
from bench.stage import Stage, progress
from bench.subscribers import Figures, Subscribers
from bench.writer import write_all

BURST_CLIENTS = 64
BROADCAST_S_MAX = 120.0

Crowd = Subscribers | EventSources


class Side:
    """A server with its crowd of subscribers, all of them connected. Deliveries end when each has all events so far."""

    def __init__(self, server: Server, readers: Crowd, connection: HTTPConnection, crowd: int) -> None:
        """`connection`: to write through."""
        self.server, self.crowd = server, crowd
        self._readers, self._connection = readers, connection
        self._sent = 0

    def figures(self) -> Figures:
        """What the subscribers saw; raises when it is not exactly what was sent."""
        found = self._readers.figures()
        if found.events != self._sent * self.crowd:
            raise self.server.failed(f"expected {self._sent * self.crowd} deliveries, got {found.events}")
        return found

    def one(self) -> None:
        """One note created, and waits until each subscriber has its event."""
        ask_on(self._connection, self.server, NOTES.create, self._sent)
        self._arrived(1)

    def many(self, events: int) -> None:
        """The same for so many, as fast as 64 clients write them."""
        asyncio.run(write_all(self.server, BODY, events, BURST_CLIENTS))
        self._arrived(events)

    def _arrived(self, events: int) -> None:
        self._sent += events
        self._readers.received(self._sent)


class PocketBaseSide(Side):
    """PocketBase and its realtime feed."""

    def one(self) -> None:
        """One record created."""
        ask_on(self._connection, self.server, RECORDS.create, self._sent)
        self._arrived(1)


class BareSide(Side):
    """The bare loop, which sends a frame that notelog sent for one event."""

    frame = ""

    def one(self) -> None:
        """The frame to each subscriber."""
        self.many(1)

    def many(self, events: int) -> None:
        """The frame so many times to each, one by one."""
        self._connection.request("POST", f"/broadcast?times={events}", self.frame)
        self._connection.getresponse().read()
        self._arrived(events)


@contextmanager
def beside_bare(place: Stage, crowd: int) -> Iterator[tuple[Side, Side]]:
    """notelog and the bare loop, with so many subscribers each."""
    with ExitStack() as stack:
        server = place.start(notelog())
        limit = place.start(bare(place.answers(server)))
        ours = Side(server, subscribers(server, crowd, "events", stack), writing(server, stack), crowd)
        theirs = BareSide(limit, subscribers(limit, crowd, None, stack), writing(limit, stack), crowd)
        ours.one()
        theirs.frame = ours.figures().last
        yield ours, theirs


@contextmanager
def beside_pocketbase(place: Stage, crowd: int) -> Iterator[tuple[Side, Side]]:
    """notelog and PocketBase; raises NotMeasured where there is none."""
    with ExitStack() as stack:
        server, peer = place.start(notelog()), place.start(pocketbase())
        readers = stack.enter_context(EventSources(peer))
        progress(f"connecting {crowd} to {peer.name}")
        readers.connect(crowd)
        ours = Side(server, subscribers(server, crowd, "events", stack), writing(server, stack), crowd)
        yield ours, PocketBaseSide(peer, readers, writing(peer, stack), crowd)


def subscribers(server: Server, crowd: int, feed: str | None, stack: ExitStack) -> Subscribers:
    """So many of them, connected."""
    progress(f"connecting {crowd} to {server.name}")
    readers = stack.enter_context(Subscribers(server))
    readers.connect(crowd, feed)
    return readers


def writing(server: Server, stack: ExitStack) -> HTTPConnection:
    """A connection to write through, which is closed in the end."""
    connection = connect(server, BROADCAST_S_MAX)
    stack.callback(connection.close)
    return connection
