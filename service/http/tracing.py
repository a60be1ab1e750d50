"""Traces for OpenTelemetry, where they are asked for: of each request, each append, each page of a projection.

Asked for is by ``OTEL_EXPORTER_OTLP_ENDPOINT``. Without it nothing of OpenTelemetry is imported, and nothing stands
between a request and its handler. A request's span goes on with the trace that its ``traceparent`` names, and so does
the append in it. A projection works on what many requests have left: its span has links to them.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from events.log import Appended, EventLog
from events.record import NewEvent, RecordedEvent
from projections.projection import Change, Projection
from service.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Tracer

ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# The last spans have so long to leave: the whole stop of the service has 10 s.
CLOSE_S = 2.0
# What a page of a projection names of the requests before it: as much as OpenTelemetry keeps of a span by default.
LINKS_MAX = 128

logger = structlog.get_logger(__name__)


class Untraced:
    """No traces: every part of the service as it is."""

    def middlewares(self) -> list[Middleware]:
        """What goes around all others."""
        return []

    def log(self, log: EventLog) -> EventLog:
        """The log, for whoever appends to it."""
        return log

    def projection(self, projection: Projection[Change]) -> Projection[Change]:
        """A projection, for its runner."""
        return projection

    async def close(self) -> None:
        """Send what was not sent yet; what is not taken within ``CLOSE_S`` is lost."""


def tracing(environment: Mapping[str, str]) -> Untraced:
    """Traces, if the environment asks for them. OpenTelemetry reads its other variables by itself."""
    if not any(environment.get(name) for name in ASKED_BY) or environment.get("OTEL_SDK_DISABLED") == "true":
        return Untraced()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        logger.warning("nothing is traced: pip install 'notelog[otel]'", asked_by=ASKED_BY[0], missing=error.name)
        return Untraced()
    ours = {"service.name": environment.get("OTEL_SERVICE_NAME", "notelog"), "service.version": VERSION}
    provider = TracerProvider(resource=Resource.create(ours), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traced(provider)


class Traced(Untraced):
    """Spans of a provider around what is worth one."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("notelog", VERSION)

    def middlewares(self) -> list[Middleware]:
        return [_span_of_request(self._tracer)]

    def log(self, log: EventLog) -> EventLog:
        return cast(EventLog, _TracedLog(log, self._tracer))

    def projection(self, projection: Projection[Change]) -> Projection[Change]:
        return cast("Projection[Change]", _TracedProjection(projection, self._tracer))

    async def close(self) -> None:
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)  # it has no time-out of its own
        thread.start()
        await asyncio.to_thread(thread.join, CLOSE_S)


def _span_of_request(tracer: "Tracer") -> Middleware:
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind, StatusCode

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if hdrs.UPGRADE in request.headers:
            return await handler(request)  # a websocket is no request: it may last for days
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        known = {"http.request.method": request.method, "http.route": route, "url.path": request.path}
        with tracer.start_as_current_span(
            f"{request.method} {route}", extract(request.headers), SpanKind.SERVER, known
        ) as span:
            response = await handler(request)
            span.set_attribute("http.response.status_code", response.status)
            span.set_attribute("notelog.request_id", response.headers.get("X-Request-Id", ""))
            if response.status >= 500:
                span.set_status(StatusCode.ERROR)
            return response

    return middleware


class _Stand:
    """Stands before a part of the service, and is that part but for one method."""

    def __init__(self, part: Any, tracer: "Tracer") -> None:
        self._part, self._tracer = part, tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


class _TracedLog(_Stand):
    async def append(self, event: NewEvent, expected: int) -> Appended:
        with self._tracer.start_as_current_span(f"append {event.type}") as span:
            appended: Appended = await self._part.append(event, expected)
            span.set_attribute("notelog.position", appended.record.position)
            span.set_attribute("notelog.repeated", appended.repeated)
            return appended


class _TracedProjection(_Stand):
    def apply(self, connection: sqlite3.Connection, records: list[RecordedEvent]) -> list[Any]:
        known = {"notelog.events": len(records), "notelog.position": records[-1].position}
        with self._tracer.start_as_current_span(f"project {self._part.name}", attributes=known, links=_links(records)):
            changes: list[Any] = self._part.apply(connection, records)
            return changes


def _links(records: Iterable[RecordedEvent]) -> "list[Link]":
    """To the requests that have appended the records, where they said of which trace they were."""
    from opentelemetry.propagate import extract
    from opentelemetry.trace import Link, get_current_span

    links: list[Link] = []
    for record in records:
        if "traceparent" in record.meta and len(links) < LINKS_MAX:
            with suppress(msgspec.DecodeError):
                context = get_current_span(extract(msgspec.json.decode(record.meta, type=dict[str, str])))
                links.append(Link(context.get_span_context()))
    return links
