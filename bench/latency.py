"""From the write to the subscriber, at an even rate: to the answer of the POST, and to the frame."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from bench.contender import BODY, notelog
from bench.figures import percentile, spread
from bench.report import Report, Table, Target
from bench.server import Server
from bench.stage import Run, progress, stage
from bench.subscribers import Subscribers
from bench.writer import Write, write_at_rate

WATCHERS = 100
WRITES_PER_S = 100
WARM_UP_S = 1


def latency(run: Run) -> Report:
    """100 writes a second, 100 subscribers: from the start of the POST to its answer, and to the frame."""
    answers: list[list[float]] = []
    frames: list[list[float]] = []
    with stage() as place:
        server = place.start(notelog())
        with Subscribers(server) as readers:
            readers.connect(WATCHERS)
            asyncio.run(watched(server, readers, WARM_UP_S, BODY, place.folder))
            before = readers.figures()
            for turn in range(run.rounds):
                progress(f"round {turn + 1} of {run.rounds}")
                to_answer, to_frame = asyncio.run(watched(server, readers, run.seconds, BODY, place.folder))
                answers.append(to_answer)
                frames.append(to_frame)
            after = readers.figures()
    half = spread([percentile(f, 0.5) / percentile(a, 0.5) for a, f in zip(answers, frames, strict=True)])
    rows = [latency_row("POST to its answer", answers), latency_row("POST to the frame", frames)]
    table = Table([f"{WRITES_PER_S} writes/s, {WATCHERS} subscribers", "p50 ms", "p99 ms"], rows)
    target = Target("median from POST to frame ÷ median from POST to answer", half, 2.0)
    share = (after.cpu_s - before.cpu_s) / (after.clock_s - before.clock_s)
    remark = f"Who subscribes and who writes took {share:.0%} of a core."
    return Report("latency", "From the write to the subscriber", [table], [target], [remark], run.how)


async def watched(
    server: Server, readers: Subscribers, seconds: float, body: str, folder: Path
) -> tuple[list[float], list[float]]:
    """Writes at an even rate; milliseconds from each POST to its answer, and to its frame at each subscriber."""
    readers.arrivals(folder / "arrivals")
    before = readers.figures().events
    writes = await write_at_rate(server, body, WRITES_PER_S, seconds)
    readers.reached(max(write.position for write in writes))
    arrivals = readers.arrivals(folder / "arrivals")
    if (found := readers.figures().events - before) != len(writes) * len(arrivals):
        raise server.failed(f"expected {len(writes)} events at each of {len(arrivals)}, got {found} deliveries")
    return to_answers(writes), to_frames(writes, arrivals)


def to_answers(writes: Sequence[Write]) -> list[float]:
    """Milliseconds from POST to answer."""
    return [(write.answered - write.due) * 1e3 for write in writes]


def to_frames(writes: Sequence[Write], arrivals: Sequence[Sequence[tuple[int, float]]]) -> list[float]:
    """Milliseconds from POST to the first frame at or after its position, for each subscriber."""
    found = []
    for frames in arrivals:
        positions = [position for position, _ in frames]
        for write in writes:
            arrived = frames[bisect_left(positions, write.position)][1]
            found.append((arrived - write.due) * 1e3)
    return found


def latency_row(name: str, rounds: Sequence[Sequence[float]]) -> list[str]:
    """Median and 99th percentile, with their spreads over the rounds."""
    return [name, *(str(spread([percentile(values, share) for values in rounds])) for share in (0.5, 0.99))]
