"""A running service for every test that asks for one, on the event loop that ``serve`` runs on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.service.running import Running


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop where it is, as in ``service.cli``. The tests in ``properties`` run on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


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
