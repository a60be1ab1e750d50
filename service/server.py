"""Serve the application until a signal comes; then stop in order."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from service.app import service
from service.protocol import Runner
from service.settings import Settings, WrongSetting
from service.sockets import allow_descriptors

# Requests under way may end; with closing sockets before and flushing after, the whole stop stays under 10 s.
SHUTDOWN_S = 5.0
BACKLOG = 1024

logger = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT, then finish what is under way and return.

    Raises ``FolderError`` and ``WrongSetting`` before anything is served.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, stopping.set)
    _allow_descriptors(settings)
    async with serving(settings) as url:
        _collect_less()
        logger.info("listening", url=url)
        await stopping.wait()
        logger.info("stopping")
    logger.info("stopped")


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
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The service on its socket, at the URL that this yields; at the end it finishes what is under way, and closes.

    Raises ``FolderError`` and ``WrongSetting`` before anything is served.
    """
    async with service(settings) as app:
        runner = Runner(app, shutdown_timeout_s=SHUTDOWN_S)
        await runner.setup()
        try:
            yield await _listen(runner, settings)
        finally:
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
