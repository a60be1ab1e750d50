"""Check a ledger against itself: tiles against each other, roots against tiles, signatures against both.

What holds here is then what the log is compared with (``log_check``).
"""

import sqlite3
from collections.abc import Collection
from functools import lru_cache, partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct
from msgspec.structs import replace

from projections import merkle, signed_note
from projections.findings import (
    CHECKPOINT_DIFFERS,
    HISTORY_REWRITTEN,
    LEDGER_DAMAGED,
    LEDGER_OF_ANOTHER_LOG,
    SIGNATURE_BAD,
    Findings,
)
from projections.ledger import Ledger, Root, select_tile
from projections.ledger_book import CLOSED
from projections.merkle import HASH_BYTES, TILE_HASHES, ReadTile
from projections.tables import Checkpoint, select_checkpoint

# Right-edge tiles of every level, and those on the way of one proof.
TILES_KEPT = 64


class LedgerFacts(Struct, frozen=True):
    """What a ledger says.

    ``last_root``: of the largest tree. ``closed_at``: where the log ended when the service stopped; None: it did not
    stop in order, or runs.
    """

    size: int
    last_hash: bytes
    last_root: Root | None
    closed_at: int | None


def check_ledger(
    ledger: sqlite3.Connection, epoch: str, before: Collection[str], in_use: bool, findings: Findings
) -> LedgerFacts | None:
    """Check the ledger of a log. ``in_use``: it may grow meanwhile. None when there is nothing to compare with.

    ``before``: the epochs of a log that was not started under its own yet. Their ledger, which the first start puts
    aside, holds for it till then; an empty one says nothing.
    """
    found = select_checkpoint(ledger, Ledger.name) if before else None
    if found is not None and found.epoch != epoch and found.position == 0:
        return None
    if found is not None and found.epoch in before:
        epoch = found.epoch
    facts = _facts(ledger, epoch, in_use, findings)
    if facts is None:
        return None
    read = cached(ledger)
    _check_inner_tiles(read, facts.size, findings)
    _check_no_more_tiles(ledger, facts.size, in_use, findings)
    last_root = _check_roots(ledger, read, facts.size, in_use, findings)
    _check_signatures(ledger, signed_note.origin(epoch), facts.size, in_use, findings)
    return replace(facts, last_root=last_root)


def cached(ledger: sqlite3.Connection) -> ReadTile:
    """Reads tiles, and keeps the last ones."""
    return lru_cache(TILES_KEPT)(partial(select_tile, ledger))


def first_position(level: int, number: int) -> int:
    """The first event below a tile."""
    return (number << 8 * (level + 1)) + 1


def _facts(ledger: sqlite3.Connection, epoch: str, in_use: bool, findings: Findings) -> LedgerFacts | None:
    rows = ledger.execute("SELECT name, version, epoch, position, hash FROM checkpoints")
    found = {row[0]: Checkpoint(*row) for row in rows}
    for name in found.keys() - {Ledger.name, CLOSED}:
        findings.add(None, CHECKPOINT_DIFFERS, f"the ledger has a checkpoint of {name!r}, which there is not")
    checkpoint, closed = found.get(Ledger.name), found.get(CLOSED)
    if checkpoint is None:
        findings.add(None, LEDGER_DAMAGED, "the ledger has no checkpoint")
        return None
    if checkpoint.epoch != epoch:
        findings.add(None, LEDGER_OF_ANOTHER_LOG, f"the ledger is of the log {checkpoint.epoch}, this is {epoch}")
    for known in found.values():
        if known.version != Ledger.version:
            detail = f"the ledger's checkpoint of {known.name} has version {known.version}, not {Ledger.version}"
            findings.add(None, CHECKPOINT_DIFFERS, detail)
    if closed is not None and (closed.epoch != checkpoint.epoch or closed.hash or in_use):
        findings.add(None, CHECKPOINT_DIFFERS, "what the ledger says of the end of the log is not as it was written")
    size = _believable(ledger, checkpoint.position, findings)
    return LedgerFacts(size, checkpoint.hash, None, None if closed is None else closed.position)


def _believable(ledger: sqlite3.Connection, size: int, findings: Findings) -> int:
    """The size, if there are tiles for it: a changed number must not send the check through what is not there."""
    (tiles,) = ledger.execute("SELECT count(*) FROM tiles WHERE level = 0").fetchone()
    if 0 <= size <= tiles * TILE_HASHES:
        return size
    findings.add(None, CHECKPOINT_DIFFERS, f"the ledger's checkpoint is at {size}, its hashes end before")
    return min(max(0, size), int(tiles) * TILE_HASHES)


def _check_inner_tiles(read: ReadTile, size: int, findings: Findings) -> None:
    """Each full tile must give the hash above it. Those of level 0 are looked at together with the events."""
    for level, full, _ in merkle.widths(size):
        for number in range(full if level else 0):
            if merkle.tile_root(read(level, number)) != hash_in(read, level + 1, number):
                detail = f"tile {level}/{number} of the ledger does not give the hash above it"
                findings.add(first_position(level, number), LEDGER_DAMAGED, detail)


def hash_in(read: ReadTile, level: int, index: int) -> bytes:
    """One hash of a level; empty where it is missing."""
    number, offset = divmod(index, TILE_HASHES)
    return read(level, number)[offset * HASH_BYTES : (offset + 1) * HASH_BYTES]


def _check_no_more_tiles(ledger: sqlite3.Connection, size: int, in_use: bool, findings: Findings) -> None:
    """No tile that the tree does not have, and none longer or shorter than it must be."""
    expected = {level: (full, width) for level, full, width in merkle.widths(size)}
    for level, number, length in ledger.execute("SELECT level, number, length(hashes) FROM tiles"):
        full, width = expected.get(level, (0, 0))
        hashes = TILE_HASHES if 0 <= number < full else width if number == full else 0
        if length < hashes * HASH_BYTES or (length > hashes * HASH_BYTES and not in_use):
            detail = f"tile {level}/{number} of the ledger has {length} bytes, the tree has {hashes * HASH_BYTES} there"
            findings.add(None, LEDGER_DAMAGED, detail)


def _check_roots(
    ledger: sqlite3.Connection,
    read: ReadTile,
    size: int,
    in_use: bool,
    findings: Findings,
) -> Root | None:
    """Each root that was stored must be that of the tiles; returns the last one."""
    good, last = 0, None
    for root_size, root in ledger.execute("SELECT size, root FROM roots ORDER BY size"):
        if not 0 <= root_size <= size:
            if not in_use:
                findings.add(
                    None, LEDGER_DAMAGED, f"the ledger has a root of {root_size} events, but only {size} events"
                )
            continue
        last = Root(root_size, root)
        if root_of(read, root_size) == root:
            good = root_size
        else:
            detail = f"the tree of {root_size} events is another one than when its root was stored"
            findings.add(good + 1, HISTORY_REWRITTEN, detail)
    return last


def root_of(read: ReadTile, size: int) -> bytes | None:
    """The root of the tiles; None where some are missing."""
    try:
        return merkle.root(read, size)
    except merkle.MissingHashes:
        return None


def _check_signatures(ledger: sqlite3.Connection, name: str, size: int, in_use: bool, findings: Findings) -> None:
    rows = ledger.execute(
        "SELECT signatures.size, key, signature, root FROM signatures LEFT JOIN roots USING (size)"
        " ORDER BY signatures.size"
    )
    for signed_size, key, signature, root in rows:
        if signed_size > size and in_use:
            continue
        if root is None or not _is_signed(name, signed_size, root, key, signature):
            findings.add(None, SIGNATURE_BAD, f"the signature of the tree of {signed_size} events is not good")


def _is_signed(name: str, size: int, root: bytes, key: bytes, signature: bytes) -> bool:
    try:
        text = signed_note.checkpoint_text(name, size, root)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
