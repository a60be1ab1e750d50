"""``/metrics``: what an operator watches, in Prometheus' text format.

What is counted on the way of every request or delivery costs one dictionary look-up and one observation; what can be
read off the parts (head, checkpoints, sizes) is read when somebody asks.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from events.log import EventLog
from projections.runner import Runner

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Bounds of the histograms, in seconds: a read from memory is 0.2 ms, a commit 1 to 20, a wait for tables up to 5 s.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The numbers of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._histogram(
            "requests_seconds", "Requests by what they asked and got", SECONDS, "method", "route", "status"
        )
        self._request_children: dict[tuple[web.AbstractRoute, int], Histogram] = {}
        self.appended = self._counter("appended_events", "Events appended by this process")
        self.batches = self._histogram("batch_events", "Events in one commit", EVENTS)
        self.commits = self._histogram("commit_seconds", "Commits of the log: one fsync each", SECONDS)
        self.deliveries = self._counter("deliveries", "Frames written to subscribers", "feed")
        self.delivered = self._counter("delivered_bytes", "Bytes written to subscribers", "feed")
        self.fell_behind = self._counter("fell_behind", "Subscribers that left the head for a while", "feed")
        self.closes = self._counter("websocket_closes", "Websockets that ended, by close code", "code")
        self._gauges = _Gauges(self.registry)

    def requested(self, request: web.Request, status: int, seconds: float) -> None:
        """Count a request."""
        route = request.match_info.route
        child = self._request_children.get((route, status))
        if child is None:
            # Methods and routes are ours, but for what no route takes: that is counted as one, and not kept.
            resource = route.resource
            child = self._requests.labels(
                route.method if resource else "", resource.canonical if resource else "", status
            )
            if resource:
                self._request_children[route, status] = child
        child.observe(seconds)

    def committed(self, events: int, commit_s: float) -> None:
        """Count a commit of the log."""
        self.appended.inc(events)
        self.batches.observe(events)
        self.commits.observe(commit_s)

    def delivered_to(self, feed: str, subscribers: int, frame_bytes: int) -> None:
        """Count a frame that was written to so many."""
        self.deliveries.labels(feed).inc(subscribers)
        self.delivered.labels(feed).inc(subscribers * frame_bytes)

    async def read_off(
        self, log: EventLog, runners: Sequence[Runner[Any]], connections: int, files: list[Path]
    ) -> bytes:
        """All numbers as text, those that the parts have at this moment included."""
        gauges = self._gauges
        gauges.head.set(log.head)
        gauges.queue.set(getattr(log, "queued_events", 0))
        gauges.connections.set(connections)
        for runner in runners:
            gauges.checkpoint.labels(runner.name).set(runner.checkpoint.value)
            gauges.lag.labels(runner.name).set(runner.lag)
            gauges.lag_seconds.labels(runner.name).set(await _lag_s(log, runner))
        for file in files:
            gauges.file_bytes.labels(file.name).set(file.stat().st_size if file.exists() else 0)
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"notelog_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, bounds: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"notelog_{name}", what, labels, buckets=bounds, registry=self.registry)


class _Gauges:
    """What is read off the parts when somebody asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"notelog_{name}", what, labels, registry=registry)

        self.head = gauge("head", "The last position of the log")
        self.queue = gauge("queued_events", "Events that wait for the writer")
        self.connections = gauge("websocket_connections", "Open websockets")
        self.checkpoint = gauge("projection_checkpoint", "The position up to which it was built", "projection")
        self.lag = gauge("projection_lag_events", "Events that it does not show yet", "projection")
        self.lag_seconds = gauge("projection_lag_seconds", "Age of the oldest event it does not show", "projection")
        self.file_bytes = gauge("file_bytes", "Sizes of the files and their write-ahead logs", "file")


async def _lag_s(log: EventLog, runner: Runner[Any]) -> float:
    """The age of the oldest event that the projection does not show; 0 when it shows all."""
    waiting = await log.read(runner.checkpoint.value, limit=1)
    return max(0.0, time.time() - waiting[0].at / 1e6) if waiting else 0.0


class MetricsApi:
    """The handler of ``/metrics``."""

    def __init__(
        self, metrics: Metrics, log: EventLog, runners: Sequence[Runner[Any]], connections: Any, files: list[Path]
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._runners = runners
        self._connections = connections
        self._files = files

    async def show(self, request: web.Request) -> web.Response:
        """``GET /metrics``: 200 with the numbers of now."""
        body = await self._metrics.read_off(self._log, self._runners, len(self._connections), self._files)
        return web.Response(body=body, headers={"Content-Type": MEDIA_TYPE})
