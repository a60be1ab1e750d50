"""The feed ``notes``: a copy of the table that a client can hold, from a snapshot or from any position on."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from projections import queries
from service.live import feeds, ring
from tests.service.running import Running
from tests.service.subscriber import Copy, connected, decoded

Notes = dict[int, dict[str, Any]]

WHERES: list[dict[str, Any]] = [
    {},
    {"id": 2},
    {"id": [1, 3, 99]},
    {"id": []},
    {"created_by": "ada"},
    {"created_by": ["bob", "eve"]},
    {"priority": 1},
    {"priority": [0, 2]},
    {"priority_min": 1},
    {"priority_max": 1},
    {"priority_min": 1, "priority_max": 1, "created_by": "ada"},
    {"priority_min": 2, "priority_max": 1},
]


def passes(note: dict[str, Any], where: dict[str, Any]) -> bool:
    """What ``where`` means."""
    checks = {
        "priority_min": lambda wanted: note["priority"] >= wanted,
        "priority_max": lambda wanted: note["priority"] <= wanted,
    }
    return all(
        checks[name](wanted) if name in checks else note[name] in (wanted if isinstance(wanted, list) else [wanted])
        for name, wanted in where.items()
    )


def among(notes: Notes, where: dict[str, Any]) -> Notes:
    """The notes that pass."""
    return {id_: note for id_, note in notes.items() if passes(note, where)}


async def table(notelog: Running) -> Notes:
    """All notes as REST has them."""
    return {note["id"]: note for note in await notelog.all_notes()}


def changes(notelog: Running) -> list[Callable[[], Awaitable[Any]]]:
    """A history with everything in it: in and out of every filter, deleted, restored, deleted for good."""
    return [
        lambda: notelog.note("one", created_by="ada", priority=1),
        lambda: notelog.note("two", created_by="bob", priority=0),
        lambda: notelog.note("three", created_by="ada", priority=2),
        lambda: notelog.patch("/notes/1", {"priority": 2}),
        lambda: notelog.patch("/notes/2", {"created_by": "ada"}),
        lambda: notelog.delete("/notes/3"),
        lambda: notelog.patch("/notes/1", {"priority": 1}),
        lambda: notelog.note("four", created_by="eve"),
        lambda: notelog.post("/notes/3/restore"),
        lambda: notelog.delete("/notes/2"),
        lambda: notelog.note("five", created_by="ada", priority=1),
        lambda: notelog.delete("/notes/5"),
        lambda: notelog.patch("/notes/3", {"created_by": "bob", "priority": 0}),
        lambda: notelog.delete("/notes/4"),
        lambda: notelog.post("/notes/4/restore"),
    ]


async def test_a_snapshot_is_the_table(notelog: Running) -> None:
    """``after: 0`` brings every note that passes, once, as it is now, in the order of last changes, and no removals."""
    for change in changes(notelog):
        await change()
    notes = await table(notelog)
    async with connected(notelog) as client:
        for number, where in enumerate(WHERES):
            frames = await client.follow(str(number), "notes", after=0, where=where)
            sent = [note for frame in frames[:-1] for note in frame["notes"]]
            assert sent == sorted(among(notes, where).values(), key=lambda note: note["position"])
            assert not any(frame["removed"] for frame in frames[:-1])
            assert frames[-1] == {"type": "caught_up", "id": str(number), "position": notelog.log.head}


async def test_resuming_from_every_position(notelog: Running) -> None:
    """A copy that was right at any position is right again after resuming there, with every filter."""
    tables: list[Notes] = [{}]
    for change in changes(notelog):
        await change()
        tables.append(await table(notelog))
    for where in WHERES:
        async with connected(notelog) as client:
            for after, before in enumerate(tables):
                copy = Copy(among(before, where), after)
                copy.take(await client.follow(str(after), "notes", after=after, where=where))
                assert (copy.notes, copy.position) == (among(tables[-1], where), notelog.log.head), (where, after)


async def test_every_change_as_it_happens(notelog: Running) -> None:
    """Subscribers at the head follow each change: soon after each the copy is the table, with every filter."""
    async with connected(notelog) as client:
        copies: dict[str, Copy] = {}
        for number, where in enumerate(WHERES):
            await client.follow(str(number), "notes", after=0, where=where)
            copies[str(number)] = Copy()
        for change in changes(notelog):
            await change()
            notes = await table(notelog)
            while any(copies[str(n)].notes != among(notes, where) for n, where in enumerate(WHERES)):
                frame = await client.frame()
                copies[frame["id"]].take([frame])


async def test_what_leaves_the_filter_is_removed(notelog: Running) -> None:
    """A note that was deleted or does not match any more is named in ``removed``, and comes back when it matches."""
    await notelog.note(priority=5)
    async with connected(notelog) as client:
        first = await client.follow("s", "notes", after=0, where={"priority_min": 5})
        assert [note["id"] for note in first[0]["notes"]] == [1]
        for change, there in [
            (lambda: notelog.patch("/notes/1", {"priority": 4}), False),
            (lambda: notelog.patch("/notes/1", {"priority": 6}), True),
            (lambda: notelog.delete("/notes/1"), False),
            (lambda: notelog.post("/notes/1/restore"), True),
        ]:
            await change()
            frame = await client.frame()
            assert ([note["id"] for note in frame["notes"]], frame["removed"]) == (([1], []) if there else ([], [1]))


async def test_a_snapshot_names_no_deletion_before_it(stopped: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``after: 0`` what went before ``subscribed`` is not named, in how many pieces the snapshot may come."""
    monkeypatch.setattr(feeds, "READ_ITEMS_MAX", 3)
    await stopped.start()
    async with connected(stopped) as keeps_ring, connected(stopped) as client:
        await keeps_ring.follow("s", "notes")
        for _ in range(12):
            await stopped.note(description="x" * 5_000)
        for id_ in (2, 5, 9, 11, 12):
            await stopped.delete(f"/notes/{id_}")
        await stopped.patch("/notes/3", {"priority": 9})
        for where in ({}, {"priority_max": 5}):
            frames = await client.follow("s", "notes", after=0, where=where)
            assert [frame["removed"] for frame in frames[:-1] if frame["removed"]] == []
            sent = {note["id"] for frame in frames[:-1] for note in frame["notes"]}
            assert sent == {1, 3, 4, 6, 7, 8, 10} - ({3} if where else set())
            await client.ask(type="unsubscribe", id="s")


async def test_a_note_once_in_a_frame_as_it_is_now(notelog: Running) -> None:
    """Many changes of one note before a subscriber looks cost it one item: the note as the last has left it."""
    await notelog.note()
    for number in range(1, 30):
        await notelog.patch("/notes/1", {"priority": number})
    await notelog.note()
    async with connected(notelog) as client:
        for after in (0, 1, 15, 29):
            frames = await client.follow(str(after), "notes", after=after)
            assert [(note["id"], note["version"]) for note in frames[0]["notes"]] == [(1, 30), (2, 1)]
            assert len(frames) == 2


async def test_frames_are_filled_and_bounded(notelog: Running) -> None:
    """Frames hold at most 32 KiB, and many notes when there are many; a larger note goes alone."""
    sizes = [10] * 300 + [40_000, 65_536, 10, 30_000, 10, 40_000]
    for start in range(0, len(sizes), 50):
        await asyncio.gather(*(notelog.note(description="x" * size) for size in sizes[start : start + 50]))
    async with connected(notelog) as client:
        await client.subscribe("s", "notes", after=0)
        raw: list[bytes] = []
        while b"caught_up" not in (frame := await client.connection.recv(decode=False))[:30]:
            raw.append(frame)
    frames = [json.loads(frame) for frame in raw]
    assert sum(len(frame["notes"]) for frame in frames) == len(sizes)
    assert all(len(text) <= 32 * 1024 or len(frame["notes"]) == 1 for text, frame in zip(raw, frames, strict=True))
    assert sum(len(frame["notes"]) > 50 for frame in frames) >= 2


async def change_at_random(notelog: Running, dice: random.Random) -> None:
    """Forty notes, and eighty changes of them."""
    for number in range(1, 41):
        await notelog.note(description="x" * 4_000, priority=number % 8)
    for _ in range(80):
        path = f"/notes/{dice.randint(1, 40)}"
        kind = dice.randrange(4)
        if kind == 0:
            await notelog.delete(path)
        elif kind == 1:
            await notelog.post(f"{path}/restore")
        else:
            await notelog.patch(path, {"priority": dice.randint(0, 7)})


async def read_and_break(notelog: Running, copy: Copy, where: dict[str, Any], frames: int) -> None:
    """Resume where the copy is, take some frames at most, and break the connection."""
    async with connected(notelog) as client:
        await client.subscribe("s", "notes", after=copy.position, where=where)
        with suppress(TimeoutError):
            for _ in range(frames):
                copy.take([decoded(await asyncio.wait_for(client.connection.recv(), 0.1))])
        client.connection.transport.abort()


async def test_a_copy_kept_through_breaks(
    stopped: Running, dice: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is cut off anywhere, a snapshot's middle too, and resumes at ``position``, loses nothing."""
    monkeypatch.setattr(feeds, "READ_ITEMS_MAX", 5)
    monkeypatch.setattr(ring, "RING_BYTES_MAX", 8_000)
    monkeypatch.setattr(queries, "PAGE_BYTES_MAX", 20_000)
    await stopped.start()
    where = {"priority_max": 5}
    writing = asyncio.create_task(change_at_random(stopped, dice))
    copies = [Copy() for _ in range(4)]
    while not writing.done() or any(copy.position < stopped.log.head for copy in copies):
        await asyncio.gather(*(read_and_break(stopped, copy, where, dice.randint(1, 6)) for copy in copies))
    await writing
    notes = await table(stopped)
    for copy in copies:
        assert copy.notes == among(notes, where)


async def test_after_a_restart_the_feed_goes_on(notelog: Running) -> None:
    """A copy from before a restart is brought up to date from the table, deletions too."""
    for number in range(5):
        await notelog.note(priority=number)
    async with connected(notelog) as client:
        copy = Copy()
        copy.take(await client.follow("s", "notes", after=0))
    await notelog.delete("/notes/2")
    await notelog.restart()
    await notelog.patch("/notes/4", {"title": "changed"})
    async with connected(notelog) as client:
        copy.take(await client.follow("s", "notes", after=copy.position, epoch=client.hello["epoch"]))
    assert copy.notes == await table(notelog)
