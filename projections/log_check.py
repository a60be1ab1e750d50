"""Hash every record again and compare it with the ledger; say what became of each that differs.

Records are read as bytes: text that is no UTF-8 any more is a finding like any other. A hash of the ledger is believed
when the hash above it, or a stored root, was made from it.
"""

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Iterator
from typing import Any

from events.record import COLUMNS
from projections import merkle
from projections.findings import (
    CHECKPOINT_DIFFERS,
    EVENT_ADDED,
    EVENT_EDITED,
    EVENT_OR_LEDGER,
    EVENT_REMOVED,
    EVENTS_SWAPPED,
    HISTORY_REWRITTEN,
    LEDGER_DAMAGED,
    UNREADABLE,
    Findings,
)
from projections.ledger_check import LedgerFacts, hash_in, root_of
from projections.merkle import TILE_HASHES, ReadTile

Row = tuple[Any, ...]

# One read of the log: short for whoever writes it meanwhile.
PAGE_ROWS = 2000
# More changed events than this are not looked at for having been swapped or moved.
CHANGED_MAX = 64
MISSING = b""

_start = struct.Struct(">QQQH").pack
_middle = struct.Struct(">HqH").pack
_length = struct.Struct(">H").pack
_long_length = struct.Struct(">I").pack
_sha256 = hashlib.sha256


def check_log(
    log: sqlite3.Connection,
    head: int,
    ledger: tuple[LedgerFacts, ReadTile] | None,
    findings: Findings,
    progress: Callable[[int], None],
) -> None:
    """Check the records up to ``head``. ``log``: a connection of its own; it is made to read text as bytes."""
    log.text_factory = bytes
    facts, read = ledger or (LedgerFacts(0, b"", None, None), lambda level, number: b"")
    check = _LogCheck(log, facts, read, findings)
    for row in rows(log, head):
        check.take(row)
        if row[0] % PAGE_ROWS == 0:
            progress(row[0])
    check.end()


def leaf_hash(row: Row) -> bytes:
    """The leaf hash of a row as SQLite has it (docs/EVENTS.md). Raises ``struct.error`` or ``TypeError``."""
    position, note_id, version, type_, schema, at, actor, command, part, request, meta, salt, data = row
    payload = _sha256(salt + _long_length(len(meta)) + meta + data).digest()
    return _sha256(
        b"\x00\x01"
        + _start(position, note_id, version, len(type_))
        + type_
        + _middle(schema, at, len(actor))
        + actor
        + (b"\xff\xff" if command is None else _length(len(command)) + command)
        + _length(part)
        + (b"\xff\xff" if request is None else _length(len(request)) + request)
        + payload
    ).digest()


class _LogCheck:
    """The leaves of one tile, and what was found out about those before."""

    def __init__(self, log: sqlite3.Connection, facts: LedgerFacts, read: ReadTile, findings: Findings) -> None:
        self._log = log
        self._facts = facts
        self._read = read
        self._findings = findings
        self._next = 1
        self._leaves: list[bytes] = []
        self._changed: dict[int, bytes] = {}  # position → the hash in the ledger

    def take(self, row: Row) -> None:
        """The next record."""
        if row[0] != self._next:
            self._skip_to(row[0])
        try:
            leaf = leaf_hash(row)
        except (struct.error, TypeError, OverflowError) as error:
            self._findings.add(row[0], UNREADABLE, f"event {row[0]} cannot be hashed: {error}")
            leaf = MISSING
        self._leaves.append(leaf)
        if self._next == self._facts.size and leaf != self._facts.last_hash:
            self._findings.add(None, CHECKPOINT_DIFFERS, f"the ledger's checkpoint is not that of event {self._next}")
        self._next += 1
        if len(self._leaves) == TILE_HASHES:
            self._compare()

    def end(self) -> None:
        """After the last record."""
        if self._leaves:
            self._compare()
        last, closed_at = self._next - 1, self._facts.closed_at
        if max(self._facts.size, closed_at or 0) > last:
            self._tell_removed(last + 1, max(self._facts.size, closed_at or 0))
        if closed_at is not None and last > closed_at:
            which = f"events {closed_at + 1} to {last} were" if last > closed_at + 1 else f"event {last} was"
            self._findings.add(closed_at + 1, EVENT_ADDED, f"{which} added after the service had stopped")
        self._tell_moved()

    def _skip_to(self, position: int) -> None:
        """Positions are dense: what is not there was removed."""
        self._tell_removed(self._next, position - 1)
        while self._next < position:
            # What is missing for long is not gone through one by one: a position may have become any number.
            if not self._leaves and position - self._next > TILE_HASHES:
                self._next += (position - self._next) // TILE_HASHES * TILE_HASHES
                continue
            self._leaves.append(MISSING)
            self._next += 1
            if len(self._leaves) == TILE_HASHES:
                self._compare()

    def _compare(self) -> None:
        """Compare the leaves of a tile with the ledger's, and judge which are right where they differ."""
        first = self._next - len(self._leaves)
        number = (first - 1) // TILE_HASHES
        width = min(len(self._leaves), max(0, self._facts.size - first + 1))
        leaves, self._leaves = self._leaves[:width], []
        stored = merkle.split(self._read(0, number))[:width]
        if leaves == stored:
            self._require_above(number, stored)
            return
        ledger_is_right = self._judge(number, leaves, stored)
        for place, leaf in enumerate(leaves):
            in_ledger = stored[place] if place < len(stored) else MISSING
            if leaf not in (MISSING, in_ledger):
                self._tell_difference(first + place, in_ledger, ledger_is_right)

    def _require_above(self, number: int, stored: list[bytes]) -> None:
        if len(stored) == TILE_HASHES and merkle.combined(stored) != hash_in(self._read, 1, number):
            first, last = number * TILE_HASHES + 1, (number + 1) * TILE_HASHES
            detail = f"events {first} to {last} give another hash than the ledger has above them"
            self._findings.add(first, HISTORY_REWRITTEN, detail)

    def _judge(self, number: int, leaves: list[bytes], stored: list[bytes]) -> bool | None:
        """Whether the ledger's hashes are those that once were, and not the log's; None: nothing tells."""
        for hashes, verdict in ((stored, True), (leaves, False)):
            if len(hashes) != len(leaves) or MISSING in hashes:
                continue
            if len(hashes) == TILE_HASHES and merkle.combined(hashes) == hash_in(self._read, 1, number):
                return verdict
            if self._give_last_root(number, hashes):
                return verdict
        return None

    def _give_last_root(self, number: int, hashes: list[bytes]) -> bool:
        """Whether the last tile with these hashes gives the last root that was stored of the tree."""

        def read(level: int, wanted: int) -> bytes:
            return b"".join(hashes) if (level, wanted) == (0, number) else self._read(level, wanted)

        last = self._facts.last_root
        in_tile = last is not None and (last.size - 1) // TILE_HASHES == number
        return last is not None and in_tile and root_of(read, last.size) == last.root

    def _tell_difference(self, position: int, in_ledger: bytes, ledger_is_right: bool | None) -> None:
        if ledger_is_right:
            self._findings.add(position, EVENT_EDITED, f"event {position} was edited: the ledger has another one")
        elif ledger_is_right is False or not in_ledger:
            self._findings.add(position, LEDGER_DAMAGED, f"the ledger's hash of event {position} was changed")
        else:
            detail = f"event {position} and its hash in the ledger differ, and nothing tells which of them was changed"
            self._findings.add(position, EVENT_OR_LEDGER, detail)
        if ledger_is_right is not False and len(self._changed) < CHANGED_MAX:
            self._changed[position] = in_ledger

    def _tell_removed(self, first: int, last: int) -> None:
        which = f"event {first} is" if first == last else f"events {first} to {last} are"
        self._findings.add(first, EVENT_REMOVED, f"{which} missing from the log")

    def _tell_moved(self) -> None:
        """Of the events that are not those in the ledger: which lie at each other's positions."""
        came_from = {position: self._origin(position) for position in self._changed}
        for position, origin in came_from.items():
            if origin is not None and origin > position and came_from.get(origin) == position:
                detail = f"events {position} and {origin} were swapped"
                self._findings.add(position, EVENTS_SWAPPED, detail)

    def _origin(self, position: int) -> int | None:
        """Where in the ledger the event that is at this position now belongs."""
        row = self._log.execute(f"SELECT {COLUMNS} FROM events WHERE position = ?", (position,)).fetchone()
        for other, in_ledger in self._changed.items():
            if leaf_hash((other, *row[1:])) == in_ledger:
                return other
        return None


def rows(log: sqlite3.Connection, head: int) -> Iterator[Row]:
    """All records up to the head, read a page at a time."""
    after = -(2**63)
    while True:
        page = f"SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT {PAGE_ROWS}"
        last = after
        for row in log.execute(page, (after, head)):
            last = row[0]
            yield row
        if last == after:
            return
        after = last
