"""The newest of a feed: each position's item, encoded once for everybody who is near the head."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from events import codec
from events.note import Note
from events.record import RecordedEvent
from projections.notes import NoteChange

# The ring of each feed. At 300 bytes an item, a reader may lag 25,000 events and still be served from memory.
RING_BYTES_MAX = 8 * 1024 * 1024

_encode = msgspec.json.Encoder().encode


class Item:
    """What is sent of one position."""

    __slots__ = ("_json", "position", "source")

    def __init__(self, position: int, source: Any, json: bytes | None = None) -> None:
        self.position = position
        self.source = source
        self._json = json

    @property
    def json(self) -> bytes:
        """The item as JSON: encoded when it is first sent, and kept."""
        if self._json is None:
            self._json = self.encode()
        return self._json

    def encode(self) -> bytes:
        """Make the JSON."""
        raise NotImplementedError

    @property
    def size_bytes(self) -> int:
        """About how much memory the item takes."""
        raise NotImplementedError


ItemT = TypeVar("ItemT", bound=Item)


class EventItem(Item):
    """An event, as ``GET /events`` shows it."""

    __slots__ = ()
    source: RecordedEvent

    def encode(self) -> bytes:
        return codec.view(self.source)

    @property
    def size_bytes(self) -> int:
        return 2 * self.source.size_bytes


class NoteItem(Item):
    """A change of a note. ``source`` None: the row of the table, of whose past nothing is known."""

    __slots__ = ("note",)
    source: NoteChange | None

    def __init__(self, note: Note, source: NoteChange | None, json: bytes | None = None) -> None:
        super().__init__(note.position, source, json)
        self.note = note

    def encode(self) -> bytes:
        return _encode(self.note)

    @property
    def size_bytes(self) -> int:
        return 1000 + 2 * len(self.note.description)


class Ring(Generic[ItemT]):
    """The newest items, one for each position, without a gap, bounded in bytes."""

    def __init__(self, position: int) -> None:
        self.floor = position
        """Items after this position are here."""
        self._items: list[ItemT] = []
        self._size_bytes = 0

    def extend(self, items: list[ItemT]) -> None:
        """Take the next items; when there are too many, the older half goes."""
        self._items += items
        self._size_bytes += sum(item.size_bytes for item in items)
        while self._size_bytes > RING_BYTES_MAX and len(self._items) > 1:
            gone = self._items[: len(self._items) // 2]
            del self._items[: len(gone)]
            self._size_bytes -= sum(item.size_bytes for item in gone)
            self.floor = gone[-1].position

    def after(self, position: int, limit: int | None = None) -> Sequence[ItemT]:
        """The items after a position that is not below the floor, at most ``limit``."""
        start = position - self.floor
        return self._items[start : None if limit is None else start + limit]
