"""Fold the log again and compare with the table ``versions``, in short reads and flat memory.

Each version is compared with what its event makes of the version before, which was compared already; so the state of a
million notes is never held. A version's row never changes but for its end, so a running service does not disturb.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from events.codec import decode
from events.errors import EventError
from events.note import Note, evolve
from events.record import RecordedEvent
from events.store import select_page
from projections.checking import Checking
from projections.notes import decode_note
from projections.versions import COLUMNS, FOREVER, block_of, first_of_each, row, select_latest

PAGE_ROWS = 1000
# Ends are compared in the database; so many positions are one short read.
ENDS_POSITIONS = 20_000


def check_versions(checking: Checking, checkpoint: int, progress: Callable[[int], None]) -> None:
    """Compare all versions up to the checkpoint."""
    check = _VersionCheck(checking)
    after = 0
    while after < checkpoint and (page := select_page(checking.log, after, checkpoint, PAGE_ROWS)):
        check.compare(page)
        after = page[-1].position
        progress(after)
    _check_ends(checking, checkpoint)
    _check_moments(checking, checkpoint, check.earliest)
    if not checking.in_use:
        for (position,) in checking.rows(
            "SELECT position FROM versions WHERE position < 1 OR position > ? LIMIT 10", (checkpoint,)
        ):
            checking.differs(position, "versions", f"there is a version at {position}, which no event made")


class _VersionCheck:
    """What is known on the way."""

    def __init__(self, checking: Checking) -> None:
        self.earliest: dict[int, str] = {}
        self._checking = checking
        self._wrong: set[int] = set()  # positions of versions that cannot be relied on

    def compare(self, page: list[RecordedEvent]) -> None:
        """Compare the versions of a page of events."""
        query = f"SELECT {COLUMNS} FROM versions WHERE position BETWEEN ? AND ?"
        found = {row[0]: row for row in self._checking.rows(query, (page[0].position, page[-1].position))}
        latest = self._before(page)
        for record in page:
            actual = found.pop(record.position, None)
            if record.note_id in self._checking.broken:
                continue
            try:
                note = latest[record.note_id] = evolve(latest.get(record.note_id), decode(record))
                expected = row(record, note)
            except (EventError, ValueError, OverflowError) as error:
                self._checking.broke(record.note_id, record.position, error)
                continue
            block = block_of(record.position)
            self.earliest[block] = min(note.updated_at, self.earliest.get(block, note.updated_at))
            if actual is None or actual[2:] != tuple(expected[2:]):
                self._wrong.add(record.position)
                self._checking.differs(record.position, "versions", _difference(record.position, actual, expected))
        for position in found:
            self._checking.differs(position, "versions", f"there is a version at {position}, which no event made")

    def _before(self, page: list[RecordedEvent]) -> dict[int, Note]:
        """The notes as they were before the page: from versions that were compared, or else from the log."""
        latest: dict[int, Note] = {}
        wanted = [record for record in first_of_each(page) if record.version > 1]
        for position, body in select_latest(self._checking.rows, wanted):
            if position not in self._wrong:
                with suppress(msgspec.DecodeError, UnicodeError):  # of a row that no event made
                    note = decode_note(body)
                    latest[note.id] = note
        for record in wanted:
            known = latest.get(record.note_id)
            if known is None or known.version != record.version - 1:
                folded = self._checking.folded(record.note_id, record.position - 1)
                latest.pop(record.note_id, None)
                if folded is not None:
                    latest[record.note_id] = folded
        return latest


def _difference(position: int, actual: tuple[Any, ...] | None, expected: list[Any]) -> str:
    if actual is None:
        return f"the version at {position} is missing"
    names = [name for name, is_, should in zip(COLUMNS.split(", "), actual, expected, strict=True) if is_ != should]
    columns = ", ".join(name for name in names if name != "ended")
    return f"the version at {position} is not what its event makes it ({columns})"


def _check_ends(checking: Checking, checkpoint: int) -> None:
    """Each version ends where the next one of its note begins."""
    query = """
        SELECT one.position FROM versions one LEFT JOIN versions next
            ON next.id = one.id AND next.version = one.version + 1
        WHERE one.position > ? AND one.position <= ? AND one.ended <> coalesce(next.position, ?)
    """
    for after in range(0, checkpoint, ENDS_POSITIONS):
        for (position,) in checking.rows(query, (after, min(checkpoint, after + ENDS_POSITIONS), FOREVER)):
            checking.differs(position, "versions", f"the version at {position} does not end where the next one begins")


def _check_moments(checking: Checking, checkpoint: int, expected: dict[int, str]) -> None:
    found = dict(checking.rows("SELECT block, earliest FROM moments"))
    last = block_of(checkpoint)
    for block in sorted(expected.keys() | found.keys()):
        if checking.in_use and block >= last:
            continue  # it goes on while we look
        if expected.get(block) != found.get(block) and not checking.broken:
            checking.differs(None, "moments", f"block {block} is {found.get(block)}, expected {expected.get(block)}")
