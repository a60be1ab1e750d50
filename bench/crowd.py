"""Websockets, the cost of many: readers that do not read, idle sockets, and ten thousand who resume at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from msgspec import Struct

from bench.contender import BODY, bare, notelog
from bench.feed import started, to_answers, watched
from bench.figures import number, percentile, spread
from bench.report import Report, Table, Target
from bench.server import MIB, Server
from bench.stage import Run, progress, stage
from bench.subscribers import Subscribers
from bench.writer import Write, write_all, write_at_rate

READERS = 100
HUNG = 200
HUNG_S = 50  # the writes go on for as long; the hung ones should be gone after 40
FILLING_EVENTS = 8000  # 32 MB: more than the server keeps in memory
WIDE_BODY = BODY.replace("sample notes", "x" * 4000)  # fills the buffers of a hung reader soon
MANY = 10_000
MISSED_EVENTS = 100
CALM_WRITES_PER_S = 5  # each one is a delivery to all of them
CALM_S = 10
RESUME_S = 40  # writes go on for as long; all should have caught up long before
KIB = 1024


class Look(Struct, frozen=True):
    """The server while it is loaded, so many seconds after the load began."""

    seconds: float
    memory_bytes: int
    sockets: int


def hung(run: Run) -> Report:
    """200 subscribers that never read beside 100 that do."""
    with stage() as place, Subscribers(started(place)) as readers, Subscribers(place.server("notelog")) as silent:
        server = place.server("notelog")
        readers.connect(READERS)
        progress("readers alone")
        asyncio.run(write_all(server, WIDE_BODY, FILLING_EVENTS, 8))  # what is kept in memory has its full size now
        _, alone = asyncio.run(watched(server, readers, run.seconds * run.rounds, WIDE_BODY, place.folder))
        memory, sockets = server.memory_bytes(), server.sockets()
        silent.connect(HUNG, reads=False)
        progress(f"with hung ones, for {HUNG_S} s")

        async def load() -> tuple[list[float], list[Look]]:
            looking = asyncio.create_task(look(server, HUNG_S))
            _, to_frames = await watched(server, readers, HUNG_S, WIDE_BODY, place.folder)
            return to_frames, await looking

        beside, looks = asyncio.run(load())
    grown_kib = (max(seen.memory_bytes for seen in looks) - memory) / HUNG / KIB
    # The writer's own few connections may have come in their place.
    gone_s = next((seen.seconds for seen in looks if seen.sockets < sockets + HUNG // 10), float("inf"))
    p99 = [percentile(values, 0.99) for values in (alone, beside)]
    rows = [
        [f"{READERS} readers alone", number(percentile(alone, 0.5)), number(p99[0])],
        [f"beside {HUNG} hung ones", number(percentile(beside, 0.5)), number(p99[1])],
    ]
    targets = [
        Target("readers' p99 beside hung ones ÷ alone", spread([p99[1] / p99[0]]), 1.2),
        Target("KiB of server memory for each hung one, at the most", spread([grown_kib]), 64),
        Target("seconds until the hung ones were gone", spread([gone_s]), 40),
    ]
    table = Table(["100 writes/s of 4 KB, POST to the frame", "p50 ms", "p99 ms"], rows)
    return Report("hung", "Readers that do not read", [table], targets)


def idle(run: Run) -> Report:
    """10,000 connections that do nothing, on notelog and on bare aiohttp; then one broadcast that reaches them all."""
    with stage() as place:
        ours = started(place)
        answers = place.answers(ours)
        theirs = place.start(bare(answers))
        assert theirs
        figures = {"notelog": crowd(ours, "events"), "bare aiohttp": crowd(theirs, None)}
    rows = [[name, *(number(figure) for figure in found)] for name, found in figures.items()]
    table = Table([f"{MANY:,} idle connections", "KiB each", "s to connect", "s for one event to reach all"], rows)
    return Report("idle", "Idle connections", [table], [Target("KiB each", spread([figures["notelog"][0]]), 24)])


def crowd(server: Server, feed: str | None) -> tuple[float, float, float]:
    """Memory for each connection, seconds to connect them all, seconds for one event to reach them all."""
    with Subscribers(server) as readers:
        readers.connect(1, feed)  # what the first one costs is not counted
        memory = server.memory_bytes()
        progress(f"connecting {MANY:,} to {server.name}")
        connect_s = readers.connect(MANY, feed)
        each_kib = (server.memory_bytes() - memory) / MANY / KIB
        began = time.monotonic()
        if feed:
            reached = readers.reached(asyncio.run(write_all(server, BODY, 1, 1))[0].position)
        else:
            asyncio.run(write_all(server, BODY, 1, 1, "/broadcast"))
            reached = readers.received(1)
        return each_kib, connect_s, reached - began


def resume(run: Run) -> Report:
    """10,000 clients lose their server, and all come back at once, 100 events behind, while others write."""
    with stage() as place:
        server = started(place)
        with Subscribers(server) as readers:
            alone = asyncio.run(write_at_rate(server, BODY, CALM_WRITES_PER_S, CALM_S))
            progress(f"connecting {MANY:,}")
            readers.connect(MANY)
            usual = asyncio.run(write_at_rate(server, BODY, CALM_WRITES_PER_S, CALM_S))
            readers.reached(max(write.position for write in usual))
            server.kill()
            readers.lost()
            server = place.start(notelog()) or server
            missed = asyncio.run(write_all(server, BODY, MISSED_EVENTS, 8))
            progress(f"{MANY:,} resume")
            meanwhile, resumed_s, again = asyncio.run(resuming(server, readers))
            readers.reached(max(write.position for write in missed))
            memory = server.memory_bytes() / MIB
    rows = [
        [name, *(number(percentile(to_answers(writes), share)) for share in (0.5, 0.99))]
        for name, writes in (
            ("no subscribers", alone),
            (f"{MANY:,} subscribers", usual),
            ("while they resume", meanwhile),
        )
    ]
    worse = percentile(to_answers(meanwhile), 0.99) / percentile(to_answers(usual), 0.99)
    target = Target(f"p99 of POST while they resume ÷ with {MANY:,} subscribers", spread([worse]), 5)
    remarks = [
        f"All had caught up {number(resumed_s)} s after the first one came back; {number(memory)} MiB then.",
        f"{again:,} were cut off before they had caught up, and came again.",
    ]
    table = Table([f"POST, {CALM_WRITES_PER_S} a second", "p50 ms", "p99 ms"], rows)
    return Report("resume", "All resume at once", [table], [target], remarks)


async def resuming(server: Server, readers: Subscribers) -> tuple[list[Write], float, int]:
    """All come back; the writes that were answered meanwhile, and what `Subscribers.resume` says."""
    writing = asyncio.create_task(write_at_rate(server, BODY, CALM_WRITES_PER_S, RESUME_S))
    began = time.monotonic()
    resumed_s, again = await asyncio.to_thread(readers.resume, server)
    writes = await writing
    return during(writes, began, began + resumed_s), resumed_s, again


def during(writes: Sequence[Write], began: float, ended: float) -> list[Write]:
    """The writes that began in a stretch of time."""
    return [write for write in writes if began <= write.started <= ended]


async def look(server: Server, seconds: float) -> list[Look]:
    """Looks at the server twice a second."""
    began, looks = time.monotonic(), []
    while (passed := time.monotonic() - began) < seconds:
        looks.append(Look(passed, server.memory_bytes(), server.sockets()))
        await asyncio.sleep(0.5)
    return looks
