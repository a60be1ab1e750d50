"""7. ``wait_past`` loses no wake-up."""

import asyncio
import random

from events.log import EventLog
from tests.engines import WITHIN_S, creation, soon

POSITIONS, WAITERS = 40, 400


async def test_everybody_is_woken(log: EventLog, dice: random.Random) -> None:
    """Whoever waits, from any moment on, for any position that is reached, is woken, and not before."""

    async def wait(position: int, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await log.wait_past(position)
        assert log.head > position

    waiters = [asyncio.create_task(wait(dice.randrange(POSITIONS), dice.randrange(2_000))) for _ in range(WAITERS)]
    for _ in range(POSITIONS // 4):
        await asyncio.gather(*(log.append(creation(), 0) for _ in range(4)))
    for waiter in waiters:
        await soon(waiter)


async def test_nobody_is_woken_early(log: EventLog) -> None:
    """A wait for a position that is not past does not end."""
    await log.append(creation(), 0)
    await asyncio.wait_for(log.wait_past(0), WITHIN_S)
    waiter = asyncio.create_task(log.wait_past(1))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiter.done()
    await log.append(creation(), 0)
    await soon(waiter)


async def test_a_cancelled_wait_touches_nobody_else(log: EventLog, dice: random.Random) -> None:
    """Cancelled waits, among others for the same positions: the others are woken as ever."""
    waiters = [asyncio.create_task(log.wait_past(dice.randrange(10))) for _ in range(200)]
    await asyncio.sleep(0)
    cancelled = dice.sample(waiters, 150)
    for waiter in cancelled:
        waiter.cancel()
    for _ in range(10):
        await log.append(creation(), 0)
    for waiter in waiters:
        if waiter not in cancelled:
            await soon(waiter)
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
