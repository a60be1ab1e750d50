"""Does it stay fast? A log of a million events beside smaller ones, two of them equal.

What two equal runs differ by is noise; what the large one differs by beyond that is growth.
"""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

from bench.answers import connect
from bench.contender import NOTES, Contender, notelog
from bench.figures import Sample, Spread, ratio, spread
from bench.load import drive, sample
from bench.report import Report, Table, Target
from bench.rest import COLUMNS, WARM_UP_S, Samples, row
from bench.seed import fill
from bench.server import MIB, POLL_S, READY_S_MAX, Server
from bench.stage import Run, Stage, progress, stage

SMALL_EVENTS, MEDIUM_EVENTS = 1000, 100_000
SMALL, AGAIN, MEDIUM, LARGE = "1,000 events", "1,000 events again", "100,000 events", "large"
OPERATIONS = {
    "create": "POST",
    "keyed": "POST with an Idempotency-Key",
    "edit": "PUT",
    "read": "GET by id",
    "list": "list of 100",
}
ALLOWED = 0.15  # plus twice the spread of two equal runs
READY_S_TARGET = 1.5
MEMORY_MIB_TARGET = 150.0
CRASHES = 3
CAUGHT_UP_S_MAX = 900.0  # all tables of a million events, full text too, on a busy machine


def growth(run: Run) -> Report:
    """All operations on a small, an equal, a larger and a large log."""
    if reason := notelog().missing:
        return Report("growth", "A large log beside a small one", [], [], [f"Left out: {reason}."])
    with stage() as place:
        notes = prepare(place, run.events)
        taken = {operation: turns(place, run, operation, notes) for operation in OPERATIONS}
        tables = [table(OPERATIONS[operation], samples) for operation, samples in taken.items()]
        targets = [growth_target(operation, samples) for operation, samples in taken.items()]
        dearer = ratio(taken["keyed"][LARGE], taken["create"][LARGE], "cpu_us")
        targets.append(Target("CPU of a POST with an Idempotency-Key ÷ without, large", dearer, 1.3))
        ready, memory = crash(place)
        targets += [
            Target(f"seconds from start to ready after a SIGKILL, {run.events:,} events", ready, READY_S_TARGET),
            Target(f"MiB of memory, {run.events:,} events, after the load", memory, MEMORY_MIB_TARGET),
        ]
        sizes = ", ".join(f"{file.name} {file.stat().st_size / MIB:,.0f} MiB" for file in databases(place))
        remarks = [f"large: {run.events:,} events, {notes[LARGE]:,} notes at the start; {sizes}."]
        return Report("growth", "A large log beside a small one", tables, targets, remarks)


def prepare(place: Stage, events: int) -> dict[str, int]:
    """Fills the three folders and starts notelog on each; how many notes each one holds."""
    notes = {}
    sizes = {SMALL: SMALL_EVENTS, AGAIN: SMALL_EVENTS, MEDIUM: min(MEDIUM_EVENTS, events), LARGE: events}
    for name, size in sizes.items():
        progress(f"filling: {name}")
        contender = named(name)
        notes[name] = fill(place.folder_of(contender), size)
        server = place.start(contender)
        assert server
        wait_ready(server, caught_up=True)
    return notes


def named(name: str) -> Contender:
    """notelog under another name, on a folder that is filled already."""
    service = notelog()
    return Contender(name, service.start, lambda server, notes: None, service.requests)


def turns(place: Stage, run: Run, operation: str, notes: dict[str, int]) -> Samples:
    """One operation at 64 clients, on each log in turn."""

    def turn(seconds: int, contender: Contender, server: Server) -> Sample:
        keyed = operation == "keyed"
        request = getattr(NOTES, "create" if keyed else operation)
        return sample(server, request, 64, seconds, notes[contender.name], keyed)

    place.turns(1, lambda contender, server: turn(WARM_UP_S, contender, server))
    return place.turns(run.rounds, lambda contender, server: turn(run.seconds, contender, server))


def growth_target(operation: str, samples: Samples) -> Target:
    """The large log's CPU beside the small one's, at most 1.15 and twice what two equal ones differ by."""
    noise = abs(ratio(samples[AGAIN], samples[SMALL], "cpu_us").median - 1)
    reached = ratio(samples[LARGE], samples[SMALL], "cpu_us")
    what = f"CPU of {OPERATIONS[operation]}, large ÷ small (two equal ones differ by {noise:.1%})"
    return Target(what, reached, 1 + ALLOWED + 2 * noise)


def crash(place: Stage, name: str = LARGE) -> tuple[Spread, Spread]:
    """Kills one of them while it writes, and starts it again: seconds to ready, and the most memory that it took."""
    contender, server = place.servers[name]
    ready, memory = [], []
    for number in range(CRASHES):
        progress(f"crash {number + 1} of {CRASHES}")
        drive(server, NOTES.create, 64, 1)
        memory.append(server.memory_bytes() / MIB)
        server.kill()
        began = time.monotonic()
        server = place.start(contender) or server
        wait_ready(server)
        ready.append(time.monotonic() - began)
    return spread(ready), spread([max(memory)])


def wait_ready(server: Server, caught_up: bool = False) -> None:
    """Returns when `/readyz` says 200, and, if asked, no projection has anything left to do."""
    ready_s_max = CAUGHT_UP_S_MAX if caught_up else READY_S_MAX
    deadline = time.monotonic() + ready_s_max
    while time.monotonic() < deadline:
        if is_ready(server, caught_up):
            return
        time.sleep(POLL_S)
    raise server.failed(f"expected it to be ready within {ready_s_max:.0f} s")


def is_ready(server: Server, caught_up: bool) -> bool:
    """What `/readyz` says now."""
    connection = connect(server)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        projections = json.loads(response.read()).get("projections", {})
        return response.status == 200 and not (caught_up and any(state["lag"] for state in projections.values()))
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def databases(place: Stage) -> list[Path]:
    """The database files of the large log."""
    return sorted(place.folder_of(named(LARGE)).glob("*.db"))


def table(title: str, samples: Samples) -> Table:
    """A row a log; the last column is its CPU beside the small one's."""
    return Table(
        [title, *(column for column, _ in COLUMNS), "CPU ÷ small"],
        [row(name, taken, samples[SMALL]) for name, taken in samples.items()],
    )
