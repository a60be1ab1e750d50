"""The simulated power cut itself: it must take what was not synced, and nothing else."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from .recording import (
    SECTOR_BYTES,
    Disk,
    Kind,
    Operation,
    build_recorder,
    cuts,
    read_journal,
    recorder_environment,
    whole,
)

pytestmark = pytest.mark.faults

# Says the time after every commit: what was said before a cut has to be there after it.
WRITER = """
import sqlite3, sys, time
log = sqlite3.connect(sys.argv[1] + "/events.db", isolation_level=None)
log.execute("PRAGMA journal_mode = WAL")
log.execute("PRAGMA synchronous = " + sys.argv[2])
log.execute("PRAGMA wal_autocheckpoint = 20")
log.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, text TEXT)")
for number in range(200):
    log.execute("INSERT INTO numbers VALUES (?, ?)", (number, "x" * 500))
    print(time.monotonic_ns())
"""


def operation(
    place: int, kind: Kind, path: str = "f", *, inode: int = 1, number: int = 0, data: bytes = b""
) -> Operation:
    return Operation(place, place, kind, inode, number, path, data)


def disk_after(*operations: Operation) -> Disk:
    disk = Disk()
    for each in operations:
        disk.do(each)
    return disk


CREATED = operation(0, Kind.CREATE)
WRITTEN = operation(1, Kind.WRITE, data=b"old")
SYNCED = operation(2, Kind.SYNC, number=2)


def test_what_was_synced_survives_every_loss() -> None:
    """A synced write and the name of its file are there, whatever else is lost."""
    disk = disk_after(CREATED, WRITTEN, SYNCED, operation(3, Kind.WRITE, data=b"new"))
    for loss in ("all", "none", "later ones", "some", "sectors"):
        assert disk.after_cut(loss, random.Random(1))["f"] in (b"old", b"new")
    assert disk.after_cut("all", random.Random(1)) == {"f": b"old"}


def test_an_fsync_covers_only_what_was_written_before_it_began() -> None:
    """A write that was made while the fsync ran is not covered by it."""
    late = operation(2, Kind.WRITE, number=3, data=b"+")
    disk = disk_after(CREATED, WRITTEN, late, operation(3, Kind.SYNC, number=2))
    assert disk.after_cut("all", random.Random(1)) == {"f": b"old"}


def test_a_later_write_may_survive_an_earlier_one() -> None:
    """Of the writes that were not synced any part may be there, with zeros where a lost one was."""
    halves = [operation(3, Kind.WRITE, number=0, data=b"a" * 8), operation(4, Kind.WRITE, number=8, data=b"b" * 8)]
    disk = disk_after(CREATED, operation(2, Kind.SYNC, number=2), *halves)
    found = {disk.after_cut("some", random.Random(seed))["f"] for seed in range(50)}
    assert found == {b"", b"a" * 8, b"\0" * 8 + b"b" * 8, b"a" * 8 + b"b" * 8}


def test_a_write_may_be_torn_at_sectors() -> None:
    """A torn write leaves each of its sectors new or old, never a mixture."""
    torn = operation(3, Kind.WRITE, data=b"n" * 3 * SECTOR_BYTES)
    disk = disk_after(CREATED, operation(1, Kind.WRITE, data=b"o" * 3 * SECTOR_BYTES), SYNCED, torn)
    found = {disk.after_cut("sectors", random.Random(seed))["f"] for seed in range(100)}
    sectors = {content[at : at + SECTOR_BYTES] for content in found for at in range(0, len(content), SECTOR_BYTES)}
    assert sectors == {b"n" * SECTOR_BYTES, b"o" * SECTOR_BYTES}
    assert len(found) == 8


def test_names_are_lost_until_they_are_synced() -> None:
    """A file that was renamed or removed is found under its old name until the folder was synced."""
    change = [operation(3, Kind.RENAME, data=b"g"), operation(4, Kind.CREATE, inode=2), operation(5, Kind.UNLINK)]
    disk = disk_after(CREATED, WRITTEN, SYNCED, *change)
    assert disk.after_cut("all", random.Random(1)) == {"f": b"old"}
    assert disk.after_cut("none", random.Random(1)) == {"g": b"old"}
    disk.do(operation(6, Kind.SYNC, path="", number=6))
    assert disk.after_cut("all", random.Random(1)) == {"g": b"old"}


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_a_writer_that_does_not_sync_is_caught(tmp_path: Path, synchronous: str) -> None:
    """The same commits lose nothing with synchronous=FULL, and are seen to lose something without it."""
    answers, operations = recorded_writer(tmp_path, synchronous)
    lost = 0
    for number, cut in enumerate(cuts(operations, 100, random.Random(7))):
        folder = tmp_path / f"cut-{number}"
        cut.restore(folder)
        lost += count(folder) < sum(at_ns < cut.at_ns for at_ns in answers)
    assert (lost > 0) == (synchronous == "NORMAL")


def recorded_writer(tmp_path: Path, synchronous: str) -> tuple[list[int], list[Operation]]:
    """Run the writer under the recorder: the times of its commits, and the journal."""
    data = tmp_path / "data"
    data.mkdir()
    environment = os.environ | recorder_environment(build_recorder(tmp_path), data, tmp_path / "journal")
    began_ns = time.monotonic_ns()
    said = subprocess.run(
        [sys.executable, "-c", WRITER, str(data), synchronous],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    answers = [int(line) for line in said.stdout.split()]
    assert answers[0] > began_ns, "the clock of the writer is not ours"
    operations = read_journal(tmp_path / "journal")
    assert whole(operations) == {"events.db": (data / "events.db").read_bytes()}
    return answers, operations


def count(folder: Path) -> int:
    """The rows of a restored folder; none when it was cut off at its birth."""
    with closing(sqlite3.connect(folder / "events.db")) as log:
        if not log.execute("SELECT 1 FROM sqlite_master").fetchall():
            return 0
        return int(log.execute("SELECT count(*) FROM numbers").fetchone()[0])
