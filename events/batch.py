"""The events of one commit: each is judged in order, inside the transaction that writes them.

A batch knows what was decided before in the same batch, so two commands on one note, or the same command twice, are
judged as if each had a transaction of its own. One that fails does not fail the others.
"""

import os
import sqlite3
import time
from collections.abc import Sequence

from msgspec.structs import astuple

from events.errors import CommandReused, LogError, WrongExpectedPosition
from events.log import Appended
from events.record import COLUMNS, NewEvent, RecordedEvent
from events.store import select_commands, select_head

INSERT = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SALT_BYTES = 16


class Batch:
    """The judge and writer of one transaction. To be used inside ``BEGIN IMMEDIATE``.

    ``commands``: those of all events that it will judge, looked up together.
    """

    def __init__(self, connection: sqlite3.Connection, commands: Sequence[bytes]) -> None:
        self.records: list[RecordedEvent] = []
        self._connection = connection
        self._head = select_head(connection)
        self._last_note_id = connection.execute("SELECT coalesce(max(note_id), 0) FROM events").fetchone()[0]
        self._streams: dict[int, tuple[int, int]] = {}
        self._commands = {(first.command, first.part): first for first in select_commands(connection, commands)}

    def judge(self, event: NewEvent, expected: int) -> Appended | LogError:
        """What becomes of one event. The command comes first: a repeat is a repeat whatever happened since."""
        if event.command is not None and (first := self._commands.get((event.command, event.part))):
            return _repeat(first, event)
        position, version = self._last_of(event.note_id)
        if position != expected:
            return WrongExpectedPosition(event.note_id, expected, position)
        return Appended(self._record(event, version + 1), repeated=False)

    def write(self) -> None:
        """Insert what was accepted."""
        self._connection.executemany(INSERT, [astuple(record) for record in self.records])

    def _last_of(self, note_id: int | None) -> tuple[int, int]:
        """Position and version of the stream's last event; (0, 0) when it has none."""
        if note_id is None:
            return 0, 0
        if note_id in self._streams:
            return self._streams[note_id]
        row = self._connection.execute(
            "SELECT position, version FROM events WHERE note_id = ? ORDER BY version DESC LIMIT 1", (note_id,)
        ).fetchone()
        return row or (0, 0)

    def _record(self, event: NewEvent, version: int) -> RecordedEvent:
        self._head += 1
        note_id = event.note_id
        if note_id is None:
            note_id = self._last_note_id = self._last_note_id + 1
        record = RecordedEvent(
            self._head,
            note_id,
            version,
            event.type,
            event.schema,
            time.time_ns() // 1000,
            event.actor,
            event.command,
            event.part,
            event.request,
            event.meta,
            os.urandom(SALT_BYTES),
            event.data,
        )
        self.records.append(record)
        self._streams[note_id] = (record.position, version)
        if record.command is not None:
            self._commands[record.command, record.part] = record
        return record


def _repeat(first: RecordedEvent, event: NewEvent) -> Appended | LogError:
    if first.request != event.request:
        return CommandReused(first.position)
    return Appended(first, repeated=True)
