"""The feed ``events``: every event once, in order, without a hole, from any position on, whatever the filter."""

import asyncio
import json
import sqlite3
from typing import Any

import pytest
from structlog.testing import capture_logs

from events.record import NewEvent
from service.live import feeds, hub, ring
from tests.service.running import Running, until
from tests.service.subscriber import connected, events_of, positions_of


async def some_history(notelog: Running, notes: int = 4) -> int:
    """Create notes, edit, delete and restore some; the head then."""
    for number in range(1, notes + 1):
        await notelog.note(f"note {number}", created_by="ada" if number % 2 else "bob")
        await notelog.patch(f"/notes/{number}", {"priority": number})
    await notelog.delete("/notes/1")
    await notelog.post("/notes/1/restore")
    await notelog.delete("/notes/2")
    return notelog.log.head


async def test_from_every_position(notelog: Running) -> None:
    """From each position come exactly the events after it, in order, and then ``caught_up`` at the head."""
    head = await some_history(notelog)
    async with connected(notelog) as client:
        for after in range(head + 1):
            frames = await client.follow(f"s{after % 16}", after=after)
            assert positions_of(frames) == list(range(after + 1, head + 1))
            assert frames[-1] == {"type": "caught_up", "id": f"s{after % 16}", "position": head}
            assert [frame["position"] for frame in frames[-2:]] == [head] * min(2, len(frames))
            await client.ask(type="unsubscribe", id=f"s{after % 16}")


async def test_an_event_is_what_was_recorded(notelog: Running) -> None:
    """An event shows the record: its place, its note, its version, type, time with six digits, actor and data."""
    head = await some_history(notelog)
    async with connected(notelog) as client:
        events = events_of(await client.follow(after=0))
    records = await notelog.log.read(0)
    assert len(events) == head == len(records)
    for event, record in zip(events, records, strict=True):
        assert list(event) == ["position", "note_id", "version", "type", "at", "actor", "data"]
        assert event["data"] == json.loads(record.data)
        assert (event["position"], event["note_id"], event["version"], event["type"], event["actor"]) == (
            (record.position, record.note_id, record.version, record.type, record.actor)
        )
        assert event["at"].endswith("Z")
        assert len(event["at"]) == len("2017-08-23T00:00:00.000000Z")


WHERES: list[dict[str, Any]] = [
    {},
    {"note_id": 1},
    {"note_id": [1, 3]},
    {"note_id": []},
    {"note_id": 99},
    {"type": "NoteEdited"},
    {"type": ["NoteDeleted", "NoteRestored"]},
    {"type": "Nonsense"},
    {"actor": "anonymous"},
    {"actor": ["bob", "eve"]},
    {"note_id": [1, 2], "type": "NoteCreated", "actor": "anonymous"},
]


def passes(event: dict[str, Any], where: dict[str, Any]) -> bool:
    """What ``where`` means: each field a value or a list."""
    return all(event[name] in (wanted if isinstance(wanted, list) else [wanted]) for name, wanted in where.items())


async def test_where_lets_through_what_it_names(notelog: Running) -> None:
    """With ``where`` come the events that pass it and no others, those that are there and those that come."""
    async with connected(notelog) as live, connected(notelog) as late:
        for number, where in enumerate(WHERES):
            await live.follow(str(number), after=0, where=where)
        head = await some_history(notelog)
        events = events_of(await late.follow("all", after=0))
        assert [event["position"] for event in events] == list(range(1, head + 1))
        for number, where in enumerate(WHERES):
            expected = [event for event in events if passes(event, where)]
            assert events_of(await late.follow(str(number), after=0, where=where)) == expected
        got: dict[str, list[Any]] = {str(number): [] for number in range(len(WHERES))}
        while any(len(got[str(n)]) < sum(passes(event, where) for event in events) for n, where in enumerate(WHERES)):
            frame = await live.frame()
            got[frame["id"]] += events_of([frame])
        for number, where in enumerate(WHERES):
            assert got[str(number)] == [event for event in events if passes(event, where)]


async def test_what_comes_while_it_comes(notelog: Running) -> None:
    """Subscribers who begin anywhere while sixteen clients write see every event once, in order."""
    async with connected(notelog) as first:
        await first.follow(after=0)

        async def write(number: int) -> None:
            for _ in range(10):
                await notelog.note(f"by {number}")

        async def watch(after: int) -> None:
            async with connected(notelog) as client:
                await client.subscribe(after=min(after, notelog.log.head))
                start = min(after, notelog.log.head)
                seen = positions_of(await client.reach(160))
                assert seen == list(range(seen[0], 161))
                assert not start or seen[0] <= start + 1

        await asyncio.gather(*(write(number) for number in range(16)), *(watch(0) for _ in range(8)))
        assert positions_of(await first.reach(160)) == list(range(1, 161))


async def test_frames_are_filled_and_bounded(notelog: Running) -> None:
    """What waits is packed into frames of at most 32 KiB, full ones; a larger event goes alone, and whole."""
    sizes = [10] * 400 + [40_000, 65_536, 10, 30_000, 10, 40_000] + [3_000] * 40
    for start in range(0, len(sizes), 50):
        await asyncio.gather(*(notelog.note(description="x" * size) for size in sizes[start : start + 50]))
    async with connected(notelog) as client:
        await client.subscribe("𝄞" * 64, after=0)
        raw: list[bytes] = []
        while b"caught_up" not in (frame := await client.connection.recv(decode=False))[:30]:
            raw.append(frame)
        frames = [json.loads(frame) for frame in raw]
    assert positions_of(frames) == list(range(1, len(sizes) + 1))
    for text, frame in zip(raw, frames, strict=True):
        assert len(text) <= 32 * 1024 or len(frame["events"]) == 1
        assert frame["position"] == frame["events"][-1]["position"]
    assert sum(len(text) for text in raw) / len(raw) > 10 * 1024


async def test_a_quiet_filter_moves_the_place_to_resume(stopped: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a filter lets nothing through for long, an empty frame says how far it has looked, behind or at the head."""
    monkeypatch.setattr(hub, "SILENT_POSITIONS_MAX", 10)
    await stopped.start()
    for _ in range(35):
        await stopped.note()
    async with connected(stopped) as client:
        frames = await client.follow(after=0, where={"note_id": 99})
        assert all(frame["type"] == "events" and not frame["events"] for frame in frames[:-1])
        assert frames[-1]["position"] == 35
        for _ in range(35):
            await stopped.note()
        frames = await client.reach(65)
        assert not events_of(frames)
        places = [frame["position"] for frame in frames]
        assert places == sorted(places)
        assert max(later - earlier for earlier, later in zip([35, *places], places, strict=False)) <= 20
        assert positions_of(await client.follow("t", after=places[-1])) == list(range(places[-1] + 1, 71))


async def test_a_quiet_filter_moves_the_place_in_time(stopped: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a filter has let nothing through for a time, an empty frame comes even after one event."""
    monkeypatch.setattr(hub, "SILENT_S_MAX", 0.05)
    await stopped.start()
    async with connected(stopped) as client:
        await client.follow(where={"note_id": 99})
        await stopped.note()
        assert await client.frame() == {"type": "events", "id": "s", "events": [], "position": 1}


async def test_far_behind_the_ring(stopped: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is behind what is kept in memory gets the same from the log, with no seam, while more is written."""
    monkeypatch.setattr(ring, "RING_BYTES_MAX", 20_000)
    monkeypatch.setattr(feeds, "READ_ITEMS_MAX", 7)
    await stopped.start()
    async with connected(stopped) as first:
        await first.follow(after=0)
        for _ in range(60):
            await stopped.note(description="x" * 500)
        more = asyncio.gather(*(stopped.note(description="y" * 500) for _ in range(60)))
        async with connected(stopped) as client:
            for after in (0, 1, 30, 59):
                await client.send(type="subscribe", id=str(after), feed="events", after=after)
            frames = []
            while sum(frame.get("position") == 120 and frame["type"] == "events" for frame in frames) < 4:
                frames.append(await client.frame())
            for after in (0, 1, 30, 59):
                mine = [frame for frame in frames if frame["id"] == str(after)]
                assert positions_of(mine) == list(range(after + 1, 121))
        await more
        assert positions_of(await first.reach(120)) == list(range(1, 121))


async def test_caught_up_is_said_once(notelog: Running) -> None:
    """A subscriber that keeps up is told so once, and not again with every event."""
    async with connected(notelog) as client:
        await client.follow(after=0)
        for number in range(1, 30):
            await notelog.note()
            assert [frame["type"] for frame in await client.reach(number)] == ["events"]


async def test_up_to_an_event_of_a_newer_version(notelog: Running) -> None:
    """Before an event that this version does not understand everything is sent; nothing behind it is guessed at."""
    data = '{"title":"Milk","description":"","created_at":"2017-08-23T00:00:00Z","created_by":"ada","priority":0}'
    known, unknown = (NewEvent(None, type_, 1, "ada", data) for type_ in ("NoteCreated", "NoteExploded"))
    async with connected(notelog) as client, connected(notelog) as other:
        await client.follow(after=0)
        await other.follow(where={"note_id": 2})
        await asyncio.gather(*(notelog.log.append(event, 0) for event in (known, known, unknown, known)))
        assert positions_of(await client.reach(2)) == [1, 2]
        assert positions_of(await other.reach(2)) == [2]
        await until(lambda: notelog.is_stopped("notes"), "the table of notes stops there too")
        report = (await notelog.get("/readyz")).json["projections"]
        assert "upgrade this one" in report["notes"]["error"]
        assert (await notelog.get("/notes/1")).status == 503


async def test_a_log_that_cannot_be_read_for_a_moment(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the log that passes costs a subscriber time, not events."""
    read, broken = notelog.log.read, asyncio.Event()
    tried = asyncio.Event()

    async def read_or_fail(*arguments: Any) -> Any:
        if broken.is_set():
            tried.set()
            raise sqlite3.OperationalError("disk I/O error")
        return await read(*arguments)

    monkeypatch.setattr(notelog.log, "read", read_or_fail)
    async with connected(notelog) as client:
        await client.follow(after=0)
        broken.set()
        await notelog.note()
        await tried.wait()
        broken.clear()
        await notelog.note()
        assert positions_of(await client.reach(2)) == [1, 2]


async def test_a_log_that_cannot_be_read_any_more(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the log that does not pass is logged and ends who follows with 1011; who comes back is told, too."""

    async def fail(*arguments: Any) -> Any:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(hub, "NOT_YET_S", 0.2)
    with capture_logs() as lines:
        async with connected(notelog) as client:
            await client.follow(after=0)
            monkeypatch.setattr(notelog.log, "read", fail)
            await notelog.note()
            assert await client.close_code() == 1011
    assert "feed stopped" in [line["event"] for line in lines if line["log_level"] == "error"]
    async with connected(notelog) as client:
        assert (await client.ask(type="subscribe", id="s", feed="events", after=0))["code"] == "not_yet"


async def test_a_group_that_cannot_be_served(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault while delivering ends those whom it concerns with 1011; the others go on, and who comes back too."""
    deliver = hub.Group.deliver

    def deliver_or_fail(group: hub.Group) -> Any:
        if group.where.type == "NoteCreated":
            raise ValueError("a fault of ours")
        return deliver(group)

    async with connected(notelog) as client, connected(notelog) as other:
        await client.follow(where={"type": "NoteCreated"})
        await other.follow()
        with monkeypatch.context() as fault:
            fault.setattr(hub.Group, "deliver", deliver_or_fail)
            await notelog.note()
            assert await client.close_code() == 1011
        await notelog.note()
        assert positions_of(await other.reach(2)) == [1, 2]
    async with connected(notelog) as client:
        await client.follow(after=2, where={"type": "NoteCreated"})
        await notelog.note()
        assert positions_of([await client.frame()]) == [3]
