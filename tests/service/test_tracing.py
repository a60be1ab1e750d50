"""Traces for OpenTelemetry: what a collector is told, and that nobody pays who has not asked."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.http.tracing import ASKED_BY, Untraced, tracing
from tests.faults.process import REPOSITORY, Server, until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
TOLD_WITHIN_S = 20.0


@asynccontextmanager
async def collector(answers: Any) -> AsyncIterator[dict[str, str]]:
    """A collector of traces on loopback; yields the settings that make a service use it."""
    application = web.Application()
    application.router.add_post("/v1/traces", answers)
    async with TestServer(application, shutdown_timeout=0) as server:
        yield {ASKED_BY[0]: str(server.make_url("/")), "OTEL_BSP_SCHEDULE_DELAY": "50", "NO_PROXY": "127.0.0.1"}


async def test_a_request_is_followed_to_the_tables(tmp_path: Path) -> None:
    """A request's span goes on with the trace of its traceparent; the append is a part of it; the page of each
    projection has a link to it. A websocket has none."""
    spans: dict[str, Any] = {}

    async def take(request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await request.read())
        (resource,) = told.resource_spans
        assert "notelog" in str(resource.resource)
        spans.update({span.name: span for scope in resource.scope_spans for span in scope.spans})
        return web.Response()

    async with collector(take) as settings, Server(tmp_path / "data", environment=settings) as server:
        await server.start()
        async with server.session.ws_connect(server.url + "/ws") as socket:
            await socket.receive_json(timeout=TOLD_WITHIN_S)
        headers = {"traceparent": TRACEPARENT, "X-Request-Id": "mine"}
        async with server.session.post(server.url + "/notes?", json={"title": "Milk"}, headers=headers) as answer:
            assert answer.status == 201
        await server.read("/notes/9")
        expected = {"POST /notes", "append NoteCreated", "project notes", "project versions", "GET /notes/{id}"}
        await until(lambda: expected <= spans.keys(), TOLD_WITHIN_S, f"{expected} were told")
        assert await server.stop() == 0
    request, append = spans["POST /notes"], spans["append NoteCreated"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, SPAN)
    assert (append.trace_id, append.parent_span_id) == (request.trace_id, request.span_id)
    known = {each.key: each.value for each in request.attributes}
    assert known["http.response.status_code"].int_value == 201
    assert known["notelog.request_id"].string_value == "mine"
    for name in ("project notes", "project versions"):
        assert [(link.trace_id.hex(), link.span_id.hex()) for link in spans[name].links] == [(TRACE, SPAN)]
    assert not [name for name in spans if "/ws" in name]


async def test_a_collector_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """With a collector that takes spans and never answers, requests are answered and the service stops in time."""

    async def hang(request: web.Request) -> web.Response:
        await request.read()
        assert request.transport is not None
        while not request.transport.is_closing():
            await until(request.transport.is_closing, 60.0, "the service lets go")
        return web.Response()

    async with collector(hang) as settings, Server(tmp_path / "data", environment=settings) as server:
        await server.start()
        for _ in range(3):
            assert (await server.read("/notes"))[0] == 200
        assert await server.stop() == 0


def test_who_has_not_asked_pays_nothing(tmp_path: Path) -> None:
    """A service without the setting has imported nothing of OpenTelemetry and has no middleware more."""
    script = """if True:
        import asyncio, sys
        from pathlib import Path
        from service.server import serving
        from service.settings import Settings

        async def main():
            async with serving(Settings(data=Path(sys.argv[1]), port=0)):
                print([name for name in sys.modules if name.partition(".")[0] == "opentelemetry"])

        asyncio.run(main())
    """
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        cwd=REPOSITORY, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1] == "[]"
    assert tracing({}).middlewares() == []


def test_without_the_packages_the_service_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for traces without OpenTelemetry installed, the service says what to install, and goes on."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    assert type(tracing({ASKED_BY[0]: "http://127.0.0.1:4318"})) is Untraced
    printed = capsys.readouterr()
    assert "notelog[otel]" in printed.out + printed.err
