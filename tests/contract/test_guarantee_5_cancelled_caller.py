"""5. A cancelled caller does not cancel an append that began; nothing is half appended."""

import asyncio
import random

from events.log import EventLog
from tests.engines import WITHIN_S, Engine, creation, everything


async def turns(count: int) -> None:
    """Let everybody else take that many steps."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_began_is_appended_once(log: EventLog, dice: random.Random) -> None:
    """Callers who are cancelled at any moment after they began find their event in the log, once and whole."""
    events = [creation() for _ in range(60)]
    for event in events:
        caller = asyncio.create_task(log.append(event, 0))
        await turns(dice.randint(1, 12))
        caller.cancel()
    await asyncio.wait_for(log.wait_past(len(events) - 1), WITHIN_S)
    assert [record.data for record in await everything(log)] == [event.data for event in events]


async def test_a_cancelled_caller_is_told_at_once(log: EventLog) -> None:
    """Cancelling does not make the caller wait for the disk: it gets its CancelledError and nothing else."""
    caller = asyncio.create_task(log.append(creation(), 0))
    await turns(2)
    caller.cancel()
    done, _ = await asyncio.wait([caller], timeout=WITHIN_S)
    assert caller in done
    assert caller.cancelled()


async def test_closing_writes_what_was_queued(engine: Engine) -> None:
    """Close waits for what was begun: all of it is there when the log is opened again."""
    async with engine.opened() as log:
        callers = [asyncio.create_task(log.append(creation(), 0)) for _ in range(50)]
        await turns(1)
        for caller in callers[::2]:
            caller.cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert not [answer for answer in answers[1::2] if isinstance(answer, BaseException)]
    async with engine.opened() as log:
        assert log.head == 50
