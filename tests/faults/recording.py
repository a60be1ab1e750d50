"""Power loss, simulated: the recorded writes of a folder, cut off anywhere, and what a disk may then hold.

A disk owes us only what was synced. Of the rest any part may be there: a later write without an earlier one, and of
one write some sectors without the others. Killing the process shows none of this, because the kernel keeps every
write of a dead process; cutting a real machine's power shows one case an hour. So `recorder.c` writes down each write
and each fsync with its time, and here the folder is rebuilt as it could be after a cut at any place between them.

The model: an fsync of a file keeps the writes that were made before it began, and the name of that file (as ext4 and
xfs do); an fsync of the folder keeps all names. Names change in order (the file system's own journal); data does not.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from pathlib import Path

from tests.tools import need

SECTOR_BYTES = 512  # the least that a disk writes whole
HEADER = struct.Struct("=QQQIIQ")  # as in recorder.c
LOSSES = ("all", "none", "later ones", "some", "sectors")  # what a cut takes of the writes that were not synced


class Kind(IntEnum):
    """What was done; the numbers of recorder.c."""

    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    UNLINK = 5
    RENAME = 6


@dataclass(frozen=True)
class Operation:
    """One entry of the journal; `place` is where it begins."""

    place: int
    at_ns: int
    kind: Kind
    inode: int
    number: int  # offset of a write, size of a truncation, the journal's length when an fsync began
    path: str
    data: bytes


def build_recorder(folder: Path) -> Path:
    """The library to preload. Where there is no compiler: tests/tools.py."""
    need("gcc")
    library = folder / "recorder.so"
    subprocess.run(
        [
            "gcc",
            "-O2",
            "-shared",
            "-fPIC",
            "-o",
            str(library),
            str(Path(__file__).with_name("recorder.c")),
            "-lpthread",
        ],
        check=True,
    )
    return library


def recorder_environment(library: Path, data: Path, journal: Path) -> dict[str, str]:
    """What a process needs to write down what it does to `data`, which must exist."""
    return {"LD_PRELOAD": str(library), "RECORDER_FOLDER": str(data), "RECORDER_JOURNAL": str(journal)}


def read_journal(journal: Path) -> list[Operation]:
    """The whole journal. An entry that the kill of the process cut off is not there."""
    content = memoryview(journal.read_bytes())
    operations, place = [], 0
    while place + HEADER.size <= len(content):
        at_ns, inode, number, kind, path_bytes, data_bytes = HEADER.unpack_from(content, place)
        path_at = place + HEADER.size
        data_at, end = path_at + path_bytes, path_at + path_bytes + data_bytes
        if end > len(content):
            break
        path = bytes(content[path_at:data_at]).decode()
        operations.append(Operation(place, at_ns, Kind(kind), inode, number, path, bytes(content[data_at:end])))
        place = end
    return operations


@dataclass
class File:
    """A file's content on the disk, and the writes after it that are not synced yet."""

    stable: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)

    def sync(self, covered: int) -> None:
        """Keep what was written before that place of the journal."""
        for operation in self.pending:
            if operation.place < covered:
                apply(self.stable, operation)
        self.pending = [operation for operation in self.pending if operation.place >= covered]

    def after_cut(self, loss: str, dice: random.Random) -> bytearray:
        """The content when a power cut takes its share of the pending writes."""
        content = bytearray(self.stable)
        kept = len(self.pending) if loss != "later ones" else dice.randint(0, len(self.pending))
        for operation in self.pending[:kept]:
            if loss in ("none", "later ones") or (loss != "all" and dice.random() < 0.5):
                apply(content, operation)
            elif loss == "sectors":
                apply_sectors(content, operation, dice)
        return content


def apply(content: bytearray, operation: Operation) -> None:
    """Do to the content what the operation did to the file."""
    end = operation.number + len(operation.data)
    if len(content) < end or (operation.kind is Kind.TRUNCATE and len(content) < operation.number):
        content.extend(bytes(max(end, operation.number) - len(content)))
    if operation.kind is Kind.TRUNCATE:
        del content[operation.number :]
    else:
        content[operation.number : end] = operation.data


def apply_sectors(content: bytearray, operation: Operation, dice: random.Random) -> None:
    """A torn write: some of its sectors, the others as they were."""
    if operation.kind is not Kind.WRITE:
        return
    start, end = operation.number, operation.number + len(operation.data)
    edges = [start, *range(start - start % SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES), end]
    for left, right in pairwise(edges):
        if dice.random() < 0.5:
            piece = operation.data[left - start : right - start]
            apply(content, Operation(operation.place, 0, Kind.WRITE, operation.inode, left, "", piece))


class Disk:
    """What is on the disk for certain, and what is only on its way there, as the operations are done one by one."""

    def __init__(self) -> None:
        self._files: dict[int, File] = {}  # by inode; a number that is used again is another file
        self._names: dict[str, File] = {}  # as on the disk
        self._seen: dict[str, File] = {}  # as the running process sees them
        self._pending: list[tuple[Operation, File | None]] = []  # changes of names

    def do(self, operation: Operation) -> None:
        """Take in the next operation."""
        match operation.kind:
            case Kind.SYNC:
                self._sync(operation)
            case Kind.WRITE | Kind.TRUNCATE:
                self._files[operation.inode].pending.append(operation)
            case _:
                self._change_name(operation)

    def after_cut(self, loss: str, dice: random.Random) -> dict[str, bytes]:
        """The folder that may be found after a cut here: contents by path."""
        names = dict(self._names)
        kept = {"all": 0, "none": len(self._pending)}.get(loss, dice.randint(0, len(self._pending)))
        for operation, file in self._pending[:kept]:
            rename(names, operation, file)
        return {path: bytes(file.after_cut(loss, dice)) for path, file in names.items()}

    def _change_name(self, operation: Operation) -> None:
        file = None
        if operation.kind is Kind.CREATE:
            file = self._files[operation.inode] = File()
        elif operation.kind is Kind.RENAME:
            file = self._seen[operation.path]
        rename(self._seen, operation, file)
        self._pending.append((operation, file))

    def _sync(self, operation: Operation) -> None:
        if operation.path == "":
            self._sync_names(sum(change.place < operation.number for change, _ in self._pending))
            return
        file = self._files[operation.inode]
        file.sync(operation.number)
        own = [index for index, (change, of) in enumerate(self._pending) if of is file]
        self._sync_names(own[-1] + 1 if own else 0)

    def _sync_names(self, count: int) -> None:
        for operation, file in self._pending[:count]:
            rename(self._names, operation, file)
        del self._pending[:count]


def rename(names: dict[str, File], operation: Operation, file: File | None) -> None:
    """Do to the names what the operation did to the folder."""
    if operation.kind is not Kind.CREATE:
        names.pop(operation.path, None)
    if file is not None:
        names[operation.data.decode() if operation.kind is Kind.RENAME else operation.path] = file


@dataclass(frozen=True)
class Cut:
    """A folder after one power cut, and when that was."""

    at_ns: int
    place: str
    files: dict[str, bytes]

    def restore(self, folder: Path, prefix: str = "") -> None:
        """Write the files whose path begins so, as the cut left them."""
        folder.mkdir()
        for path, content in self.files.items():
            if path.startswith(prefix):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)


def cuts(operations: Sequence[Operation], count: int, dice: random.Random) -> Iterator[Cut]:
    """That many cuts at random places, in order, each with a random loss.

    A cut at an operation comes just before it: an answer that is older than the operation had reached its client.
    """
    disk, done = Disk(), 0
    for index in sorted(dice.randrange(len(operations)) for _ in range(count)):
        for operation in operations[done:index]:
            disk.do(operation)
        done, loss = index, dice.choice(LOSSES)
        yield Cut(
            operations[index].at_ns, f"operation {index} of {len(operations)}, lost: {loss}", disk.after_cut(loss, dice)
        )


def whole(operations: Sequence[Operation]) -> dict[str, bytes]:
    """The folder when nothing is lost: what the real one must look like, or the recorder missed something."""
    disk = Disk()
    for operation in operations:
        disk.do(operation)
    return disk.after_cut("none", random.Random(0))
