"""Notes and lists as they were: compared with a model that folds the same events by itself."""

import asyncio
import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from projections.versions import Versions
from service.http.freshness import Freshness
from tests.audit.histories import History, text_of
from tests.service.running import Running, problem, until

POSITIONS = 200
SORTS = {
    "id": lambda note: note["id"],
    "priority": lambda note: (note["priority"], note["id"]),
    "title": lambda note: ([ord(character) for character in note["title"]], note["id"]),
    "created_at": lambda note: (datetime.fromisoformat(note["created_at"]), note["id"]),
    "updated_at": lambda note: note["position"],
}


async def listed(notelog: Running, path: str) -> tuple[list[Any], list[int]]:
    """All notes of a list, page after page, and the position that each page names."""
    notes, named = [], []
    while path:
        page = (await notelog.get(path)).json
        notes += page["notes"]
        named.append(page["as_of"])
        path = page["next"]
    return notes, named


async def test_the_list_at_random_positions_is_the_fold_of_the_events(
    stopped: Running, history: History, dice: random.Random
) -> None:
    """At 200 random positions the list, in pages, is what the model makes of the events up to there."""
    await stopped.start()
    for position in dice.choices(range(len(history.records) + 1), k=POSITIONS):
        notes, named = await listed(stopped, f"/notes?as_of={position}&limit={dice.randrange(20, 1000)}")
        assert notes == history.living(position), f"at {position}"
        assert set(named) == {position}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("direction", ["", "-"])
async def test_the_past_is_sorted_like_the_present(
    stopped: Running, history: History, dice: random.Random, sort: str, direction: str
) -> None:
    """Every order of the list of now is an order of the list of then, across pages."""
    await stopped.start()
    position = dice.randrange(len(history.records) // 2, len(history.records))
    notes, _ = await listed(stopped, f"/notes?as_of={position}&sort={direction}{sort}&limit=7")
    expected = sorted(history.living(position), key=SORTS[sort], reverse=bool(direction))
    assert [note["id"] for note in notes] == [note["id"] for note in expected]


async def test_the_past_is_filtered_and_counted_like_the_present(
    stopped: Running, history: History, dice: random.Random
) -> None:
    """created_by, priority and its range select among the notes as they were; count says how many they are."""
    await stopped.start()
    position = dice.randrange(len(history.records) // 2, len(history.records))
    living = history.living(position)
    for query, wanted in (
        ("created_by=Zo%C3%AB", [note for note in living if note["created_by"] == "Zoë"]),
        ("priority=2", [note for note in living if note["priority"] == 2]),
        ("priority_min=-1&priority_max=1", [note for note in living if -1 <= note["priority"] <= 1]),
    ):
        answer = (await stopped.get(f"/notes?as_of={position}&{query}&limit=1000&count=true")).json
        assert (answer["notes"], answer["count"]) == (wanted, len(wanted)), query


async def test_a_list_stays_in_the_past_while_the_present_goes_on(stopped: Running, history: History) -> None:
    """The pages of a list that was asked for by a time stay at the position that was found first."""
    await stopped.start()
    after_all = quote(text_of(datetime(2100, 1, 1, tzinfo=UTC)))
    first = (await stopped.get(f"/notes?as_of={after_all}&limit=5")).json
    head = len(history.records)
    assert first["as_of"] == head
    await stopped.delete(f"/notes/{first['notes'][0]['id']}")
    await stopped.note("newer")
    rest, named = await listed(stopped, first["next"])
    assert first["notes"] + rest == history.living(head)
    assert set(named) == {head}


async def test_a_position_that_came_while_the_tables_came_up_is_waited_for(
    notelog: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read at a position that is written while it waits for the tables shows all that was there by then."""
    apply, reach_head, go_on, waiting = Versions.apply, Freshness.reach_head, threading.Event(), []

    def wait_and_apply(*arguments: Any) -> Any:
        go_on.wait(20)
        return apply(*arguments)

    def note_and_wait(*arguments: Any) -> Any:
        waiting.append(arguments)
        return reach_head(*arguments)

    monkeypatch.setattr(Versions, "apply", wait_and_apply)
    monkeypatch.setattr(Freshness, "reach_head", note_and_wait)
    await notelog.note("first")
    paths = ("/notes?as_of=2&count=true", "/notes/2?as_of=2")
    reads = [asyncio.create_task(notelog.get(path)) for path in paths]
    await until(lambda: len(waiting) == 2, "both reads wait")
    await notelog.note("second")
    go_on.set()
    page, note = [await read for read in reads]
    assert (page.json["count"], page.json["as_of"], page.position) == (2, 2, 2)
    assert (note.status, note.position) == (200, 2)


async def test_a_time_is_the_last_position_that_is_not_after_it(
    stopped: Running, history: History, dice: random.Random
) -> None:
    """Whatever the clock did, a time means the last position whose time is not after it."""
    await stopped.start()
    times = [datetime.fromtimestamp(record["at"] / 1e6, UTC) for record in dice.choices(history.records, k=60)]
    times += [time + timedelta(microseconds=dice.choice((-1, 1))) for time in times]
    times += [datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)]
    for time in times:
        answer = (await stopped.get(f"/notes?as_of={quote(text_of(time))}&limit=1")).json
        assert answer["as_of"] == history.as_of(time), time


async def test_a_time_may_have_any_zone_and_an_unescaped_plus(stopped: Running, history: History) -> None:
    """The same moment is the same position, in another zone, with a plus that arrived as a space, with nine digits."""
    await stopped.start()
    for text in (
        "2024-02-29T00:10:00.000000000Z",
        "2024-02-29T00:10:00Z",
        "2024-02-29T02:10:00%2B02:00",
        "2024-02-29T02:10:00+02:00",
    ):
        answer = await stopped.get(f"/notes?as_of={text}&limit=1")
        assert answer.status == 200, answer.body
        assert answer.json["as_of"] == history.as_of(datetime(2024, 2, 29, 0, 10, tzinfo=UTC))


async def test_each_note_at_random_positions_is_as_it_was(
    stopped: Running, history: History, dice: random.Random
) -> None:
    """A note as of a position is the model's note; before its creation and while it was deleted it is not there."""
    await stopped.start()
    for position in dice.choices(range(len(history.records) + 1), k=60):
        note_id = dice.randrange(1, max(history.notes[-1]) + 1)
        answer = await stopped.get(f"/notes/{note_id}?as_of={position}")
        expected = history.notes[position].get(note_id)
        if expected is None or "deleted_at" in expected:
            assert answer.status == 404
            assert answer.json.get("deleted_at") == (expected or {}).get("deleted_at")
        else:
            assert (answer.status, answer.json) == (200, expected)
            assert answer.etag == f'"{expected["version"]}"'


async def test_each_version_of_a_note_can_be_read(stopped: Running, history: History) -> None:
    """?version=N is the note as that version made it, with its ETag; a deletion, 0 and what never was are refused."""
    await stopped.start()
    for record in history.records[-100:]:
        answer = await stopped.get(f"/notes/{record['note_id']}?version={record['version']}")
        expected = history.notes[record["position"]][record["note_id"]]
        if record["type"] == "NoteDeleted":
            assert (answer.status, answer.json["deleted_at"]) == (404, expected["deleted_at"])
        else:
            assert (answer.status, answer.json) == (200, expected)
    again = await stopped.get("/notes/1?version=1", If_None_Match='"1"')
    assert again.status == 304
    for path, why in (
        ("1?version=99999", "note 1 has no version 99999"),
        ("99999?version=1", "there is no note 99999"),
    ):
        assert problem(await stopped.get(f"/notes/{path}"), 404, "not-found")["detail"] == why


@pytest.mark.parametrize(
    "path",
    [
        "/notes?as_of=601",
        "/notes?as_of=-1",
        "/notes?as_of=soon",
        "/notes?as_of=2024-13-01T00:00:00Z",
        "/notes?as_of=99999999999999999999",
        "/notes?as_of=5&q=milk",
        "/notes?as_of=5&as_of=6",
        "/notes/1?as_of=601",
        "/notes/1?as_of=",
        "/notes/1?version=0",
        "/notes/1?version=x",
        "/notes/1?version=1&as_of=1",
        "/notes/1?other=1",
    ],
)
async def test_a_past_that_cannot_be_is_refused(stopped: Running, history: History, path: str) -> None:
    """Positions beyond the head, times that are none and questions that contradict themselves get 422."""
    await stopped.start()
    answer = await stopped.get(path)
    assert answer.status == 422, answer.body
    assert answer.json["errors"]


async def test_a_past_read_sees_what_was_just_written(notelog: Running) -> None:
    """Whoever has written reads it in the past at once: the position of the answer is there to be asked for."""
    for number in range(20):
        answer = await notelog.post(json={"title": f"number {number}"})
        past = await notelog.get(f"/notes/{answer.json['id']}?as_of={answer.position}")
        assert past.json == answer.json
