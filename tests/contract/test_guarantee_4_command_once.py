"""4. The same command appends once, for ever; a repeat returns the first record; another request is refused."""

import asyncio

import pytest

from events.errors import CommandReused, WrongExpectedPosition
from events.log import Appended, EventLog
from events.record import command_hash, request_hash
from tests.engines import Engine, creation, edit, everything

COMMAND = command_hash("ada", "key-1")
OTHER_COMMAND = command_hash("bob", "key-1")
REQUEST = request_hash("POST", "/notes", "", b"{}")
OTHER_REQUEST = request_hash("POST", "/notes", "", b"[]")


async def test_a_repeat_returns_the_first_record(log: EventLog) -> None:
    """The same command again, with the same request: the record that it made, marked as repeated, nothing new."""
    first = await log.append(creation(COMMAND, REQUEST), 0)
    again = await log.append(creation(COMMAND, REQUEST), 0)
    assert (first.repeated, again.repeated) == (False, True)
    assert again.record == first.record == await log.find(COMMAND)
    assert log.head == 1


async def test_many_at_once_append_one(log: EventLog) -> None:
    """Twenty repeats that arrive together make one record, and all are told of it."""
    outcomes = await asyncio.gather(*(log.append(creation(COMMAND, REQUEST), 0) for _ in range(20)))
    assert {outcome.record.position for outcome in outcomes} == {1}
    assert sorted(outcome.repeated for outcome in outcomes) == [False] + [True] * 19
    assert log.head == 1


async def test_the_command_comes_before_the_expected_position(log: EventLog) -> None:
    """A repeat is a repeat though its note has moved on; a new command with that expected position is refused."""
    note = (await log.append(creation(), 0)).record
    first = await log.append(edit(note.note_id, COMMAND, REQUEST), note.position)
    await log.append(edit(note.note_id), first.record.position)
    assert (await log.append(edit(note.note_id, COMMAND, REQUEST), note.position)).record == first.record
    with pytest.raises(WrongExpectedPosition):
        await log.append(edit(note.note_id, OTHER_COMMAND, REQUEST), note.position)
    assert log.head == 3


async def test_another_request_is_refused(log: EventLog) -> None:
    """The command under another request, one after the other or at once: refused, with the position of the first."""
    await log.append(creation(COMMAND, REQUEST), 0)
    with pytest.raises(CommandReused) as refused:
        await log.append(creation(COMMAND, OTHER_REQUEST), 0)
    assert refused.value.position == 1
    outcomes = await asyncio.gather(
        *(log.append(creation(OTHER_COMMAND, request), 0) for request in (REQUEST, OTHER_REQUEST)),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {Appended, CommandReused}
    assert log.head == 2


async def test_for_ever(engine: Engine) -> None:
    """A repeat after a restart, behind many other events, is still a repeat."""
    async with engine.opened() as log:
        first = await log.append(creation(COMMAND, REQUEST), 0)
        await asyncio.gather(*(log.append(creation(), 0) for _ in range(300)))
    async with engine.opened() as log:
        assert await log.append(creation(COMMAND, REQUEST), 0) == Appended(first.record, repeated=True)
        assert log.head == 301


async def test_a_refused_command_is_free(log: EventLog) -> None:
    """A command that was refused is not remembered: it may come again and be appended."""
    note = (await log.append(creation(), 0)).record
    with pytest.raises(WrongExpectedPosition):
        await log.append(edit(note.note_id, COMMAND, REQUEST), 99)
    assert await log.find(COMMAND) is None
    assert not (await log.append(edit(note.note_id, COMMAND, REQUEST), note.position)).repeated
    assert [record.command for record in await everything(log)] == [None, COMMAND]
