"""A copy of a log is another log from its first start on: a client must not resume there on a past that was taken back.

So a backup is marked, and the first start of what is marked gives the log a new epoch and notes whose copy it is.
"""

import secrets
import sqlite3

import msgspec
from msgspec import Struct


class Parent(Struct, frozen=True):
    """The log that this one is a copy of, and its last event that is also here."""

    epoch: str
    position: int


def is_copy(connection: sqlite3.Connection) -> bool:
    """Whether the log was marked and not started since."""
    return connection.execute("SELECT 1 FROM meta WHERE key = 'copy'").fetchone() is not None


def is_replica(connection: sqlite3.Connection) -> bool:
    """Whether the log is a copy of a stream, whose epoch it has for good."""
    return connection.execute("SELECT 1 FROM meta WHERE key = 'stream'").fetchone() is not None


def renew_epoch(connection: sqlite3.Connection) -> str:
    """Give the log a new epoch, in one transaction; what it was is its parent now. Returns the new one."""
    connection.execute("BEGIN IMMEDIATE")
    (old,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    new = secrets.token_hex(16)
    (head,) = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    note_parent(connection, Parent(old, head))
    connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (new,))
    connection.execute("DELETE FROM meta WHERE key = 'copy'")
    connection.execute("COMMIT")
    return new


def note_parent(connection: sqlite3.Connection, parent: Parent) -> None:
    """Write down whose copy this is; whose copy that was stays known."""
    meta = [("parent_epoch", parent.epoch), ("parent_position", str(parent.position))]
    if older := select_ancestors(connection):
        meta.append(("ancestors", msgspec.json.encode(older).decode()))
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)


def select_parent(connection: sqlite3.Connection) -> Parent | None:
    """Whose copy the log is, or None."""
    meta = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('parent_epoch', 'parent_position')"))
    return Parent(meta["parent_epoch"], int(meta["parent_position"])) if len(meta) == 2 else None


def select_ancestors(connection: sqlite3.Connection) -> list[Parent]:
    """All logs that this one is a copy of, or a copy of a copy, nearest first."""
    parent = select_parent(connection)
    older = connection.execute("SELECT value FROM meta WHERE key = 'ancestors'").fetchone()
    return ([parent] if parent else []) + (msgspec.json.decode(older[0], type=list[Parent]) if older else [])
