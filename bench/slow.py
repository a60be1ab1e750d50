"""A healthy client beside a thousand slow ones."""

from __future__ import annotations

import asyncio
from statistics import median

from bench.contender import BODY, notelog
from bench.figures import number, percentile, spread
from bench.latency import to_answers
from bench.report import Report, Table, Target
from bench.server import Server
from bench.slow_clients import SlowClients
from bench.stage import Run, progress, stage
from bench.writer import write_at_rate

SLOW = 500  # of each kind: headers, bodies
HEALTHY_PER_S = 100
BESIDE_S = 8  # the service closes slow bodies after 10 s: until then all are there
WARM_UP_S = 2
WORSE_TARGET = 2.0
CLOSED_S_TARGET = 20.0


def slow(run: Run) -> Report:
    """One healthy client alone, and beside 500 that send headers slowly and 500 that send bodies slowly."""
    alone, beside, closed_s = [], [], []
    with stage() as place:
        server = place.start(notelog())
        healthy(server, WARM_UP_S)
        for turn in range(run.rounds):
            progress(f"round {turn + 1} of {run.rounds}: alone")
            alone.append(healthy(server, BESIDE_S))
            progress(f"round {turn + 1} of {run.rounds}: beside {2 * SLOW:,} slow ones")
            with SlowClients(server, SLOW) as clients:
                beside.append(healthy(server, BESIDE_S))
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
    how = f"{run.rounds} rounds of {BESIDE_S} s a turn."
    return Report("slow", "Slow clients", [table], targets, how=how)


def healthy(server: Server, seconds: float) -> list[float]:
    """Milliseconds of each POST of one client."""
    return to_answers(asyncio.run(write_at_rate(server, BODY, HEALTHY_PER_S, seconds, clients=1)))
