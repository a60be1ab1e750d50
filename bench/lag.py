"""How far the tables are behind the log while it is written as fast as it goes."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from bench.client import ask_on, connect
from bench.contender import NOTES, notelog
from bench.figures import number, percentile, spread
from bench.load import Request, drive
from bench.report import Report, Table, Target
from bench.server import Server
from bench.stage import Run, progress, stage

CLIENTS = 64
LOOK_EVERY_S = 0.02
PROJECTIONS = ("notes", "search", "versions", "ledger")
LAG_MS_TARGET = 100.0
LONG_S = 20
# A lag that grows as long as the load lasts is three times as large in the second half of it, seen from its middle.
GROWTH_TARGET = 2.0
LOOK_MS = LOOK_EVERY_S * 1e3  # a difference below it is none

Looks = dict[str, list[float]]


def lag(run: Run) -> Report:
    """The age of the oldest event that each projection does not show, looked at 50 times a second."""
    with stage() as place:
        server = place.start(notelog())
        drive(server, NOTES.create, CLIENTS, 1)
        looks: Looks = {name: [] for name in PROJECTIONS}
        for turn in range(run.rounds):
            progress(f"round {turn + 1} of {run.rounds}")
            server.settled()
            for name, more in looked_at(server, run.seconds).items():
                looks[name] += more
        server.settled()
        progress(f"{LONG_S} s of load")
        long = looked_at(server, LONG_S)
    looks = {name: looks[name] + long[name] for name in PROJECTIONS}
    behind = spread([percentile(looks["notes"], 0.99)])
    targets = [
        Target("99th percentile of the lag of `notes`, milliseconds", behind, LAG_MS_TARGET),
        *(growth_target(name, long[name]) for name in PROJECTIONS),
    ]
    remarks = [
        f"{len(looks['notes']):,} looks, those of the long load among them; the last columns are of that one alone.",
        "search, versions and ledger gather events for 0.25 to 1 s on purpose, unless somebody asks for them.",
    ]
    return Report("lag", "How far the tables are behind", [table(looks, long)], targets, remarks, run.how)


def table(looks: Looks, long: Looks) -> Table:
    """A row a projection: all looks of the rounds, and the most of both halves of the long load."""
    rows = [
        [
            name,
            *(number(percentile(looks[name], share)) for share in (0.5, 0.99, 1.0)),
            *(number(max(half)) for half in halves(long[name])),
        ]
        for name in PROJECTIONS
    ]
    ends = [f"most in the {which} {LONG_S // 2} s" for which in ("first", "second")]
    return Table([f"POST at {CLIENTS} clients", "p50 ms", "p99 ms", "most ms", *ends], rows)


def growth_target(name: str, looks: list[float]) -> Target:
    """Never without bound: the second half of a long load is no worse than the first."""
    first, second = (max(percentile(half, 0.5), LOOK_MS) for half in halves(looks))
    what = f"median lag of `{name}` in the second half of {LONG_S} s of load ÷ in the first"
    return Target(what, spread([second / first]), GROWTH_TARGET)


def halves(looks: list[float]) -> tuple[list[float], list[float]]:
    """The first and the second half."""
    middle = len(looks) // 2
    return looks[:middle], looks[middle:]


def looked_at(server: Server, seconds: int) -> Looks:
    """Milliseconds of lag, as /metrics says it, while the log is loaded."""
    found: Looks = {name: [] for name in PROJECTIONS}
    with ThreadPoolExecutor(1) as pool, closing(connect(server)) as connection:
        load = pool.submit(drive, server, NOTES.create, CLIENTS, seconds)
        while not load.done():
            text = ask_on(connection, server, Request("GET", "/metrics"), 1).body.decode()
            for name, lag_s in re.findall(r'^notelog_projection_lag_seconds\{projection="(\w+)"\} (\S+)', text, re.M):
                found[name].append(float(lag_s) * 1e3)
            time.sleep(LOOK_EVERY_S)
        load.result()
    return found
