"""Many who change the same notes at once: nothing is lost, nothing happens twice, nobody starves."""

import asyncio
import time
from typing import Any

import pytest

from events.log import Appended
from service.notes import command_loop
from tests.service.running import WITHIN_S, Running

WRITERS = 16


async def history(notelog: Running) -> list[dict[str, Any]]:
    """All that the log has, as it is shown."""
    return list((await notelog.get("/events?after=0&limit=1000")).json["events"])


def count_appends(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many appends are tried from now on, and how many of them succeed."""
    counted = {"tried": 0, "succeeded": 0}
    append = notelog.log.append

    async def counting(*arguments: Any) -> Appended:
        counted["tried"] += 1
        appended = await append(*arguments)
        counted["succeeded"] += 1
        return appended

    monkeypatch.setattr(notelog.log, "append", counting)
    return counted


async def test_writers_with_the_same_condition(notelog: Running) -> None:
    """Of sixteen changes under the same If-Match exactly one succeeds; fifteen get 412 and the note as it is then."""
    await notelog.note()
    for version in range(1, 6):
        answers = await asyncio.gather(
            *(
                notelog.put("/notes/1", {"title": f"{version} by {writer}"}, If_Match=f'"{version}"')
                for writer in range(WRITERS)
            )
        )
        assert sorted(answer.status for answer in answers) == [200] + [412] * 15
        (won,) = [answer.json for answer in answers if answer.status == 200]
        assert all(answer.json["note"] == won for answer in answers if answer.status == 412)
        assert (await notelog.get("/notes/1")).json == won
    assert notelog.log.head == 6


async def test_writers_without_a_condition(notelog: Running) -> None:
    """Sixteen changes without If-Match all succeed one after the other: sixteen versions, each in the history."""
    await notelog.note()
    answers = await asyncio.gather(*(notelog.put("/notes/1", {"title": f"by {writer}"}) for writer in range(WRITERS)))
    assert [answer.status for answer in answers] == [200] * WRITERS
    assert sorted(answer.json["version"] for answer in answers) == list(range(2, WRITERS + 2))
    said = {answer.json["version"]: answer.json["title"] for answer in answers}
    assert {event["version"]: event["data"]["title"] for event in (await history(notelog))[1:]} == said


async def test_each_writer_adds_its_part(notelog: Running) -> None:
    """Clients that read, change and write under If-Match, and try again on 412, lose none of their changes."""
    await notelog.note(priority=0)

    async def add(times: int) -> None:
        while times:
            note = await notelog.get("/notes/1")
            more = {"priority": note.json["priority"] + 1}
            answer = await notelog.patch("/notes/1", more, If_Match=note.etag)
            assert answer.status in (200, 412)
            times -= answer.status == 200

    await asyncio.gather(*(add(5) for _ in range(8)))
    assert (await notelog.get("/notes/1")).json["priority"] == 40


async def test_sixty_four_writers_on_one_note(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four clients who change one note again and again are all answered, all about as often, with few races."""
    await notelog.note()
    counted = count_appends(notelog, monkeypatch)
    changes = [0] * 64
    end = time.monotonic() + 2.0

    async def write(writer: int) -> None:
        while time.monotonic() < end:
            answer = await notelog.patch("/notes/1", {"title": f"{changes[writer]} by {writer}"})
            assert answer.status == 200
            changes[writer] += 1

    await asyncio.gather(*(write(writer) for writer in range(64)))
    assert min(changes) > 0
    assert min(changes) >= max(changes) // 2
    assert counted["succeeded"] == sum(changes)
    assert counted["tried"] <= 1.2 * counted["succeeded"]
    assert (await notelog.get("/notes/1")).json["version"] == 1 + sum(changes)


async def test_writers_on_many_notes_do_not_wait_for_each_other(
    notelog: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes of different notes stand in no common line: while one note's are held up, another's go on."""
    await notelog.note()
    await notelog.note()
    append, held, go_on = notelog.log.append, asyncio.Event(), asyncio.Event()

    async def hold_up(new: Any, expected: int) -> Appended:
        if new.note_id == 1:
            held.set()
            await go_on.wait()
        return await append(new, expected)

    monkeypatch.setattr(notelog.log, "append", hold_up)
    first = [asyncio.create_task(notelog.patch("/notes/1", {"priority": p})) for p in (1, 2)]
    await held.wait()
    assert (await notelog.patch("/notes/2", {"priority": 5})).status == 200
    assert not any(task.done() for task in first)
    go_on.set()
    assert [(await task).json["version"] for task in first] == [2, 3]


async def test_a_line_has_an_end(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many wait to change one note, the next is told to come back, and nothing of it was appended."""
    monkeypatch.setattr(command_loop, "LINE_COMMANDS_MAX", 4)
    await notelog.note()
    append, go_on = notelog.log.append, asyncio.Event()

    async def hold_up(new: Any, expected: int) -> Appended:
        await go_on.wait()
        return await append(new, expected)

    monkeypatch.setattr(notelog.log, "append", hold_up)
    patching = [asyncio.create_task(notelog.patch("/notes/1", {"priority": p})) for p in range(1, 13)]
    done, _ = await asyncio.wait(patching, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    assert done, "nobody is refused"
    go_on.set()
    answers = [await task for task in patching]
    refused = [answer for answer in answers if answer.status == 503]
    assert refused
    assert all("Retry-After" in answer.headers and answer.json["type"] == "/problems/busy" for answer in refused)
    assert notelog.log.head == 1 + sum(answer.status == 200 for answer in answers)
    assert (await notelog.patch("/notes/1", {"priority": 99})).status == 200


async def test_all_kinds_of_changes_at_once(notelog: Running) -> None:
    """Whatever clients do to a few notes at once, the versions of each note are dense and fit what was answered."""
    for _ in range(3):
        await notelog.note()

    async def write(writer: int) -> list[tuple[int, int, int]]:
        done = []
        for step in range(12):
            id_ = (writer + step) % 3 + 1
            kind = (writer * 7 + step * 3) % 4
            if kind == 0:
                answer = await notelog.delete(f"/notes/{id_}")
            elif kind == 1:
                answer = await notelog.post(f"/notes/{id_}/restore")
            else:
                answer = await notelog.patch(f"/notes/{id_}", {"priority": writer * 100 + step})
            assert answer.status in (200, 204, 404)
            if answer.status != 404:
                done.append((answer.position, id_, kind))
        return done

    done = [entry for entries in await asyncio.gather(*(write(writer) for writer in range(10))) for entry in entries]
    events = await history(notelog)
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    for id_ in (1, 2, 3):
        versions = [event["version"] for event in events if event["note_id"] == id_]
        assert versions == list(range(1, len(versions) + 1))
    types = {(event["position"], event["note_id"]): event["type"] for event in events}
    for position, id_, kind in done:
        expected = [["NoteDeleted"], ["NoteRestored", "NoteEdited", "NoteCreated"], ["NoteEdited"], ["NoteEdited"]][
            kind
        ]
        assert types[position, id_] in expected
