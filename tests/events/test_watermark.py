"""A position that only rises, and can be waited for."""

import asyncio
import traceback

import pytest

from events.watermark import Watermark
from tests.engines import soon


def waiters(mark: Watermark, *values: int) -> list["asyncio.Task[None]"]:
    """One task for each value that is waited for."""
    return [asyncio.create_task(mark.reach(value)) for value in values]


async def test_it_only_rises() -> None:
    """A lower value changes nothing."""
    mark = Watermark(5)
    mark.raise_to(3)
    assert mark.value == 5
    await mark.reach(5)


async def test_those_below_are_woken() -> None:
    """Rising wakes who waits for this value or a lower one, and nobody else."""
    mark = Watermark()
    tasks = waiters(mark, 3, 1, 2, 4, 2)
    await asyncio.sleep(0)
    mark.raise_to(2)
    for task in (tasks[1], tasks[2], tasks[4]):
        await soon(task)
    assert not tasks[0].done()
    assert not tasks[3].done()
    mark.raise_to(9)
    await asyncio.gather(*tasks)


async def test_a_stop_is_told_to_everybody() -> None:
    """After a stop everybody who waits above it, now or later, gets the fault; who waits below does not."""
    mark = Watermark(1)
    tasks = waiters(mark, 2, 3)
    await asyncio.sleep(0)
    mark.stop(LookupError("it stands still"))
    for task in tasks:
        with pytest.raises(LookupError):
            await task
    with pytest.raises(LookupError):
        await mark.reach(2)
    await mark.reach(1)


async def test_it_goes_on_after_a_stop() -> None:
    """When it is resumed, waiting works again."""
    mark = Watermark()
    mark.stop(LookupError())
    mark.resume()
    (task,) = waiters(mark, 1)
    await asyncio.sleep(0)
    mark.raise_to(1)
    await soon(task)


async def test_a_fault_told_often_stays_small() -> None:
    """Each who asks after a stop gets the fault with its own trace, not with those of all before it."""
    mark = Watermark()
    fault = LookupError()
    mark.stop(fault)
    for _ in range(100):
        with pytest.raises(LookupError):
            await mark.reach(1)
    assert len(traceback.extract_tb(fault.__traceback__)) < 10


async def test_cancelled_waits_are_forgotten() -> None:
    """Waits that time out while nothing rises do not gather in memory, and the others are still woken in the end."""
    mark = Watermark()
    (stays,) = waiters(mark, 7)
    for _ in range(50):
        cancelled = waiters(mark, *range(1, 21))
        await asyncio.sleep(0)
        for task in cancelled:
            task.cancel()
        await asyncio.wait(cancelled)
        assert len(mark._waiters) <= 2 + len(cancelled)
    mark.raise_to(7)
    await soon(stays)
    assert mark._waiters == []


async def test_the_order_survives_cancelled_waits() -> None:
    """After many waits were cancelled the others are still woken in the order of their values, each at its own."""
    mark = Watermark()
    values = [value * 37 % 101 for value in range(1, 101)]
    tasks = waiters(mark, *values)
    await asyncio.sleep(0)
    for task in tasks[:0:-1][:70]:
        task.cancel()
    await asyncio.sleep(0)
    for reached in range(1, 101):
        mark.raise_to(reached)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert all(
            task.done() == (value <= reached) for value, task in zip(values, tasks, strict=True) if not task.cancelled()
        )


async def test_cancelled_and_woken_at_once() -> None:
    """A waiter that is cancelled in the same step in which it is woken disturbs nobody."""
    mark = Watermark()
    tasks = waiters(mark, 1, 1, 2)
    await asyncio.sleep(0)
    tasks[0].cancel()
    mark.raise_to(1)
    tasks[1].cancel()
    assert [type(outcome) for outcome in await asyncio.gather(*tasks[:2], return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    mark.raise_to(2)
    await soon(tasks[2])
