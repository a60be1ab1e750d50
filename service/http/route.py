"""What a route is: who serves it, and all that a client may send there and be answered.

One table of routes (``routes``) makes both the router and the description at ``/openapi.json``: what is served and what
is described cannot differ without a test failing.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from msgspec import Struct

from service.http.requests import JSON
from service.http.scopes import Scope
from service.problems import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOG_HEADERS = ("Notelog-Epoch", "Notelog-Position")
"""On every answer that speaks of the log: which log, and which position it shows."""


class Answer(Struct, frozen=True):
    """A good answer. ``content``: media type → the type of the body; none: no body. ``headers``: names."""

    summary: str
    content: Mapping[str, Any] = {}
    headers: tuple[str, ...] = LOG_HEADERS


class Route(Struct, frozen=True):
    """One method on one path.

    ``scope``: what a token must allow; None: open to all. ``answers``: by status. ``problems``: what can go wrong here
    (what can go wrong everywhere, or for want of a scope, need not be named). ``query``: the Struct that the query
    parameters must fit. ``headers``: those of the request that are read. ``body``: the Struct that the body must fit.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: Scope | None
    answers: Mapping[int, Answer]
    problems: tuple[Problem, ...] = ()
    query: type[Struct] | None = None
    headers: tuple[str, ...] = ()
    body: type[Struct] | None = None
    body_media_types: tuple[str, ...] = (JSON,)


def add_routes(router: web.UrlDispatcher, routes: Iterable[Route], guard: Callable[[Route], Handler]) -> None:
    """Serve the routes, each behind its guard. A GET serves HEAD too, but for the websocket."""
    for route in routes:
        handler = guard(route)
        if route.method == "GET":
            router.add_get(route.path, handler, allow_head=101 not in route.answers)
        else:
            router.add_route(route.method, route.path, handler)
