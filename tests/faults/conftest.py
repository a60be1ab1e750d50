"""Seeds and folders of the fault tests. How much of each fault: tests/sizes.py."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sizes import LONG, SIZE

from .process import Server

__all__ = ["LONG"]  # for the tests of the cluster


@pytest.fixture
def seed() -> int:
    """What all the random choices of a test come from; NOTELOG_FAULTS_SEED repeats it (its timing it cannot)."""
    value = int(os.environ.get("NOTELOG_FAULTS_SEED") or random.randrange(2**32))
    print(f"NOTELOG_FAULTS={SIZE} NOTELOG_FAULTS_SEED={value}")
    return value


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A service on an empty folder, not started yet; killed at the end."""
    async with Server(tmp_path / "data") as server:
        yield server
