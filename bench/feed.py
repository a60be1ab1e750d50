"""Websockets, the speed of deliveries: one event at a time, in bursts, and from the write to the frame."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from msgspec import Struct

from bench.answers import ask_on, connect
from bench.contender import BODY, NOTES, RECORDS, bare, notelog, pocketbase
from bench.event_sources import EventSources
from bench.figures import percentile, ratio, spread, spread_of
from bench.report import Report, Table, Target
from bench.server import Server
from bench.stage import Run, Stage, progress, stage
from bench.subscribers import Subscribers
from bench.writer import Write, write_all, write_at_rate

SUBSCRIBERS = 1000
CROWDS = (1, 100, SUBSCRIBERS)
BURST_EVENTS = 1000
BURST_ROUNDS_MAX = 3  # a burst costs the bare loop a million writes
BURST_CLIENTS = 64
BROADCAST_S_MAX = 120.0
WATCHERS = 100
WRITES_PER_S = 100
FAIRNESS = "notelog's CPU holds the durable POSTs too; the bare loop sends a frame that notelog sent for one event."


COLUMNS = (
    ("CPU µs/delivery", "cpu_us"),
    ("deliveries/s", "deliveries_per_s"),
    ("frames/delivery", "frames_per_delivery"),
    ("generator's CPU share", "generator_share"),
)


class Delivered(Struct, frozen=True):
    """One turn of a broadcast. A delivery is one event that reached one subscriber, alone in its frame or not."""

    cpu_us: float
    deliveries_per_s: float
    frames_per_delivery: float
    generator_share: float


class Side:
    """A server with its crowd of subscribers, and a connection to write through."""

    def __init__(self, server: Server, readers: Subscribers | EventSources, connection: HTTPConnection, crowd: int):
        """All are connected already."""
        self.server, self.readers, self.crowd, self._connection = server, readers, crowd, connection
        self._sent = 0

    def write(self) -> None:
        """One note created, and waits until each subscriber has its event."""
        answer = ask_on(self._connection, self.server, NOTES.create, self._sent)
        assert isinstance(self.readers, Subscribers)
        self.readers.reached(int(answer.headers["Notelog-Position"]))
        self._sent += 1

    def write_record(self) -> None:
        """The same at PocketBase."""
        ask_on(self._connection, self.server, RECORDS.create, self._sent)
        self._sent += 1
        self.readers.received(self._sent * self.crowd)

    def broadcast(self, frame: str, times: int = 1) -> None:
        """The bare loop's own: sends the frame to each subscriber so many times, and waits until it is there."""
        self._connection.request("POST", f"/broadcast?times={times}", frame)
        self._connection.getresponse().read()
        self._sent += times
        self.readers.received(self._sent)


def fanout(run: Run) -> Report:
    """1, 100, 1,000 subscribers, one event at a time: each has reached all before the next is written."""
    tables = []
    for crowd in CROWDS:
        with stage() as place, sides(place, crowd) as (ours, theirs, frame):
            deliver = (one_by_one(run, ours.write), one_by_one(run, lambda: theirs.broadcast(frame)))
            table, beside = compare(run.rounds, (ours, theirs), deliver, 1.3)
            tables.append(table)
    return Report("fanout", "Fan-out, one event at a time", tables, [beside], [FAIRNESS])


def realtime(run: Run) -> Report:
    """The same to 1,000 subscribers, beside the realtime feed of PocketBase."""
    title = "Fan-out beside PocketBase's realtime feed"
    if reason := pocketbase().missing:
        return Report("realtime", title, [], [], [f"Left out: {reason}."])
    with stage() as place, ExitStack() as stack:
        ours = side(started(place), "events", stack)
        server = place.start(pocketbase())
        assert server
        readers = stack.enter_context(EventSources(server))
        readers.connect(SUBSCRIBERS)
        connection = connect(server, BROADCAST_S_MAX)
        stack.callback(connection.close)
        theirs = Side(server, readers, connection, SUBSCRIBERS)
        deliver = (one_by_one(run, ours.write), one_by_one(run, theirs.write_record))
        table, beside = compare(run.rounds, (ours, theirs), deliver, 0.33)
        remark = "Both sides' CPU holds the writes too; PocketBase uses both cores."
        return Report("realtime", title, [table], [beside], [remark])


def one_by_one(run: Run, write: Callable[[], None]) -> Callable[[], int]:
    """A turn that writes one event after the other; it says how many."""

    def turn() -> int:
        ends, events = time.monotonic() + run.seconds, 0
        while time.monotonic() < ends:
            write()
            events += 1
        return events

    return turn


def burst(run: Run) -> Report:
    """1,000 events as fast as 64 clients write them, to 1,000 subscribers; the bare loop sends each one by itself."""

    def written(side: Side) -> int:
        writes = asyncio.run(write_all(side.server, BODY, BURST_EVENTS, BURST_CLIENTS))
        assert isinstance(side.readers, Subscribers)
        side.readers.reached(max(write.position for write in writes))
        return BURST_EVENTS

    def broadcast(side: Side, frame: str) -> int:
        side.broadcast(frame, BURST_EVENTS)
        return BURST_EVENTS

    with stage() as place, sides(place) as (ours, theirs, frame):
        deliver = (lambda: written(ours), lambda: broadcast(theirs, frame))
        rounds = min(run.rounds, BURST_ROUNDS_MAX)
        table, beside = compare(rounds, (ours, theirs), deliver, 0.15)
        return Report("burst", "Fan-out in bursts of 1,000 events", [table], [beside], [FAIRNESS])


def latency(run: Run) -> Report:
    """100 writes a second, 100 subscribers: from the start of the POST to its answer, and to the frame."""
    with stage() as place, Subscribers(started(place)) as readers:
        readers.connect(WATCHERS)
        server = place.server("notelog")
        answers: list[list[float]] = []
        frames: list[list[float]] = []
        for turn in range(run.rounds):
            progress(f"round {turn + 1} of {run.rounds}")
            to_answer, to_frame = asyncio.run(watched(server, readers, run.seconds, BODY, place.folder))
            answers.append(to_answer)
            frames.append(to_frame)
        half = spread([percentile(f, 0.5) / percentile(a, 0.5) for a, f in zip(answers, frames, strict=True)])
        rows = [latency_row("POST to its answer", answers), latency_row("POST to the frame", frames)]
        table = Table(["100 writes/s, 100 subscribers", "p50 ms", "p99 ms"], rows)
        target = Target("median from POST to frame ÷ median from POST to answer", half, 2.0)
        return Report("latency", "From the write to the subscriber", [table], [target])


@contextmanager
def sides(place: Stage, crowd: int = SUBSCRIBERS) -> Iterator[tuple[Side, Side, str]]:
    """notelog and the bare loop with so many subscribers, and a frame of notelog's for the bare loop to send."""
    with ExitStack() as stack:
        ours = side(started(place), "events", stack, crowd)
        ours.write()
        frame = ours.readers.figures().last
        server = place.start(bare(place.answers(ours.server)))
        assert server
        yield ours, side(server, None, stack, crowd), frame


def side(server: Server, feed: str | None, stack: ExitStack, crowd: int = SUBSCRIBERS) -> Side:
    """So many subscribers of a server."""
    progress(f"connecting {crowd} to {server.name}")
    readers = stack.enter_context(Subscribers(server))
    readers.connect(crowd, feed)
    connection = connect(server, BROADCAST_S_MAX)
    stack.callback(connection.close)
    return Side(server, readers, connection, crowd)


def started(place: Stage) -> Server:
    """notelog, running."""
    return place.start(notelog())


def compare(
    rounds: int, both: tuple[Side, Side], deliver: tuple[Callable[[], int], Callable[[], int]], limit: float
) -> tuple[Table, Target]:
    """Takes notelog and another in turn; `deliver` does one turn of a side and says how many events it wrote."""
    names = [side.server.name.replace("bare", "bare loop") for side in both]
    taken: tuple[list[Delivered], list[Delivered]] = ([], [])
    for number in range(rounds):
        for samples, side_, work in zip(taken, both, deliver, strict=True):
            progress(f"round {number + 1} of {rounds}: {side_.server.name}")
            samples.append(delivered(side_, work))
    rows = [
        [name, *(str(spread_of(samples, figure)) for _, figure in COLUMNS)]
        for name, samples in zip(names, taken, strict=True)
    ]
    columns = [f"{both[0].crowd:,} subscribers", *(column for column, _ in COLUMNS)]
    return Table(columns, rows), Target(f"CPU per delivery ÷ {names[1]}", ratio(*taken, "cpu_us"), limit)


def delivered(side: Side, work: Callable[[], int]) -> Delivered:
    """One turn of one side."""
    before, cpu_s = side.readers.figures(), side.server.cpu_s()
    deliveries = work() * side.crowd
    after, cpu_s = side.readers.figures(), side.server.cpu_s() - cpu_s
    clock_s = after.clock_s - before.clock_s
    return Delivered(
        cpu_us=cpu_s / deliveries * 1e6,
        deliveries_per_s=deliveries / clock_s,
        frames_per_delivery=(after.frames - before.frames) / deliveries,
        generator_share=(after.cpu_s - before.cpu_s) / clock_s,
    )


async def watched(
    server: Server, readers: Subscribers, seconds: float, body: str, folder: Path
) -> tuple[list[float], list[float]]:
    """Writes at an even rate; milliseconds from each POST to its answer, and to its frame at each subscriber."""
    readers.arrivals(folder / "arrivals")
    writes = await write_at_rate(server, body, WRITES_PER_S, seconds)
    readers.reached(max(write.position for write in writes))
    return to_answers(writes), to_frames(writes, readers.arrivals(folder / "arrivals"))


def to_answers(writes: Sequence[Write]) -> list[float]:
    """Milliseconds from POST to answer."""
    return [(write.answered - write.started) * 1e3 for write in writes]


def to_frames(writes: Sequence[Write], arrivals: Sequence[Sequence[tuple[int, float]]]) -> list[float]:
    """Milliseconds from POST to the first frame at or after its position, for each subscriber."""
    found = []
    for frames in arrivals:
        positions = [position for position, _ in frames]
        for write in writes:
            arrived = frames[bisect_left(positions, write.position)][1]
            found.append((arrived - write.started) * 1e3)
    return found


def latency_row(name: str, rounds: Sequence[Sequence[float]]) -> list[str]:
    """Median and 99th percentile, with their spreads over the rounds."""
    return [name, *(str(spread([percentile(values, share) for values in rounds])) for share in (0.5, 0.99))]
