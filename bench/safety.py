"""What safety promises in numbers: a start after a crash, and a healthy client beside a thousand slow ones."""

from __future__ import annotations

import asyncio
from statistics import median

from bench.contender import BODY, notelog
from bench.feed import started, to_answers
from bench.figures import number, percentile, spread
from bench.growth import crash, wait_ready
from bench.report import Report, Table, Target
from bench.seed import fill
from bench.slow_clients import SlowClients
from bench.stage import Run, progress, stage
from bench.writer import write_at_rate

START_EVENTS = 100_000
READY_S_TARGET = 2.0
SLOW = 500  # of each kind: headers, bodies
HEALTHY_PER_S = 100
BESIDE_S = 8  # the service closes slow bodies after 10 s: until then all are there
WORSE_TARGET = 2.0
CLOSED_S_TARGET = 20.0


def start(run: Run) -> Report:
    """notelog killed under load on 100,000 events, and started again."""
    if reason := notelog().missing:
        return Report("start", "A start after a crash", [], [], [f"Left out: {reason}."])
    with stage() as place:
        contender = notelog()
        progress(f"filling: {START_EVENTS:,} events")
        fill(place.folder_of(contender), START_EVENTS)
        wait_ready(started(place), caught_up=True)
        ready, memory = crash(place, contender.name)
    target = Target(f"seconds from start to ready after a SIGKILL, {START_EVENTS:,} events", ready, READY_S_TARGET)
    return Report("start", "A start after a crash", [], [target], [f"{memory} MiB of memory after the load."])


def slow(run: Run) -> Report:
    """One healthy client alone, and beside 500 that send headers slowly and 500 that send bodies slowly."""
    alone, beside, closed_s = [], [], []
    with stage() as place:
        server = started(place)
        asyncio.run(write_at_rate(server, BODY, HEALTHY_PER_S, 2, clients=1))
        for turn in range(run.rounds):
            progress(f"round {turn + 1} of {run.rounds}: alone")
            alone.append(to_answers(asyncio.run(write_at_rate(server, BODY, HEALTHY_PER_S, BESIDE_S, clients=1))))
            progress(f"round {turn + 1} of {run.rounds}: beside {2 * SLOW:,} slow ones")
            with SlowClients(server, SLOW) as clients:
                beside.append(to_answers(asyncio.run(write_at_rate(server, BODY, HEALTHY_PER_S, BESIDE_S, clients=1))))
                closed_s.append(clients.closed_s())
    p99 = [[percentile(values, 0.99) for values in turns] for turns in (alone, beside)]
    p50 = [[percentile(values, 0.5) for values in turns] for turns in (alone, beside)]
    names = ("alone", f"beside {SLOW} slow headers and {SLOW} slow bodies")
    rows = [[name, number(median(p50[at])), number(median(p99[at]))] for at, name in enumerate(names)]
    worse = [there / here for here, there in zip(*p99, strict=True)]
    targets = [
        Target("healthy client's p99 beside slow ones ÷ alone", spread(worse), WORSE_TARGET),
        Target("seconds until the last slow one was closed", spread(closed_s), CLOSED_S_TARGET),
    ]
    table = Table([f"POST, {HEALTHY_PER_S} a second", "p50 ms", "p99 ms"], rows)
    return Report("slow", "Slow clients", [table], targets)
