"""Serve the application until a signal comes; then stop in order."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from events.errors import FolderError
from service.app import LOG, service
from service.http.protocol import Runner
from service.http.sockets import allow_descriptors
from service.settings import Settings, WrongSetting

# Requests under way may end. aiohttp waits so long twice: for the end, then for that of what it has cancelled. With the
# goodbyes to websockets before (4 s) and traces after (2 s) the whole stop stays under 10 s.
SHUTDOWN_S = 1.9
# Connections that wait to be accepted. When all clients of a service that was away come back at once, one that finds no
# room here believes to be connected, and is cut off half a minute later. Linux allows 4,096 (net.core.somaxconn).
BACKLOG = 4096

logger = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT, then finish what is under way and return.

    Raises ``FolderError``, ``ClusterError`` and ``WrongSetting`` before anything is served, and ``FolderError`` after
    an orderly stop when the log turned out to be broken.
    """
    stop = _Stop()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, stop.ask)
    _allow_descriptors(settings)
    try:
        async with serving(settings, stop.ask) as url:
            stop.begin()
            _collect_less()
            logger.info("listening", url=url)
            await stop.asked.wait()
            logger.info("stopping")
    except asyncio.CancelledError:
        if not stop.asked.is_set():
            raise
    logger.info("stopped")
    if stop.reason is not None:
        raise stop.reason


class _Stop:
    """Whether the service was asked to stop. One that has not begun is cancelled: a node may wait long for its log."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.reason: FolderError | None = None
        self._beginning = asyncio.current_task()

    def ask(self, reason: FolderError | None = None) -> None:
        """Stop. ``reason``: what has happened to the log."""
        self.reason = self.reason or reason
        if self._beginning is not None and not self.asked.is_set():
            self._beginning.cancel()
        self.asked.set()

    def begin(self) -> None:
        """It serves: from now on it stops in order."""
        self._beginning = None


def _collect_less() -> None:
    """Let the garbage collector look less often, and never at what was there before the first request.

    A request leaves few cycles; measured, the default thresholds cost 13 to 18 % of a POST's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _allow_descriptors(settings: Settings) -> None:
    descriptors = allow_descriptors(settings.max_connections)
    if descriptors < settings.max_connections:
        logger.warning(
            "fewer connections are possible than NOTELOG_MAX_CONNECTIONS: raise the limit of open files",
            open_files_max=descriptors,
            max_connections=settings.max_connections,
        )


@asynccontextmanager
async def serving(
    settings: Settings, on_broken: Callable[[FolderError], None] = lambda reason: None
) -> AsyncIterator[str]:
    """The service on its socket, at the URL that this yields; at the end it finishes what is under way, and closes.

    ``on_broken`` is called when the log can never be used again.
    Raises ``FolderError``, ``ClusterError`` and ``WrongSetting`` before anything is served.
    """
    async with service(settings) as app:
        runner = Runner(app, shutdown_timeout_s=SHUTDOWN_S)
        await runner.setup()
        watch = asyncio.create_task(app[LOG].broken())
        watch.add_done_callback(lambda task: None if task.cancelled() else on_broken(task.result()))
        try:
            yield await _listen(runner, settings)
        finally:
            watch.cancel()
            await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> str:
    site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise WrongSetting(f"--host {settings.host} --port {settings.port}: {error.strerror or error}") from None
    port = runner.addresses[0][1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"
