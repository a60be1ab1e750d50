"""A service, a proxy in front of it that can cut, and a client that knows only the proxy."""

from collections.abc import AsyncIterator

import pytest

from service.client import Client
from tests.client.cutter import Cutter
from tests.service.conftest import notelog, stopped
from tests.service.running import Running

__all__ = ["notelog", "stopped"]


@pytest.fixture
async def cutter(stopped: Running) -> AsyncIterator[Cutter]:
    """The proxy; it follows the service to whatever port its next start takes."""
    async with Cutter(lambda: stopped.url) as cutter:
        yield cutter


@pytest.fixture
async def client(notelog: Running, cutter: Cutter) -> AsyncIterator[Client]:
    """A client of a service on an empty folder."""
    async with Client(cutter.url) as client:
        yield client
