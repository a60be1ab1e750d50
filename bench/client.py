"""A client for single requests: to seed, to look, and to capture an answer."""

from __future__ import annotations

import http.client
from contextlib import closing

from msgspec import Struct

from bench.load import ANSWER_S_MAX, Request
from bench.server import Server

AIOHTTPS_OWN = ("date", "server", "content-length", "connection")  # which the bare handler gets too


class Answer(Struct, frozen=True):
    """Status, headers (without those that aiohttp writes itself) and body."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(server: Server, request: Request, number: int = 1) -> Answer:
    """One request with its answer; raises when it is no success."""
    with closing(connect(server)) as connection:
        return ask_on(connection, server, request, number)


def connect(server: Server, answer_s_max: float = ANSWER_S_MAX) -> http.client.HTTPConnection:
    """A connection that is kept for several requests."""
    return http.client.HTTPConnection(server.host, server.port, timeout=answer_s_max)


def ask_on(connection: http.client.HTTPConnection, server: Server, request: Request, number: int) -> Answer:
    """The same on a connection that stays open; `number` stands for each %d."""
    path, body = fill(request.path, number), fill(request.body, number)
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request(request.method, path, body or None, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status >= 300:
        raise server.failed(f"{request.method} {path}: expected a success, got {response.status} {content[:500]!r}")
    kept = {name: value for name, value in response.headers.items() if name.lower() not in AIOHTTPS_OWN}
    return Answer(response.status, kept, content)


def fill(template: str, number: int) -> str:
    """The template with the number for its one %d, of whatever width."""
    return template % number if "%" in template else template
