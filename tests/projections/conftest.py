"""A log, and the file of the tables beside it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.sqlite_log import SqliteLog
from projections.tables import Tables


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    """A new, empty log; closed at the end."""
    log = await SqliteLog.open(tmp_path / "events.db")
    yield log
    await log.close()


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[Tables]:
    """New, empty tables; closed at the end."""
    tables = await Tables.open(tmp_path / "notes.db")
    yield tables
    await tables.close()
