"""Pages of ``GET /notes``: in order of id, each note once, whatever the limit; other cursors are refused."""

import base64
import json
from typing import Any

from projections import queries
from tests.service.running import Running


async def ids(notelog: Running, limit: int) -> list[int]:
    """The ids that the pages of this limit bring."""
    return [note["id"] for note in await notelog.all_notes(limit)]


async def test_pages_of_every_limit(notelog: Running) -> None:
    """However long the pages, each note comes once, in the order of ids; only ``next`` tells the end."""
    for _ in range(23):
        await notelog.note()
    for id_ in (1, 7, 8, 23):
        await notelog.delete(f"/notes/{id_}")
    there = [id_ for id_ in range(1, 23) if id_ not in (1, 7, 8)]
    for limit in (*range(1, 22), 100, 1000):
        assert await ids(notelog, limit) == there
    page = await notelog.get("/notes?limit=19")
    assert (len(page.json["notes"]), page.json["next"], "Link" in page.headers) == (19, None, False)
    page = await notelog.get("/notes?limit=18")
    assert page.headers["Link"] == f'<{page.json["next"]}>; rel="next"'


async def test_an_empty_list(notelog: Running) -> None:
    """Without notes the list is empty and has no next page."""
    answer = await notelog.get("/notes")
    assert (answer.status, answer.json, answer.position) == (200, {"notes": [], "next": None}, 0)


async def test_large_notes_make_shorter_pages(notelog: Running) -> None:
    """A page may end before its limit when its notes are large; no note is left out, and a huge one still comes."""
    for _ in range(40):
        await notelog.note(description="\x01" * 60_000)
    assert await ids(notelog, 1000) == list(range(1, 41))
    page = await notelog.get("/notes?limit=1000")
    assert 0 < len(page.json["notes"]) < 40
    assert len(page.body) < 2 * queries.PAGE_BYTES_MAX


async def test_notes_that_come_and_go_between_pages(notelog: Running) -> None:
    """Between two pages notes may come and go: those that stay come once, those that go and come disturb no other."""
    for _ in range(10):
        await notelog.note()
    first = (await notelog.get("/notes?limit=5")).json
    await notelog.delete("/notes/5")
    await notelog.delete("/notes/6")
    await notelog.patch("/notes/1", {"priority": 1})
    await notelog.note()
    second = (await notelog.get(first["next"])).json
    assert [note["id"] for note in first["notes"] + second["notes"]] == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert second["next"] is None


async def test_cursors_that_are_not_ours(notelog: Running) -> None:
    """A cursor of another log, of another query, or one that was tampered with is refused with 422, never a fault."""
    for _ in range(3):
        await notelog.note()
    path = (await notelog.get("/notes?limit=1")).json["next"]
    cursor = path.rpartition("cursor=")[2]
    owner, _ = json.loads(base64.urlsafe_b64decode(cursor + "==="))
    keys: list[Any] = [[], [None], [[1]], [{}], ["a"], [10**30], [1.5], [True], [1, 2], [-1], ["a", "b", "c"], "a", 1]
    forged = [json.dumps([owner, key]) for key in keys]
    forged += ["[]", "{}", f'["{owner}"]', '["",[1]]', f'["{owner[::-1]}",[1]]', "\x00"]
    for text in forged:
        changed = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        answer = await notelog.get(f"/notes?limit=1&cursor={changed}")
        assert answer.status == (200 if text == json.dumps([owner, [-1]]) else 422), text
    for changed in ("", "x", cursor[:-2], cursor + "AA", cursor.swapcase(), "%00", "%ff", "ä", cursor * 50):
        answer = await notelog.get(f"/notes?limit=1&cursor={changed}")
        assert answer.status == 422, changed
        assert answer.json["errors"][0]["pointer"] == "?cursor"
    other_query = await notelog.get(f"/notes?sort=title&cursor={cursor}")
    assert other_query.status == 422
