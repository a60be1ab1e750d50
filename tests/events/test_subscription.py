"""The one way to follow a log. (With many writers, on every engine: tests/contract, guarantee 2.)"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.log import EventLog
from events.sqlite_log import SqliteLog
from events.subscription import follow
from tests.engines import WITHIN_S, creation


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    """A log with five events."""
    log = await SqliteLog.open(tmp_path / "events.db")
    for _ in range(5):
        await log.append(creation(), 0)
    yield log
    await log.close()


async def next_page(pages: AsyncIterator[list[object]]) -> list[int]:
    """The positions of the next page."""
    async with asyncio.timeout(WITHIN_S):
        return [record.position for record in await anext(pages)]  # type: ignore[attr-defined]


async def test_from_any_position(log: EventLog) -> None:
    """First what is there after the position, in pages of at most the limit, then each event as it comes."""
    pages = follow(log, 1, limit=3)
    assert [await next_page(pages), await next_page(pages)] == [[2, 3, 4], [5]]
    waiting = asyncio.create_task(next_page(pages))
    await asyncio.sleep(0)
    assert not waiting.done()
    await log.append(creation(), 0)
    assert await waiting == [6]


async def test_beyond_the_head(log: EventLog) -> None:
    """Whoever is ahead of the log gets nothing until it comes past."""
    pages = follow(log, 6)
    waiting = asyncio.create_task(next_page(pages))
    for _ in range(2):
        await asyncio.sleep(0)
        assert not waiting.done()
        await log.append(creation(), 0)
    assert await waiting == [7]


async def test_a_cancelled_follower_begins_again(log: EventLog) -> None:
    """Cancelled in its wait, a follower begins again from its own position without a hole or a repeat."""
    pages = follow(log, 5)
    waiting = asyncio.create_task(next_page(pages))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await log.append(creation(), 0)
    assert await next_page(follow(log, 5)) == [6]
