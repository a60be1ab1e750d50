"""What the checks of ``notes.db`` share: the two files, what was found, and notes folded from the log one by one."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from events.codec import decode
from events.errors import EventError
from events.note import Note, evolve
from events.record import found_hash
from events.store import select_head, select_page, select_stream
from projections.findings import CHECKPOINT_DIFFERS, TABLE_DIFFERS, UNREADABLE, Findings
from projections.projection import Projection
from projections.tables import Checkpoint

STREAM_EVENTS = 1000


class Checking(Struct):
    """A check of the tables against the log. ``in_use``: a service goes on writing both."""

    log: sqlite3.Connection
    tables: sqlite3.Connection
    epoch: str
    in_use: bool
    findings: Findings
    broken: set[int] = set()
    """Notes with an event that cannot be understood: what they should be is not known."""

    def differs(self, position: int | None, table: str, detail: str) -> None:
        """Note that a row is not what the log makes of it."""
        self.findings.add(position, TABLE_DIFFERS, f"table {table}: {detail}")

    def broke(self, note_id: int, position: int, error: Exception) -> None:
        """Note that an event cannot be understood; what depends on it is not looked at."""
        if note_id not in self.broken:
            self.findings.add(position, UNREADABLE, f"event {position} cannot be folded: {error}")
            self.broken.add(note_id)

    def folded(self, note_id: int, up_to: int) -> Note | None:
        """The note as the log says it was at a position; None when there was none or nobody knows."""
        note: Note | None = None
        while True:
            page = select_stream(self.log, note_id, note.version if note else 0, STREAM_EVENTS)
            for record in page:
                if record.position > up_to:
                    return note
                try:
                    note = evolve(note, decode(record))
                except (EventError, ValueError, OverflowError) as error:
                    self.broke(note_id, record.position, error)
                    return None
            if not page:
                return note

    def notes_at(self, position: int) -> int:
        """How many notes had been created at a position: ids are given in order. At most one for each event."""
        row = self.log.execute(
            "SELECT note_id FROM events WHERE version = 1 AND position <= ? ORDER BY position DESC LIMIT 1", (position,)
        ).fetchone()
        return min(max(0, row[0]), position) if row else 0

    def checkpoints(self) -> dict[str, int]:
        """Where the projections are now."""
        return dict(self.tables.execute("SELECT name, position FROM checkpoints"))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads of the tables that belong together; to be short."""
        self.tables.execute("BEGIN")
        try:
            yield
        finally:
            self.tables.execute("COMMIT")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a short query, even if a text in them is no UTF-8 any more."""
        try:
            return self.tables.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            self.tables.text_factory = lambda text: text.decode(errors="surrogateescape")
            try:
                return self.tables.execute(query, values).fetchall()
            finally:
                self.tables.text_factory = str


def good_checkpoints(checking: Checking, projections: Sequence[Projection[Any]], head: int) -> dict[str, int]:
    """The checkpoints that fit the log, by the names of their projections."""
    rows = checking.rows("SELECT name, version, epoch, position, hash FROM checkpoints")
    found = {row[0]: Checkpoint(*row) for row in rows}
    known = {projection.name: projection for projection in projections}
    if checking.in_use:
        head = select_head(checking.log)  # it has gone on since the check began
    for name in sorted(found.keys() ^ known.keys()):
        detail = f"the checkpoint of {name} is missing" if name in known else f"there is a checkpoint of {name!r}"
        checking.findings.add(None, CHECKPOINT_DIFFERS, detail)
    good = {}
    for name in sorted(found.keys() & known.keys()):
        if _fits(checking, found[name], known[name].version, head):
            good[name] = found[name].position
        else:
            checking.findings.add(None, CHECKPOINT_DIFFERS, f"the checkpoint of {name} does not fit the log")
    return good


def _fits(checking: Checking, checkpoint: Checkpoint, version: int, head: int) -> bool:
    if (checkpoint.version, checkpoint.epoch) != (version, checking.epoch) or not 0 <= checkpoint.position <= head:
        return False
    if checkpoint.position == 0:
        return checkpoint.hash == b""
    page = select_page(checking.log, checkpoint.position - 1, checkpoint.position, 1)
    return bool(page) and found_hash(page[0]) == checkpoint.hash
