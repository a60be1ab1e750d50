"""Keep the ledger up with the log and sign what it is, at most once a second.

The order is: the tiles of a page, then the root, then the signature, each on disk before the next. Whoever kills the
process in between finds a ledger that says less, never one that says something else.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

from msgspec import Struct

from events.log import EventLog
from events.watermark import Watermark
from projections import signed_note
from projections.ledger import LedgerContradicted, Root, select_signature, store_root, store_signature
from projections.ledger_book import LedgerBook
from projections.projection import ProjectionStopped
from projections.runner import Runner
from projections.signed_note import Signer

T = TypeVar("T")

# At most one checkpoint in this time.
PUBLISH_INTERVAL_S = 1.0
# How long a stop waits for the ledger to take in the last events and sign them.
DRAIN_S = 2.0


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
        self._following: asyncio.Task[None]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the ledger for as long as the context is open; at its end take in and sign what is there by then."""
        self._following = asyncio.create_task(self._runner.run(), name="ledger")
        publishing = asyncio.create_task(self._publish_for_ever(), name="ledger: publish")
        try:
            yield
            with suppress(TimeoutError, ProjectionStopped, LedgerContradicted, sqlite3.Error):
                async with asyncio.timeout(DRAIN_S):
                    await self._runner.checkpoint.reach(self._log.head)
                    await self._publish()
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
                # A full disk passes; what was not stored was not signed.
                with suppress(sqlite3.OperationalError):
                    await self._publish()
                await asyncio.sleep(PUBLISH_INTERVAL_S)
        except (ProjectionStopped, LedgerContradicted) as error:
            self._stop(error)
        except Exception as error:
            self._stop(error)
            raise

    def _stop(self, error: Exception) -> None:
        """Sign nothing more, and say why."""
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
