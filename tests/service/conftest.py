"""A running service for every test that asks for one."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
def quiet(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged from now on."""
    caplog.set_level(logging.INFO)
    return caplog
