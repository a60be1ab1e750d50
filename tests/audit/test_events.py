"""The log for people: pages either way, filters, and all of it as NDJSON."""

import asyncio
import json
import random

import pytest

from events import codec
from events.note import INTEGER_MAX
from events.record import NewEvent
from events.transfer import import_log
from events.views import EventFilter, select_forward
from projections.rebuild import open_log_file
from service.past.event_stream import PAGE_EVENTS_ALONE, PAGE_EVENTS_BUSY, REST_FACTOR, Courtesy
from tests.audit.histories import History, Json, json_lines
from tests.engines import found_in
from tests.service.running import Running, until

NDJSON = "application/x-ndjson"


def expected(history: History) -> list[Json]:
    """The events as the interface shows them, from the exported records."""
    shown = []
    for record in history.records:
        state = history.notes[record["position"]][record["note_id"]]
        names = ("position", "note_id", "version", "type")
        shown.append(
            {name: record[name] for name in names}
            | {"at": state["updated_at"], "actor": record["actor"], "data": json.loads(record["data"])}
        )
    return shown


async def paged(notelog: Running, path: str) -> list[Json]:
    """All events of a list, page after page."""
    events: list[Json] = []
    while path:
        page = (await notelog.get(path)).json
        events += page["events"]
        path = page["next"]
    return events


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", lambda event: True),
        ("&note_id=3", lambda event: event["note_id"] == 3),
        ("&type=NoteDeleted", lambda event: event["type"] == "NoteDeleted"),
        ("&note_id=3&type=NoteEdited", lambda event: (event["note_id"], event["type"]) == (3, "NoteEdited")),
        ("&note_id=99999", lambda event: False),
    ],
)
async def test_pages_forward_and_backward_have_every_event_once(
    stopped: Running, history: History, dice: random.Random, query: str, wanted: object
) -> None:
    """From the beginning in order, from the end latest first: the same events, each once, filtered or not."""
    await stopped.start()
    events = [event for event in expected(history) if wanted(event)]  # type: ignore[operator]
    limit = dice.randrange(1, 60)
    assert await paged(stopped, f"/events?limit={limit}{query}") == events
    backward = await paged(stopped, f"/events?before={INTEGER_MAX}&limit={limit}{query}")
    assert backward == events[::-1]
    middle = len(history.records) // 2
    assert await paged(stopped, f"/events?after={middle}&limit={limit}{query}") == [
        event for event in events if event["position"] > middle
    ]
    assert await paged(stopped, f"/events?before={middle}&limit={limit}{query}") == [
        event for event in reversed(events) if event["position"] < middle
    ]


async def test_one_event_is_what_the_list_shows(stopped: Running, history: History) -> None:
    """An event by its position; where there is none, 404."""
    await stopped.start()
    shown = expected(history)
    for position in (1, 300, 600):
        assert (await stopped.get(f"/events/{position}")).json == shown[position - 1]
    for nothing in ("0", "601", "-1", "x", "99999999999999999999"):
        assert (await stopped.get(f"/events/{nothing}")).status == 404


async def test_ndjson_is_the_whole_log_a_line_an_event(stopped: Running, history: History) -> None:
    """All events after a position up to the head, filtered if asked for, in order, nothing after the last line."""
    await stopped.start()
    shown = expected(history)
    for query, events in (
        ("", shown),
        ("?after=590", shown[590:]),
        ("?after=600", []),
        ("?note_id=3", [event for event in shown if event["note_id"] == 3]),
        ("?type=NoteDeleted&after=100", [event for event in shown[100:] if event["type"] == "NoteDeleted"]),
        ("?limit=7", shown[:7]),
    ):
        answer = await stopped.get(f"/events{query}", Accept=NDJSON)
        assert answer.headers["Content-Type"] == NDJSON
        assert list(json_lines(answer.body)) == events, query
        assert answer.body.endswith(b"\n") or not events
        assert answer.position == 600
    assert (await stopped.ask("HEAD", "/events", headers={"Accept": NDJSON})).body == b""


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        ("application/x-ndjson;q=0, application/json", False),
        ("application/json, application/x-ndjson; q=0.000", False),
        ("application/x-ndjsonx", False),
        ("application/json;q=0.5, Application/X-NDJSON;q=0.9", True),
    ],
)
async def test_ndjson_is_sent_to_whoever_accepts_it(notelog: Running, accept: str, streamed: bool) -> None:
    """A weight of 0 in Accept refuses the stream."""
    answer = await notelog.get("/events", Accept=accept)
    assert (answer.headers["Content-Type"] == NDJSON) is streamed


async def test_ndjson_ends_at_the_head_of_its_beginning_and_lets_others_write(notelog: Running) -> None:
    """A stream that is read slowly holds up no write, and does not run after the head."""
    for number in range(30):
        await notelog.note(f"number {number}", description="x" * 60_000)
    async with notelog.session.get(f"{notelog.url}/events", headers={"Accept": NDJSON}) as response:
        first = await response.content.readline()
        await notelog.note("while it is read")
        rest = await response.content.read()
    assert len(list(json_lines(first + rest))) == 30


async def test_a_stream_makes_room_for_others(notelog: Running) -> None:
    """When somebody has written meanwhile, a page is small and is followed by a rest of nine times what it took."""
    courtesy, loop = Courtesy(notelog.log), asyncio.get_running_loop()

    async def alone() -> bool:
        await courtesy.rest(0.0)
        return courtesy.page_events == PAGE_EVENTS_ALONE

    for _ in range(3):
        await until(alone, "alone it takes large pages")
        await notelog.note("somebody writes")
        began = loop.time()
        await courtesy.rest(0.02)
        assert loop.time() - began > 0.02 * REST_FACTOR * 0.99
        assert courtesy.page_events == PAGE_EVENTS_BUSY


async def test_a_reader_that_goes_away_ends_its_stream(notelog: Running) -> None:
    """Whoever leaves in the middle costs nothing from then on, and the next one is served."""
    for number in range(40):
        await notelog.note(f"number {number}", description="x" * 60_000)
    before = len(asyncio.all_tasks())
    async with notelog.session.get(f"{notelog.url}/events", headers={"Accept": NDJSON}) as response:
        await response.content.readline()
        response.close()
    await until(lambda: len(asyncio.all_tasks()) <= before, "the stream has ended")
    assert len(await paged(notelog, "/events?limit=40")) == 40


@pytest.mark.parametrize(
    "query", ["after=-1", "before=x", "after=1&before=5", "limit=0", "limit=1001", "type=Other", "note_id=0", "q=1"]
)
async def test_questions_that_make_no_sense_are_refused(notelog: Running, query: str) -> None:
    """Parameters that are unknown, out of range or contradict each other get 422, as JSON and as NDJSON."""
    assert (await notelog.get(f"/events?{query}")).status == 422
    if query != "after=1&before=5":
        assert (await notelog.get(f"/events?{query}", Accept=NDJSON)).status == 422
    assert (await notelog.get("/events?before=5", Accept=NDJSON)).status == 422


async def test_an_event_in_an_older_shape_is_shown_in_todays(stopped: Running) -> None:
    """What SQLite writes for today's shapes and what Python writes for older ones are the same view."""
    await stopped.start()
    old = '{"title":"old","created_at":"2017-08-23 00:00"}'
    await stopped.log.append(NewEvent(None, "NoteCreated", 0, 'a "quoted" Zoë\n', old), 0)
    await stopped.note("new")
    first, second = (await stopped.get("/events")).json["events"]
    assert first["data"]["created_at"] == "2017-08-23T00:00:00Z"
    assert first["actor"] == 'a "quoted" Zoë\n'
    lines = list(json_lines((await stopped.get("/events", Accept=NDJSON)).body))
    assert lines == [first, second] == [(await stopped.get(f"/events/{place}")).json for place in (1, 2)]


async def test_sqlite_and_python_write_the_same_view(history: History, tmp_path: object) -> None:
    """Byte for byte what the websocket's feed shows, also for times before 1970."""
    folder = tmp_path / "other"  # type: ignore[operator]
    folder.mkdir()
    for record, at in zip(history.records, (-1, -1_000_000, -1_000_001, 0, 1, 999_999), strict=False):
        record["at"] = at
    import_log(history.lines(), folder / "events.db")
    log = open_log_file(folder / "events.db")
    page = select_forward(log, EventFilter(0, len(history.records) + 1), 1000)
    log.close()
    assert page.views == [codec.view(record).decode() for record in found_in(folder / "events.db")]
