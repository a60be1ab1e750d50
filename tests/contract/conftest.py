"""The log under test, open."""

from collections.abc import AsyncIterator

import pytest

from events.store import EventStore
from tests.engines import Engine


@pytest.fixture
async def log(engine: Engine) -> AsyncIterator[EventStore]:
    """A new, empty log; closed at the end."""
    async with engine.opened() as log:
        yield log
