"""Keep the ledger up with the log and sign what it is, at most once a second.

The order is: the tiles of a page, then the root, then the signature, each on disk before the next. Whoever kills the
process in between finds a ledger that says less, never one that says something else.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import structlog
from msgspec import Struct

from events.log import EventLog
from events.watermark import Watermark
from projections import signed_note
from projections.ledger import LedgerContradicted, Root, select_signature, store_root, store_signature
from projections.ledger_book import LedgerBook
from projections.merkle import MissingHashes
from projections.projection import ProjectionStopped
from projections.runner import Runner
from projections.signed_note import Signer

T = TypeVar("T")

# At most one checkpoint in this time.
PUBLISH_INTERVAL_S = 1.0
# How long a stop waits for the ledger to take in the last events and sign them.
DRAIN_S = 2.0
# What passes by itself, and the bits of SQLite's extended codes that say it.
PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
PRIMARY_CODE = 0xFF

logger = structlog.get_logger(__name__)


class SignedCheckpoint(Struct, frozen=True):
    """A tree's size, and the signed text that says what it is."""

    size: int
    text: str


class LedgerKeeper:
    """Runs the projection and publishes. ``signer`` None: roots are stored and nothing is signed."""

    def __init__(self, log: EventLog, book: LedgerBook, runner: Runner[None], signer: Signer | None) -> None:
        self.published = Watermark(-1)
        self.checkpoint: SignedCheckpoint | None = None
        self._log = log
        self._book = book
        self._runner = runner
        self._signer = signer
        self._publishing = asyncio.Lock()
        self._waiting = False  # for the disk to have room, or for the file to be free
        self._following: asyncio.Task[None]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the ledger for as long as the context is open; at its end take in and sign what is there by then."""
        self._following = asyncio.create_task(self._runner.run(), name="ledger")
        publishing = asyncio.create_task(self._publish_for_ever(), name="ledger: publish")
        try:
            yield
            await self._drain()
        finally:
            for task in (self._following, publishing):
                task.cancel()
            await asyncio.gather(self._following, publishing, return_exceptions=True)

    async def reach(self, position: int) -> None:
        """Return when a checkpoint with this position in it is signed. Raises ``ProjectionStopped``. Cancel: safe."""
        await self._runner.checkpoint.reach(position)
        await self.published.reach(position)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """The result of a query of the ledger."""
        return await self._book.reader.read(query)

    async def _publish_for_ever(self) -> None:
        try:
            await self._runner.begun()
            while True:
                await self._runner.checkpoint.reach(self.published.value + 1)
                await self._publish_if_possible()
                await asyncio.sleep(PUBLISH_INTERVAL_S)
        except Exception as error:
            self._stop(error)

    async def _publish_if_possible(self) -> None:
        """Publish, unless the disk is full or the file locked, which passes; what was not stored was not signed."""
        try:
            await self._publish()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY_CODE not in PASSING:
                raise
            if not self._waiting:
                logger.warning("the ledger cannot be written: nothing is signed meanwhile", error=str(error))
            self._waiting = True
        else:
            self._waiting = False

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._runner.checkpoint.reach(self._log.head)
                await self._publish()
        except TimeoutError:
            return  # the next start goes on
        except ProjectionStopped:
            return  # it was told when it stopped
        except (LedgerContradicted, MissingHashes, sqlite3.Error) as error:
            logger.error("the end of the log was not signed", error=str(error))

    def _stop(self, error: Exception) -> None:
        """Sign nothing more, and say why."""
        logger.error("the ledger has stopped: nothing is signed any more", exc_info=error)
        self._following.cancel()
        self._runner.stop(getattr(error, "reason", str(error)))
        self.published.stop(ProjectionStopped(self._runner.name, str(error)))

    async def _publish(self) -> None:
        """Store the root of the tree of now, then sign it, if that is new."""
        async with self._publishing:
            size = self._runner.checkpoint.value
            if size <= self.published.value:
                return
            root = await self._book.write(partial(store_root, size=size))
            if self._signer is not None:
                self.checkpoint = await self._signed(self._signer, root)
            self.published.raise_to(size)

    async def _signed(self, signer: Signer, root: Root) -> SignedCheckpoint:
        text = signed_note.checkpoint_text(signer.name, root.size, root.root)
        kept = await self._book.reader.read(partial(select_signature, size=root.size, key=signer.public))
        signature = kept or signer.sign(text)
        if kept is None:
            store = partial(store_signature, size=root.size, key=signer.public, signature=signature)
            await self._book.write(store)
        return SignedCheckpoint(root.size, signed_note.signed(text, signer.name, signer.public, signature))
