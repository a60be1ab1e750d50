"""A copy of a log that may be in use: consistent, because a log is right at each of its positions, and incremental,
because what was copied never changes. The copy is marked: its first start makes it another log.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import astuple

from events.batch import INSERT
from events.copies import is_copy
from events.errors import FolderError, NotelogError
from events.record import RecordedEvent, leaf_hash
from events.store import create_log, select_head, select_page

# One transaction of a copy: short for whoever writes the log meanwhile, cheap for the disk.
PAGE_RECORDS = 1000


class Copied(Struct, frozen=True):
    """What a backup did. ``before``: how many events were there already; ``position``: how many there are now."""

    epoch: str
    before: int
    position: int


class NotACopy(FolderError):
    """Where the copy should go there is something else."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is no copy of this log: {why}; give another destination")


class CopyDiffers(NotelogError):
    """The copy and the log have another past. Both are kept: one of them was changed."""

    def __init__(self, position: int) -> None:
        super().__init__(f"event {position} is another one in the copy than in the log: one of them was changed")
        self.position = position


def copy_log(source: sqlite3.Connection, path: Path, progress: Callable[[int], None] = lambda position: None) -> Copied:
    """Bring the copy at ``path`` up to the log, making it if there is none. Killed at any moment, run it again.

    Raises ``NotACopy``, ``CopyDiffers``; ``sqlite3.Error`` when the log cannot be read.
    """
    meta = dict(source.execute("SELECT key, value FROM meta"))
    head = select_head(source)
    with closing(sqlite3.connect(path, isolation_level=None)) as target:
        with _blaming(path):
            before = _begin(target, path, meta)
        _require_same_past(source, target, path, before, head)
        after = before
        while after < head:
            page = select_page(source, after, head, PAGE_RECORDS)
            with _blaming(path):
                _append(target, page)
            after = page[-1].position
            progress(after)
        with _blaming(path):
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Copied(meta["epoch"], before, head)


def _begin(target: sqlite3.Connection, path: Path, meta: dict[str, str]) -> int:
    """Make the copy if there is none; the number of its events."""
    target.execute("PRAGMA journal_mode = WAL")
    target.execute("PRAGMA synchronous = FULL")
    if not target.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        # Marked before it has an event: a copy that was begun is never taken for the log itself.
        create_log(target, meta | {"copy": "true"})
        return 0
    found = dict(target.execute("SELECT key, value FROM meta"))
    if found.get("epoch") != meta["epoch"] or not is_copy(target):
        raise NotACopy(path, "it is another log, or was started since")
    return select_head(target)


def _require_same_past(
    source: sqlite3.Connection, target: sqlite3.Connection, path: Path, before: int, head: int
) -> None:
    if before > head:
        raise CopyDiffers(head + 1)
    if before:
        with _blaming(path):
            (copied,) = select_page(target, before - 1, before, 1)
        (original,) = select_page(source, before - 1, before, 1)
        if leaf_hash(copied) != leaf_hash(original):
            raise CopyDiffers(before)


@contextmanager
def _blaming(copy: Path) -> Iterator[None]:
    """What goes wrong here is the copy's; what goes wrong while the log is read is not."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise NotACopy(copy, str(error)) from error


def _append(target: sqlite3.Connection, page: list[RecordedEvent]) -> None:
    target.execute("BEGIN IMMEDIATE")
    target.executemany(INSERT, [astuple(record) for record in page])
    target.execute("COMMIT")
