"""What a write costs on disk: fsyncs and bytes of write-ahead log, counted by strace in a pass of its own."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from bench.contender import Contender, crud, notelog, pocketbase
from bench.figures import number, spread
from bench.load import drive
from bench.report import Report, Table, Target
from bench.stage import Run, progress, stage

# strace -f -ttt -y -s 0: "123 1700000000.123456 pwrite64(7</data/events.db-wal>, ""..., 4096, 32) = 4096"
CALL = re.compile(r'^\d+ +(\d+\.\d+) (fsync|fdatasync|pwrite64)\(\d+<([^>]*)>(?:, "[^"]*"(?:\.\.\.)?, (\d+))?')
TRACER = ("strace", "-f", "--seccomp-bpf", "-ttt", "-y", "-s", "0", "-e", "trace=fsync,fdatasync,pwrite64", "-o")
CLIENTS = (1, 8, 64)
NOTELOG_LOG = "events.db"


class Call(Struct, frozen=True):
    """One fsync (`bytes` is 0) or write."""

    at: float
    synced: bool
    file: str
    bytes: int


class Cost(Struct, frozen=True):
    """Per answered write, by file."""

    writes: int
    fsyncs: dict[str, float]
    wal_bytes: dict[str, float]


def disk(run: Run) -> Report:
    """fsyncs and WAL bytes per answered POST."""
    rows, targets, remarks = [], [], []
    for contender in (notelog(), crud(), pocketbase()):
        if reason := contender.missing or (None if shutil.which("strace") else "strace is not installed"):
            remarks.append(f"{contender.name} is left out: {reason}.")
            continue
        for clients, cost in costs(contender, run).items():
            rows.append([f"{contender.name}, {clients}", *cells(cost)])
            if contender.name == "notelog" and clients == max(CLIENTS):
                reached = spread([cost.fsyncs.get(f"{NOTELOG_LOG}-wal", 0.0)])
                targets = [Target("fsyncs of the log per answered write, 64 clients", reached, 1 / 20)]
    columns = ["contender, clients", "writes", "fsyncs/write", "by file", "WAL bytes/write", "by file"]
    remarks.append("Counted by strace (fsync, fdatasync, pwrite64), which slows the contender: no speeds here.")
    return Report("disk", "fsyncs and WAL bytes per answered write", [Table(columns, rows)], targets, remarks)


def costs(contender: Contender, run: Run) -> dict[int, Cost]:
    """The cost at each number of clients, on one running contender."""
    found = {}
    with stage() as place:
        trace = place.folder / "strace.txt"
        server = place.start(contender, tracer=[*TRACER, str(trace)])
        assert server
        for clients in CLIENTS:
            progress(f"{contender.name}: {clients} clients under strace")
            began = time.time()
            outcome = drive(server, contender.requests.create, clients, run.seconds)
            found[clients] = cost(calls(trace, began, time.time()), outcome.requests)
    return found


def calls(trace: Path, began: float, ended: float) -> Iterable[Call]:
    """The calls of a stretch of time."""
    for line in trace.read_text(errors="replace").splitlines():
        if (match := CALL.match(line)) and began <= (at := float(match[1])) <= ended:
            yield Call(at, match[2] != "pwrite64", Path(match[3]).name, int(match[4] or 0))


def cost(calls: Iterable[Call], writes: int) -> Cost:
    """Adds up by file: every fsync, and what was written to write-ahead logs."""
    fsyncs, wal_bytes = Counter[str](), Counter[str]()
    for call in calls:
        if call.synced:
            fsyncs[call.file] += 1
        elif call.file.endswith("-wal"):
            wal_bytes[call.file] += call.bytes
    return Cost(writes, per(fsyncs, writes), per(wal_bytes, writes))


def per(counts: Counter[str], writes: int) -> dict[str, float]:
    """Counts per write."""
    return {file: count / writes for file, count in counts.most_common()}


def cells(cost: Cost) -> list[str]:
    """A row of the table."""
    return [number(cost.writes), *both(cost.fsyncs, ".3f"), *both(cost.wal_bytes, ",.0f")]


def both(counts: dict[str, float], digits: str) -> tuple[str, str]:
    """The sum, and the parts."""
    parts = ", ".join(f"{file} {count:{digits}}" for file, count in counts.items())
    return f"{sum(counts.values()):{digits}}", parts
