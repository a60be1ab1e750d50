"""The ledger as a part of the service: its key, its file, its runner; opened after the log and closed after it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events.copies import Parent
from events.folder import DataFolder
from events.log import EventLog
from projections.ledger import Ledger
from projections.ledger_book import LedgerBook, LedgerDoesNotFit, replica_is_there
from projections.ledger_keeper import LedgerKeeper
from projections.projection import ProjectionStopped
from projections.runner import Runner, State, Written
from projections.signed_note import Signer, UnusableKey, load_key, make_key, origin
from service.settings import Settings, WrongSetting

# The ledger takes in what has gathered in this time, unless somebody waits for a proof.
LEDGER_LINGER_S = 1.0

logger = structlog.get_logger(__name__)


class LedgerPart:
    """The ledger of one log. One that does not fit the log stands still; ``runner`` and ``keeper`` say why."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self.signer: Signer | None = None
        self.runner: Runner[None]
        self._keeper: LedgerKeeper | None = None
        self._book: LedgerBook | None = None
        self._folder = folder
        self._has_signed = has_signed(settings, folder)  # asked before the key is made
        self._key = ledger_key(settings, folder)

    async def open(self, log: EventLog, ancestors: list[Parent], others: Written) -> None:
        """Open the file. ``others``: the file of the other tables, which a runner that stands still is said to use."""
        if self._key is not None:
            self.signer = Signer(origin(log.epoch), self._key)
        await replica_is_there(self._folder.ledger, log)
        epochs = [ancestor.epoch for ancestor in ancestors]
        # What came from elsewhere, by a copy or an import, was not signed under this epoch.
        expected = self._has_signed and log.head > (ancestors[0].position if ancestors else 0)
        try:
            self._book = await LedgerBook.open(self._folder.ledger, log, epochs, expected=expected)
        except LedgerDoesNotFit as error:
            logger.error("the ledger does not fit the log: nothing is signed", error=str(error))
            self.runner = Runner(log, Ledger(), others)
            self.runner.stop(str(error))
            return
        if self._book.added:
            logger.warning("events were added while the service was stopped", events=self._book.added, head=log.head)
        self.runner = Runner(log, Ledger(), self._book, linger_s=LEDGER_LINGER_S)
        self._keeper = LedgerKeeper(log, self._book, self.runner, self.signer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the ledger for as long as the context is open."""
        async with AsyncExitStack() as stack:
            if self._keeper is not None:
                await stack.enter_async_context(self._keeper.running())
            yield

    @property
    def keeper(self) -> LedgerKeeper:
        """Who keeps it. Raises ``ProjectionStopped`` where nobody does (any more): what it says is not to be served."""
        if self._keeper is None or self.runner.state is State.STOPPED:
            raise ProjectionStopped(Ledger.name, self.runner.error or "it was never started")
        return self._keeper

    async def close(self) -> None:
        """Close the file, after the log: it notes where that ended. Never opened is fine."""
        if self._book is not None:
            await self._book.close()


def has_signed(settings: Settings, folder: DataFolder) -> bool:
    """Whether a log with events of its own has been signed: with the embedded log, the first start makes the key."""
    return settings.log == "sqlite" and key_path(settings.ledger_key, folder).exists()


def ledger_key(settings: Settings, folder: DataFolder) -> Ed25519PrivateKey | None:
    """The key that signs. The embedded log makes one at its first start; nodes of a cluster are given the same one.

    Raises ``WrongSetting``.
    """
    path = key_path(settings.ledger_key, folder)
    try:
        return load_key(path)
    except FileNotFoundError:
        if settings.log != "sqlite":
            return None
    except UnusableKey as error:
        raise WrongSetting(f"NOTELOG_LEDGER_KEY: {error}") from None
    try:
        return make_key(path)
    except UnusableKey as error:
        raise WrongSetting(f"NOTELOG_LEDGER_KEY: {error}") from None


def key_path(given: Path | None, folder: DataFolder) -> Path:
    """Where the key is: where the setting says, or in the data folder."""
    return given or folder.path / "ledger-key.pem"
