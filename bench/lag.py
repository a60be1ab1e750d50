"""How far the tables are behind the log while it is written as fast as it goes."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from bench.answers import ask_on, connect
from bench.contender import NOTES, notelog
from bench.figures import percentile, spread
from bench.load import Request, drive
from bench.report import Report, Table, Target
from bench.server import Server
from bench.stage import Run, progress, stage

CLIENTS = 64
LOOK_EVERY_S = 0.02
PROJECTIONS = ("notes", "search", "versions", "ledger")
LAG_MS_TARGET = 100.0

Looks = dict[str, list[float]]


def lag(run: Run) -> Report:
    """The age of the oldest event that each projection does not show, looked at 50 times a second."""
    title = "How far the tables are behind"
    if reason := notelog().missing:
        return Report("lag", title, [], [], [f"Left out: {reason}."])
    with stage() as place:
        server = place.start(notelog())
        assert server
        drive(server, NOTES.create, CLIENTS, 1)
        rounds = []
        for number in range(run.rounds):
            progress(f"round {number + 1} of {run.rounds}")
            rounds.append(looked_at(server, run.seconds))
    rows = [
        [name, *(str(spread([percentile(looks[name], share) for looks in rounds])) for share in (0.5, 0.99, 1.0))]
        for name in PROJECTIONS
    ]
    table = Table([f"POST at {CLIENTS} clients", "p50 ms", "p99 ms", "most ms"], rows)
    behind = spread([percentile(looks["notes"], 0.99) for looks in rounds])
    target = Target("99th percentile of the lag of `notes`, milliseconds", behind, LAG_MS_TARGET)
    remark = "search, versions and ledger gather events for 0.25 to 1 s on purpose, unless somebody asks for them."
    return Report("lag", title, [table], [target], [remark])


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
