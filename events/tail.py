"""The newest records of a log, in memory: all who follow it at its end (projections, feeds) read no file for it."""

from bisect import bisect_right
from itertools import accumulate

from events.log import PAGE_BYTES_MAX
from events.record import RecordedEvent

# What a follower may lag behind and still be served from memory: at 1 KiB an event, 8,000 events.
TAIL_BYTES_MAX = 8 * 1024 * 1024


class Tail:
    """Without a gap, at most ``TAIL_BYTES_MAX`` of records (about: see ``extend``)."""

    def __init__(self) -> None:
        self._records: list[RecordedEvent] = []
        self._ends: list[int] = []
        """Bytes of all records ever taken, up to and with each: so a page is bounded without looking at its records."""
        self._start = 0
        self._last: dict[int, int] = {}
        """The position of each note's last record."""

    def extend(self, records: list[RecordedEvent]) -> None:
        """Take the next records; when there are too many, the older half goes (so each is moved once or twice)."""
        self._records += records
        self._last.update((record.note_id, record.position) for record in records)
        end = self._ends[-1] if self._ends else self._start
        self._ends += accumulate((record.size_bytes for record in records), initial=end)
        del self._ends[-len(records) - 1]
        while self._ends[-1] - self._start > TAIL_BYTES_MAX and len(self._records) > 1:
            gone = len(self._records) // 2
            self._start = self._ends[gone - 1]
            for record in self._records[:gone]:
                if self._last[record.note_id] == record.position:
                    del self._last[record.note_id]
            del self._records[:gone], self._ends[:gone]

    def page(self, after: int, limit: int) -> list[RecordedEvent] | None:
        """The records after a position, or None when the tail does not reach back so far."""
        if not self._reaches(after):
            return None
        first = after + 1 - self._records[0].position
        before = self._ends[first - 1] if first else self._start
        full = bisect_right(self._ends, before + PAGE_BYTES_MAX, first, min(first + limit, len(self._ends)))
        return self._records[first : max(full, first + 1)]

    def last_of(self, note_id: int, after: int) -> int | None:
        """The position of the note's last record, at least ``after``; None when the tail does not reach back so far."""
        return max(self._last.get(note_id, after), after) if self._reaches(after) else None

    def _reaches(self, after: int) -> bool:
        """Whether the record after a position is here."""
        return bool(self._records) and after + 1 >= self._records[0].position
