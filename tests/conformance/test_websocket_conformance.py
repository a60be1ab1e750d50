"""The websocket protocol (RFC 6455) as kosoku tries it: the cases of the Autobahn test suite."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import kosoku
import pytest
from aiohttp import web

from service.live.connection import Connection, new_response

# Left out: what is ours to refuse (binary frames, messages over 64 KiB, compression), and one case that is of aiohttp's
# making: 7.9.5 sends the close code 1006, which may not be sent, and aiohttp's parser answers it like a good one.
NOT_OURS = ["1.2.*", "9.*", "10.*", "12.*", "13.*", "7.9.5"]


class Echo(Connection):
    """The service's connection with its reading, pinging, writing and closing; but it sends back what it gets."""

    async def greet(self) -> None:
        """The cases expect nothing before their own frames."""

    async def receive(self, text: str) -> None:
        while not self.write(text.encode()):
            await self.drained()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Where the echoing connection is served."""

    async def connect(request: web.Request) -> web.StreamResponse:
        response = new_response()
        await response.prepare(request)
        await Echo(response, request).serve()
        return response

    app = web.Application()
    app.router.add_get("/", connect)
    runner = web.AppRunner(app, access_log=None)
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"


async def test_kosoku_finds_nothing_of_our_making(address: str) -> None:
    """Framing, fragmentation, pings, UTF-8, reserved bits and closing are as the protocol says."""
    await kosoku.run_fuzzingclient(f"ws://{address}", exclude_cases=NOT_OURS, concurrency=4)
