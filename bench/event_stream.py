"""Who reads the stream of all events, `GET /events`: once, as fast as it comes, or again and again beside others."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from bench.client import connect
from bench.command import Turn
from bench.server import MIB, Server

CHUNK_BYTES = 1024 * 1024


def streamed(server: Server, events: int) -> Turn:
    """The whole stream, read once; raises when lines are missing."""
    began = time.perf_counter()
    lines = read_stream(server, threading.Event())
    taken_s = time.perf_counter() - began
    if lines < events:
        raise server.failed(f"expected {events} lines, got {lines}")
    return Turn(lines, taken_s, server.memory_bytes() / MIB)


@contextmanager
def streaming(server: Server) -> Iterator[None]:
    """Somebody streams while this lasts; raises in the end when that failed, or when nothing came."""
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        lines = pool.submit(again_and_again, server, stopped)
        try:
            yield
        finally:
            stopped.set()
    if not lines.result():
        raise server.failed("expected a stream of events beside the load, got no line")


def again_and_again(server: Server, stopped: threading.Event) -> int:
    """Streams until it is stopped; the number of lines."""
    lines = 0
    while not stopped.is_set():
        lines += read_stream(server, stopped)
    return lines


def read_stream(server: Server, stopped: threading.Event) -> int:
    """Reads the stream to its end, or until it is stopped; the number of lines."""
    lines = 0
    with closing(connect(server)) as connection:
        connection.request("GET", "/events", headers={"Accept": "application/x-ndjson"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise server.failed(f"GET /events: expected 200, got {response.status} {response.read()[:500]!r}")
        while not stopped.is_set() and (chunk := response.read1(CHUNK_BYTES)):
            lines += chunk.count(b"\n")
    return lines
