"""Does it stay fast? A log of a million notes beside smaller ones, two of them equal.

What two equal runs differ by is noise; what the large one differs by beyond that is growth. Reads come before writes,
and the small logs begin each round of writes anew, so that they are still small.
"""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from bench.client import ask, connect
from bench.contender import NOTES, Contender, bare, notelog, pocketbase
from bench.figures import Sample, Spread, ratio, spread
from bench.load import drive, sample
from bench.report import Report, Table, Target
from bench.rest import BARE, COLUMNS, POCKETBASE, WARM_UP_S, Samples, merge, row
from bench.seed import events_of, fill, fill_records
from bench.server import MIB, POLL_S, READY_S_MAX, Server
from bench.stage import Run, Stage, progress, stage

SMALL_NOTES, MEDIUM_NOTES = 1000, 100_000
SMALL, AGAIN, MEDIUM, LARGE = "1,000 notes", "1,000 notes again", "100,000 notes", "large"
LOGS = (SMALL, AGAIN, MEDIUM, LARGE)
CLIENTS = 64
READS = {"read": "GET by id", "list": "list of 100"}
WRITES = {"edit": "PUT", "create": "POST", "keyed": "POST with an Idempotency-Key"}
PEERS = ((BARE, 1.25), (POCKETBASE, 0.33))
ALLOWED = 0.15  # plus twice the spread of two equal runs
READY_S_TARGET = 1.5
MEMORY_MIB_TARGET = 150.0
CRASHES = 3
CAUGHT_UP_S_MAX = 900.0  # all tables of a million notes, full text too, on a busy machine


def growth(run: Run) -> Report:
    """All operations on a small, an equal, a larger and a large log; the reads by id beside others too."""
    with stage() as place:
        notes = prepare(place, run.events)
        start_peers(place, notes[LARGE])
        tables, targets = [], []
        for operation, title in READS.items():
            samples = reads(place, run, operation, notes)
            tables.append(table(title, samples, heads(place)))
            targets += [growth_target(title, samples), *peer_targets(title, samples, notes[LARGE])]
        for name in (BARE, POCKETBASE):
            place.stop(name)
        written, reached = writes(place, run, notes)
        for operation, title in WRITES.items():
            tables.append(table(title, written[operation], reached[operation]))
            targets.append(growth_target(title, written[operation]))
        dearer = ratio(written["keyed"][LARGE], written["create"][LARGE], "cpu_us")
        targets.append(Target(f"CPU of a POST with an Idempotency-Key ÷ without, {notes[LARGE]:,} notes", dearer, 1.3))
        begin_anew(place, SMALL)
        crashes = {name: crash(place, name) for name in (SMALL, MEDIUM, LARGE)}
        tables.append(crash_table(crashes))
        targets += crash_targets(*crashes[LARGE], notes[LARGE])
        sizes = ", ".join(f"{file.name} {file.stat().st_size / MIB:,.0f} MiB" for file in databases(place))
        remarks = [f"large: {notes[LARGE]:,} notes at the start, {events_of(notes[LARGE]):,} events; {sizes}."]
        title = "A large log beside a small one"
        return Report("growth", title, tables, targets, remarks, run.how, place.not_measured)


def prepare(place: Stage, largest: int) -> dict[str, int]:
    """Fills the folders and starts notelog on each; how many notes each one holds."""
    sizes = (SMALL_NOTES, SMALL_NOTES, min(MEDIUM_NOTES, largest), largest)
    notes = {}
    for name, size in zip(LOGS, sizes, strict=True):
        progress(f"filling: {name}")
        contender = named(name)
        notes[name] = fill(place.folder_of(contender), events_of(size))
        server = place.start(contender)
        wait_ready(server, caught_up=True)
        if name in (SMALL, AGAIN):
            place.stop(name)
            shutil.copytree(place.folder_of(contender), prepared(place, name))
            begin_anew(place, name)
    return notes


def named(name: str) -> Contender:
    """notelog under another name, on a folder that is filled already."""
    service = notelog()
    return Contender(name, service.start, lambda server, notes: None, service.requests)


def prepared(place: Stage, name: str) -> Path:
    """The copy of a small log as it was at first."""
    return place.folder / "prepared" / name


def begin_anew(place: Stage, name: str) -> None:
    """A small log as it was at first."""
    place.stop(name)
    folder = place.folder_of(named(name))
    shutil.rmtree(folder)
    shutil.copytree(prepared(place, name), folder)
    wait_ready(place.start(named(name)), caught_up=True)


def start_peers(place: Stage, notes: int) -> None:
    """The bare handler with the large log's answers, and PocketBase with as many notes."""
    place.start(bare(place.answers(place.server(LARGE))))
    peer = pocketbase()
    if place.is_installed(peer):
        progress(f"filling: {peer.name}")
        peer.start(place.folder_of(peer), ()).stop()
        fill_records(place.folder_of(peer), notes)
        place.start(peer)


def reads(place: Stage, run: Run, operation: str, notes: dict[str, int]) -> Samples:
    """One kind of read on each log in turn; by id, on the peers too."""
    names = (*LOGS, BARE, POCKETBASE) if operation == "read" else LOGS
    return turns(place, run.rounds, run.seconds, operation, notes, names)


def writes(place: Stage, run: Run, notes: dict[str, int]) -> tuple[dict[str, Samples], dict[str, dict[str, int]]]:
    """All kinds of writes on each log in turn, in the same rounds; and the logs' heads after each kind."""
    taken: dict[str, Samples] = {operation: {} for operation in WRITES}
    reached = {}
    for _ in range(run.rounds):
        for operation in WRITES:
            for name in (SMALL, AGAIN):
                begin_anew(place, name)
            merge(taken[operation], turns(place, 1, run.seconds, operation, notes, LOGS))
            reached[operation] = heads(place)
    return taken, reached


def turns(
    place: Stage, rounds: int, seconds: int, operation: str, notes: dict[str, int], names: Sequence[str]
) -> Samples:
    """One operation at 64 clients, on each of the named in turn, after a short load that is not counted."""

    def turn(contender: Contender, server: Server) -> Sample:
        request = getattr(contender.requests, "create" if operation == "keyed" else operation)
        held = notes.get(contender.name, notes[LARGE])
        drive(server, request, CLIENTS, WARM_UP_S, held, operation == "keyed")
        if operation in WRITES:
            server.settled()
        return sample(server, request, CLIENTS, seconds, held, operation == "keyed")

    return place.turns(rounds, turn, names)


def growth_target(title: str, samples: Samples) -> Target:
    """The large log's CPU beside the small one's, at most 1.15 and twice what two equal ones differ by."""
    noise = abs(ratio(samples[AGAIN], samples[SMALL], "cpu_us").median - 1)
    reached = ratio(samples[LARGE], samples[SMALL], "cpu_us")
    what = f"CPU of {title}, large ÷ small (two equal ones differ by {noise:.1%})"
    return Target(what, reached, 1 + ALLOWED + 2 * noise)


def peer_targets(title: str, samples: Samples, notes: int) -> list[Target]:
    """The large log's CPU beside that of the peers that were measured."""
    what = f"CPU of {title}, {CLIENTS} clients, uniform over {notes:,} notes"
    beside = [(peer, limit) for peer, limit in PEERS if peer in samples]
    return [Target(f"{what} ÷ {peer}", ratio(samples[LARGE], samples[peer], "cpu_us"), limit) for peer, limit in beside]


def crash(place: Stage, name: str) -> tuple[Spread, Spread]:
    """Kills one of them while it writes, and starts it again: seconds to ready, and the most memory that it took."""
    contender, server = place.servers[name]
    ready, memory = [], []
    for number in range(CRASHES):
        progress(f"crash {number + 1} of {CRASHES}")
        drive(server, NOTES.create, 64, 1)
        memory.append(server.memory_bytes() / MIB)
        server.kill()
        began = time.monotonic()
        server = place.start(contender)
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


def table(title: str, samples: Samples, heads: dict[str, int]) -> Table:
    """A row a contender, with its CPU beside the small log's, and how many events a log holds in the end."""
    ends = {name: f"{head:,}" for name, head in heads.items()}
    rows = [[*row(name, taken, samples[SMALL]), ends.get(name, "–")] for name, taken in samples.items()]
    return Table([title, *(column for column, _ in COLUMNS), "CPU ÷ small", "events at the end"], rows)


def heads(place: Stage) -> dict[str, int]:
    """How many events each log holds now."""
    return {name: int(ask(place.server(name), NOTES.list).headers["Notelog-Position"]) for name in LOGS}


def crash_table(crashes: dict[str, tuple[Spread, Spread]]) -> Table:
    """A row a log."""
    rows = [[name, str(ready), str(memory)] for name, (ready, memory) in crashes.items()]
    return Table(["SIGKILL under load", "s to ready", "MiB of memory after the load"], rows)


def crash_targets(ready: Spread, memory: Spread, notes: int) -> list[Target]:
    """Those of the large log."""
    return [
        Target(f"seconds from start to ready after a SIGKILL, {notes:,} notes", ready, READY_S_TARGET),
        Target(f"MiB of memory, {notes:,} notes, after the load", memory, MEMORY_MIB_TARGET),
    ]
