"""Websockets, the cost of many: readers that do not read, idle sockets, and ten thousand who resume at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack

from msgspec import Struct

from bench.contender import BODY, bare, notelog
from bench.figures import number, percentile, spread, spread_of
from bench.latency import to_answers, watched
from bench.report import Report, Table, Target
from bench.server import MIB, Server
from bench.stage import Run, progress, stage
from bench.subscribers import Subscribers
from bench.writer import Write, write_all, write_at_rate

READERS = 100
HUNG = 200
HUNG_ROUNDS_MAX = 3  # each takes two minutes
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


class Beside(Struct, frozen=True):
    """A round of it: milliseconds from the POST to the frame without and with those that hang, and what these cost."""

    alone_p50: float
    alone_p99: float
    beside_p50: float
    beside_p99: float
    grown_kib: float  # of the server for each that hangs, at the most
    gone_s: float  # until they were closed


def hung(run: Run) -> Report:
    """200 subscribers that never read beside 100 that do."""
    rounds = [hung_round(round_ + 1) for round_ in range(min(run.rounds, HUNG_ROUNDS_MAX))]
    rows = [
        [name, *(str(spread_of(rounds, f"{when}_{figure}")) for figure in ("p50", "p99"))]
        for name, when in ((f"{READERS} readers alone", "alone"), (f"beside {HUNG} hung ones", "beside"))
    ]
    slower = spread([each.beside_p99 / each.alone_p99 for each in rounds])
    targets = [
        Target("readers' p99 beside hung ones ÷ alone", slower, 1.2),
        Target("KiB of server memory for each hung one, at the most", spread_of(rounds, "grown_kib"), 64),
        Target("seconds until the hung ones were gone", spread_of(rounds, "gone_s"), 40),
    ]
    table = Table(["100 writes/s of 4 KB, POST to the frame", "p50 ms", "p99 ms"], rows)
    how = f"{len(rounds)} rounds: {HUNG_S} s alone, {HUNG_S} s beside the hung ones."
    return Report("hung", "Readers that do not read", [table], targets, how=how)


def hung_round(round_: int) -> Beside:
    """A new server, its readers alone, and then beside those that hang."""
    with stage() as place, ExitStack() as stack:
        server = place.start(notelog())
        readers, silent = (stack.enter_context(Subscribers(server)) for _ in range(2))
        readers.connect(READERS)
        progress(f"readers alone, for {HUNG_S} s, round {round_}")
        filling = asyncio.run(write_all(server, WIDE_BODY, FILLING_EVENTS, 8))
        readers.reached(max(write.position for write in filling))  # what is kept in memory has its full size now
        _, alone = asyncio.run(watched(server, readers, HUNG_S, WIDE_BODY, place.folder))
        memory, sockets = server.memory_bytes(), server.sockets()
        silent.connect(HUNG, reads=False)
        progress(f"with hung ones, for {HUNG_S} s, round {round_}")

        async def load() -> tuple[list[float], list[Look]]:
            looking = asyncio.create_task(look(server, HUNG_S))
            _, to_frames = await watched(server, readers, HUNG_S, WIDE_BODY, place.folder)
            return to_frames, await looking

        beside, looks = asyncio.run(load())
    grown_kib = (max(seen.memory_bytes for seen in looks) - memory) / HUNG / KIB
    # The writer's own few connections may have come in their place.
    gone_s = next((seen.seconds for seen in looks if seen.sockets < sockets + HUNG // 10), float("inf"))
    return Beside(
        alone_p50=percentile(alone, 0.5),
        alone_p99=percentile(alone, 0.99),
        beside_p50=percentile(beside, 0.5),
        beside_p99=percentile(beside, 0.99),
        grown_kib=grown_kib,
        gone_s=gone_s,
    )


def idle(run: Run) -> Report:
    """10,000 connections that do nothing, on notelog and on bare aiohttp; then one broadcast that reaches them all."""
    with stage() as place:
        ours = place.start(notelog())
        answers = place.answers(ours)
        theirs = place.start(bare(answers))
        figures = {"notelog": crowd(ours, "events"), "bare aiohttp": crowd(theirs, None)}
    rows = [[name, *(number(figure) for figure in found)] for name, found in figures.items()]
    table = Table([f"{MANY:,} idle connections", "KiB each", "s to connect", "s for one event to reach all"], rows)
    target = Target("KiB for each idle connection", spread([figures["notelog"][0]]), 24)
    return Report("idle", "Idle connections", [table], [target], how="Once for each.")


def crowd(server: Server, feed: str | None) -> tuple[float, float, float]:
    """Memory for each connection, seconds to connect them all, seconds for one event to reach them all."""
    with Subscribers(server) as readers:
        readers.connect(1, feed)  # what the first one costs is not counted
        memory = server.memory_bytes()
        progress(f"connecting {MANY:,} to {server.name}")
        connect_s = readers.connect(MANY, feed)
        each_kib = (server.memory_bytes() - memory) / MANY / KIB
        began = time.monotonic()
        asyncio.run(write_all(server, BODY, 1, 1, "/notes" if feed else "/broadcast"))
        return each_kib, connect_s, readers.received(1) - began


class Comeback(Struct, frozen=True):
    """How all came back, and the writes that were due meanwhile."""

    writes: list[Write]
    seconds: float
    cut_off: int  # before they had caught up: they came again
    memory_mib: float


def resume(run: Run) -> Report:
    """10,000 clients lose their server, and all come back at once, 100 events behind, while others write."""
    with stage() as place:
        server = place.start(notelog())
        with Subscribers(server) as readers:
            alone = calm(server)
            progress(f"connecting {MANY:,}")
            readers.connect(MANY)
            usual = calm(server)
            readers.received(len(usual))
            server.kill()
            readers.lost()
            server = place.start(notelog())
            asyncio.run(write_all(server, BODY, MISSED_EVENTS, 8))
            progress(f"{MANY:,} resume")
            comeback = asyncio.run(resuming(server, readers, len(usual) + MISSED_EVENTS))
    kinds = {"no subscribers": alone, f"{MANY:,} subscribers": usual, "while they resume": comeback.writes}
    # So few writes have no 99th percentile: each one is a delivery to all, so more of them would be another load.
    rows = [[name, *(number(figure) for figure in usual_and_longest_ms(writes))] for name, writes in kinds.items()]
    worse = usual_and_longest_ms(comeback.writes)[1] / usual_and_longest_ms(usual)[1]
    target = Target(f"longest POST while they resume ÷ with {MANY:,} subscribers", spread([worse]), 5)
    remarks = [
        f"All had caught up {number(comeback.seconds)} s after the first one came back; "
        f"{number(comeback.memory_mib)} MiB then.",
        f"{comeback.cut_off:,} were cut off before they had caught up, and came again.",
    ]
    table = Table([f"POST, {CALM_WRITES_PER_S} a second", "p50 ms", "longest ms"], rows)
    return Report("resume", "All resume at once", [table], [target], remarks, f"Once: {CALM_S} s each before it.")


def calm(server: Server) -> list[Write]:
    """A few writes at an even rate."""
    return asyncio.run(write_at_rate(server, BODY, CALM_WRITES_PER_S, CALM_S))


async def resuming(server: Server, readers: Subscribers, written: int) -> Comeback:
    """All come back while somebody writes; each one has every event in the end, `written` is how many came before."""
    writing = asyncio.create_task(write_at_rate(server, BODY, CALM_WRITES_PER_S, RESUME_S))
    began = time.monotonic()
    seconds, cut_off = await asyncio.to_thread(readers.resume, server)
    memory = server.memory_bytes() / MIB
    writes = await writing
    readers.received(written + len(writes))
    meanwhile = [write for write in writes if began <= write.due <= began + seconds]
    return Comeback(meanwhile, seconds, cut_off, memory)


def usual_and_longest_ms(writes: Sequence[Write]) -> tuple[float, float]:
    """The median, and the maximum."""
    times = to_answers(writes)
    return percentile(times, 0.5), max(times)


async def look(server: Server, seconds: float) -> list[Look]:
    """Looks at the server twice a second."""
    began, looks = time.monotonic(), []
    while (passed := time.monotonic() - began) < seconds:
        looks.append(Look(passed, server.memory_bytes(), server.sockets()))
        await asyncio.sleep(0.5)
    return looks
