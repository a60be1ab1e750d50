"""3. Of two appends with the same expected position one fails with WrongExpectedPosition, and leaves nothing."""

import asyncio

import pytest

from events.errors import WrongExpectedPosition
from events.log import Appended, EventLog
from tests.engines import creation, edit, everything


async def test_one_of_many_wins(log: EventLog) -> None:
    """Of twenty at once with the same expected position exactly one is appended; the others learn where it is."""
    first = (await log.append(creation(), 0)).record
    outcomes = await asyncio.gather(
        *(log.append(edit(first.note_id), first.position) for _ in range(20)), return_exceptions=True
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, WrongExpectedPosition)]
    assert (len(won), len(lost), log.head) == (1, 19, 2)
    assert {(error.note_id, error.expected, error.actual) for error in lost} == {(1, 1, 2)}


@pytest.mark.parametrize("expected", [0, 2, 4, 99])
async def test_any_other_position_is_wrong(log: EventLog, expected: int) -> None:
    """An older position, another note's, one that is not there yet: refused, and nothing is appended."""
    first = (await log.append(creation(), 0)).record
    second = (await log.append(edit(first.note_id), 1)).record
    last = (await log.append(edit(first.note_id), second.position)).record
    await log.append(creation(), 0)
    with pytest.raises(WrongExpectedPosition) as refused:
        await log.append(edit(first.note_id), expected)
    assert (refused.value.note_id, refused.value.expected, refused.value.actual) == (1, expected, last.position)
    assert log.head == 4


async def test_a_loser_harms_nobody(log: EventLog) -> None:
    """Appends that are refused leave those beside them alone: each other note gets its event."""
    notes = [(await log.append(creation(), 0)).record for _ in range(10)]
    attempts = [edit(note.note_id) for note in notes for _ in range(2)]
    outcomes = await asyncio.gather(
        *(log.append(event, event.note_id or 0) for event in attempts), return_exceptions=True
    )
    assert sum(isinstance(outcome, Appended) for outcome in outcomes) == 10
    assert [record.version for record in await everything(log)] == [1] * 10 + [2] * 10


async def test_writers_who_retry_lose_nothing(log: EventLog) -> None:
    """Writers of one note who read again after a refusal all get through, one version each."""
    last = (await log.append(creation(), 0)).record

    async def persist(event_count: int) -> None:
        expected = last.position
        while event_count:
            try:
                expected = (await log.append(edit(last.note_id), expected)).record.position
                event_count -= 1
            except WrongExpectedPosition as wrong:
                expected = max(wrong.actual, expected + 1)

    await asyncio.gather(*(persist(5) for _ in range(8)))
    assert [record.version for record in await log.read_stream(last.note_id)] == list(range(1, 42))
