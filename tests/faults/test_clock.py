"""The clock is set forth and back while the service runs: positions are the order, whatever the time of day says."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.safety.issuer import SECRET, Issuer
from tests.sizes import count

from .clock import Clock
from .follower import EventsFollower, NotesFollower
from .load import Load
from .process import COMMAND, REPOSITORY, Server, until
from .promises import assert_none, assert_promises_kept

pytestmark = pytest.mark.faults

HOUR_S, DAY_S = 3600, 24 * 3600
LONG_AGO_S, FAR_OFF_S = -50 * 365 * DAY_S, 30 * 365 * DAY_S
AHEAD_S = (LONG_AGO_S, -DAY_S, -HOUR_S, -1, 0, 1, HOUR_S, DAY_S, FAR_OFF_S)
ANSWERS_MAX = 60
TIMES = 30  # at which the past is asked for
CLOSED_WITHIN_S = 15.0


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The clock of the services that are started with its environment."""
    return Clock(tmp_path)


async def test_a_clock_that_jumps_loses_and_repeats_nothing(server: Server, seed: int, clock: Clock) -> None:
    """Under load, with kills between: promises hold, times are those of the clock, and `as_of` finds its position."""
    dice, began_s = random.Random(seed), time.time()
    ahead = [0, FAR_OFF_S, LONG_AGO_S, *dice.choices(AHEAD_S, k=count("clock_jumps") - 2)]
    await server.start(environment=clock.environment)
    async with EventsFollower(server) as events, NotesFollower(server) as notes:
        async with Load(server, seed) as load:
            for ahead_s in ahead[1:]:
                await load.answered(dice.randint(1, ANSWERS_MAX))
                clock.set(ahead_s)
                if dice.random() < 0.2:
                    await server.kill()
                    await server.start(environment=clock.environment)
            await load.answered(ANSWERS_MAX)
        print(f"clock set {len(ahead) - 1} times")
        await assert_promises_kept(server, load, events, notes)
    times = recorded_times(server.data)
    assert_none(strange_times(times, ahead, began_s, time.time()))
    assert_none(await wrong_pasts(server, times, dice))
    assert not [line for line in server.log_lines() if line.get("level") == "error"], server.last_lines()
    assert await server.stop() == 0
    await assert_verified(server.data)


def recorded_times(data: Path) -> list[int]:
    """The time of each event, in microseconds since 1970."""
    with closing(sqlite3.connect(f"file:{data / 'events.db'}?mode=ro", uri=True)) as log:
        return [at for (at,) in log.execute("SELECT at FROM events ORDER BY position")]


def strange_times(times: list[int], ahead: list[int], began_s: float, ended_s: float) -> list[str]:
    """The events whose time the clock never showed; and a clock whose time stands at no event."""
    shown = [(began_s + ahead_s, ended_s + ahead_s) for ahead_s in set(ahead)]
    strange = [
        f"event {position}: {at}"
        for position, at in enumerate(times, start=1)
        if not any(first <= at / 1e6 <= last for first, last in shown)
    ]
    first, last = began_s + ahead[-1], ended_s + ahead[-1]
    return strange if first <= times[-1] / 1e6 <= last else [*strange, "the last event is not of the clock's last time"]


async def wrong_pasts(server: Server, times: list[int], dice: random.Random) -> list[str]:
    """Times that do not mean the last position whose time is not after them."""
    wrong = []
    for at in dice.choices(times, k=TIMES):
        text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        expected = max(position for position, other in enumerate(times, start=1) if other <= at)
        status, page = await server.read(f"/notes?as_of={text}&limit=1")
        if (status, page.get("as_of")) != (200, expected):
            wrong.append(f"as_of {text}: expected {expected}, got {status} {page}")
    return wrong


async def assert_verified(data: Path) -> None:
    """`notelog verify` finds nothing."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "verify",
        "--data",
        str(data),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()


async def test_a_token_ends_and_counts_again_as_the_clock_says(server: Server, clock: Clock) -> None:
    """Set beyond a token's end the clock ends it, on a websocket too; set back it is good again, as if nothing was."""
    await server.start(environment=clock.environment | {"NOTELOG_AUTH_SECRET": SECRET.decode()})
    token = Issuer().token("notes:read", shared=True, iss=None, aud=None, iat=None)
    headers = {"Authorization": f"Bearer {token}"}

    async def status() -> int:
        async with server.session.get(server.url + "/notes", headers=headers) as response:
            return response.status

    async with server.session.ws_connect(server.url + "/ws", headers=headers) as socket:
        assert (await socket.receive_json(timeout=10))["type"] == "hello"
        assert await status() == 200
        clock.set(2 * HOUR_S)
        assert await status() == 401
        message = await socket.receive(timeout=CLOSED_WITHIN_S)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4401)
    for ahead_s, expected in ((0, 200), (-DAY_S, 200), (2 * HOUR_S, 401), (0, 200)):
        clock.set(ahead_s)
        assert await status() == expected, ahead_s


async def test_a_clock_that_is_set_locks_nobody_out_and_lets_nobody_in(server: Server, clock: Clock) -> None:
    """A window of the rate limit is as long as it should be, whichever way the clock was set meanwhile."""

    async def ask() -> int:
        async with server.session.get(server.url + "/notes") as response:
            wait_s = response.headers.get("Retry-After")
            assert wait_s is None or 0 < int(wait_s) <= HOUR_S
            return response.status

    async def let_in() -> bool:
        return await ask() == 200

    async def kept_out() -> bool:
        return await ask() == 429

    times = (2 * HOUR_S, -DAY_S, 365 * DAY_S, 0)
    await server.start(environment=clock.environment | {"NOTELOG_RATE_LIMIT": "3/hour"})
    assert [await ask() for _ in range(4)] == [200, 200, 200, 429]
    for ahead_s in times:
        clock.set(ahead_s)
        assert await kept_out(), ahead_s
    await server.stop()
    await server.start(environment=clock.environment | {"NOTELOG_RATE_LIMIT": "3/second"})
    for ahead_s in times:
        await until(kept_out, 10, "the window is full")
        clock.set(ahead_s)
        await until(let_in, 10, f"the next window, {ahead_s} s ahead")


async def test_the_harness_sets_the_clock(server: Server, clock: Clock) -> None:
    """The service sees the clock that it is given: what is written shows it."""
    await server.start(environment=clock.environment)
    for ahead_s in (0, 30 * 365 * DAY_S, -HOUR_S):
        clock.set(ahead_s)
        async with server.session.post(server.url + "/notes", json={"title": "now"}) as made:
            updated_at = datetime.fromisoformat((await made.json())["updated_at"])
        assert abs(updated_at.timestamp() - time.time() - ahead_s) < 60
    await until(server.is_ready, 10, "the service is well")
