"""Maintenance of a large log beside plain loops: rebuild, verify, export, the stream of all events, and who feels it.

The plain loops are in `plain_loops`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.command import Turn, timed
from bench.contender import NOTES, notelog
from bench.event_stream import streamed, streaming
from bench.figures import Sample, number, ratio, spread_of
from bench.growth import wait_ready
from bench.load import sample
from bench.report import Report, Table, Target
from bench.seed import fill
from bench.server import Server
from bench.stage import Run, progress, stage

CLIENTS = 64
REBUILD_TARGET = VERIFY_TARGET = 0.7
STREAM_TARGET = 0.5
P99_TARGET = 2.0
# What is measured beside which plain loop.
PLAIN = {
    "rebuild": "plain rebuild",
    "verify": "plain verify",
    "verify, records alone": "plain leaves",
    "NDJSON": "plain print",
    "export": "plain print",
}
TARGETS = (
    ("rebuild ÷ plain loop", "rebuild", REBUILD_TARGET),
    ("verify ÷ plain loop that compares the same", "verify", VERIFY_TARGET),
    ("verify of the records alone ÷ plain loop over leaves", "verify, records alone", VERIFY_TARGET),
    ("NDJSON ÷ plain loop that prints", "NDJSON", STREAM_TARGET),
)
# Smaller logs, for what of the time is the start of a process and what grows with the log.
SMALLER_EVENTS = (1_000, 100_000)
ROUNDS_MAX = 3  # a rebuild of a million events takes a minute
REMARKS = (
    "verify hashes every record, folds every event and compares each row of the ledger, of the tables and of the "
    "search, in two processes, whose memory is counted together.",
    "The plain loops: one thread, sqlite3 row by row, msgspec for JSON; rebuild and verify keep all notes in a "
    "dictionary, rebuild builds the same tables, indexes and search index, verify compares with the same rows; leaves "
    "hashes each record; print writes seven columns as a line of JSON. That tables and hashes are the same as the "
    "service's was compared before, row by row.",
    "NDJSON is GET /events read by one client; export is `notelog export`, whose lines hold the whole record.",
)

Work = Callable[[], Turn]
Turns = dict[str, list[Turn]]


def audit(run: Run) -> Report:
    """Everything on a large log; on smaller ones too, but without the plain loops."""
    with stage() as place:
        smaller = [events for events in SMALLER_EVENTS if events < run.events]
        by_size = {events: maintenance_of_smaller(place.folder / f"{events}", events, run) for events in smaller}
        folder = filled(place.folder_of(notelog()), run.events)
        progress("comparing what the plain loops do")
        timed(("-m", "bench.plain_check", str(folder)), run.events)
        turns = by_size[run.events] = maintenance(work_of(folder, run.events), run)
        with notelog().start(folder, ()) as server:
            wait_ready(server, caught_up=True)
            alone, beside = under_load(server, run)
    targets = [
        Target(what, ratio(turns[mine], turns[PLAIN[mine]], "events_per_s"), limit, at_least=True)
        for what, mine, limit in TARGETS
    ]
    targets.append(Target("POST's p99 while streaming ÷ alone", ratio(beside, alone, "p99_ms"), P99_TARGET))
    how = f"{len(turns['rebuild'])} rounds, each over all of the log; POST: {run.how}"
    tables = [speeds(turns), durations(by_size), latencies(alone, beside)]
    remarks = [f"{number(run.events)} events.", *REMARKS]
    return Report("audit", "Maintenance of a large log", tables, targets, remarks, how)


def filled(folder: Path, events: int) -> Path:
    """A log with its tables and its ledger."""
    progress("filling")
    fill(folder, events)
    progress("building the tables and the ledger")
    timed(("-m", "service", "rebuild", "--data", str(folder)), events)
    with notelog().start(folder, ()) as server:
        wait_ready(server, caught_up=True)
    return folder


def maintenance_of_smaller(folder: Path, events: int, run: Run) -> Turns:
    """Each thing in turn on a smaller log."""
    works = work_of(filled(folder, events), events)
    return maintenance({name: works[name] for name in PLAIN}, run)


def maintenance(works: dict[str, Work], run: Run) -> Turns:
    """Each thing in turn, again and again."""
    turns: Turns = {name: [] for name in works}
    for round_ in range(min(run.rounds, ROUNDS_MAX)):
        for name, work in works.items():
            progress(f"{name}, round {round_ + 1}")
            turns[name].append(work())
    return turns


def work_of(folder: Path, events: int) -> dict[str, Work]:
    """What is timed, in the order in which turns are taken: each thing and its plain loop."""

    def command(*argv: str) -> Work:
        return partial(timed, ("-m", *argv), events)

    return {
        "rebuild": command("service", "rebuild", "--data", str(folder)),
        "plain rebuild": command("bench.plain_loops", "rebuild", str(folder)),
        "verify": command("service", "verify", "--data", str(folder)),
        "verify, records alone": command("bench.verify_records", str(folder)),
        "plain verify": command("bench.plain_verify", str(folder)),
        "plain leaves": command("bench.plain_loops", "leaves", str(folder)),
        "NDJSON": partial(read_by_one, folder, events),
        "plain print": command("bench.plain_loops", "print", str(folder)),
        "export": command("service", "export", "--data", str(folder)),
    }


def read_by_one(folder: Path, events: int) -> Turn:
    """The stream of all events of a server that does nothing else."""
    with notelog().start(folder, ()) as server:
        wait_ready(server, caught_up=True)
        return streamed(server, events)


def under_load(server: Server, run: Run) -> tuple[list[Sample], list[Sample]]:
    """POST alone and POST while somebody streams again and again, in turns."""
    alone: list[Sample] = []
    beside: list[Sample] = []
    sample(server, NOTES.create, CLIENTS, 1)
    for round_ in range(run.rounds):
        progress(f"POST beside the stream, round {round_ + 1}")
        alone.append(sample(server, NOTES.create, CLIENTS, run.seconds))
        with streaming(server):
            beside.append(sample(server, NOTES.create, CLIENTS, run.seconds))
    return alone, beside


def speeds(turns: Turns) -> Table:
    """A row for each thing and each plain loop."""
    rows = []
    for name, taken in turns.items():
        share = str(ratio(taken, turns[PLAIN[name]], "events_per_s")) if name in PLAIN else "–"
        rows.append([name, str(spread_of(taken, "events_per_s")), share, str(spread_of(taken, "memory_mib"))])
    return Table(["", "events/s", "÷ plain loop", "MiB of memory"], rows)


def durations(by_size: dict[int, Turns]) -> Table:
    """A row for each thing, a column for each size of log."""
    rows = [[name, *(str(spread_of(turns[name], "seconds")) for turns in by_size.values())] for name in PLAIN]
    return Table(["seconds", *(f"{number(events)} events" for events in by_size)], rows)


def latencies(alone: list[Sample], beside: list[Sample]) -> Table:
    """What who writes feels of who streams."""
    rows = [
        [name, *(str(spread_of(taken, figure)) for figure in ("requests_per_s", "p50_ms", "p99_ms"))]
        for name, taken in (("alone", alone), ("while all events are streamed", beside))
    ]
    return Table([f"POST at {CLIENTS} clients", "requests/s", "p50 ms", "p99 ms"], rows)
