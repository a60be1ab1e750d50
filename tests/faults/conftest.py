"""Sizes, seeds and folders of the fault tests. NOTELOG_FAULTS=long runs the long form."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .process import Server

LONG = os.environ.get("NOTELOG_FAULTS") == "long"


@pytest.fixture
def seed() -> int:
    """What all the random choices of a test come from; NOTELOG_FAULTS_SEED repeats it (its timing it cannot)."""
    value = int(os.environ.get("NOTELOG_FAULTS_SEED") or random.randrange(2**32))
    print(f"NOTELOG_FAULTS_SEED={value}")
    return value


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A service on an empty folder, not started yet; killed at the end."""
    async with Server(tmp_path / "data") as server:
        yield server
