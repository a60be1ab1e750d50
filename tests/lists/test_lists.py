"""Every order, filter and search of ``GET /notes``, against a plain model."""

import asyncio
import itertools
import random
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.lists import model
from tests.service.running import Running

SORTS = [sign + field for field in ("id", "priority", "title", "created_at", "updated_at") for sign in ("", "-")]
TITLES = [
    "Äpfel kaufen",
    "apfel",
    "Zebra 7",
    "a_b-c",
    "straße",
    "STRASSE",
    "bread, butter",
    "brot",
    "😀 party",
    "x" * 200,
]
AUTHORS = ["mara", "tom", "o'neil", "%", ""]


async def pages(notelog: Running, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The notes of a list, page after page."""
    notes: list[dict[str, Any]] = []
    path = f"/notes?{urlencode(parameters)}"
    while path:
        answer = await notelog.get(path)
        assert answer.status == 200, answer.body
        page = answer.json
        assert answer.headers.get("Link") == (f'<{page["next"]}>; rel="next"' if page["next"] else None)
        notes += page["notes"]
        path = page["next"]
    return notes


async def fill(notelog: Running, dice: random.Random, count: int = 60) -> None:
    """Notes that share values, some edited, some deleted, some restored."""
    for number in range(count):
        await notelog.note(
            dice.choice(TITLES),
            description=dice.choice(["", "sample notes", "more words here", "Brot und Butter"]),
            priority=dice.randint(-2, 2),
            created_by=dice.choice(AUTHORS),
            created_at=f"20{dice.randint(10, 12)}-01-0{dice.randint(1, 3)}T00:00:00{dice.choice(['', '.5', '.25'])}Z",
        )
        if number % 3 == 0:
            await notelog.patch(f"/notes/{dice.randint(1, number + 1)}", {"title": dice.choice(TITLES)})
        if number % 5 == 0:
            await notelog.delete(f"/notes/{dice.randint(1, number + 1)}")
        if number % 10 == 0:
            await notelog.post(f"/notes/{dice.randint(1, number + 1)}/restore")


FILTERS: list[dict[str, Any]] = [
    {},
    {"created_by": "mara"},
    {"created_by": "%"},
    {"created_by": ""},
    {"priority": 0},
    {"priority_min": 1},
    {"priority_min": -1, "priority_max": 1},
    {"q": "apfel"},
    {"q": "strasse"},
    {"q": "brot"},
    {"q": "words mo"},
    {"q": "b", "priority_min": 0, "created_by": "tom"},
]


async def test_every_order_and_filter_agrees_with_a_plain_model(notelog: Running, dice: random.Random) -> None:
    """Every order with every filter lists what a plain model lists, each note once, at any length of page."""
    await fill(notelog, dice)
    everything = await notelog.all_notes()
    for sort, filters in itertools.product(SORTS, FILTERS):
        parameters = {"sort": sort, "limit": dice.choice([1, 2, 7, 1000]), **filters}
        got = [note["id"] for note in await pages(notelog, parameters)]
        assert got == model.listed(everything, parameters), parameters


async def test_count_is_of_all_pages(notelog: Running, dice: random.Random) -> None:
    """``count=true`` adds how many notes all pages have; without it there is no count."""
    await fill(notelog, dice, 30)
    everything = await notelog.all_notes()
    for filters in FILTERS:
        page = (await notelog.get(f"/notes?{urlencode({**filters, 'limit': 1, 'count': 'true'})}")).json
        assert page["count"] == len(model.listed(everything, filters)), filters
    assert "count" not in (await notelog.get("/notes")).json


async def test_pages_while_writers_write(notelog: Running, dice: random.Random) -> None:
    """While others write, pages are in order, fit their filter, and have each note that nobody touches exactly once."""
    still = [(await notelog.note(f"still {n}", priority=n % 3))["id"] for n in range(40)]
    moving = [(await notelog.note(f"moving {n}", priority=n % 3))["id"] for n in range(10)]
    reading = True

    async def write() -> None:
        while reading:
            change = {"title": f"moved {dice.random()}", "priority": dice.randint(0, 2)}
            await notelog.patch(f"/notes/{dice.choice(moving)}", change)

    writers = [asyncio.create_task(write()) for _ in range(4)]
    try:
        for sort in SORTS:
            notes = await pages(notelog, {"sort": sort, "limit": 7, "priority_min": 1})
            ids = [note["id"] for note in notes]
            untouched = [id_ for id_ in ids if id_ in still]
            assert sorted(untouched) == [id_ for n, id_ in enumerate(still) if n % 3 >= 1], sort
            assert all(note["priority"] >= 1 for note in notes)
            values = [model.value(note, sort) for note in notes]
            assert values == sorted(values, reverse=sort.startswith("-")), sort
    finally:
        reading = False
        await asyncio.gather(*writers)


@pytest.mark.parametrize(
    "q",
    ['"', '""', "*", "a*", "NEAR(a b)", "title:x", "-", "a OR b", "NOT", "(", "{a}:b", "^a", "\x00", "😀", "a" * 1000]
    + ["'; DROP TABLE notes", "%", "_", "\\", "ß", "\u0301", "\ud7ff", "a\nb", "1e5", "AND AND AND", "+", ":"],
)
async def test_any_search_is_safe(notelog: Running, q: str) -> None:
    """Any text in ``q`` is a search, never a command of the search engine: 200, and what a plain model finds."""
    for title in ("a b", "NEAR it", "or", "not and", "drop TABLE", "😀", "a" * 150, "Straße"):
        await notelog.note(title)
    answer = await notelog.get(f"/notes?{urlencode({'q': q})}")
    assert answer.status == 200, answer.body
    assert [note["id"] for note in answer.json["notes"]] == model.listed(await notelog.all_notes(), {"q": q})


async def test_a_search_sees_what_was_just_written(notelog: Running) -> None:
    """A search finds a note at once after it was answered, and not by words that it has no more."""
    note = await notelog.note("first words")
    assert [found["id"] for found in await pages(notelog, {"q": "first"})] == [note["id"]]
    await notelog.patch(f"/notes/{note['id']}", {"title": "second words"})
    assert await pages(notelog, {"q": "first"}) == []
    assert [found["id"] for found in await pages(notelog, {"q": "sec"})] == [note["id"]]
    await notelog.delete(f"/notes/{note['id']}")
    assert await pages(notelog, {"q": "sec"}) == []
    await notelog.post(f"/notes/{note['id']}/restore")
    assert [found["id"] for found in await pages(notelog, {"q": "sec"})] == [note["id"]]


async def test_a_cursor_belongs_to_its_query(notelog: Running) -> None:
    """A cursor of one order or filter is refused in another, with 422."""
    for number in range(3):
        await notelog.note(f"note {number}")
    next_ = (await notelog.get("/notes?limit=1&sort=title")).json["next"]
    cursor = next_.split("cursor=")[1].split("&")[0]
    assert (await notelog.get(f"/notes?limit=2&sort=title&cursor={cursor}")).status == 200
    for other in ("", "&sort=-title", "&sort=title&priority=0", "&sort=title&q=note"):
        assert (await notelog.get(f"/notes?limit=1&cursor={cursor}{other}")).status == 422, other


async def test_a_list_that_is_the_same_is_not_sent_again(notelog: Running) -> None:
    """A list has a weak ETag; If-None-Match with it answers 304 until the list changes."""
    await notelog.note("one")
    first = await notelog.get("/notes")
    assert first.etag.startswith('W/"')
    assert (await notelog.get("/notes", If_None_Match=first.etag)).status == 304
    await notelog.note("two")
    assert (await notelog.get("/notes", If_None_Match=first.etag)).status == 200


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=", "sort=", "sort=size", "sort=--id", "count=maybe", "priority=1.5"]
    + ["priority=99999999999999999999", "priority_min=-2147483649", "unknown=1", "limit=1&limit=2", "cursor=x"]
    + ["cursor=", "cursor=%00", "q=" + "a" * 1001],
)
async def test_a_bad_parameter_is_refused(notelog: Running, query: str) -> None:
    """A parameter that is unknown, bad or there twice answers 422 and names it."""
    answer = await notelog.get(f"/notes?{query}")
    assert answer.status == 422, answer.body
    assert answer.json["errors"][0]["pointer"] == "?" + query.partition("=")[0]


@pytest.mark.parametrize(("title", "q"), [("𝚨𝚩 plain", "αβ"), ("Café", "CAFE"), ("ﬁnal", "FIN"), ("Straße", "STRASS")])
async def test_a_search_minds_no_case_and_no_form(notelog: Running, title: str, q: str) -> None:
    """A word is found however its letters are written: large or small, with accents, in a font, as ligatures."""
    note = await notelog.note(title)
    assert [found["id"] for found in await pages(notelog, {"q": q})] == [note["id"]]
