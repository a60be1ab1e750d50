"""Histories of notes, logs that hold them, and what the tables of a log must be: the fold of its events."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from events import codec
from events.log import EventLog
from events.note import Note, NoteCreated, NoteDeleted, NoteEdited, NoteRestored, Payload, evolve
from events.record import NewEvent, RecordedEvent
from projections.runner import Runner

WITHIN_S = 20.0
CREATED = NoteCreated("Milk", "", "2017-08-23T00:00:00Z", "ada", 0)


async def append(log: EventLog, note: Note | None, payload: Payload) -> Note:
    """Append an event; the note after it."""
    type_, schema, data = codec.encode(payload)
    event = NewEvent(note.id if note else None, type_, schema, "ada", data)
    appended = await log.append(event, note.position if note else 0)
    return evolve(note, codec.decode(appended.record))


async def append_raw(log: EventLog, type_: str, data: str = "{}", schema: int = 1) -> RecordedEvent:
    """Append the first event of a new note, of any type and with any data."""
    return (await log.append(NewEvent(None, type_, schema, "ada", data), 0)).record


async def append_history(log: EventLog, dice: random.Random, events: int) -> None:
    """Events that follow from each other, by chance: notes come, change, go and come back."""
    notes: dict[int, Note] = {}
    for number in range(events):
        if not notes or dice.random() < 0.3:
            payload = NoteCreated(f"note {number}", "x" * dice.randrange(50), CREATED.created_at, "bob", number)
            note = await append(log, None, payload)
        else:
            before = notes[dice.choice(sorted(notes))]
            note = await append(log, before, next_payload(before, dice, number))
        notes[note.id] = note


def next_payload(note: Note, dice: random.Random, number: int) -> Payload:
    """Something that can happen to the note."""
    if note.deleted:
        return NoteRestored() if dice.random() < 0.7 else NoteRestored(priority=number)
    if dice.random() < 0.3:
        return NoteDeleted()
    return NoteEdited(title=f"changed {number}") if dice.random() < 0.5 else NoteEdited(priority=number)


async def fold(log: EventLog) -> dict[int, Note]:
    """Every note, as the events of the log make it; deleted ones too."""
    notes: dict[int, Note] = {}
    after = 0
    while page := await log.read(after):
        for record in page:
            notes[record.note_id] = evolve(notes.get(record.note_id), codec.decode(record))
        after = page[-1].position
    return notes


def rows(connection: sqlite3.Connection, tables: Iterable[str]) -> dict[str, list[Any]]:
    """All that is in some tables, in an order of its own."""
    return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}


@asynccontextmanager
async def running(runner: Runner[Any]) -> AsyncIterator[Runner[Any]]:
    """The runner at work; at the end it is stopped in the middle of whatever it does."""
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reached(runner: Runner[Any], position: int) -> None:
    """Wait until the tables are at a position."""
    await asyncio.wait_for(runner.checkpoint.reach(position), WITHIN_S)
