"""A running service, and folders with a long past."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.transfer import import_log
from tests.audit.checked import served
from tests.audit.histories import History
from tests.service.running import Running


@pytest.fixture
async def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A service on a folder that is not there yet, not started; stopped at the end."""
    running = Running(tmp_path / "data", monkeypatch)
    yield running
    await running.stop()


@pytest.fixture
async def notelog(stopped: Running) -> Running:
    """A service that runs on an empty folder."""
    await stopped.start()
    return stopped


@pytest.fixture
def history(dice: object, tmp_path: Path) -> History:
    """A random past of some hundred events, in a folder where no service has run yet."""
    history = History(dice, 600)  # type: ignore[arg-type]
    (tmp_path / "data").mkdir()
    import_log(history.lines(), tmp_path / "data" / "events.db")
    return history


@pytest.fixture
async def closed(stopped: Running, history: History) -> Path:
    """A folder with 600 events, all signed, whose service has stopped in order."""
    return await served(stopped, len(history.records))
