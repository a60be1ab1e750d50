"""Reads show what was written: at once, or after waiting, or they say that they cannot."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from projections.notes import Notes
from service.http import freshness
from tests.service.running import Running, problem


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The table of notes stands still until the event is set."""
    apply, go_on = Notes.apply, threading.Event()

    def wait_and_apply(*arguments: Any) -> Any:
        go_on.wait(20)
        return apply(*arguments)

    monkeypatch.setattr(Notes, "apply", wait_and_apply)
    yield go_on
    go_on.set()


async def test_reads_wait_for_writes(notelog: Running, held_up: threading.Event) -> None:
    """A read that comes after a write was answered waits until the table shows it; writes do not wait."""
    await notelog.note()
    reads = [asyncio.create_task(notelog.get(path)) for path in ("/notes/1", "/notes", "/notes/2")]
    await notelog.note()
    assert not any(read.done() for read in reads)
    held_up.set()
    one, all_, other = [await read for read in reads]
    assert (one.status, one.json["id"]) == (200, 1)
    assert 1 in [note["id"] for note in all_.json["notes"]]
    assert all(answer.position >= 1 for answer in (one, all_, other))


async def test_a_note_that_did_not_change_is_not_waited_for(notelog: Running, held_up: threading.Event) -> None:
    """While the table gathers, a note without new events is read and changed at once, at the head; one with waits."""
    held_up.set()
    await notelog.note()
    await notelog.get("/notes/1")
    held_up.clear()
    other = await notelog.note()
    read = await notelog.get("/notes/1")
    assert (read.status, read.json["version"], read.position) == (200, 1, other["position"])
    missing = await notelog.get("/notes/3")
    assert (missing.status, missing.position) == (404, other["position"])
    assert (await notelog.patch("/notes/1", {"priority": 1})).json["version"] == 2
    waiting = [asyncio.create_task(notelog.get(path)) for path in ("/notes/1", "/notes/2", "/notes")]
    waiting += [asyncio.create_task(notelog.patch(f"/notes/{number}", {"priority": 2})) for number in (1, 2)]
    assert (await notelog.get("/healthz")).status == 200
    assert not any(task.done() for task in waiting)
    held_up.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 5


async def test_a_table_that_falls_behind_is_waited_for(
    notelog: Running, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what a table may gather nobody goes ahead of it: not even for a note that did not change."""
    monkeypatch.setattr(freshness, "GATHERED_EVENTS_MAX", 1)
    held_up.set()
    await notelog.note()
    await notelog.get("/notes/1")
    held_up.clear()
    await notelog.note()
    assert (await notelog.get("/notes/1")).status == 200
    await notelog.note()
    monkeypatch.setattr(freshness, "WAIT_S", 0.1)
    problem(await notelog.get("/notes/1"), 503, "behind")
    problem(await notelog.patch("/notes/1", {"priority": 1}), 503, "behind")


async def test_a_table_that_is_behind_too_long(
    notelog: Running, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read whose table does not come up in time is answered 503, and when to come back; it shows nothing old."""
    await notelog.note()
    with monkeypatch.context() as patch:
        patch.setattr(freshness, "WAIT_S", 0.1)
        for path in ("/notes/1", "/notes"):
            answer = await notelog.get(path)
            problem(answer, 503, "behind")
            assert int(answer.headers["Retry-After"]) > 0
    ready = await notelog.get("/readyz")
    assert ready.json["projections"]["notes"]["lag"] == 1
    held_up.set()
    assert (await notelog.get("/notes/1")).status == 200


async def test_read_your_writes(notelog: Running) -> None:
    """What was answered is there when its writer reads at once, two hundred side by side, alone and in the list."""

    async def write_and_read(number: int) -> None:
        note = await notelog.note(f"number {number}")
        assert (await notelog.get(f"/notes/{note['id']}")).json == note
        changed = (await notelog.patch(f"/notes/{note['id']}", {"priority": number})).json
        listed = await notelog.get(f"/notes?limit=1000&priority={number}")
        assert changed in listed.json["notes"]
        assert listed.position >= changed["position"]
        await notelog.delete(f"/notes/{note['id']}")
        assert (await notelog.get(f"/notes/{note['id']}")).status == 404

    await asyncio.gather(*(write_and_read(number) for number in range(1, 201)))
    assert notelog.log.head == 600


async def test_a_position_to_be_shown_at_least(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """``Notelog-Min-Position`` makes a read wait for a position; a bad one is refused, one that does not come 503."""
    await notelog.note()
    for path in ("/notes", "/notes/1"):
        assert (await notelog.get(path, Notelog_Min_Position="1")).status == 200
        waiting = asyncio.create_task(notelog.get(path, Notelog_Min_Position=str(notelog.log.head + 1)))
        await notelog.note()
        assert (await waiting).position >= notelog.log.head
        with monkeypatch.context() as patch:
            patch.setattr(freshness, "WAIT_S", 0.1)
            late = await notelog.get(path, Notelog_Min_Position="1000")
        problem(late, 503, "behind")
        assert "Retry-After" in late.headers
        for bad in ("-1", "x", "", "1.0", "9223372036854775808", "9" * 30):
            errors = problem(await notelog.get(path, Notelog_Min_Position=bad), 422, "invalid")["errors"]
            assert errors[0]["pointer"] == "Notelog-Min-Position"


async def test_health(notelog: Running) -> None:
    """``/healthz`` says that the process lives, ``/readyz`` where the log and its projections are."""
    assert (await notelog.get("/healthz")).status == 200
    await notelog.note()
    await notelog.get("/notes/1")
    answer = await notelog.get("/readyz")
    assert answer.status == 200
    assert (answer.json["status"], answer.json["epoch"], answer.json["head"]) == ("ready", notelog.log.epoch, 1)
    notes = answer.json["projections"]["notes"]
    assert notes == {"checkpoint": 1, "lag": 0, "state": "running", "error": None}
