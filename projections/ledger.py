"""The projection ``ledger``: the Merkle tree over the leaves of all events, and what was signed of it.

It has a file of its own, which is evidence: unlike the other tables it is never built over. A root is stored, durably,
before it is signed; from then on no other root of that size can be signed, and every later tree must contain it.
"""

import sqlite3
from functools import partial

from msgspec import Struct

from events.record import RecordedEvent, leaf_hash
from projections import merkle
from projections.projection import Projection

SCHEMA = (
    """
    CREATE TABLE tiles (
        level  INTEGER NOT NULL,
        number INTEGER NOT NULL,
        hashes BLOB    NOT NULL,     -- up to 256 of 32 bytes each; only ever longer
        PRIMARY KEY (level, number)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE roots (
        size   INTEGER PRIMARY KEY,  -- how many events the tree has
        root   BLOB    NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE signatures (
        size      INTEGER NOT NULL,
        key       BLOB    NOT NULL,  -- the public key
        signature BLOB    NOT NULL,  -- of the checkpoint: origin, size and root
        PRIMARY KEY (size, key)
    ) STRICT, WITHOUT ROWID
    """,
)


class Root(Struct, frozen=True):
    """The root of the tree of so many events."""

    size: int
    root: bytes


class LedgerContradicted(Exception):
    """The tree is not what was stored of it before: the ledger or the log was changed. Nothing may be signed."""


class Ledger(Projection[None]):
    """The tables of ``ledger.db``."""

    name = "ledger"
    version = 1
    tables = ()

    def create(self, connection: sqlite3.Connection) -> None:
        for statement in SCHEMA:
            connection.execute(statement)

    def apply(self, connection: sqlite3.Connection, records: list[RecordedEvent]) -> list[None]:
        size = records[0].position - 1
        changed = merkle.grow(partial(select_tile, connection), size, [leaf_hash(record) for record in records])
        connection.executemany(
            "INSERT OR REPLACE INTO tiles (level, number, hashes) VALUES (?, ?, ?)",
            [(level, number, hashes) for (level, number), hashes in changed.items()],
        )
        return []


def select_tile(connection: sqlite3.Connection, level: int, number: int) -> bytes:
    """The hashes of a tile; none where there is no such tile."""
    row = connection.execute("SELECT hashes FROM tiles WHERE level = ? AND number = ?", (level, number)).fetchone()
    return row[0] if row else b""


def select_last_root(connection: sqlite3.Connection) -> Root | None:
    """The largest tree whose root was stored."""
    row = connection.execute("SELECT size, root FROM roots ORDER BY size DESC LIMIT 1").fetchone()
    return Root(*row) if row else None


def select_signature(connection: sqlite3.Connection, size: int, key: bytes) -> bytes | None:
    """What the key signed of the tree of that size."""
    row = connection.execute("SELECT signature FROM signatures WHERE size = ? AND key = ?", (size, key)).fetchone()
    return row[0] if row else None


def store_root(connection: sqlite3.Connection, size: int) -> Root:
    """Store the root of the first ``size`` events, before anybody signs it. To be used in a transaction.

    Raises ``LedgerContradicted`` when the tree does not go on from the last one whose root was stored.
    """
    require_consistent(connection)
    root = Root(size, merkle.root(partial(select_tile, connection), size))
    connection.execute("INSERT OR IGNORE INTO roots (size, root) VALUES (?, ?)", (root.size, root.root))
    return root


def require_consistent(connection: sqlite3.Connection) -> None:
    """Raises ``LedgerContradicted`` when the tiles of today do not give the root that was stored last."""
    last = select_last_root(connection)
    if last is None:
        return
    try:
        now = merkle.root(partial(select_tile, connection), last.size)
    except merkle.MissingHashes as short:
        raise LedgerContradicted(f"hashes are missing from the ledger: {short}") from short
    if now != last.root:
        raise LedgerContradicted(f"the tree of {last.size} events is another one than when its root was stored")


def store_signature(connection: sqlite3.Connection, size: int, key: bytes, signature: bytes) -> None:
    """Keep what was signed."""
    connection.execute(
        "INSERT OR REPLACE INTO signatures (size, key, signature) VALUES (?, ?, ?)", (size, key, signature)
    )
