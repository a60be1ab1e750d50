"""6. Records are never changed or removed."""

import asyncio
import sqlite3

import pytest

from events.store import EventStore
from tests.engines import Engine, creation, edit, everything

COPY = (
    "SELECT {position}, note_id, {version}, type, schema, at, actor, command, 0, NULL, meta, salt, data "
    "FROM events WHERE position = 1"
)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}' WHERE position = 2",
        "UPDATE events SET position = 4 WHERE position = 3",
        "DELETE FROM events WHERE position = 3",
        "DELETE FROM events",
        "INSERT INTO events " + COPY.format(position=5, version=2).replace("command,", "NULL,"),
        "INSERT INTO events " + COPY.format(position=0, version=2).replace("command,", "NULL,"),
        "INSERT INTO events " + COPY.format(position=4, version=3).replace("command,", "NULL,"),
        "REPLACE INTO events " + COPY.format(position=2, version=2).replace("command,", "NULL,"),
        "REPLACE INTO events " + COPY.format(position=4, version=1).replace("command,", "NULL,"),
        "REPLACE INTO events " + COPY.format(position=4, version=2),
    ],
)
async def test_the_file_refuses(engine: Engine, statement: str) -> None:
    """A tool that writes to the file cannot change a record, remove one, replace one or leave a hole."""
    async with engine.opened() as log:
        for number in range(3):
            await log.append(creation(command=bytes([number]) * 16), 0)
        before = await everything(log)
    connection = sqlite3.connect(engine.file, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()
    async with engine.opened() as log:
        assert await everything(log) == before


async def test_records_read_early_are_read_the_same_late(engine: Engine) -> None:
    """What was answered, what the tail in memory shows and what the file shows after a restart are equal."""
    async with engine.opened() as log:
        first = (await log.append(creation(), 0)).record
        answered = [first, (await log.append(edit(first.note_id), first.position)).record]
        answered += [answer.record for answer in await asyncio.gather(*(log.append(creation(), 0) for _ in range(50)))]
        answered.sort(key=lambda record: record.position)
        assert await everything(log) == answered
    async with engine.opened() as log:
        assert await everything(log) == answered


async def test_readers_cannot_write(log: EventStore) -> None:
    """The connections that read are unable to change the file."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await log._pages.read(lambda connection: connection.execute("DELETE FROM events"))
