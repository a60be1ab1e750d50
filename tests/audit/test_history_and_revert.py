"""Who changed what and when, and the way back."""

import itertools
import random

import pytest

from tests.audit.histories import History
from tests.service.running import Running

FIELDS = ("title", "description", "created_at", "created_by", "priority")


def differences(before: dict[str, object] | None, after: dict[str, object]) -> dict[str, list[object]]:
    """What a history shows between two versions, by the test's own rule."""
    if before is None:
        return {name: [None, after[name]] for name in FIELDS}
    return {name: [before[name], after[name]] for name in FIELDS if before[name] != after[name]}


async def test_a_history_shows_what_each_event_did(stopped: Running, history: History, dice: random.Random) -> None:
    """Every version of a note, deletions and restores too, with the old and the new values, in pages."""
    await stopped.start()
    for note_id in dice.sample(sorted(history.notes[-1]), 40):
        shown, path = [], f"/notes/{note_id}/history?limit={dice.randrange(1, 5)}"
        while path:
            page = (await stopped.get(path)).json
            shown += page["history"]
            path = page["next"]
        records = [record for record in history.records if record["note_id"] == note_id]
        states = [None, *(history.notes[record["position"]][note_id] for record in records)]
        assert [entry["changes"] for entry in shown] == [
            differences(before, after) for before, after in itertools.pairwise(states)
        ]
        for entry, record, state in zip(shown, records, states[1:], strict=True):
            assert {name: entry[name] for name in ("position", "version", "type", "actor")} == {
                name: record[name] for name in ("position", "version", "type", "actor")
            }
            assert entry["at"] == state["updated_at"]


async def test_a_deleted_note_has_a_history_and_an_unknown_one_has_none(notelog: Running) -> None:
    """The history outlives the note; of a note that never was there is none."""
    note = await notelog.note()
    await notelog.delete(f"/notes/{note['id']}")
    shown = (await notelog.get(f"/notes/{note['id']}/history")).json
    assert [entry["type"] for entry in shown["history"]] == ["NoteCreated", "NoteDeleted"]
    assert shown["history"][1]["changes"] == {}
    for unknown in ("2", "0", "x"):
        assert (await notelog.get(f"/notes/{unknown}/history")).status == 404
    assert (await notelog.get("/notes/1/history?limit=0")).status == 422


async def test_a_revert_is_a_new_event_that_makes_the_note_what_it_was(notelog: Running) -> None:
    """The fields that differ come back in one NoteEdited; the history keeps what was in between."""
    note = await notelog.note("first", description="a", priority=1)
    await notelog.patch("/notes/1", {"title": "second", "priority": 2})
    answer = await notelog.post("/notes/1/revert", {"version": 1})
    assert answer.status == 200
    assert {name: answer.json[name] for name in FIELDS} == {name: note[name] for name in FIELDS}
    assert answer.etag == '"3"'
    entry = (await notelog.get("/notes/1/history?after=2")).json["history"][0]
    assert (entry["type"], entry["changes"]) == ("NoteEdited", {"title": ["second", "first"], "priority": [2, 1]})


async def test_a_revert_brings_a_deleted_note_back(notelog: Running) -> None:
    """A deleted note comes back as it was at the version, in one NoteRestored that carries what differs."""
    await notelog.note("first")
    await notelog.patch("/notes/1", {"title": "second"})
    await notelog.delete("/notes/1")
    answer = await notelog.post("/notes/1/revert", {"version": 1})
    assert (answer.status, answer.json["title"], answer.json["version"]) == (200, "first", 4)
    event = (await notelog.get("/events/4")).json
    assert (event["type"], event["data"]) == ("NoteRestored", {"title": "first"})


async def test_a_revert_that_changes_nothing_appends_nothing(notelog: Running) -> None:
    """Reverting to what the note is already is no event."""
    await notelog.note("first")
    await notelog.patch("/notes/1", {"title": "second"})
    await notelog.patch("/notes/1", {"title": "first"})
    for version in (1, 3):
        answer = await notelog.post("/notes/1/revert", {"version": version})
        assert (answer.status, answer.json["version"], answer.position) == (200, 3, 3)
    assert notelog.log.head == 3


@pytest.mark.parametrize("body", [{"version": 0}, {"version": 4}, {"version": 2}, {}, {"version": "1"}, {"to": 1}])
async def test_a_revert_to_what_never_was_is_refused(notelog: Running, body: dict[str, object]) -> None:
    """No such version, the deletion itself, and bodies that do not fit get 422 before the condition is looked at."""
    await notelog.note("first")
    await notelog.delete("/notes/1")
    await notelog.post("/notes/1/restore")
    answer = await notelog.post("/notes/1/revert", body, If_Match='"1"')
    assert answer.status == 422
    assert notelog.log.head == 3


async def test_a_revert_keeps_conditions_and_keys(notelog: Running) -> None:
    """If-Match is held to, a repeated key gets the first answer, and there is nothing to revert where no note is."""
    await notelog.note("first")
    await notelog.patch("/notes/1", {"title": "second"})
    assert (await notelog.post("/notes/1/revert", {"version": 1}, If_Match='"1"')).status == 412
    first = await notelog.post("/notes/1/revert", {"version": 1}, If_Match='"2"', Idempotency_Key="k")
    again = await notelog.post("/notes/1/revert", {"version": 1}, If_Match='"2"', Idempotency_Key="k")
    assert (first.status, again.status, again.json) == (200, 200, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await notelog.post("/notes/2/revert", {"version": 1})).status == 404
    assert notelog.log.head == 3
