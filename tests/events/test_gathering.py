"""Gathering: what comes in turns of the loop that follow each other goes together, and a busy loop bounds the wait."""

import asyncio

from events.gathering import QUIET_TURNS, TURNS_MAX, when_gathered


async def turns(count: int) -> None:
    """So many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_within_the_quiet_turns_goes_along() -> None:
    """Each that comes is waited for, as long as fewer turns than that lie between two of them."""
    waiting = ["first"]
    went: list[int] = []
    when_gathered(waiting, lambda: went.append(len(waiting)))
    for number in range(3):
        await turns(QUIET_TURNS - 1)
        assert went == []
        waiting.append(str(number))
    await turns(QUIET_TURNS + 2)
    assert went == [4]


async def test_a_busy_loop_waits_for_so_many_turns() -> None:
    """A loop in which every turn brings one more goes all the same, soon."""
    waiting = ["first"]
    went: list[int] = []
    when_gathered(waiting, lambda: went.append(len(waiting)))
    while not went and len(waiting) < 100:
        waiting.append("more")
        await turns(1)
    assert went == [1 + TURNS_MAX]


async def test_who_is_alone_goes_by_itself() -> None:
    """No timer and nobody else is needed."""
    went = asyncio.Event()
    when_gathered(["alone"], went.set)
    await turns(QUIET_TURNS + 1)
    assert went.is_set()
