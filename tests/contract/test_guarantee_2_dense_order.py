"""2. Positions are dense and rise in the order of visibility: nothing appears below a position already read."""

import asyncio
import random

from events.log import EventLog
from events.subscription import follow
from tests.engines import WITHIN_S, Engine, creation, edit, everything, soon

WRITERS, EVENTS = 16, 25


async def write(log: EventLog, events: int) -> None:
    """A note and its edits."""
    last = (await log.append(creation(), 0)).record
    for _ in range(events - 1):
        last = (await log.append(edit(last.note_id), last.position)).record


async def test_readers_see_one_growing_sequence(log: EventLog, dice: random.Random) -> None:
    """Whoever reads while many write sees 1, 2, 3, … with no hole, whatever the size of the pages."""

    async def read(limit: int) -> list[int]:
        positions: list[int] = []
        async for page in follow(log, 0, limit):
            positions += [record.position for record in page]
            assert log.head >= positions[-1]
            if len(positions) == WRITERS * EVENTS:
                return positions
        raise AssertionError("the log ended")

    readers = [asyncio.create_task(read(dice.choice([1, 2, 7, 1000]))) for _ in range(8)]
    await asyncio.gather(*(write(log, EVENTS) for _ in range(WRITERS)))
    for reader in readers:
        assert await soon(reader) == list(range(1, WRITERS * EVENTS + 1))


async def test_the_past_never_changes_shape(log: EventLog) -> None:
    """What was read once is read again the same, while the log grows behind it."""
    writing = asyncio.gather(*(write(log, EVENTS) for _ in range(WRITERS)))
    seen = await everything(log)
    while not writing.done():
        again = await everything(log)
        assert again[: len(seen)] == seen
        seen = again
        await asyncio.wait(
            [asyncio.ensure_future(log.wait_past(len(seen))), writing],
            timeout=WITHIN_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
    await writing


async def test_versions_and_note_ids_are_dense(log: EventLog) -> None:
    """Note ids are 1, 2, 3, … in the order of their first events, and versions 1, 2, 3, … within each note."""
    await asyncio.gather(*(write(log, EVENTS) for _ in range(WRITERS)))
    records = await everything(log)
    assert [record.note_id for record in records if record.version == 1] == list(range(1, WRITERS + 1))
    for note_id in range(1, WRITERS + 1):
        stream = await log.read_stream(note_id)
        assert stream == [record for record in records if record.note_id == note_id]
        assert [record.version for record in stream] == list(range(1, EVENTS + 1))


async def test_the_order_survives_a_restart(engine: Engine) -> None:
    """A log that is opened again shows the same records, and goes on at the next position."""
    async with engine.opened() as log:
        await write(log, 3)
        before, epoch = await everything(log), log.epoch
    async with engine.opened() as log:
        assert (await everything(log), log.head, log.epoch) == (before, 3, epoch)
        assert (await log.append(creation(), 0)).record.position == 4
