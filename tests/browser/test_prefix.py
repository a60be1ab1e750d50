"""The dashboard behind a reverse proxy that serves it under a path of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.faults.process import Server

from .pages import Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")

PREFIX = "/team/notes"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding"}


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(service: Server) -> AsyncIterator[str]:
    """A reverse proxy that takes the prefix off and leaves Host as it came; its address, with the prefix."""

    async def forward(request: web.Request) -> web.StreamResponse:
        url = service.url + request.path_qs.removeprefix(PREFIX)
        if request.headers.get("Upgrade") == "websocket":
            return await _join(request, service, url)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        async with service.session.request(request.method, url, headers=headers, data=await request.read()) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    app = web.Application()
    app.router.add_route("*", PREFIX + "/{rest:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}{PREFIX}"
    await runner.cleanup()


async def _join(request: web.Request, service: Server, url: str) -> web.WebSocketResponse:
    near = web.WebSocketResponse(protocols=["notelog.v1"])
    await near.prepare(request)
    headers = {name: request.headers[name] for name in ("Host", "Origin")}
    async with service.session.ws_connect(url, protocols=["notelog.v1"], headers=headers) as far:
        ways = [asyncio.create_task(_pass_on(near, far)), asyncio.create_task(_pass_on(far, near))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
    return near


async def _pass_on(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        await target.send_str(message.data)


async def test_under_a_prefix_everything_works(proxy: str, pages: Pages) -> None:
    """Files, requests and websocket all stay below the prefix: a note is written, shown live, and its past read."""
    dashboard = await pages.open()
    asked: list[str] = []
    dashboard.page.on("request", lambda request: asked.append(request.url))
    await dashboard.page.goto(proxy + "/")
    await dashboard.sees_state("live")
    await dashboard.write("Written behind a proxy")
    await dashboard.has_titles("Written behind a proxy")
    await dashboard.panel.get_by_role("tab", name="History").click()
    await dashboard.sees(dashboard.panel.locator(".history li"))
    assert [url for url in asked if not url.startswith((proxy, "data:"))] == []
