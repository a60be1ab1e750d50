"""Maintenance of a large log beside plain loops: rebuild, verify, the stream of all events, and who feels it.

The plain loops are in `plain_loops`.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from bench.answers import connect
from bench.contender import NOTES, notelog
from bench.figures import number, ratio, spread_of
from bench.growth import wait_ready
from bench.load import sample
from bench.report import Report, Table, Target
from bench.seed import fill
from bench.server import MIB, Server
from bench.stage import Run, progress, stage

CHUNK_BYTES = 1024 * 1024
CLIENTS = 64
REBUILD_TARGET = VERIFY_TARGET = 0.7
STREAM_TARGET = 0.5
P99_TARGET = 2.0
# What is measured against which plain loop.
PAIRS = (
    ("rebuild ÷ plain loop", "rebuild", "plain rebuild", REBUILD_TARGET),
    ("verify ÷ plain loop over leaves", "verify", "plain leaves", VERIFY_TARGET),
    (
        "verify of the records alone ÷ plain loop over leaves",
        "verify, records alone",
        "plain leaves",
        VERIFY_TARGET,
    ),
    ("NDJSON ÷ plain loop that prints", "NDJSON", "plain print", STREAM_TARGET),
)
COMMAND_S_MAX = 1800.0
ROUNDS_MAX = 3  # a rebuild of a million events takes a minute


class Turn(Struct, frozen=True):
    """One run over the log."""

    events_per_s: float
    memory_mib: float


def audit(run: Run) -> Report:
    """Everything, on one log."""
    if reason := notelog().missing:
        return Report("audit", "Maintenance of a large log", [], [], [f"Left out: {reason}."])
    with stage() as place:
        folder = place.folder_of(notelog())
        progress("filling")
        fill(folder, run.events)
        progress("building the tables and the ledger")
        timed(("-m", "service", "rebuild", "--data", str(folder)), run.events)
        with notelog().start(folder, ()) as server:
            wait_ready(server, caught_up=True)
        turns = commands(folder, run)
        with notelog().start(folder, ()) as server:
            wait_ready(server, caught_up=True)
            turns |= streams(server, folder, run)
            alone, beside = under_load(server, run)
        table = Table(
            ["", "events/s", "MiB of memory"],
            [
                [name, str(spread_of(taken, "events_per_s")), str(spread_of(taken, "memory_mib"))]
                for name, taken in turns.items()
            ],
        )
        latencies = Table(
            [f"POST at {CLIENTS} clients", "requests/s", "p50 ms", "p99 ms"],
            [
                [name, *(str(spread_of(taken, figure)) for figure in ("requests_per_s", "p50_ms", "p99_ms"))]
                for name, taken in (("alone", alone), ("while all events are streamed", beside))
            ],
        )
        targets = [
            *(
                Target(what, ratio(turns[mine], turns[plain], "events_per_s"), limit, at_least=True)
                for what, mine, plain, limit in PAIRS
            ),
            Target("POST's p99 while streaming ÷ alone", ratio(beside, alone, "p99_ms"), P99_TARGET),
        ]
        remarks = [
            f"{number(run.events)} events; memory of verify is that of its two processes together.",
            "verify also folds every event and compares each row of the tables, and the search index with its words.",
        ]
        return Report("audit", "Maintenance of a large log", [table, latencies], targets, remarks)


def commands(folder: Path, run: Run) -> dict[str, list[Turn]]:
    """Rebuild and verify, each in turn with its plain loop."""
    pairs = {
        "rebuild": ("-m", "service", "rebuild", "--data", str(folder)),
        "plain rebuild": ("-m", "bench.plain_loops", "rebuild", str(folder)),
        "verify": ("-m", "service", "verify", "--data", str(folder)),
        "verify, records alone": ("-m", "bench.verify_records", str(folder)),
        "plain leaves": ("-m", "bench.plain_loops", "verify", str(folder)),
        "plain print": ("-m", "bench.plain_loops", "print", str(folder)),
    }
    turns: dict[str, list[Turn]] = {name: [] for name in pairs}
    for place in range(min(run.rounds, ROUNDS_MAX)):
        for name, argv in pairs.items():
            progress(f"{name}, round {place + 1}")
            turns[name].append(timed(argv, run.events))
    return turns


def timed(argv: Sequence[str], events: int) -> Turn:
    """A Python process from its start to its end."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *argv], stdout=subprocess.DEVNULL)
    largest = 0
    while process.poll() is None:
        largest = max(largest, family_memory_bytes(process.pid))
        if time.perf_counter() - began > COMMAND_S_MAX:
            process.kill()
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
    return Turn(events / (time.perf_counter() - began), largest / MIB)


def family_memory_bytes(pid: int) -> int:
    """Resident memory of a process and its children, but for what they share."""
    total = 0
    for one in [pid, *children(pid)]:
        try:
            pages = Path(f"/proc/{one}/statm").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
    return total


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found + [grandchild for child in found for grandchild in children(child)]


def streams(server: Server, folder: Path, run: Run) -> dict[str, list[Turn]]:
    """The stream of all events, read by one client as fast as it comes."""
    taken = []
    for place in range(min(run.rounds, ROUNDS_MAX)):
        progress(f"NDJSON, round {place + 1}")
        began = time.perf_counter()
        lines = stream(server)
        taken.append(Turn(lines / (time.perf_counter() - began), server.memory_bytes() / MIB))
        if lines < run.events:
            raise server.failed(f"expected {run.events} lines, got {lines}")
    return {"NDJSON": taken}


def stream(server: Server, stopped: threading.Event | None = None) -> int:
    """Reads the stream to its end, or until it is stopped; the number of lines."""
    connection = connect(server)
    lines = 0
    try:
        connection.request("GET", "/events", headers={"Accept": "application/x-ndjson"})
        response = connection.getresponse()
        while chunk := response.read1(CHUNK_BYTES):
            lines += chunk.count(b"\n")
            if stopped is not None and stopped.is_set():
                break
    except (OSError, http.client.HTTPException):
        if stopped is None:
            raise
    finally:
        connection.close()
    return lines


def under_load(server: Server, run: Run) -> tuple[list[Struct], list[Struct]]:
    """POST alone and POST while somebody streams again and again, in turns."""
    alone: list[Struct] = []
    beside: list[Struct] = []
    sample(server, NOTES.create, CLIENTS, 1)
    for place in range(run.rounds):
        progress(f"POST beside the stream, round {place + 1}")
        alone.append(sample(server, NOTES.create, CLIENTS, run.seconds))
        stopped = threading.Event()
        reader = threading.Thread(target=again_and_again, args=(server, stopped))
        reader.start()
        try:
            beside.append(sample(server, NOTES.create, CLIENTS, run.seconds))
        finally:
            stopped.set()
            reader.join()
    return alone, beside


def again_and_again(server: Server, stopped: threading.Event) -> None:
    """Streams until it is stopped."""
    while not stopped.is_set():
        stream(server, stopped)
