"""How a Python contender serves: aiohttp on a free port, said in one line on stderr."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from aiohttp import web

KEEPALIVE_S = 15.0
BACKLOG = 1024


async def serve(app: web.Application) -> None:
    """Serves until SIGTERM or SIGINT; no request is logged."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=KEEPALIVE_S, auto_decompress=False, shutdown_timeout=1.0
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG)
    await site.start()
    host, port = runner.addresses[0]
    print(json.dumps({"event": "listening", "url": f"http://{host}:{port}"}), file=sys.stderr, flush=True)
    try:
        await stop.wait()
    finally:
        await runner.cleanup()
