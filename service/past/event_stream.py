"""The log as NDJSON: one event a line, page by page, never in the way of others.

A page is read and written while nobody else waits; when somebody does, pages become small and pauses long. How busy the
service is shows in two ways: the head moves, or a turn of the event loop takes longer than it takes an idle one.
"""

import asyncio
import time
from functools import partial

from aiohttp import web
from msgspec.structs import replace

from events.database import Reader
from events.log import EventLog
from events.note import INTEGER_MAX
from events.views import EventFilter, select_forward
from service.http.protocol import SERVER_HEADERS
from service.http.requests import REQUEST_ID

NDJSON = "application/x-ndjson"
# Alone: a page of ordinary events is read in 5 ms. Beside others: it is over before anybody could notice.
PAGE_EVENTS_ALONE = 1000
PAGE_EVENTS_BUSY = 50
# A turn of the loop that takes longer has others' work in it.
TURN_S_IDLE = 0.001
# Beside others, this many times as long as a page took is left to them.
REST_FACTOR = 9


class EventStream:
    """Streams of a log. ``events``: a connection for reads that may be long."""

    def __init__(self, log: EventLog, events: Reader) -> None:
        self._log = log
        self._events = events

    async def answer(
        self, request: web.Request, wanted: EventFilter, limit: int | None, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer with all events that pass, or the first ``limit``; memory is bounded by a page.

        Cancel, or a reader that is gone: it ends. A fault in the middle breaks the connection, so that nobody takes
        the part for the whole.
        """
        known = {"Content-Type": NDJSON, "X-Request-Id": request[REQUEST_ID]}
        response = web.StreamResponse(headers=headers | known | SERVER_HEADERS)
        await response.prepare(request)
        if request.method != "HEAD":
            try:
                await self._write_pages(response, wanted, limit)
                await response.write_eof()
            except ConnectionError:
                pass  # the reader is gone
            except BaseException:
                if request.transport is not None:
                    request.transport.abort()
                raise
        return response

    async def _write_pages(self, response: web.StreamResponse, wanted: EventFilter, limit: int | None) -> None:
        courtesy = Courtesy(self._log)
        left = INTEGER_MAX if limit is None else limit
        while wanted.after + 1 < wanted.before and left:
            started = time.perf_counter()
            page_events = min(left, courtesy.page_events)
            page = await self._events.read(partial(select_forward, wanted=wanted, limit=page_events))
            if page.views:
                # Waits for the reader, a slow one as long as it takes: ``Protocol`` cuts off one that has stopped.
                await response.write(("\n".join(page.views) + "\n").encode())
            wanted = replace(wanted, after=page.reached)
            left -= len(page.views)
            await courtesy.rest(time.perf_counter() - started)


class Courtesy:
    """Tells whether others are at work, and leaves them room."""

    def __init__(self, log: EventLog) -> None:
        self.page_events = PAGE_EVENTS_BUSY
        self._log = log
        self._head = log.head

    async def rest(self, took_s: float) -> None:
        """Pause after a page that took so long, if others are at work; decide how large the next one may be."""
        before = time.perf_counter()
        await asyncio.sleep(0)
        busy = time.perf_counter() - before > TURN_S_IDLE or self._log.head != self._head
        self._head = self._log.head
        self.page_events = PAGE_EVENTS_BUSY if busy else PAGE_EVENTS_ALONE
        if busy:
            await asyncio.sleep(took_s * REST_FACTOR)
