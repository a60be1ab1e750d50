"""The contract of the log: five verbs, nine guarantees.

Each guarantee has a test of the same number in ``tests/contract/``, which runs on every engine.

1. An append that returned is on disk.
2. Positions are dense and rise in the order of visibility: nothing ever appears below a position already read.
3. An append carries the position where the caller expects the note's last event (0: there is none). Of two with the
   same one, one fails with ``WrongExpectedPosition``.
4. The same command appends once, for ever. A repeat returns the first record, and is looked at before the expected
   position; another request under the same command is refused with ``CommandReused``.
5. A cancelled caller does not cancel an append that began; nothing is half appended.
6. Records are never changed or removed.
7. ``wait_past`` loses no wake-up.
8. A commit that failed for want of space has not happened. One that failed otherwise is unknown: its commands get
   ``OutcomeUnknown``, and the log takes no more until it has opened its file again and read its head.
9. Memory is bounded in bytes, whatever the length of the log.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

import msgspec

from events.errors import FolderError
from events.record import NewEvent, RecordedEvent

# A page is what one reader holds at once: small enough that a thousand of them do not matter.
PAGE_EVENTS_MAX = 1000
PAGE_BYTES_MAX = 1024 * 1024


class Appended(msgspec.Struct, frozen=True):
    """What became of an append. ``repeated``: the command was in the log already, this is its first record."""

    record: RecordedEvent
    repeated: bool


class EventLog(ABC):
    """An append-only log of events in one order. For use from one event loop."""

    epoch: str
    """The random id given to this log at its birth, 32 hexadecimal digits."""

    on_commit: Callable[[int, float], None]
    """Called after each commit of this process with its number of events and the seconds of its fsync."""

    @property
    @abstractmethod
    def head(self) -> int:
        """The last position that this process knows to be durable and visible; 0 in an empty log."""

    @property
    def complete(self) -> bool:
        """Whether ``head`` is the end of the log for sure. A replica may be behind; it says False."""
        return True

    async def caught_up(self) -> None:
        """Return when ``head`` is at least what the log had when it was opened: at once, unless this is a replica."""
        return

    async def broken(self) -> FolderError:
        """Wait until this process can never use the log again, and return why. Cancel: safe at any moment."""
        never: asyncio.Future[FolderError] = asyncio.get_running_loop().create_future()
        return await never

    @property
    @abstractmethod
    def fault(self) -> str | None:
        """Why the log takes no writes at the moment, in words for an operator, or None."""

    @abstractmethod
    async def append(self, event: NewEvent, expected: int) -> Appended:
        """Append one event to the stream ``event.note_id``; None starts a new stream (``expected`` is then 0).

        ``expected``: the position of the stream's last event as the caller knows it.
        Cancel: an append that was queued goes on; only its answer is lost. Full: ``LogBusy``.
        Raises ``WrongExpectedPosition``, ``CommandReused``, ``LogBusy``, ``LogUnavailable``, ``OutcomeUnknown``.
        """

    @abstractmethod
    async def read(self, after: int, limit: int = PAGE_EVENTS_MAX) -> list[RecordedEvent]:
        """The events after ``after``, in order: at most ``limit`` and ``PAGE_BYTES_MAX``; at least one if there is."""

    @abstractmethod
    async def read_stream(
        self, note_id: int, after_version: int = 0, limit: int = PAGE_EVENTS_MAX
    ) -> list[RecordedEvent]:
        """The events of one note after a version, in order, in pages like those of ``read``."""

    @abstractmethod
    def last_of(self, note_id: int, after: int) -> int:
        """The position of the note's last event, if that is past ``after``; ``after``, if the note has none there.

        Told at once, from memory: where that does not reach back to ``after``, the answer is the head.
        """

    @abstractmethod
    async def find(self, command: bytes) -> RecordedEvent | None:
        """The record that the command appended, or None."""

    @abstractmethod
    async def wait_past(self, position: int) -> None:
        """Return when the head is past ``position``. Cancel: safe at any moment."""

    @abstractmethod
    async def close(self) -> None:
        """Write what was queued, then let go of the file. Appends that come later get ``LogUnavailable``."""
