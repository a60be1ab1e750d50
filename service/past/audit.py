"""The past over HTTP: histories, notes and lists as they were, the events themselves."""

import re
from functools import partial
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from events.database import Reader
from events.log import PAGE_EVENTS_MAX, EventLog
from events.note import INTEGER_MAX
from events.timestamps import microseconds, normalised, rfc3339
from events.views import EventFilter, EventPage, select_backward, select_forward
from projections.lists import Key, NoteList, Selection
from projections.notes import NoteRow, decode_note
from projections.past import HISTORY_VERSIONS_MAX, HistoryPage, Past
from service.errors import Flaw, Invalid, NoSuchEvent, NoSuchNote, NoSuchVersion
from service.http import requests
from service.http.freshness import Freshness
from service.past.event_stream import NDJSON, EventStream

_encode = msgspec.json.Encoder().encode
_DIGITS = re.compile(r"[0-9]{1,19}")
_FINER = re.compile(r"(\.\d{6})\d+")

Position = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
PositiveInteger = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
AsOf = Annotated[
    str,
    Meta(
        description="all digits: a position, 0 for before everything; else an RFC 3339 time: the last position whose "
        "time is not after it",
        examples=["1200", "2017-08-23T00:00:00Z"],
        extra_json_schema={"anyOf": [{"pattern": "^[0-9]{1,19}$"}, {"format": "date-time"}]},
    ),
]


class NoteQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of ``GET /notes/{id}``: neither, for the note as it is, or one of them."""

    version: PositiveInteger | None = None
    as_of: AsOf | None = None


class HistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of ``GET /notes/{id}/history``."""

    limit: Annotated[int, Meta(ge=1, le=HISTORY_VERSIONS_MAX)] = 100
    after: Annotated[int, Meta(ge=0, le=INTEGER_MAX, description="the version to go on after")] = 0


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of ``GET /events``: forward after a position, or backward before one."""

    after: Position | None = None
    before: Position | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_EVENTS_MAX)] | None = None
    note_id: PositiveInteger | None = None
    type: Literal["NoteCreated", "NoteEdited", "NoteDeleted", "NoteRestored"] | None = None


class AuditApi:
    """The handlers of the past. ``events``: a connection for reads of the log that may be long."""

    def __init__(self, log: EventLog, past: Past, freshness: Freshness, events: Reader) -> None:
        self._log = log
        self._past = past
        self._freshness = freshness
        self._events = events
        self._stream = EventStream(log, events)

    async def history(self, request: web.Request) -> web.Response:
        """``GET /notes/{id}/history``: 200 with what each event did to the note."""
        query = requests.query(request, HistoryQuery)
        note_id = requests.note_id(request)
        await self._freshness.reach_head(requests.min_position(request))
        checkpoint = self._freshness.checkpoint
        page = await self._past.history(note_id, query.after, query.limit)
        if page is None:
            raise NoSuchNote(note_id)
        return self._json({"history": page.history, "next": _next_history(note_id, query, page)}, checkpoint)

    async def note(self, request: web.Request, query: NoteQuery) -> web.Response:
        """``GET /notes/{id}?version=`` or ``?as_of=``: 200 with the note as it was, 304, or 404."""
        note_id = requests.note_id(request)
        row, checkpoint = await self._past_row(note_id, query, requests.min_position(request))
        if row is None or row.deleted:
            raise _not_there(note_id, row)
        headers = self._headers(checkpoint)
        headers["ETag"] = tag = f'"{row.version}"'
        if requests.matches(request, tag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = requests.JSON
        return web.Response(body=row.body.encode(), headers=headers)

    async def list(self, selection: Selection, after: Key | None, limit: int, counted: bool) -> NoteList:
        """A page of the list as it was at ``selection.as_of``."""
        return await self._past.list(selection, after, limit, counted)

    async def position(self, as_of: str, min_position: int) -> tuple[int, int]:
        """The position that ``as_of`` names, and the checkpoint of the tables that can show it.

        Raises ``Invalid`` for what is no position in this log and no time.
        """
        time = None if _DIGITS.fullmatch(as_of) else _time(as_of)
        await self._freshness.reach_head(min_position)
        position = int(as_of) if time is None else await self._past.position_at(time)
        if position > self._log.head:
            raise Invalid([Flaw("?as_of", f"expected a position up to the head, {self._log.head}, got {as_of}")])
        # The head may have risen while the tables came up to what it was.
        await self._freshness.reach(position)
        return position, self._freshness.checkpoint

    async def events(self, request: web.Request) -> web.StreamResponse:
        """``GET /events``: 200 with a page of events, or with all that are there as NDJSON."""
        query = requests.query(request, EventsQuery)
        await self._freshness.reach_log(requests.min_position(request))
        head = self._log.head
        if requests.accepts(request, NDJSON):
            _require_forward(query)
            wanted = EventFilter(query.after or 0, head + 1, query.note_id, query.type)
            return await self._stream.answer(request, wanted, query.limit, self._headers(head))
        page = await self._page(query, head)
        next_ = _next_events(query, page, head)
        parts = _encode({"next": next_, "head": head})
        body = b'{"events":[%b],%b' % (",".join(page.views).encode(), parts[1:])
        return web.Response(body=body, headers=self._headers(head) | {"Content-Type": requests.JSON})

    async def event(self, request: web.Request) -> web.Response:
        """``GET /events/{position}``: 200 with one event, or 404."""
        requests.require_no_query(request)
        position = position_in_path(request)
        await self._freshness.reach_log(requests.min_position(request))
        head = self._log.head
        if not 0 < position <= head:
            raise NoSuchEvent(position, head)
        page = await self._events.read(partial(select_forward, wanted=EventFilter(position - 1, position + 1)))
        return web.Response(body=page.views[0].encode(), headers=self._headers(head) | {"Content-Type": requests.JSON})

    async def _past_row(self, note_id: int, query: NoteQuery, min_position: int) -> tuple[NoteRow | None, int]:
        if query.version is not None and query.as_of is not None:
            raise Invalid([Flaw("?as_of", "expected either a version or as_of, got both")])
        if query.as_of is not None:
            as_of, checkpoint = await self.position(query.as_of, min_position)
            return await self._past.note(note_id, as_of), checkpoint
        assert query.version is not None
        await self._freshness.reach_head(min_position)
        checkpoint = self._freshness.checkpoint
        row = await self._past.version(note_id, query.version)
        if row is None and await self._past.version(note_id, 1) is not None:
            raise NoSuchVersion(note_id, query.version)
        return row, checkpoint

    async def _page(self, query: EventsQuery, head: int) -> EventPage:
        limit = query.limit or 100
        if query.before is None:
            wanted = EventFilter(query.after or 0, head + 1, query.note_id, query.type)
            return await self._events.read(partial(select_forward, wanted=wanted, limit=limit))
        if query.after is not None:
            raise Invalid([Flaw("?before", "expected either after or before, got both")])
        wanted = EventFilter(0, min(query.before, head + 1), query.note_id, query.type)
        return await self._events.read(partial(select_backward, wanted=wanted, limit=limit))

    def _json(self, value: object, position: int) -> web.Response:
        return web.Response(body=_encode(value), headers=self._headers(position) | {"Content-Type": requests.JSON})

    def _headers(self, position: int) -> dict[str, str]:
        return {"Notelog-Epoch": self._log.epoch, "Notelog-Position": str(position)}


def position_in_path(request: web.Request) -> int:
    """The position in the path; 0 for what cannot be one."""
    text = request.match_info["position"]
    return int(text) if _DIGITS.fullmatch(text) else 0


def _time(text: str) -> str:
    """A time as the tables have it. A plus that came unescaped, as a space, is still a plus."""
    # Programs write up to nine digits of a second; events have six.
    day, separator, clock = _FINER.sub(r"\1", text).partition("T")
    try:
        return rfc3339(microseconds(normalised(day + separator + clock.replace(" ", "+"))))
    except ValueError as error:
        raise Invalid([Flaw("?as_of", f"expected a position or a time: {error}")]) from None


def _not_there(note_id: int, row: NoteRow | None) -> NoSuchNote:
    if row is None:
        return NoSuchNote(note_id)
    deleted_at = decode_note(row.body).deleted_at
    return NoSuchNote(note_id, deleted_at if isinstance(deleted_at, str) else None)


def _require_forward(query: EventsQuery) -> None:
    if query.before is not None:
        raise Invalid([Flaw("?before", "NDJSON goes forward: expected after")])


def _next_history(note_id: int, query: HistoryQuery, page: HistoryPage) -> str | None:
    if not page.more:
        return None
    return f"/notes/{note_id}/history?limit={query.limit}&after={page.history[-1].version}"


def _next_events(query: EventsQuery, page: EventPage, head: int) -> str | None:
    """Path and query of the next page; a page may be short, or empty, and yet not be the last."""
    if query.before is None and page.reached < head:
        place = {"after": page.reached}
    elif query.before is not None and page.reached > 1:
        place = {"before": page.reached}
    else:
        return None
    given = msgspec.structs.asdict(query) | {"after": None, "before": None} | place
    return f"/events?{urlencode({name: value for name, value in given.items() if value is not None})}"
