"""A feed that is iterated has no hole and no repeat, whatever happens to its connections."""

import asyncio
import gc
import random
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest

from events.note import Note
from service.client import Client, Removed
from service.client.errors import Forbidden, LogReset, SubscriptionRefused, Unauthorized
from service.client.feeds import ClientFeed
from service.settings import Settings
from service.terminal.token import _claims, _sign
from tests.client.cutter import Cutter
from tests.faults.process import Server
from tests.service.running import WITHIN_S, Running, until

Item = TypeVar("Item")

# More than a frame, so that each connection brings something; less than what there is.
CUT_AFTER_BYTES = (36_000, 60_000)


async def take(feed: AsyncIterator[Item], count: int) -> list[Item]:
    """So many items of a feed."""
    async with asyncio.timeout(WITHIN_S * 2):
        return [await anext(feed) for _ in range(count)]


async def test_events_over_cuts(client: Client, cutter: Cutter, notelog: Running, dice: random.Random) -> None:
    """Connections that break at any byte, again and again, leave no hole and no repeat."""
    for number in range(150):
        await notelog.note(f"note {number}", description="x" * dice.randrange(2000))
    feed = client.events(after=0)
    cutter.cut_after_bytes = dice.randrange(*CUT_AFTER_BYTES)
    events = await take(feed, 150)
    assert [event.position for event in events] == list(range(1, 151))
    assert cutter.cuts > 1, "nothing was cut: this proved nothing"
    assert (events[3].note_id, events[3].type, events[3].data["title"]) == (4, "NoteCreated", "note 3")


async def test_events_while_the_service_is_killed(tmp_path: Path, dice: random.Random) -> None:
    """A follower of a service that is killed while it is written to gets every event once, those of later too."""
    async with Server(tmp_path / "data") as server, Cutter(lambda: server.url) as cutter:
        await server.start()
        async with Client(cutter.url) as writer, Client(cutter.url) as reader:
            following = asyncio.create_task(take(reader.events(after=0), 60))
            for number in range(60):
                if number in (20, 40):
                    creating = asyncio.create_task(writer.create(f"note {number}"))
                    await asyncio.sleep(dice.uniform(0, 0.01))
                    await server.kill()
                    await server.start()
                    await creating
                else:
                    await writer.create(f"note {number}")
            events = await following
    assert [event.position for event in events] == list(range(1, 61))
    assert [event.data["title"] for event in events] == [f"note {number}" for number in range(60)]


async def test_only_what_is_new(client: Client, notelog: Running) -> None:
    """Without a position a feed begins at the head, and stays at its place over a restart."""
    await notelog.note("before")
    feed = client.events()
    first = asyncio.create_task(anext(feed))
    await until(lambda: feed.position is not None, "the feed has begun")
    await notelog.note("after")
    assert (await asyncio.wait_for(first, WITHIN_S)).position == 2
    await notelog.restart()
    await notelog.note("later")
    assert [event.position for event in await take(feed, 1)] == [3]


async def test_filters(client: Client, notelog: Running) -> None:
    """A filter passes what it names, as one value or a list, and the place to resume moves over the rest."""
    for number in range(4):
        await notelog.note(f"note {number}")
    await notelog.delete("/notes/2")
    assert [event.note_id for event in await take(client.events(after=0, note_id=[2, 4]), 3)] == [2, 4, 2]
    assert (await take(client.events(after=0, type="NoteDeleted"), 1))[0].position == 5


class Picture:
    """The notes that a follower of the feed ``notes`` has."""

    def __init__(self, notes: dict[int, Note] | None = None) -> None:
        self.notes = dict(notes or {})

    def apply(self, change: Note | Removed) -> None:
        """Take one change."""
        if isinstance(change, Removed):
            self.notes.pop(change.id, None)
        else:
            self.notes[change.id] = change

    async def follow(self, feed: ClientFeed[Note | Removed], until: int) -> None:
        """Take what comes until a position."""
        async with asyncio.timeout(WITHIN_S * 2):
            while (feed.position or 0) < until:
                self.apply(await anext(feed))


async def test_notes_over_cuts(client: Client, cutter: Cutter, notelog: Running, dice: random.Random) -> None:
    """A picture kept from the feed ``notes`` over broken connections is what the service lists."""
    picture, feed = Picture(), client.notes()
    for number in range(90):
        await notelog.note(f"note {number}", description="x" * 900)
    cutter.cut_after_bytes = dice.randrange(*CUT_AFTER_BYTES)
    await picture.follow(feed, 90)
    for _ in range(80):
        id_ = dice.randrange(1, 91)
        if id_ in picture.notes and dice.random() < 0.3:
            await notelog.delete(f"/notes/{id_}")
        else:
            await notelog.patch(f"/notes/{id_}", {"priority": dice.randrange(1000)})
        if dice.random() < 0.1:
            cutter.cut()
            await picture.follow(feed, notelog.log.head)
    await picture.follow(feed, notelog.log.head)
    assert cutter.cuts > 0
    cutter.cut_after_bytes = None
    assert picture.notes == {note.id: note async for note in client.list()}


async def test_a_frame_that_is_left_in_the_middle(client: Client, notelog: Running) -> None:
    """At any item of a frame, ``position`` is where another feed can go on without missing a removal."""
    for number in range(6):
        await notelog.note(f"note {number}")
    before = {note.id: note async for note in client.list()}
    await notelog.delete("/notes/2")
    await notelog.patch("/notes/1", {"priority": 7})
    await notelog.delete("/notes/5")
    await notelog.patch("/notes/3", {"priority": 7})
    for taken in range(5):
        picture, feed = Picture(before), client.notes(after=6)
        for change in await take(feed, taken):
            picture.apply(change)
        await feed.close()
        await picture.follow(client.notes(after=6 if feed.position is None else feed.position), notelog.log.head)
        assert picture.notes == {note.id: note async for note in client.list()}, f"after {taken} items"


async def test_another_log_is_told(stopped: Running, cutter: Cutter, tmp_path: Path) -> None:
    """When another log answers, the feed says so instead of going on, and begins at 0 when it is iterated again."""
    await stopped.start()
    async with Client(cutter.url) as client:
        for number in range(3):
            await stopped.note(f"old {number}")
        feed = client.events(after=0)
        await take(feed, 3)
        epoch = feed.epoch
        await stopped.stop()
        stopped.data = tmp_path / "other"
        await stopped.start()
        await stopped.note("new")
        with pytest.raises(LogReset) as reset:
            await take(feed, 1)
        assert (reset.value.reason, reset.value.head) == ("epoch", 1)
        assert reset.value.epoch != epoch
        assert [event.data["title"] for event in await take(feed, 1)] == ["new"]
        with pytest.raises(LogReset, match="beyond_head"):
            await take(client.events(after=99), 1)


async def test_tokens(stopped: Running, cutter: Cutter) -> None:
    """No token, or a bad one, ends a feed with an error; with a good one it goes on; a scope that lacks is told."""
    secret = secrets.token_hex(16).encode()
    await stopped.start(auth_secret=secret)
    settings = Settings(auth_secret=secret)  # type: ignore[arg-type]

    def token(scope: str) -> str:
        return _sign(_claims(settings, "ada", scope, 60), secret)

    async with Client(cutter.url) as client:
        feed = client.notes()
        with pytest.raises(Unauthorized):
            await take(feed, 1)
        client.token = "rubbish"
        with pytest.raises(Unauthorized):
            await take(feed, 1)
        client.token = token("notes:read notes:write")
        note = await client.create("Milk")
        assert await take(feed, 1) == [note]
        with pytest.raises(Forbidden, match="audit:read"):
            await take(client.events(after=0), 1)


async def test_what_cannot_be_had_is_an_error(client: Client) -> None:
    """A subscription that the service refuses is not asked for again and again."""
    with pytest.raises(SubscriptionRefused):
        await take(client.events(after=0, note_id="Milk"), 1)  # type: ignore[arg-type]


async def test_a_feed_that_was_left_is_closed_with_its_client(
    client: Client, notelog: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leaves the loop leaves no open connection behind once the client is closed, nor a warning of one."""
    gc.collect()  # what was left before is not ours
    warned: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", warned.append)
    asyncio.get_running_loop().set_debug(True)  # or else aiohttp warns only now and then
    await client.create("Milk")
    feed = client.events(after=0)
    async for _ in feed:
        break
    await client.close()
    del feed
    gc.collect()
    assert not warned, warned

    async def no_websocket_is_open() -> bool:
        return b"notelog_websocket_connections 0.0" in (await notelog.get("/metrics")).body

    await until(no_websocket_is_open, "the service has let go of it too")


async def test_closing_ends_the_iteration(client: Client) -> None:
    """A feed that waits ends when it or its client is closed; one that is cancelled goes on when it is asked again."""
    feed = client.events(after=0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await anext(feed)
    await client.create("Milk")
    assert [event.position for event in await take(feed, 1)] == [1]
    waiting = asyncio.create_task(anext(feed, None))
    await asyncio.sleep(0)
    await feed.close()
    assert await asyncio.wait_for(waiting, WITHIN_S) is None
    other = client.events()
    waiting = asyncio.create_task(anext(other, None))
    await until(lambda: other.position is not None, "the feed has begun")
    await client.close()
    assert await asyncio.wait_for(waiting, WITHIN_S) is None
