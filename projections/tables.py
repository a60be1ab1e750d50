"""``notes.db``: the file of the projections, and their checkpoints in it. It can be deleted; it is built again."""

import sqlite3
from pathlib import Path

import msgspec

from events.database import Database, Reader, open_reader, open_writer
from events.errors import FolderError

DAMAGED_SUFFIX = ".damaged"
CHECKPOINTS = """
CREATE TABLE IF NOT EXISTS checkpoints (
    name     TEXT PRIMARY KEY,  -- of the projection
    version  INTEGER NOT NULL,  -- of its tables
    epoch    TEXT    NOT NULL,  -- of the log that it was built from
    position INTEGER NOT NULL,  -- up to which it was built
    hash     BLOB    NOT NULL   -- the leaf hash of the record there, so that another log is told from this one
) STRICT
"""


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a projection has come, and in which log. ``hash`` is empty at position 0."""

    name: str
    version: int
    epoch: str
    position: int
    hash: bytes


class Tables:
    """The open file: one connection that writes, and readers that share their hops.

    ``points`` answers short questions; ``pages`` longer ones, so that the short do not wait behind the long; ``past``
    those about the past, which may look at every version there is.
    """

    def __init__(self, path: Path, writer: Database, points: Reader, pages: Reader, past: Reader) -> None:
        self._path = path
        self.writer = writer
        self.points = points
        self.pages = pages
        self.past = past

    @classmethod
    async def open(cls, path: Path) -> "Tables":
        """Open the file, making it if there is none. One that is no database, or was condemned, is thrown away.

        Raises ``FolderError`` when the disk refuses.
        """
        if _mark(path).exists():
            discard(path)
        try:
            writer = await _open(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise FolderError(f"{path} cannot be opened: {error}; look at the disk, then start again") from error
            discard(path)
            writer = await _open(path)
        points, pages, past = [Reader(await open_reader(path)) for _ in range(3)]
        return cls(path, writer, points, pages, past)

    def condemn(self) -> None:
        """Have the file thrown away at the next start: something in it cannot be read."""
        _mark(self._path).touch()

    async def close(self) -> None:
        """Close all connections; the writer last, because the last one to close cleans up the WAL."""
        await self.points.close()
        await self.pages.close()
        await self.past.close()
        await self.writer.close()


async def _open(path: Path) -> Database:
    # NORMAL: a commit lost in a power cut is applied again from the log; the file stays whole.
    writer = await open_writer(path, synchronous="NORMAL")
    try:
        await writer.run(lambda connection: connection.execute(CHECKPOINTS).close())
    except BaseException:
        await writer.close()
        raise
    return writer


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, which no trying again will mend."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _mark(path: Path) -> Path:
    """What lies beside a file that was condemned."""
    return path.with_name(path.name + DAMAGED_SUFFIX)


def discard(path: Path) -> None:
    """Delete a file of projections, with its WAL, and last what condemned it."""
    for suffix in ("", "-wal", "-shm", DAMAGED_SUFFIX):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def select_checkpoint(connection: sqlite3.Connection, name: str) -> Checkpoint | None:
    """The checkpoint of a projection, or None before its first start."""
    row = connection.execute(
        "SELECT name, version, epoch, position, hash FROM checkpoints WHERE name = ?", (name,)
    ).fetchone()
    return Checkpoint(*row) if row else None


def insert_checkpoint(connection: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    """Begin a projection: whatever checkpoint it had is replaced."""
    connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(checkpoint))


def advance_checkpoint(connection: sqlite3.Connection, old: int, new: Checkpoint) -> None:
    """Move the checkpoint on, only if it is where we left it: two runners on one file would spoil each other."""
    moved = connection.execute(
        "UPDATE checkpoints SET position = ?, hash = ? WHERE name = ? AND position = ? AND epoch = ?",
        (new.position, new.hash, new.name, old, new.epoch),
    ).rowcount
    if moved != 1:
        raise CheckpointMoved(f"the checkpoint of {new.name} is not at {old} any more: somebody else writes this file")


class CheckpointMoved(Exception):
    """Somebody else has written the checkpoint."""
