"""The client of a notelog service for Python.

    async with Client("http://127.0.0.1:8080", token=token) as client:
        note = await client.create("Milk", priority=1)
        note = await client.patch(note.id, title="Milk, two litres", expected_version=note.version)
        async for event in client.events(after=note.position):
            print(event.position, event.type, event.data)

Three promises:

- A change is made once. Each carries an Idempotency-Key, and is sent again by itself when no answer came, when the
  service said to come back, and when the outcome was unknown, for up to ``retry_total_s`` (``requests``).
- A feed has no hole and no repeat, over all breaks, restarts and nodes (``feeds``).
- What this client has seen, its later reads show, at whatever node they arrive (Notelog-Min-Position).

Errors are in ``errors``: a class for each kind of problem. Retries are those of the library stamina, which logs and
counts them: see stamina.instrumentation to choose how, and stamina.set_testing for tests.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlencode
from weakref import WeakSet

from msgspec import UNSET, UnsetType

from events.note import Note
from projections.past import HistoryEntry
from service.client.errors import ClientError
from service.client.feeds import ClientFeed, Item
from service.client.frames import Event, Removed
from service.client.requests import RETRY_TOTAL_S, Requests, decoded
from service.notes.rest import SortOrder
from service.pages.answers import HistoryList, NoteList

__all__ = ["Client", "ClientError", "Event", "Note", "Removed"]

PAGE_NOTES = 500


class Client:
    """A client of the service at ``url``. Use it as ``async with Client(url) as client``, from one event loop.

    Changes return the note as it is after them. ``expected_version`` sends If-Match: the change is refused with
    ``PreconditionFailed`` when the note is at another version. ``key``: an Idempotency-Key of one's own, to go on with
    a change after this process has died; without one, each call has its own. ``retry_total_s``: 0 tries once.
    """

    def __init__(self, url: str, token: str | None = None, *, retry_total_s: float = RETRY_TOTAL_S) -> None:
        self._requests = Requests(url, token, retry_total_s)
        self._feeds: WeakSet[ClientFeed[Any]] = WeakSet()

    async def __aenter__(self) -> "Client":
        await self._requests.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; feeds end, requests under way fail. Twice is fine."""
        try:
            await asyncio.gather(*[feed.close() for feed in self._feeds])
        finally:
            await self._requests.close()

    @property
    def token(self) -> str | None:
        """The token that is sent. Set a new one at any time, for instance before this one expires."""
        return self._requests.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._requests.token = token

    @property
    def position(self) -> int:
        """The last position that this client has seen; its reads show it."""
        return self._requests.position

    async def create(
        self,
        title: str,
        *,
        description: str = "",
        created_at: str | UnsetType = UNSET,
        created_by: str | UnsetType = UNSET,
        priority: int = 0,
        key: str | None = None,
    ) -> Note:
        """Create a note."""
        fields = _given(
            title=title, description=description, created_at=created_at, created_by=created_by, priority=priority
        )
        return await self._change("POST", "/notes", fields, None, key)

    async def replace(
        self,
        note_id: int,
        title: str,
        *,
        description: str = "",
        created_at: str | UnsetType = UNSET,
        created_by: str | UnsetType = UNSET,
        priority: int = 0,
        expected_version: int | None = None,
        key: str | None = None,
    ) -> Note:
        """Replace a note whole: what is left out gets its default, but ``created_at`` and ``created_by``."""
        fields = _given(
            title=title, description=description, created_at=created_at, created_by=created_by, priority=priority
        )
        return await self._change("PUT", f"/notes/{note_id}", fields, expected_version, key)

    async def patch(
        self,
        note_id: int,
        *,
        title: str | UnsetType = UNSET,
        description: str | UnsetType | None = UNSET,
        created_at: str | UnsetType = UNSET,
        created_by: str | UnsetType = UNSET,
        priority: int | UnsetType | None = UNSET,
        expected_version: int | None = None,
        key: str | None = None,
    ) -> Note:
        """Change some fields of a note; None brings ``description`` or ``priority`` back to its default."""
        fields = _given(
            title=title, description=description, created_at=created_at, created_by=created_by, priority=priority
        )
        return await self._change("PATCH", f"/notes/{note_id}", fields, expected_version, key)

    async def delete(self, note_id: int, *, expected_version: int | None = None, key: str | None = None) -> None:
        """Delete a note. It can be restored."""
        await self._requests.change("DELETE", f"/notes/{note_id}", None, expected_version, key)

    async def restore(self, note_id: int, *, expected_version: int | None = None, key: str | None = None) -> Note:
        """Bring a deleted note back; of a note that is there: nothing happens."""
        return await self._change("POST", f"/notes/{note_id}/restore", None, expected_version, key)

    async def revert(
        self, note_id: int, version: int, *, expected_version: int | None = None, key: str | None = None
    ) -> Note:
        """Make a note what it was at a version, as a new event; a deleted one comes back so."""
        return await self._change("POST", f"/notes/{note_id}/revert", {"version": version}, expected_version, key)

    async def get(self, note_id: int, *, version: int | None = None, as_of: int | str | None = None) -> Note:
        """A note as it is, as it was at one of its versions, or at a position or time (RFC 3339) of the log."""
        return await self._requests.read(_path(f"/notes/{note_id}", version=version, as_of=as_of), Note)

    async def list(
        self,
        *,
        sort: SortOrder = "id",
        created_by: str | None = None,
        priority: int | None = None,
        priority_min: int | None = None,
        priority_max: int | None = None,
        q: str | None = None,
        as_of: int | str | None = None,
        page_notes: int = PAGE_NOTES,
    ) -> AsyncIterator[Note]:
        """All notes that match, asked for a page at a time. ``as_of``: as they were then (without ``q``)."""
        path: str | None = _path(
            "/notes",
            limit=page_notes,
            sort=sort,
            created_by=created_by,
            priority=priority,
            priority_min=priority_min,
            priority_max=priority_max,
            q=q,
            as_of=as_of,
        )
        while path is not None:
            page = await self._requests.read(path, NoteList)
            for note in page.notes:
                yield note
            path = page.next

    async def history(self, note_id: int) -> AsyncIterator[HistoryEntry]:
        """What each event did to a note, oldest first; also of a deleted one."""
        path: str | None = f"/notes/{note_id}/history"
        while path is not None:
            page = await self._requests.read(path, HistoryList)
            for entry in page.history:
                yield entry
            path = page.next

    async def event(self, position: int) -> Event:
        """The event at a position."""
        return await self._requests.read(f"/events/{position}", Event)

    def events(
        self,
        after: int | None = None,
        *,
        epoch: str | None = None,
        note_id: int | Sequence[int] | None = None,
        type: str | Sequence[str] | None = None,
        actor: str | Sequence[str] | None = None,
    ) -> ClientFeed[Event]:
        """Follow the events after a position: every one once, in order. None: only what is new; 0: all.

        ``epoch``: of the log that ``after`` belongs to (``feed.epoch`` of whoever kept it): if the log is another one
        now, ``LogReset`` is raised instead of going on in the wrong one.
        """
        where = {"note_id": note_id, "type": type, "actor": actor}
        return self._keep(ClientFeed(self._requests, "events", after, epoch, where))

    def notes(
        self,
        after: int | None = 0,
        *,
        epoch: str | None = None,
        id: int | Sequence[int] | None = None,
        created_by: str | Sequence[str] | None = None,
        priority: int | None = None,
        priority_min: int | None = None,
        priority_max: int | None = None,
    ) -> ClientFeed[Note | Removed]:
        """Follow the notes: each that changed after a position as it is now, then every change as it happens.

        0: all notes first. None: only what changes from now on. Those that were deleted, or that do not match any
        more, come as ``Removed``.
        """
        where = {
            "id": id,
            "created_by": created_by,
            "priority": priority,
            "priority_min": priority_min,
            "priority_max": priority_max,
        }
        return self._keep(ClientFeed(self._requests, "notes", after, epoch, where))

    def _keep(self, feed: ClientFeed[Item]) -> ClientFeed[Item]:
        """Close the feed with this client, unless it is forgotten before."""
        self._feeds.add(feed)
        return feed

    async def _change(
        self, method: str, path: str, fields: dict[str, Any] | None, expected_version: int | None, key: str | None
    ) -> Note:
        return decoded(
            self._requests.url, await self._requests.change(method, path, fields, expected_version, key), Note
        )


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not UNSET}


def _path(path: str, **parameters: Any) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
