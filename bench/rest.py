"""HTTP: durable creates, reads by id, lists and edits, side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from bench.contender import Contender, crud, pocketbase, tutorial
from bench.figures import Sample, ratio, spread, spread_of
from bench.load import drive, sample
from bench.report import Report, Table, Target
from bench.server import Server
from bench.stage import Run, Stage, stage

NOTES = 1000
WARM_UP_S = 1
BARE, NOTELOG, CRUD, POCKETBASE = "bare aiohttp", "notelog", "plain CRUD", "PocketBase"
EXCEPT_TUTORIAL = (BARE, NOTELOG, CRUD, POCKETBASE)
LOOP_S_EXTRA = 10.0
ANSWER_PATH = "CPU of the event loop's thread, durable POST, 64 clients"
ROUNDS_OF_OTHER_CROWDS_MAX = 3
COLUMNS = (
    ("requests/s", "requests_per_s"),
    ("CPU µs/request", "cpu_us"),
    ("of it event loop", "loop_us"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("memory MiB", "memory_mib"),
    ("wrk's CPU share", "wrk_share"),
)
Samples = dict[str, list[Sample]]


def create(run: Run) -> Report:
    """POST /notes at 1, 8 and 64 clients."""
    with stage() as place:
        place.start_with_limit(NOTES, crud(), pocketbase(), tutorial(100))
        most = measure(place, run, "create", 64)
        some = measure(place, run, "create", 8, EXCEPT_TUTORIAL)
        alone, loop_ms = beside_sqlite_loop(place, run)
        tables = [table(most, "64 clients"), table(some, "8 clients"), table(alone, "1 client")]
        targets = [
            *cpu_target(most, "CPU of a durable POST, 64 clients", BARE, 2.0),
            *cpu_target(most, "CPU of a durable POST, 64 clients", POCKETBASE, 0.33),
            *rate_target(most, "durable POST/s, 64 clients", CRUD, 5.0),
            *rate_target(most, "durable POST/s, 64 clients", POCKETBASE, 2.5, hoped_for=True),
            *loop_target(most),
            *alone_target(alone, loop_ms),
        ]
        remarks = [
            f"A plain sqlite3 loop, one row, one transaction, one fsync: {spread(loop_ms)} ms (median of each round).",
            "The tutorial's POST answers the whole collection (100 notes at its start, more with each request).",
            "PocketBase does not fsync each commit; it uses both cores.",
            "The event loop's thread is the answer path but for the log's own thread.",
        ]
        return Report("create", "Durable POST", tables, targets, remarks, run.how, place.not_measured)


def keyed(run: Run) -> Report:
    """POST /notes with an Idempotency-Key, beside the same without."""
    with stage() as place:
        place.start_with_limit(0)
        plain: Samples = {}
        with_key: Samples = {}
        warm_up(place, "create", 64)
        for _ in range(run.rounds):
            merge(plain, turns(place, once(run), "create", 64))
            merge(with_key, turns(place, once(run), "create", 64, (NOTELOG,), with_key=True))
        samples = plain | {f"{name}, with a key": taken for name, taken in with_key.items()}
        dearer = ratio(with_key[NOTELOG], plain[NOTELOG], "cpu_us")
        targets = [Target("CPU of a POST with an Idempotency-Key ÷ without", dearer, 1.3)]
        tables = [table(samples, "64 clients")]
        return Report("keyed", "Durable POST with an Idempotency-Key", tables, targets, [], run.how, place.not_measured)


def read(run: Run) -> Report:
    """GET /notes/{id}, uniform over 1,000 notes, 64 clients; `growth` has the targets, over a million."""
    return single(run, "read", "GET by id, uniform over 1,000 notes", ())


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
    """All requests at 256 clients."""
    return all_at(run, "many", "256 clients", 256, ("create", "read", "list", "edit", "mixed"))


def one(run: Run) -> Report:
    """One client alone; its POST is in `create`."""
    return all_at(run, "one", "1 client", 1, ("read", "list", "edit", "mixed"))


def all_at(run: Run, name: str, title: str, clients: int, operations: Sequence[str]) -> Report:
    """Several requests at another number of clients, by fewer contenders in fewer rounds than at 64."""
    fewer = Run(run.seconds, min(run.rounds, ROUNDS_OF_OTHER_CROWDS_MAX))
    with stage() as place:
        place.start_with_limit(NOTES, pocketbase())
        tables = [table(measure(place, fewer, each, clients), f"{each}, {title}") for each in operations]
        return Report(name, title, tables, [], [], fewer.how, place.not_measured)


def single(run: Run, operation: str, title: str, limits: Sequence[tuple[str, float]]) -> Report:
    """One request at 64 clients, by all contenders, on 1,000 notes."""
    with stage() as place:
        place.start_with_limit(NOTES, crud(), pocketbase(), tutorial(NOTES))
        samples = measure(place, run, operation, 64)
        what = f"CPU of {title}, 64 clients"
        targets = [target for other, limit in limits for target in cpu_target(samples, what, other, limit)]
        remarks = ["The tutorial's list is the whole collection: 1,000 notes."] if operation == "list" else []
        return Report(operation, title, [table(samples, "64 clients")], targets, remarks, run.how, place.not_measured)


def measure(place: Stage, run: Run, operation: str, clients: int, names: Sequence[str] = ()) -> Samples:
    """One request by the named contenders in turn, each warmed up once."""
    warm_up(place, operation, clients, names)
    return turns(place, run, operation, clients, names)


def warm_up(place: Stage, operation: str, clients: int, names: Sequence[str] = ()) -> None:
    """A short load of each that is not counted."""
    for contender, server in place.chosen(names):
        drive(server, getattr(contender.requests, operation), clients, WARM_UP_S, NOTES)


def turns(
    place: Stage, run: Run, operation: str, clients: int, names: Sequence[str] = (), with_key: bool = False
) -> Samples:
    """One request by the named contenders in turn."""

    def turn(contender: Contender, server: Server) -> Sample:
        return sample(server, getattr(contender.requests, operation), clients, run.seconds, NOTES, with_key)

    return place.turns(run.rounds, turn, names)


def once(run: Run) -> Run:
    """A single round of it."""
    return Run(run.seconds, 1, run.events)


def beside_sqlite_loop(place: Stage, run: Run) -> tuple[Samples, list[float]]:
    """One client's POST, and in each round the median of a plain sqlite3 transaction too."""
    alone: Samples = {}
    loop_ms = []
    warm_up(place, "create", 1, EXCEPT_TUTORIAL)
    for _ in range(run.rounds):
        merge(alone, turns(place, once(run), "create", 1, EXCEPT_TUTORIAL))
        loop_ms.append(sqlite_loop(place, run))
    return alone, loop_ms


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
    return [name, *(cell(taken, figure) for _, figure in COLUMNS), str(ratio(taken, beside, "cpu_us"))]


def cell(taken: Sequence[Sample], figure: str) -> str:
    """A figure's spread; a dash for what a contender does not have."""
    return "–" if getattr(taken[0], figure) is None else str(spread_of(taken, figure))


def cpu_target(samples: Samples, what: str, other: str, limit: float) -> list[Target]:
    """notelog's CPU over another's, at most so much; nothing when the other did not run."""
    if other not in samples:
        return []
    return [Target(f"{what} ÷ {other}", ratio(samples[NOTELOG], samples[other], "cpu_us"), limit)]


def loop_target(samples: Samples) -> list[Target]:
    """The answer path: what the event loop takes, over the bare handler's, which has nothing but its event loop."""
    return [Target(f"{ANSWER_PATH} ÷ {BARE}", ratio(samples[NOTELOG], samples[BARE], "loop_us"), 1.6)]


def alone_target(alone: Samples, loop_ms: Sequence[float]) -> list[Target]:
    """One client's median over what it cannot do without: one transaction and one bare request."""
    floors = [commit + bare.p50_ms for commit, bare in zip(loop_ms, alone[BARE], strict=True)]
    reached = spread([mine.p50_ms / floor for mine, floor in zip(alone[NOTELOG], floors, strict=True)])
    return [Target("median of a durable POST, 1 client ÷ (sqlite3 transaction + bare request)", reached, 2.0)]


def sqlite_loop(place: Stage, run: Run) -> float:
    """The median of a plain sqlite3 transaction, in milliseconds, on the same file system."""
    argv = [sys.executable, "-m", "bench.contenders.sqlite_loop", str(run.seconds), str(place.folder)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=run.seconds + LOOP_S_EXTRA)
    return float(json.loads(done.stdout)["p50_ms"])


def rate_target(samples: Samples, what: str, other: str, limit: float, hoped_for: bool = False) -> list[Target]:
    """notelog's requests/s over another's, at least so much."""
    if other not in samples:
        return []
    reached = ratio(samples[NOTELOG], samples[other], "requests_per_s")
    return [Target(f"{what} ÷ {other}", reached, limit, at_least=True, hoped_for=hoped_for)]
