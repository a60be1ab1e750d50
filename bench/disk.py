"""What a write costs on disk: fsyncs and bytes of write-ahead log, counted by strace in a pass of its own."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from bench.contender import Contender, crud, notelog, pocketbase
from bench.figures import number, spread, spread_of
from bench.load import drive
from bench.report import NotMeasured, Report, Table, Target
from bench.stage import Run, progress, stage

# strace -f -ttt -y -s 0: "123 1700000000.123456 pwrite64(7</data/events.db-wal>, ""..., 4096, 32) = 4096"
CALL = re.compile(r'^\d+ +(\d+\.\d+) (fsync|fdatasync|pwrite64)\(\d+<([^>]*)>(?:, "[^"]*"(?:\.\.\.)?, (\d+))?')
TRACER = ("strace", "-f", "--seccomp-bpf", "-ttt", "-y", "-s", "0", "-e", "trace=fsync,fdatasync,pwrite64", "-o")
CLIENTS = (1, 8, 64)
LOG = "events.db-wal"
ROUNDS_MAX = 3


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
    if shutil.which("strace") is None:
        raise NotMeasured("strace is not installed")
    fewer = Run(run.seconds, min(run.rounds, ROUNDS_MAX))
    contenders = (notelog(), crud(), pocketbase())
    found = {contender.name: costs(contender, fewer) for contender in contenders if not contender.missing}
    rows = [
        [f"{name}, {clients}", *cells(taken)]
        for name, by_clients in found.items()
        for clients, taken in by_clients.items()
    ]
    columns = ["contender, clients", "writes", "fsyncs/write", "by file", "WAL bytes/write", "by file"]
    most = found["notelog"][max(CLIENTS)]
    target = Target("fsyncs per answered write, all files, 64 clients", spread([sum_of(cost) for cost in most]), 1 / 20)
    remarks = [
        f"The log's own part of it at 64 clients: {spread([cost.fsyncs.get(LOG, 0.0) for cost in most])}.",
        "Counted by strace (fsync, fdatasync, pwrite64) until the contender has done what it put off; strace slows it: "
        "no speeds here. By file: the last round.",
    ]
    absent = [f"{contender.name}: {contender.missing}" for contender in contenders if contender.missing]
    title = "fsyncs and WAL bytes per answered write"
    return Report("disk", title, [Table(columns, rows)], [target], remarks, fewer.how, absent)


def costs(contender: Contender, run: Run) -> dict[int, list[Cost]]:
    """The costs at each number of clients, on one running contender."""
    found: dict[int, list[Cost]] = {clients: [] for clients in CLIENTS}
    with stage() as place:
        trace = place.folder / "strace.txt"
        server = place.start(contender, tracer=[*TRACER, str(trace)])
        for turn in range(run.rounds):
            for clients in CLIENTS:
                progress(f"round {turn + 1} of {run.rounds}: {contender.name}, {clients} clients under strace")
                began = time.time()
                outcome = drive(server, contender.requests.create, clients, run.seconds)
                server.settled()
                found[clients].append(cost(calls(trace, began, time.time()), outcome.requests))
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


def sum_of(cost: Cost) -> float:
    """fsyncs per write, of all files."""
    return sum(cost.fsyncs.values())


def cells(taken: Sequence[Cost]) -> list[str]:
    """A row of the table: sums with their spread, and the parts of the last round."""
    wal_bytes = spread([sum(cost.wal_bytes.values()) for cost in taken])
    fsyncs = spread([sum_of(cost) for cost in taken])
    last = taken[-1]
    return [str(spread_of(taken, "writes")), str(fsyncs), parts(last.fsyncs), str(wal_bytes), parts(last.wal_bytes)]


def parts(counts: dict[str, float]) -> str:
    """Each file's share."""
    return ", ".join(f"{file} {number(count)}" for file, count in counts.items())
