"""A whole log into an empty stream, position for position, in atomic batches; a break is gone on from.

The lines become a log in a file first, as they would without a stream: nothing is sent before all of them are found
good. Then batch after batch follows, each only right after the last one, so whoever else writes into the stream is
noticed. What has become of a batch that was not answered is seen by reading: after every trouble, and when the import
is run again, what the stream has is compared with the file before anything is added to it. Until the end the stream's
metadata says that it is being filled, and no node starts on it.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from events import replica
from events.copies import Parent
from events.errors import ClusterUnreachable, NotelogError
from events.jetstream import BATCH_MESSAGES_MAX, Stream
from events.nats_settings import NatsSettings
from events.record import RecordedEvent
from events.store import select_page
from events.stream_answers import Conflict, NoAnswer, NotStored
from events.stream_configuration import IMPORTING, PARENT_EPOCH, PARENT_POSITION, Identity
from events.transfer import NotEmpty, NotImportable, import_log

RETRY_S = 0.5
# With no progress for this long the command ends; it can be run again. The death of a leader takes 5 to 8 s.
GOES_ON_WITHIN_S = 60.0
# A batch is one piece for the servers: it is held in memory, and copied to the others, as a whole.
BATCH_BYTES_MAX = 512 * 1024


class Imported(msgspec.Struct, frozen=True):
    """What is in the stream now, and how much of it a run before this one had put there."""

    parent: Parent
    found: int


class OtherEvents(NotelogError):
    """In the stream stands something else than what an import would put there."""

    def __init__(self, stream: str, why: str) -> None:
        super().__init__(f"the stream {stream} cannot take this import: {why}")


def import_into_stream(
    lines: Iterable[bytes], settings: NatsSettings, progress: Callable[[int], None] = lambda position: None
) -> Imported:
    """Make an empty stream, or one whose import was broken off, the log of the lines. Returns which log it was.

    Raises ``NotImportable``, ``NotEmpty``, ``OtherEvents``, ``ClusterError``.
    """
    with TemporaryDirectory(prefix="notelog-import-") as folder:
        staged = Path(folder) / "events.db"
        parent = import_log(lines, staged)
        with closing(sqlite3.connect(f"{staged.as_uri()}?mode=ro", uri=True)) as log:
            _require_parts(log)
            return asyncio.run(_Import(log, parent, settings, progress).run())


def _require_parts(log: sqlite3.Connection) -> None:
    """What a replica counts must be what the lines say: the events of one command, in order."""
    odd = log.execute(
        "SELECT position FROM (SELECT position, part, row_number() OVER (PARTITION BY command ORDER BY position) AS n"
        " FROM events WHERE command IS NOT NULL) WHERE part <> n - 1 UNION ALL"
        " SELECT position FROM events WHERE command IS NULL AND part <> 0 ORDER BY position LIMIT 1"
    ).fetchone()
    if odd:
        raise NotImportable(odd[0], "its part is not how many events of its command come before it")


class _Import:
    """The way of a log into a stream. ``_done``: how much of it is there for sure."""

    def __init__(
        self, log: sqlite3.Connection, parent: Parent, settings: NatsSettings, progress: Callable[[int], None]
    ) -> None:
        self._log = log
        self._parent = parent
        self._settings = settings
        self._progress = progress
        self._done = 0
        self._found: int | None = None
        self._moved = time.monotonic()

    async def run(self) -> Imported:
        """Over one connection after the other, until all is there."""
        birth = {IMPORTING: self._parent.epoch} if self._parent.position else {}
        while True:
            try:
                async with Stream.connected(self._settings, birth=birth) as stream:
                    await self._fill(stream)
                    return Imported(self._parent, self._found or 0)
            except (NoAnswer, NotStored, Conflict, ClusterUnreachable) as error:
                if time.monotonic() - self._moved > GOES_ON_WITHIN_S:
                    raise ClusterUnreachable(
                        self._settings.shown_servers,
                        f"{error or type(error).__name__}; {self._done} of {self._parent.position} events are in the "
                        "stream, run the import again to go on",
                    ) from None
                await asyncio.sleep(RETRY_S)

    async def _fill(self, stream: Stream) -> None:
        state = await stream.state()
        if self._is_finished(stream.identity):
            return
        await self._claim(stream, state.last_seq)
        await self._compare(stream, state.last_seq)
        if self._found is None:
            self._found = self._done
        while self._done < self._parent.position:
            batch = self._batch()
            await stream.publish_batch(batch, after=self._done)
            self._advance(len(batch))
        if self._parent.position:
            told = {PARENT_EPOCH: self._parent.epoch, PARENT_POSITION: str(self._parent.position), IMPORTING: ""}
            await stream.note(told)

    def _is_finished(self, identity: Identity) -> bool:
        """Whether the last step was done, and its answer was lost."""
        return 0 < self._done == self._parent.position and identity.parent == self._parent

    async def _claim(self, stream: Stream, head: int) -> None:
        """See that the stream is this import's, or make it so."""
        importing = stream.identity.importing
        if importing == self._parent.epoch:
            return
        if importing is not None:
            raise OtherEvents(self._settings.stream, f"it is being filled from the log {importing}")
        if head:
            raise NotEmpty(f"the stream {self._settings.stream}", head)
        if self._parent.position:
            await stream.note({IMPORTING: self._parent.epoch})

    async def _compare(self, stream: Stream, end: int) -> None:
        """See that what the stream has up to ``end`` is what the log has there."""
        if end > self._parent.position:
            raise OtherEvents(self._settings.stream, f"it has {end} events, the file only {self._parent.position}")
        if self._done >= end:
            return
        async with stream.feed(self._done) as feed:
            while self._done < end:
                for received in await feed.take():
                    if received.position > self._done:
                        self._require_same(received)

    def _require_same(self, received: replica.Received) -> None:
        if received.position != self._done + 1:
            raise NoAnswer(f"message {self._done + 1} has not come")
        records = select_page(self._log, self._done, received.position, 1)
        if not records or replica.encode_record(records[0]) != received.payload:
            raise OtherEvents(self._settings.stream, f"its event {received.position} is another one than in the file")
        self._advance(1)

    def _batch(self) -> list[tuple[str, bytes]]:
        """The messages that come next."""
        batch: list[tuple[str, bytes]] = []
        size_bytes = 0
        for record in select_page(self._log, self._done, self._parent.position, BATCH_MESSAGES_MAX):
            payload = replica.encode_record(record)
            size_bytes += len(payload)
            if batch and size_bytes > BATCH_BYTES_MAX:
                break
            batch.append((self._token(record), payload))
        return batch

    def _token(self, record: RecordedEvent) -> str:
        """What the subject of the record's note ends with."""
        if record.version == 1:
            return (record.command or record.salt).hex()
        query = "SELECT coalesce(command, salt) FROM events WHERE note_id = ? AND version = 1"
        return bytes(self._log.execute(query, (record.note_id,)).fetchone()[0]).hex()

    def _advance(self, events: int) -> None:
        self._done += events
        self._moved = time.monotonic()
        self._progress(self._done)
