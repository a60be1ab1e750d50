"""The two feeds: what is sent of each position, which of it passes a filter, and how frames are filled.

The problem: a thousand dashboards must not cost a thousand reads and encodings. The way taken: what is new is put once
into a ring of items, encoded once, and everybody who is near the head is served from there. A subscriber owns one
integer, its position; whoever is behind the ring reads the log (feed ``events``) or the table (feed ``notes``) from its
position on, so there is nothing to hand over and nothing to lose.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from events.log import EventLog
from events.note import Note
from events.record import RecordedEvent
from events.watermark import Watermark
from projections.notes import NoteChange, decode_note
from projections.queries import Queries
from service.live.ring import EventItem, ItemT, NoteItem, Ring
from service.notes.bodies import fit

# A frame is filled up to this, unless one item is larger: small enough that a hung reader costs little.
FRAME_BYTES_MAX = 32 * 1024
# What the frame around the items takes at most: type, 64 escaped characters of id, removed ids come on top.
FRAME_OVERHEAD_BYTES = 1024
REMOVED_BYTES = 20  # an id and a comma
# How much is read at once for one who is behind: a few frames.
READ_ITEMS_MAX = 200

_encode = msgspec.json.Encoder().encode


class EventsWhere(Struct, frozen=True, forbid_unknown_fields=True):
    """The filter of the feed ``events``: each field a value or a list; what is left out lets everything through."""

    note_id: int | frozenset[int] | None = None
    type: str | frozenset[str] | None = None
    actor: str | frozenset[str] | None = None

    def passes(self, record: RecordedEvent) -> bool:
        """Whether the event is wanted."""
        return (
            _among(record.note_id, self.note_id) and _among(record.type, self.type) and _among(record.actor, self.actor)
        )


class NotesWhere(Struct, frozen=True, forbid_unknown_fields=True):
    """The filter of the feed ``notes``: ids and authors a value or a list, the priority a value or a range."""

    id: int | frozenset[int] | None = None
    created_by: str | frozenset[str] | None = None
    priority: int | frozenset[int] | None = None
    priority_min: int | None = None
    priority_max: int | None = None

    def passes(self, note: Note | None) -> bool:
        """Whether there is such a note and it is wanted."""
        return (
            note is not None
            and not note.deleted
            and _among(note.id, self.id)
            and _among(note.created_by, self.created_by)
            and _among(note.priority, self.priority)
            and (self.priority_min is None or note.priority >= self.priority_min)
            and (self.priority_max is None or note.priority <= self.priority_max)
        )


WhereT = TypeVar("WhereT", EventsWhere, NotesWhere)


class Frame(Struct, frozen=True, gc=False):
    """What goes to everybody who is at the same place with the same filter; only ``id`` differs between them.

    ``tail`` is the JSON after the id. ``items`` 0: nothing passed the filter, only the position moves.
    """

    tail: bytes
    position: int
    items: int


class Feed(ABC, Generic[ItemT, WhereT]):
    """A feed: its ring, its filters, its frames."""

    name: str
    where_type: type[WhereT]
    everything: WhereT

    def __init__(self, position: int) -> None:
        self.head = Watermark(position)
        """Up to here everything is in the ring or behind it."""
        self.ring: Ring[ItemT] = Ring(position)
        self.followers = 0
        """How many subscriptions there are; the hub counts them."""

    def show(self, items: list[ItemT]) -> None:
        """Take the next items, one for each position."""
        if items:
            self.ring.extend(items)
            self.head.raise_to(items[-1].position)

    def skip_to(self, position: int) -> None:
        """Move the head while nobody follows the feed: whoever comes later finds what is before it in the log."""
        self.ring = Ring(position)
        self.head.raise_to(position)

    def where(self, fields: dict[str, Any]) -> WhereT:
        """The filter of a subscription. Raises ``Invalid``."""
        return fit(fields, self.where_type, strict=True, prefix="#/where/")

    @abstractmethod
    async def behind(self, after: int, where: WhereT, quiet_until: int) -> tuple[list[Frame], int]:
        """Some frames for one who is behind, and the position they reach to, which is not past ``head``.

        ``quiet_until``: up to there, deletions are not named (the subscriber began with nothing).
        """

    @abstractmethod
    def frames(self, items: Iterable[ItemT], where: WhereT, quiet_until: int = 0) -> list[Frame]:
        """The items that pass, packed into frames; the last frame's position is the last item's."""

    @abstractmethod
    def empty(self, position: int) -> Frame:
        """A frame that only moves the position."""


class EventsFeed(Feed[EventItem, EventsWhere]):
    """Every event once, in order."""

    name = "events"
    where_type = EventsWhere
    everything = EventsWhere()

    def __init__(self, log: EventLog, position: int) -> None:
        super().__init__(position)
        self._log = log

    async def behind(self, after: int, where: EventsWhere, quiet_until: int) -> tuple[list[Frame], int]:
        items = self.ring.after(after, READ_ITEMS_MAX) if after >= self.ring.floor else await self._read(after)
        return self.frames(items, where), items[-1].position

    async def _read(self, after: int) -> list[EventItem]:
        page = await self._log.read(after, min(READ_ITEMS_MAX, self.head.value - after))
        return [EventItem(record.position, record) for record in page]

    def frames(self, items: Iterable[EventItem], where: EventsWhere, quiet_until: int = 0) -> list[Frame]:
        frames: list[Frame] = []
        packed: list[bytes] = []
        size_bytes = position = 0
        for item in items:
            if where is self.everything or where.passes(item.source):
                if packed and size_bytes + len(item.json) > FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES:
                    frames.append(_events_frame(packed, position))
                    packed, size_bytes = [], 0
                packed.append(item.json)
                size_bytes += len(item.json) + 1
            position = item.position
        if position:
            frames.append(_events_frame(packed, position))
        return frames

    def empty(self, position: int) -> Frame:
        return _events_frame([], position)


class NotesFeed(Feed[NoteItem, NotesWhere]):
    """Every note whose last change is after a position, as it is now; then each change."""

    name = "notes"
    where_type = NotesWhere
    everything = NotesWhere()

    def __init__(self, queries: Queries, position: int) -> None:
        super().__init__(position)
        self._queries = queries

    def watch(self, changes: list[NoteChange]) -> None:
        """Take what the projection has changed."""
        if self.followers:
            self.show([NoteItem(change.after, change) for change in changes])
        elif changes:
            self.skip_to(changes[-1].position)

    async def behind(self, after: int, where: NotesWhere, quiet_until: int) -> tuple[list[Frame], int]:
        head = self.head.value
        if after >= self.ring.floor and head - after <= READ_ITEMS_MAX:
            frames = self.frames(self.ring.after(after), where, quiet_until)
            # One frame has each note once, as it is now. Two could show a note that is gone by the second.
            if len(frames) <= 1:
                return frames, head
        items, position = await self._read(after)
        return self.frames(items, where, quiet_until), position

    async def _read(self, after: int) -> tuple[list[NoteItem], int]:
        page = await self._queries.changes(after, READ_ITEMS_MAX)
        # The table may be a moment ahead of the ring; whoever reads it must not be.
        await self.head.reach(page.position)
        return [NoteItem(decode_note(row.body), None, row.body.encode()) for row in page.notes], page.position

    def frames(self, items: Iterable[NoteItem], where: NotesWhere, quiet_until: int = 0) -> list[Frame]:
        frames: list[Frame] = []
        packing = _NotesPacking(where, quiet_until)
        for item in items:
            if not packing.fits(item):
                frames.append(packing.frame())
                packing = _NotesPacking(where, quiet_until)
            packing.add(item)
        if packing.position:
            frames.append(packing.frame())
        return frames

    def empty(self, position: int) -> Frame:
        return _notes_frame([], [], position)


class _NotesPacking:
    """A frame of the feed ``notes`` while it is filled: each note once, as its last change left it."""

    def __init__(self, where: NotesWhere, quiet_until: int) -> None:
        self.position = 0
        self._where = where
        self._quiet_until = quiet_until
        self._size_bytes = FRAME_OVERHEAD_BYTES
        self._notes: dict[int, NoteItem] = {}
        self._known: dict[int, bool] = {}
        self._removed: dict[int, bool] = {}

    def fits(self, item: NoteItem) -> bool:
        """Whether the frame has room for the item; an empty one has room for any."""
        if not self._notes and not self._removed:
            return True
        item_bytes = len(item.json) if self._where.passes(item.note) else REMOVED_BYTES
        return self._size_bytes + item_bytes <= FRAME_BYTES_MAX

    def add(self, item: NoteItem) -> None:
        """Take the item, in place of an earlier one of the same note."""
        self.position = item.position
        note_id = item.note.id
        known = self._known.setdefault(note_id, self._may_be_known(item))
        self._notes.pop(note_id, None)
        self._removed.pop(note_id, None)
        if self._where.passes(item.note):
            self._notes[note_id] = item
            self._size_bytes += len(item.json) + 1
        elif known:
            self._removed[note_id] = True
            self._size_bytes += REMOVED_BYTES

    def frame(self) -> Frame:
        """The frame as it is filled."""
        return _notes_frame([item.json for item in self._notes.values()], list(self._removed), self.position)

    def _may_be_known(self, item: NoteItem) -> bool:
        """Whether the subscriber may have the note from before this frame, and must be told when it goes."""
        if item.position <= self._quiet_until:
            return False
        return item.source is None or self._where.passes(item.source.before)


def _events_frame(events: list[bytes], position: int) -> Frame:
    return Frame(b',"events":[%b],"position":%d}' % (b",".join(events), position), position, len(events))


def _notes_frame(notes: list[bytes], removed: list[int], position: int) -> Frame:
    tail = b',"notes":[%b],"removed":%b,"position":%d}' % (b",".join(notes), _encode(removed), position)
    return Frame(tail, position, len(notes) + len(removed))


def _among(value: Any, wanted: Any) -> bool:
    return wanted is None or (value in wanted if isinstance(wanted, frozenset) else value == wanted)
