"""A running service for the tests that ask for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.running import Running


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A service in this process on a new folder, not started; stopped at the end."""
    running = Running(tmp_path / "data", monkeypatch)
    yield running
    await running.stop()
