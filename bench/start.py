"""A start after a crash."""

from __future__ import annotations

from bench.contender import notelog
from bench.growth import CRASHES, crash, wait_ready
from bench.report import Report, Target
from bench.seed import fill
from bench.stage import Run, progress, stage

START_EVENTS = 100_000
READY_S_TARGET = 2.0


def start(run: Run) -> Report:
    """notelog killed under load on 100,000 events, and started again."""
    with stage() as place:
        contender = notelog()
        progress(f"filling: {START_EVENTS:,} events")
        fill(place.folder_of(contender), START_EVENTS)
        wait_ready(place.start(contender), caught_up=True)
        ready, memory = crash(place, contender.name)
    target = Target(f"seconds from start to ready after a SIGKILL, {START_EVENTS:,} events", ready, READY_S_TARGET)
    remarks = [f"{memory} MiB of memory after the load."]
    return Report("start", "A start after a crash", [], [target], remarks, f"{CRASHES} crashes.")
