"""The composition root: which part is built from which, opened in order, closed in reverse."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import structlog
from aiohttp import web
from msgspec import Struct

from events.copies import select_ancestors
from events.database import Reader, open_reader
from events.folder import DataFolder
from events.log import EventLog
from events.sqlite_log import SqliteLog
from projections.notes import NoteChange, Notes
from projections.past import Past
from projections.queries import Queries
from projections.runner import Runner
from projections.search import Search
from projections.tables import Tables
from projections.versions import Versions
from service.health import HealthApi
from service.http import requests
from service.http.freshness import Freshness, Patience
from service.http.gate import Gate
from service.http.middleware import outermost
from service.http.route import add_routes
from service.http.tracing import tracing
from service.live.feeds import EventsFeed, NotesFeed
from service.live.hub import Hub
from service.live.places import Places
from service.live.websocket import WebSocketApi
from service.metrics import Metrics, MetricsApi
from service.notes.command_loop import CommandLoop
from service.notes.rest import NotesApi
from service.pages.dashboard_page import DashboardPage
from service.pages.docs_page import DocsApi
from service.past.audit import AuditApi
from service.past.ledger_part import LedgerPart
from service.past.tlog import TlogApi
from service.routes import routes
from service.settings import Settings

# The notes gather what comes in this time after a page, unless somebody waits for them: a transaction for each commit
# of the log took a third of the CPU of a client that writes alone.
NOTES_LINGER_S = 0.01
# The full text follows in pages of this size, this far apart, unless somebody searches: an index costs less in bulk,
# and a page of it, at about 70 µs an event, must not keep the notes waiting for long.
SEARCH_LINGER_S = 0.25
SEARCH_PAGE_EVENTS = 250
# So do the versions, unless somebody asks for the past.
VERSIONS_LINGER_S = 0.25

# Where the log of the application is found.
LOG = web.AppKey("log", EventLog)

logger = structlog.get_logger(__name__)


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[web.Application]:
    """The whole service on one data folder, as an application. Raises ``FolderError``, ``WrongSetting``."""
    async with AsyncExitStack() as stack:
        gate = await Gate.of(settings)
        folder = DataFolder(settings.data)
        folder.lock()
        stack.callback(folder.unlock)
        ledger = LedgerPart(settings, folder)
        stack.push_async_callback(ledger.close)  # after the log: it notes where that ended
        log = await open_log(settings, folder)
        stack.push_async_callback(log.close)
        tables = await Tables.open(folder.notes)
        stack.push_async_callback(tables.close)
        logger.info("opened", data=str(folder.path), epoch=log.epoch, head=log.head, sqlite=sqlite3.sqlite_version)
        yield await _assemble(stack, _Opened(settings, gate, folder, log, tables, ledger))


class _Opened(Struct, frozen=True):
    """What is open before the rest is built on it."""

    settings: Settings
    gate: Gate
    folder: DataFolder
    log: EventLog
    tables: Tables
    ledger: LedgerPart


async def open_log(settings: Settings, folder: DataFolder) -> EventLog:
    """The engine that the settings ask for. Raises ``FolderError``, ``ClusterError``, ``WrongSetting``."""
    if settings.log == "sqlite":
        return await SqliteLog.open(folder.events)
    from service.cluster import open_distributed_log  # NATS is imported in this mode only

    return await open_distributed_log(settings, folder)


async def _assemble(stack: AsyncExitStack, opened: _Opened) -> web.Application:
    settings, gate, log, tables = opened.settings, opened.gate, opened.log, opened.tables
    traces = tracing(os.environ)
    stack.push_async_callback(traces.close)
    await stack.enter_async_context(_in_background(gate.keep_fresh()))
    reader = Reader(await open_reader(opened.folder.events))
    stack.push_async_callback(reader.close)
    await opened.ledger.open(log, await reader.read(select_ancestors), tables)
    await stack.enter_async_context(opened.ledger.running())
    metrics = Metrics()
    log.on_commit = metrics.committed
    queries = Queries(tables)
    watchers: list[NotesFeed] = []

    def announce(changes: list[NoteChange]) -> None:
        for feed in watchers:
            feed.watch(changes)

    build = partial(Runner, log, tables=tables, condemn=tables.condemn)
    notes = build(traces.projection(Notes()), announce=announce, linger_s=NOTES_LINGER_S)
    search = build(traces.projection(Search()), linger_s=SEARCH_LINGER_S, page_events=SEARCH_PAGE_EVENTS)
    versions = build(traces.projection(Versions()), linger_s=VERSIONS_LINGER_S)
    runners: list[Runner[Any]] = [notes, search, versions]
    for runner in runners:
        await stack.enter_async_context(_in_background(runner.run()))
    runners.append(opened.ledger.runner)
    await notes.begun()
    notes_feed = NotesFeed(queries, notes.checkpoint.value)
    watchers.append(notes_feed)
    hub = Hub(log, EventsFeed(log, log.head), notes_feed, metrics)
    await stack.enter_async_context(hub.running())
    patience = Patience()
    freshness = Freshness(log, notes.checkpoint, patience)
    loop = CommandLoop(traces.log(log), queries, freshness, settings.require_if_match)
    places = Places(settings.max_connections, settings.max_connections_per_address)
    websocket = WebSocketApi(log, hub, metrics, gate, places)
    await stack.enter_async_context(_in_background(websocket.keep_alive()))
    middleware = outermost(log, freshness, metrics, settings.access_log)
    app = web.Application(middlewares=[*traces.middlewares(), middleware], client_max_size=requests.BODY_BYTES_MAX)
    app[LOG] = log
    audit = AuditApi(log, Past(tables), Freshness(log, versions.checkpoint, patience), reader)
    search_freshness = Freshness(log, search.checkpoint, patience)
    notes_api = NotesApi(log, queries, freshness, search_freshness, loop, audit=audit)
    metrics_api = MetricsApi(metrics, log, runners, websocket.connections, opened.folder.files())
    docs = DocsApi()
    table = routes(
        notes=notes_api,
        audit=audit,
        tlog=TlogApi(log, opened.ledger, reader, patience),
        websocket=websocket,
        health=HealthApi(log, runners),
        metrics=metrics_api,
        docs=docs,
        dashboard=DashboardPage(),
    )
    docs.describe(table, settings.authentication)
    add_routes(app.router, table, gate.guard)
    gate.origins.allow_cors(app, list(app.router.routes()))

    async def stop(_: web.Application) -> None:
        patience.hurry()
        await websocket.close()

    app.on_shutdown.append(stop)
    return app


@asynccontextmanager
async def _in_background(work: Any) -> AsyncIterator[None]:
    """Run a coroutine for as long as the context is open. What it raises is logged, not swallowed."""
    task = asyncio.create_task(work)
    task.add_done_callback(_log_end)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background task failed", task=task.get_name(), exc_info=error)
