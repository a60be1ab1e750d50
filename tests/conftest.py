"""What all tests share: the engines of the log, and seeds that are printed so that a failure can be run again."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.engines import Engine, SqliteEngine

# A test may open files and sockets for each example; the time that takes says nothing about what it checks.
settings.register_profile(
    "notelog", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("notelog")


@pytest.fixture(params=["sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """A log under test, once for every engine; its folder is new."""
    return SqliteEngine(tmp_path)


@pytest.fixture
def dice() -> random.Random:
    """Random choices that can be made again: NOTELOG_SEED repeats them."""
    seed = int(os.environ.get("NOTELOG_SEED") or random.randrange(2**32))
    print(f"NOTELOG_SEED={seed}")
    return random.Random(seed)
