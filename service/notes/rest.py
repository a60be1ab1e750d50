"""Notes over HTTP: each handler reads the request, asks one thing of the inside, and answers."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Literal, cast
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from events.log import EventLog
from events.note import Priority
from projections.lists import Key, NoteList, Selection, SortField, key_kinds
from projections.notes import NoteRow
from projections.queries import PAGE_NOTES_MAX, Queries
from projections.words import words
from service.errors import Flaw, Invalid, NoSuchNote
from service.http import requests
from service.http.freshness import Freshness
from service.notes import commands, cursors
from service.notes.command_loop import CommandLoop, Outcome
from service.notes.commands import Change, DeleteNote, RestoreNote
from service.past.audit import AsOf, AuditApi, NoteQuery

_encode = msgspec.json.Encoder().encode


SortOrder = Literal[
    "id", "-id", "priority", "-priority", "title", "-title", "created_at", "-created_at", "updated_at", "-updated_at"
]


class ListQuery(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The parameters of ``GET /notes``."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_NOTES_MAX)] = 100
    cursor: str | None = None
    sort: SortOrder = "id"
    created_by: str | None = None
    priority: Priority | None = None
    priority_min: Priority | None = None
    priority_max: Priority | None = None
    q: Annotated[str, Meta(max_length=1000, description="all its words, the last one as a prefix")] | None = None
    count: bool = False
    as_of: AsOf | None = None

    @property
    def selection(self) -> Selection:
        """Which notes, in which order. ``as_of`` is a position here: a time was looked up before."""
        return Selection(
            cast(SortField, self.sort.removeprefix("-")),
            self.sort.startswith("-"),
            self.created_by,
            self.priority,
            self.priority_min,
            self.priority_max,
            self.q if self.q and words(self.q) else "",
            None if self.as_of is None else int(self.as_of),
        )


class NotesApi:
    """The handlers of ``/notes``."""

    def __init__(
        self,
        log: EventLog,
        queries: Queries,
        freshness: Freshness,
        search_freshness: Freshness,
        loop: CommandLoop,
        *,
        audit: AuditApi,
    ) -> None:
        self._log = log
        self._queries = queries
        self._freshness = freshness
        self._search_freshness = search_freshness
        self._loop = loop
        self._audit = audit

    async def create(self, request: web.Request) -> web.Response:
        """``POST /notes``: 201 with the note."""
        body = await requests.read_body(request)

        def parse() -> commands.CreateNote:
            _require_json(request, requests.JSON)
            return commands.create_note(body)

        outcome = await self._loop.create(requests.intent(request, body), parse)
        return self._changed(201, outcome, location=f"/notes/{outcome.note.id}")

    async def replace(self, request: web.Request) -> web.Response:
        """``PUT /notes/{id}``: 200 with the note."""
        return await self._change(request, commands.replace_note, requests.JSON)

    async def patch(self, request: web.Request) -> web.Response:
        """``PATCH /notes/{id}``: 200 with the note."""
        return await self._change(request, commands.patch_note, requests.JSON, requests.MERGE_PATCH)

    async def restore(self, request: web.Request) -> web.Response:
        """``POST /notes/{id}/restore``: 200 with the note."""
        return await self._change(request, lambda body: RestoreNote())

    async def revert(self, request: web.Request) -> web.Response:
        """``POST /notes/{id}/revert``: 200 with the note as it was at a version."""
        return await self._change(request, commands.revert_note, requests.JSON)

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /notes/{id}``: 204."""
        outcome = await self._execute(request, lambda body: DeleteNote())
        return web.Response(status=204, headers=self._headers(outcome.note.position, outcome.replayed))

    async def read(self, request: web.Request) -> web.Response:
        """``GET /notes/{id}``: 200 with the note, 304, or 404."""
        query = requests.query(request, NoteQuery) if request.query_string else NoteQuery()
        if query != NoteQuery():
            return await self._audit.note(request, query)
        note_id = requests.note_id(request)
        head, min_position = self._log.head, requests.min_position(request)
        if (needed := self._freshness.needed_for(note_id, min_position)) > self._freshness.checkpoint:
            await self._freshness.reach(needed)
        shown = max(head, self._freshness.checkpoint)
        row = await self._queries.note(note_id)
        if row is None or row.deleted:
            raise _missing(note_id, row)
        headers = self._headers(max(shown, row.position))
        headers["ETag"] = tag = f'"{row.version}"'
        if requests.matches(request, tag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = requests.JSON
        return web.Response(body=row.body.encode(), headers=headers)

    async def list(self, request: web.Request) -> web.Response:
        """``GET /notes``: 200 with a page of notes."""
        query = requests.query(request, ListQuery)
        if query.as_of is not None:
            return await self._list_as_of(request, query, query.as_of)
        selection = query.selection
        after = self._after(query)
        shown = await self._shown(selection, requests.min_position(request))
        page = await self._queries.list(selection, after, query.limit, query.count)
        return self._page(request, page, query, shown)

    async def _list_as_of(self, request: web.Request, query: ListQuery, as_of: str) -> web.Response:
        """The list as it was; its further pages stay at the position that was found for a time."""
        if query.q is not None:
            raise Invalid([Flaw("?q", "the past cannot be searched for words: leave out either q or as_of")])
        position, shown = await self._audit.position(as_of, requests.min_position(request))
        query = msgspec.structs.replace(query, as_of=str(position))
        page = await self._audit.list(query.selection, self._after(query), query.limit, query.count)
        return self._page(request, page, query, shown)

    def _after(self, query: ListQuery) -> Key | None:
        if query.cursor is None:
            return None
        selection = query.selection
        return cursors.decode(query.cursor, self._log.epoch, msgspec.structs.asdict(selection), key_kinds(selection))

    async def _shown(self, selection: Selection, min_position: int) -> int:
        """Wait until the tables are fresh enough for the selection; the position that they show."""
        await self._freshness.reach_head(min_position)
        if not selection.words:
            return self._freshness.checkpoint
        await self._search_freshness.reach_head(min_position)
        return min(self._freshness.checkpoint, self._search_freshness.checkpoint)

    def _page(self, request: web.Request, page: NoteList, query: ListQuery, shown: int) -> web.Response:
        next_ = self._next(query, page.last)
        parts: dict[str, object] = {"next": next_} if page.count is None else {"next": next_, "count": page.count}
        if query.as_of is not None:
            parts["as_of"] = query.selection.as_of
        body = b'{"notes":[%b],%b' % (",".join([row.body for row in page.notes]).encode(), _encode(parts)[1:])
        headers = self._headers(shown)
        headers["ETag"] = tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        if next_:
            headers["Link"] = f'<{next_}>; rel="next"'
        if requests.matches(request, tag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = requests.JSON
        return web.Response(body=body, headers=headers)

    def _next(self, query: ListQuery, last: Key | None) -> str | None:
        """Path and query of the page after the key."""
        if last is None:
            return None
        cursor = cursors.encode(self._log.epoch, msgspec.structs.asdict(query.selection), last)
        parameters = msgspec.to_builtins(msgspec.structs.replace(query, cursor=cursor))
        return f"/notes?{urlencode({name: _in_query(value) for name, value in parameters.items()})}"

    async def _change(self, request: web.Request, parse: Callable[[bytes], Change], *media_types: str) -> web.Response:
        return self._changed(200, await self._execute(request, parse, *media_types))

    async def _execute(self, request: web.Request, parse: Callable[[bytes], Change], *media_types: str) -> Outcome:
        note_id = requests.path_number(request)
        body = await requests.read_body(request)

        def command() -> Change:
            _require_json(request, *media_types)
            command = parse(body)
            if note_id == 0:
                raise NoSuchNote(None)
            return command

        return await self._loop.change(note_id, requests.intent(request, body), command)

    def _changed(self, status: int, outcome: Outcome, location: str | None = None) -> web.Response:
        headers = self._headers(outcome.note.position, outcome.replayed)
        headers["ETag"] = f'"{outcome.note.version}"'
        headers["Content-Type"] = requests.JSON
        if location:
            headers["Location"] = location
        return web.Response(status=status, body=_encode(outcome.note), headers=headers)

    def _headers(self, position: int, replayed: bool = False) -> dict[str, str]:
        headers = {"Notelog-Epoch": self._log.epoch, "Notelog-Position": str(position)}
        if replayed:
            headers["Idempotency-Replayed"] = "true"
        return headers


def _in_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require_json(request: web.Request, *media_types: str) -> None:
    requests.require_no_query(request)
    if media_types:
        requests.require_media_type(request, *media_types)


def _missing(note_id: int, row: NoteRow | None) -> NoSuchNote:
    deleted_at = None if row is None else msgspec.json.decode(row.body)["deleted_at"]
    return NoSuchNote(note_id, deleted_at)
