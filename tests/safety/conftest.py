"""What the tests of safety share: services, in this process and beside it, and who makes tokens."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.process import Server
from tests.safety.issuer import Issuer
from tests.service.running import Running


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """Who makes tokens, good and bad. Its RSA keys take a moment to make."""
    return Issuer()


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A service in this process, not started; stopped at the end."""
    running = Running(tmp_path / "data", monkeypatch)
    yield running
    await running.stop()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A service as a process of its own, not started; killed at the end."""
    async with Server(tmp_path / "data") as server:
        yield server
