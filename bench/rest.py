"""HTTP: durable creates, reads by id, lists and edits, side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from bench.contender import Contender, crud, pocketbase, tutorial
from bench.figures import Sample, ratio, spread, spread_of
from bench.load import sample
from bench.report import Report, Table, Target
from bench.server import Server
from bench.stage import Run, Stage, stage

NOTES = 1000
WARM_UP_S = 1
BARE, NOTELOG, CRUD, POCKETBASE = "bare aiohttp", "notelog", "plain CRUD", "PocketBase"
EXCEPT_TUTORIAL = (BARE, NOTELOG, CRUD, POCKETBASE)
LOOP_S_EXTRA = 10.0
MANY = ("create", "read")
COLUMNS = (
    ("requests/s", "requests_per_s"),
    ("CPU µs/request", "cpu_us"),
    ("of it first thread", "loop_us"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("memory MiB", "memory_mib"),
)
Samples = dict[str, list[Sample]]


def create(run: Run) -> Report:
    """POST /notes at 1, 8 and 64 clients."""
    with stage() as place:
        place.start_with_limit(NOTES, crud(), pocketbase(), tutorial(100))
        most = measure(place, run, "create", 64)
        some, alone = (measure(place, run, "create", clients, EXCEPT_TUTORIAL) for clients in (8, 1))
        loop_ms = [sqlite_loop(place, run) for _ in range(run.rounds)]
        tables = [table(most, "64 clients"), table(some, "8 clients"), table(alone, "1 client")]
        targets = [
            *cpu_target(most, "CPU of a durable POST, 64 clients", BARE, 2.0),
            *cpu_target(most, "CPU of a durable POST, 64 clients", POCKETBASE, 0.33),
            *rate_target(most, "durable POST/s, 64 clients", CRUD, 5.0),
            *rate_target(most, "durable POST/s, 64 clients", POCKETBASE, 2.5),
            *alone_target(alone, loop_ms),
        ]
        remarks = [
            f"A plain sqlite3 loop, one row, one transaction, one fsync: {spread(loop_ms)} ms (median of each round).",
            "The tutorial's POST answers the whole collection (100 notes at its start, more with each request).",
            "PocketBase does not fsync each commit; it uses both cores.",
        ]
        return Report("create", "Durable POST", tables, targets, remarks, run.how, place.not_measured)


def keyed(run: Run) -> Report:
    """POST /notes with an Idempotency-Key, beside the same without."""
    with stage() as place:
        place.start_with_limit(0)
        plain: Samples = {}
        with_key: Samples = {}
        for _ in range(run.rounds):
            once = Run(run.seconds, 1)
            merge(plain, measure(place, once, "create", 64))
            merge(with_key, measure(place, once, "create", 64, (NOTELOG,), with_key=True))
        samples = plain | {f"{name}, with a key": taken for name, taken in with_key.items()}
        targets = []
        if NOTELOG in plain:
            dearer = ratio(with_key[NOTELOG], plain[NOTELOG], "cpu_us")
            targets = [Target("CPU of a POST with an Idempotency-Key ÷ without", dearer, 1.3)]
        tables = [table(samples, "64 clients")]
        return Report("keyed", "Durable POST with an Idempotency-Key", tables, targets, [], run.how, place.not_measured)


def read(run: Run) -> Report:
    """GET /notes/{id}, uniform over 1,000 notes, 64 clients."""
    limits = ((BARE, 1.25), (POCKETBASE, 0.33))
    return single(run, "read", "GET by id", limits)


def listing(run: Run) -> Report:
    """GET /notes?limit=100, 64 clients."""
    return single(run, "list", "List of 100", ((POCKETBASE, 0.33),))


def edit(run: Run) -> Report:
    """PUT /notes/{id}, uniform over 1,000 notes, 64 clients."""
    return single(run, "edit", "Durable PUT", ())


def mixed(run: Run) -> Report:
    """80 reads by id and 20 edits in a hundred, 64 clients."""
    return single(run, "mixed", "Mixed: 80 % GET by id, 20 % durable PUT", ())


def many(run: Run) -> Report:
    """POST /notes and GET /notes/{id} at 256 clients."""
    with stage() as place:
        place.start_with_limit(NOTES, crud(), pocketbase())
        tables = [table(measure(place, run, operation, 256), f"{operation}, 256 clients") for operation in MANY]
        return Report("many", "256 clients", tables, [], [], run.how, place.not_measured)


def single(run: Run, operation: str, title: str, limits: Sequence[tuple[str, float]]) -> Report:
    """One request at 64 clients, by all contenders, on 1,000 notes."""
    with stage() as place:
        place.start_with_limit(NOTES, crud(), pocketbase(), tutorial(NOTES))
        samples = measure(place, run, operation, 64)
        what = f"CPU of {title}, 64 clients"
        targets = [target for other, limit in limits for target in cpu_target(samples, what, other, limit)]
        remarks = ["The tutorial's list is the whole collection: 1,000 notes."] if operation == "list" else []
        return Report(operation, title, [table(samples, "64 clients")], targets, remarks, run.how, place.not_measured)


def measure(
    place: Stage, run: Run, operation: str, clients: int, names: Sequence[str] = (), with_key: bool = False
) -> Samples:
    """One request by the named contenders in turn, each warmed up once."""

    def turn(seconds: int, contender: Contender, server: Server) -> Sample:
        return sample(server, getattr(contender.requests, operation), clients, seconds, NOTES, with_key)

    place.turns(1, lambda contender, server: turn(WARM_UP_S, contender, server), names)
    return place.turns(run.rounds, lambda contender, server: turn(run.seconds, contender, server), names)


def merge(into: Samples, more: Samples) -> None:
    """Adds the samples of a further round."""
    for name, samples in more.items():
        into.setdefault(name, []).extend(samples)


def table(samples: Samples, title: str) -> Table:
    """A row a contender; the last column is its CPU beside the bare handler's."""
    rows = [row(name, taken, samples[BARE]) for name, taken in samples.items()]
    return Table([title, *(column for column, _ in COLUMNS), "CPU ÷ bare"], rows)


def row(name: str, taken: Sequence[Sample], beside: Sequence[Sample]) -> list[str]:
    """One contender's figures, and its CPU over another's."""
    return [name, *(str(spread_of(taken, figure)) for _, figure in COLUMNS), str(ratio(taken, beside, "cpu_us"))]


def cpu_target(samples: Samples, what: str, other: str, limit: float) -> list[Target]:
    """notelog's CPU over another's, at most so much; nothing when one of them did not run."""
    if NOTELOG not in samples or other not in samples:
        return []
    return [Target(f"{what} ÷ {other}", ratio(samples[NOTELOG], samples[other], "cpu_us"), limit)]


def alone_target(alone: Samples, loop_ms: Sequence[float]) -> list[Target]:
    """One client's median over what it cannot do without: one transaction and one bare request."""
    if NOTELOG not in alone:
        return []
    floors = [commit + bare.p50_ms for commit, bare in zip(loop_ms, alone[BARE], strict=True)]
    reached = spread([mine.p50_ms / floor for mine, floor in zip(alone[NOTELOG], floors, strict=True)])
    return [Target("median of a durable POST, 1 client ÷ (sqlite3 transaction + bare request)", reached, 2.0)]


def sqlite_loop(place: Stage, run: Run) -> float:
    """The median of a plain sqlite3 transaction, in milliseconds, on the same file system."""
    argv = [sys.executable, "-m", "bench.contenders.sqlite_loop", str(run.seconds), str(place.folder)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=run.seconds + LOOP_S_EXTRA)
    return float(json.loads(done.stdout)["p50_ms"])


def rate_target(samples: Samples, what: str, other: str, limit: float) -> list[Target]:
    """notelog's requests/s over another's, at least so much."""
    if NOTELOG not in samples or other not in samples:
        return []
    reached = ratio(samples[NOTELOG], samples[other], "requests_per_s")
    return [Target(f"{what} ÷ {other}", reached, limit, at_least=True)]
