"""``/healthz`` and ``/readyz``: whether the process lives, and whether it can be relied on."""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from events.log import EventLog
from projections.runner import Runner, State

# A projection this far behind shows the past, not the present; under full load it lags a few hundred.
LAG_EVENTS_MAX = 10_000


class HealthApi:
    """The handlers that tell how the service is."""

    def __init__(self, log: EventLog, runners: Sequence[Runner[Any]]) -> None:
        self._log = log
        self._runners = runners

    async def alive(self, request: web.Request) -> web.Response:
        """``GET /healthz``: 200 while the process lives."""
        return _json(200, {"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """``GET /readyz``: 503 when a projection stands still or is too far behind, or the log takes no writes."""
        fault = self._log.fault
        good = fault is None and all(_is_good(runner) for runner in self._runners)
        report = {
            "status": "ready" if good else "not ready",
            "epoch": self._log.epoch,
            "head": self._log.head,
            "log": {"state": "running" if fault is None else "read_only", "error": fault},
            "projections": {runner.name: _projection(runner) for runner in self._runners},
        }
        return _json(200 if good else 503, report)


def _is_good(runner: Runner[Any]) -> bool:
    return runner.state is State.RUNNING and runner.lag <= LAG_EVENTS_MAX


def _projection(runner: Runner[Any]) -> dict[str, Any]:
    return {
        "checkpoint": runner.checkpoint.value,
        "lag": runner.lag,
        "state": runner.state,
        "error": runner.error,
    }


def _json(status: int, value: dict[str, Any]) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(status=status, body=msgspec.json.encode(value), headers=headers)
