"""Build the tables anew from the log, without the service: beside the old ones, then in their place.

It can be killed at any moment and simply run again. What is built lies in a file of its own until it is whole and on
disk; between the removal of the old file and the renaming of the new one there is none, which the service takes for a
file that has to be built.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from events.errors import FolderError
from events.folder import reading_uri, sync
from events.log import PAGE_EVENTS_MAX
from events.record import RecordedEvent, leaf_hash
from events.store import require_ours, select_head, select_page, unusable
from projections.notes import Notes
from projections.projection import Projection
from projections.search import Search
from projections.tables import CHECKPOINTS, Checkpoint, discard, insert_checkpoint
from projections.versions import Versions

# Larger than a running service's: nobody else is there, and indexes are made by sorting in it.
CACHE_KIB = 64 * 1024
SUFFIX = ".new"


class Built(Struct, frozen=True):
    """What was built: of which log, and up to which position."""

    epoch: str
    position: int


def of_notes() -> list[Projection[Any]]:
    """The projections in ``notes.db``."""
    return [Notes(), Versions(), Search()]


def rebuild(
    log: Path,
    tables: Path,
    projections: Sequence[Projection[Any]],
    *,
    up_to: int | None = None,
    page_events: int = PAGE_EVENTS_MAX,
    progress: Callable[[int], None] = lambda position: None,
) -> Built:
    """Build the file of the projections from the log's first ``up_to`` events (None: all) and put it in its place.

    Raises ``EventError`` at an event that cannot be understood; the old file is then left as it was.
    """
    beside = tables.with_name(tables.name + SUFFIX)
    discard(beside)
    source = open_log_file(log)
    try:
        built = _build(source, beside, projections, up_to=up_to, page_events=page_events, progress=progress)
    except BaseException:
        discard(beside)
        raise
    finally:
        source.close()
    swap(beside, tables)
    return built


def open_log_file(path: Path) -> sqlite3.Connection:
    """A connection that can only read the log. Raises ``FolderError`` where this version can read none."""
    connection = open_any_file(path)
    try:
        require_ours(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_any_file(path: Path) -> sqlite3.Connection:
    """The same for a file that may be anything."""
    if not path.exists():
        raise FolderError(f"there is no log at {path}")
    try:
        connection = sqlite3.connect(reading_uri(path), uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    connection.execute("PRAGMA query_only = ON")
    return connection


def select_epoch(connection: sqlite3.Connection) -> str:
    """The log's epoch. Raises ``FolderError`` for a file that is none of ours."""
    try:
        return str(connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
    except (sqlite3.Error, TypeError) as error:
        raise FolderError(f"this is not a log of notelog: {error}") from error


def pages(connection: sqlite3.Connection, after: int, head: int, limit: int) -> Iterator[list[RecordedEvent]]:
    """The records after a position up to a head, in pages."""
    while after < head and (page := select_page(connection, after, head, limit)):
        yield page
        after = page[-1].position


def _build(
    source: sqlite3.Connection,
    beside: Path,
    projections: Sequence[Projection[Any]],
    *,
    up_to: int | None,
    page_events: int,
    progress: Callable[[int], None],
) -> Built:
    epoch = select_epoch(source)
    head = select_head(source) if up_to is None else up_to
    target = _open_target(beside)
    try:
        target.execute("BEGIN")
        target.execute(CHECKPOINTS)
        for projection in projections:
            projection.create(target)
        last: RecordedEvent | None = None
        for page in pages(source, 0, head, page_events):
            for projection in projections:
                projection.apply(target, page)
            last = page[-1]
            progress(last.position)
        for projection in projections:
            projection.index(target)
            insert_checkpoint(target, _checkpoint(projection, epoch, last))
        target.execute("COMMIT")
        target.execute("PRAGMA journal_mode = WAL")
    finally:
        target.close()
    return Built(epoch, last.position if last else 0)


def _open_target(path: Path) -> sqlite3.Connection:
    """A file that is worth nothing before it is whole: no journal, no fsync."""
    target = sqlite3.connect(path, isolation_level=None)
    target.execute("PRAGMA journal_mode = OFF")
    target.execute("PRAGMA synchronous = OFF")
    target.execute("PRAGMA locking_mode = EXCLUSIVE")
    target.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return target


def _checkpoint(projection: Projection[Any], epoch: str, last: RecordedEvent | None) -> Checkpoint:
    position, hash_ = (last.position, leaf_hash(last)) if last else (0, b"")
    return Checkpoint(projection.name, projection.version, epoch, position, hash_)


def swap(beside: Path, tables: Path) -> None:
    """Put a new file, once it is on disk, where the old one was. A write-ahead log of the old must not meet it."""
    sync(beside)
    discard(tables)
    discard_companions(beside)
    beside.rename(tables)
    sync(tables.parent)


def discard_companions(path: Path) -> None:
    """Delete what lies beside a database that was closed."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
