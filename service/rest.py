"""Notes over HTTP: each handler reads the request, asks one thing of the inside, and answers."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from events.log import EventLog
from projections.queries import PAGE_NOTES_MAX, NotePage, NoteRow, Queries
from service import commands, cursors, requests
from service.command_loop import CommandLoop, Outcome
from service.commands import Change, DeleteNote, RestoreNote
from service.errors import NoSuchNote
from service.freshness import Freshness

_encode = msgspec.json.Encoder().encode


class ListQuery(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The parameters of ``GET /notes``."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_NOTES_MAX)] = 100
    cursor: str | None = None


class NotesApi:
    """The handlers of ``/notes``."""

    def __init__(self, log: EventLog, queries: Queries, freshness: Freshness, loop: CommandLoop) -> None:
        self._epoch = log.epoch
        self._queries = queries
        self._freshness = freshness
        self._loop = loop

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

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /notes/{id}``: 204."""
        outcome = await self._execute(request, lambda body: DeleteNote())
        return web.Response(status=204, headers=self._headers(outcome.note.position, outcome.replayed))

    async def read(self, request: web.Request) -> web.Response:
        """``GET /notes/{id}``: 200 with the note, 304, or 404."""
        requests.require_no_query(request)
        note_id = requests.note_id(request)
        await self._freshness.reach_head(requests.min_position(request))
        checkpoint = self._freshness.checkpoint
        row = await self._queries.note(note_id)
        if row is None or row.deleted:
            raise _missing(note_id, row)
        headers = self._headers(max(checkpoint, row.position))
        headers["ETag"] = tag = f'"{row.version}"'
        if requests.matches(request.headers.get("If-None-Match"), tag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = requests.JSON
        return web.Response(body=row.body.encode(), headers=headers)

    async def list(self, request: web.Request) -> web.Response:
        """``GET /notes``: 200 with a page of notes."""
        query = requests.query(request, ListQuery)
        after = self._after(query)
        await self._freshness.reach_head(requests.min_position(request))
        checkpoint = self._freshness.checkpoint
        page = await self._queries.notes_by_id(after, query.limit)
        return self._page(page, query, checkpoint)

    def _after(self, query: ListQuery) -> int:
        if query.cursor is None:
            return 0
        (after,) = cursors.decode(query.cursor, self._epoch, {})
        return int(after)

    def _page(self, page: NotePage, query: ListQuery, checkpoint: int) -> web.Response:
        next_ = None
        if page.more:
            cursor = cursors.encode(self._epoch, {}, [page.notes[-1].id])
            next_ = f"/notes?limit={query.limit}&cursor={cursor}"
        body = b'{"notes":[%b],"next":%b}' % (",".join([row.body for row in page.notes]).encode(), _encode(next_))
        headers = self._headers(max([checkpoint, *(row.position for row in page.notes)]))
        headers["Content-Type"] = requests.JSON
        if next_:
            headers["Link"] = f'<{next_}>; rel="next"'
        return web.Response(body=body, headers=headers)

    async def _change(self, request: web.Request, parse: Callable[[bytes], Change], *media_types: str) -> web.Response:
        return self._changed(200, await self._execute(request, parse, *media_types))

    async def _execute(self, request: web.Request, parse: Callable[[bytes], Change], *media_types: str) -> Outcome:
        note_id = requests.note_id(request)
        body = await requests.read_body(request)

        def command() -> Change:
            _require_json(request, *media_types)
            return parse(body)

        return await self._loop.change(note_id, requests.intent(request, body), command)

    def _changed(self, status: int, outcome: Outcome, location: str | None = None) -> web.Response:
        headers = self._headers(outcome.note.position, outcome.replayed)
        headers["ETag"] = f'"{outcome.note.version}"'
        headers["Content-Type"] = requests.JSON
        if location:
            headers["Location"] = location
        return web.Response(status=status, body=_encode(outcome.note), headers=headers)

    def _headers(self, position: int, replayed: bool = False) -> dict[str, str]:
        headers = {"Notelog-Epoch": self._epoch, "Notelog-Position": str(position)}
        if replayed:
            headers["Idempotency-Replayed"] = "true"
        return headers


def _require_json(request: web.Request, *media_types: str) -> None:
    requests.require_no_query(request)
    if media_types:
        requests.require_media_type(request, *media_types)


def _missing(note_id: int, row: NoteRow | None) -> NoSuchNote:
    deleted_at = None if row is None else msgspec.json.decode(row.body)["deleted_at"]
    return NoSuchNote(note_id, deleted_at)
