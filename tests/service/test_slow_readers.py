"""Those who read slowly or not at all, and a node that is behind: fuller frames, never a hole, others unhurt."""

import asyncio
import gc
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from projections.notes import Notes
from service.live import connection, hub, subscriber
from tests.service.running import Running, until
from tests.service.subscriber import Copy, Subscriber, connected, positions_of

# So little is taken for a client that does not read: the kernel doubles it, and has a least of its own.
LITTLE_BYTES = 2048


async def write_much(notelog: Running, notes: int = 200, description: str = "x" * 4_000) -> None:
    """About 800 KiB of new notes, more than fits between the service and a client that does not read."""
    for start in range(0, notes, 50):
        await asyncio.gather(*(notelog.note(description=description) for _ in range(start, min(start + 50, notes))))


@contextmanager
def connections_counted(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The connections that the service has made and not yet ended, in the order of their beginnings."""
    alive: list[Any] = []
    serve = subscriber.Subscriber.serve

    async def counted(connection: Any) -> None:
        alive.append(connection)
        try:
            await serve(connection)
        finally:
            alive.remove(connection)

    monkeypatch.setattr(subscriber.Subscriber, "serve", counted)
    yield alive


@pytest.mark.parametrize("feed", ["events", "notes"])
async def test_a_slow_reader_misses_nothing(notelog: Running, feed: str) -> None:
    """A reader that pauses gets all that it missed when it reads on, and is told when it has caught up."""
    async with connected(notelog, LITTLE_BYTES, max_queue=1) as slow, connected(notelog) as quick:
        await slow.follow("s", feed, after=0)
        await quick.follow("s", "events", after=0)
        await write_much(notelog)
        assert positions_of(await quick.reach(200)) == list(range(1, 201))
        frames = await slow.reach(200)
        if feed == "events":
            assert positions_of(frames) == list(range(1, 201))
        else:
            copy = Copy()
            copy.take(frames)
            assert set(copy.notes) == set(range(1, 201))
        assert (await slow.frame())["type"] == "caught_up"
        await notelog.note()
        assert [frame["type"] for frame in await slow.reach(201)] == [feed]


async def test_a_slow_reader_of_notes_gets_fewer(notelog: Running) -> None:
    """What a reader of ``notes`` has missed is what the notes are now, not each of their versions."""
    async with connected(notelog, LITTLE_BYTES, max_queue=1) as slow:
        await slow.follow("s", "notes", after=0)
        await write_much(notelog, 100)
        for priority in range(1, 6):
            await asyncio.gather(*(notelog.patch(f"/notes/{id_}", {"priority": priority}) for id_ in range(1, 101)))
        frames = await slow.reach(600)
        copy = Copy()
        copy.take(frames)
        assert {note["priority"] for note in copy.notes.values()} == {5}
        assert len(copy.notes) == 100
        assert sum(len(frame["notes"]) for frame in frames if frame["type"] == "notes") < 500


async def test_who_does_not_read_is_cut_off(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes nothing for too long is cut off, one who takes a little is not, and others feel nothing."""
    monkeypatch.setattr(connection, "STALL_S", 2.0)
    monkeypatch.setattr(connection, "STALL_CHECK_S", 0.05)
    with connections_counted(notelog, monkeypatch) as alive:
        async with connected(notelog, LITTLE_BYTES, max_queue=1) as hung, connected(notelog) as quick:
            async with connected(notelog, LITTLE_BYTES, max_queue=1) as slow:
                for client in (hung, quick, slow):
                    await client.follow("s", "events", after=0)
                reading = asyncio.create_task(read_slowly(slow, 300, lambda: len(alive) == 3))
                _, frames = await asyncio.gather(write_much(notelog, 300), quick.reach(300))
                assert positions_of(frames) == list(range(1, 301))
                await until(lambda: len(alive) == 2, "the reader that hangs is cut off")
                assert positions_of(await reading) == list(range(1, 301))
                assert len(alive) == 2


async def read_slowly(client: Subscriber, position: int, slow: Callable[[], bool]) -> list[dict[str, Any]]:
    """Take a frame, and pause, as long as that is wanted; then the rest, until a position is reached."""
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1].get("position", -1) < position:
        frames.append(await client.frame())
        if slow():
            await asyncio.sleep(0.2)
    return frames


async def test_who_does_not_read_is_cut_off_though_nothing_comes(
    notelog: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that hangs with full buffers is cut off even when nothing more is written for it."""
    monkeypatch.setattr(connection, "STALL_S", 0.5)
    monkeypatch.setattr(connection, "STALL_CHECK_S", 0.05)
    with connections_counted(notelog, monkeypatch) as alive:
        async with connected(notelog, LITTLE_BYTES, max_queue=1) as hung:
            await hung.follow("s", "events", after=0)
            await until_full(notelog, alive[0])
            await until(lambda: not alive, "the reader that hangs is cut off")


async def test_a_ping_waits_its_turn(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever slowly takes what lies before the ping may answer it late; whoever takes nothing may not."""
    check = subscriber.Subscriber.check
    monkeypatch.setattr(subscriber.Subscriber, "check", lambda connection, now: None)  # only when this test says
    await write_much(notelog, 30)
    with connections_counted(notelog, monkeypatch) as alive:
        async with connected(notelog, LITTLE_BYTES, max_queue=1) as slow:
            await slow.subscribe(after=0)
            served, now = alive[0], time.monotonic() + connection.PING_INTERVAL_S

            def given_up() -> bool:
                nonlocal now
                now += connection.PONG_TIMEOUT_S + 1
                check(served, now)
                return not alive

            await until(lambda: bool(served._subscriptions) and not hub_is_writing(served), "all is written")
            assert not served._protocol.writing_paused
            check(served, now)
            for _ in range(2):
                waiting_bytes = served._waiting_bytes()
                while served._waiting_bytes() >= waiting_bytes:
                    await slow.frame()
                assert not given_up(), "one who makes progress was given up"
            await until(given_up, "one who makes none is given up")


def hub_is_writing(connection: Any) -> bool:
    """Whether a subscription of the connection is not at the head yet."""
    return any(subscription.task is not None for subscription in connection._subscriptions.values())


async def until_full(notelog: Running, connection: Any) -> None:
    """Write notes one by one, until the connection's buffer has more than it should and not a byte beyond is due."""
    while not connection._protocol.writing_paused:
        await notelog.note(description="x" * 4_000)


async def test_stopping_waits_for_no_reader(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service stops in good time though clients have stopped reading and never say goodbye."""
    with connections_counted(notelog, monkeypatch) as alive:
        async with connected(notelog, LITTLE_BYTES, max_queue=1) as client, connected(notelog, LITTLE_BYTES) as other:
            await client.follow("s", "events", after=0)
            await other.follow("s", "notes", after=0)
            await write_much(notelog, 300)
            async with asyncio.timeout(9):
                await notelog.stop()
            assert not alive


async def test_a_bad_frame_of_a_reader_that_hangs(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing and breaks the rules is cut off too, and leaves nothing behind."""
    with connections_counted(notelog, monkeypatch) as alive:
        async with connected(notelog, LITTLE_BYTES, max_queue=1) as client:
            await client.follow("s", "events", after=0)
            await until_full(notelog, alive[0])
            await client.connection.send("rubbish")
            await until(lambda: not alive, "the connection ends")


@contextmanager
def notes_held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The projection of the notes waits, with its next page in hand, until the event is set."""
    apply, go_on = Notes.apply, threading.Event()

    def held_up(*arguments: Any) -> Any:
        go_on.wait(20)
        return apply(*arguments)

    monkeypatch.setattr(Notes, "apply", held_up)
    try:
        yield go_on
    finally:
        go_on.set()


async def test_a_node_that_is_behind_says_so(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the table is behind the log, a subscription to ``notes`` waits and gets ``not_yet``; ``events`` go on."""
    monkeypatch.setattr(hub, "NOT_YET_S", 0.2)
    with notes_held_up(monkeypatch) as go_on:
        await notelog.note()
        async with connected(notelog) as client:
            error = await client.ask(type="subscribe", id="n", feed="notes", after=1)
            assert (error["type"], error["id"], error["code"]) == ("error", "n", "not_yet")
            assert (await client.ask(type="unsubscribe", id="n"))["code"] == "unknown_subscription"
            assert positions_of(await client.follow("e", after=0)) == [1]
            go_on.set()
            monkeypatch.setattr(hub, "NOT_YET_S", 20)
            frames = await client.follow("n", "notes", after=0)
            assert [note["id"] for note in frames[0]["notes"]] == [1]


async def test_waiting_for_the_table_and_then_following(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that came while the table was behind begins when it is there, and misses nothing."""
    with notes_held_up(monkeypatch) as go_on:
        await notelog.note()
        async with connected(notelog) as client, connected(notelog) as leaves:
            await client.send(type="subscribe", id="n", feed="notes", after=0)
            await leaves.send(type="subscribe", id="n", feed="notes", after=0)
            assert (await leaves.ask(type="unsubscribe", id="n"))["type"] == "unsubscribed"
            await client.follow("e", after=0)
            go_on.set()
            assert (await client.frame())["type"] == "subscribed"
            assert [note["id"] for note in (await client.catch_up("n"))[0]["notes"]] == [1]


@pytest.mark.parametrize("goes_on", [True, False])
async def test_an_id_asked_for_again_while_it_waits(
    notelog: Running, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    """While a subscription waits, a second one of its id is not refused before the first was answered, or ended."""
    with notes_held_up(monkeypatch) as go_on:
        await notelog.note()
        async with connected(notelog) as client:
            for _ in range(3):
                await client.send(type="subscribe", id="n", feed="notes", after=0)
            await client.follow("e", after=0)
            if goes_on:
                go_on.set()
                assert (await client.frame())["type"] == "subscribed"
            else:
                await client.send(type="unsubscribe", id="n")
            assert [(await client.frame()).get("code") for _ in range(2)] == ["id_in_use"] * 2
            assert goes_on or (await client.frame())["type"] == "unsubscribed"


async def test_a_reader_that_goes_with_full_buffers(
    notelog: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that does not read and then breaks the connection leaves nothing behind, in the log neither."""
    with connections_counted(notelog, monkeypatch) as alive:
        for feed in ("events", "notes"):
            async with connected(notelog, LITTLE_BYTES, max_queue=1) as client:
                await client.follow("s", feed, after=0)
                await until_full(notelog, alive[0])
                client.connection.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                client.connection.transport.abort()
                await until(lambda: not alive, "the connection ends")
    gc.collect()
    await asyncio.sleep(0)
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
