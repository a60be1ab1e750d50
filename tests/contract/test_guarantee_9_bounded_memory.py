"""9. Memory is bounded in bytes, whatever the length of the log."""

import asyncio
import tracemalloc

import pytest

from events import log as contract
from events import tail
from events.errors import LogBusy
from events.log import EventLog
from events.store import EventStore
from events.subscription import follow
from tests.engines import Engine, creation, edit

LARGE = '{"description":"' + "x" * 60_000 + '"}'
WIDE = '{"description":"' + "\N{GRINNING FACE}" * 60_000 + '"}'  # four bytes a character in memory


def memory_bytes(text: str) -> int:
    """What the characters of a text take in memory: one, two or four bytes each, as the widest of them needs."""
    widest = max(map(ord, text), default=0)
    return len(text) * (1 if widest < 256 else 2 if widest < 65_536 else 4)


async def fill(log: EventLog, events: int, data: str) -> None:
    """Append that many notes."""
    await asyncio.gather(*(log.append(creation(data=data), 0) for _ in range(events)))


@pytest.mark.parametrize("data", [LARGE, WIDE])
async def test_pages_are_bounded(engine: Engine, data: str) -> None:
    """A page holds at most PAGE_BYTES_MAX, from the tail in memory as well as from the file; but one event always."""
    size_bytes = creation(data=data).size_bytes
    async with engine.opened() as log:
        await fill(log, 40, data)
        from_tail = await log.read(0), await log.read_stream(1)
    async with engine.opened() as log:
        from_file = await log.read(0), await log.read_stream(1)
    assert from_tail == from_file
    assert (
        len(from_file[0]) == 1 or sum(memory_bytes(record.data) for record in from_file[0]) <= contract.PAGE_BYTES_MAX
    )
    assert len(from_file[0]) == max(1, contract.PAGE_BYTES_MAX // size_bytes)


async def test_an_event_larger_than_a_page_is_read(engine: Engine) -> None:
    """A page has at least one event, however large: whoever follows never stands still before it."""
    async with engine.opened() as log:
        await fill(log, 3, "é" * (contract.PAGE_BYTES_MAX // 4 + 1))
        assert [len(await log.read(after)) for after in (0, 1, 2, 3)] == [1, 1, 1, 0]
    async with engine.opened() as log:
        assert [len(await log.read(after)) for after in (0, 1, 2, 3)] == [1, 1, 1, 0]


async def test_the_tail_is_bounded(log: EventStore) -> None:
    """The newest records stay in memory up to TAIL_BYTES_MAX; the older ones are read from the file, and are equal."""
    for _ in range(3):
        await fill(log, 100, LARGE)
    held = log._tail._records
    assert 0 < sum(record.size_bytes for record in held) <= tail.TAIL_BYTES_MAX
    positions = [record.position async for record in first(log, 300)]
    assert positions == list(range(1, 301))


async def test_following_a_long_log_takes_little_memory(engine: Engine) -> None:
    """Whoever follows 60 MB of log holds a page at a time."""
    async with engine.opened() as log:
        for _ in range(10):
            await fill(log, 100, LARGE)
    async with engine.opened() as log:
        tracemalloc.start()
        try:
            positions = [record.position async for record in first(log, 1000)]
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(positions) == 1000
    assert peak_bytes < 6 * contract.PAGE_BYTES_MAX


async def test_the_queue_is_bounded_in_bytes(engine: Engine, log: EventStore) -> None:
    """What waits to be written is bounded: whoever comes then gets LogBusy, and nothing of it is appended."""
    fitting = engine.queue_bytes_max // creation(data=WIDE).size_bytes
    outcomes = await asyncio.gather(
        *(log.append(creation(data=WIDE), 0) for _ in range(fitting + 50)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert {type(outcome) for outcome in refused} == {LogBusy}
    assert len(refused) in (49, 50)  # the one that reaches the limit is taken
    assert log.head == fitting + 50 - len(refused)


async def test_the_queue_is_bounded_in_events(engine: Engine, log: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in number of events; when the queue has emptied, the log takes events again."""
    engine.queue_events_max(monkeypatch, 100)
    outcomes = await asyncio.gather(*(log.append(creation(), 0) for _ in range(150)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[100:]] == [LogBusy] * 50
    assert (await log.append(creation(), 0)).record.position == 101


async def first(log: EventLog, events: int):  # type: ignore[no-untyped-def]
    """The first events of a log, as one who follows it gets them."""
    async for page in follow(log, 0):
        for record in page:
            yield record
        if page[-1].position == events:
            return


async def test_the_last_event_of_a_note(log: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a note the last position past another one is told, or that other; where memory does not reach, the head."""
    monkeypatch.setattr(tail, "TAIL_BYTES_MAX", 20_000)
    last: dict[int, int] = {}
    for number in range(60):
        if number % 3:
            note_id = 1 + number % len(last)
            record = (await log.append(edit(note_id), last[note_id])).record
        else:
            record = (await log.append(creation(), 0)).record
        last[record.note_id] = record.position
    held = log._tail._records[0].position
    assert 1 < held < 60
    for after in range(61):
        for note_id in range(1, 22):
            known = max(after, last.get(note_id, 0))
            assert log.last_of(note_id, after) == (known if after >= held - 1 else 60)
