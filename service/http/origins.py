"""Which pages may ask through a browser: those of the service's own origin, and those that the operator names.

An origin (RFC 6454) is compared as a whole: scheme, host and port. A page that merely looks alike, or says ``null``, is
foreign. Programs send no Origin and are not held up: what they may do is for tokens to say.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import aiohttp_cors
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from service.errors import ForeignOrigin

ANY = "*"
# How long a browser may remember the answer to a preflight.
PREFLIGHT_MAX_AGE_S = 600
# What pages of other origins may read of an answer, beside what the Fetch standard lets everybody read.
EXPOSED_HEADERS = (
    "Allow",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Notelog-Epoch",
    "Notelog-Position",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
)

_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORT = {"http": "80", "https": "443"}


def parse_allowed(text: str) -> tuple[str, ...]:
    """The origins in a setting, separated by commas or white space. Raises ``ValueError`` for what is none."""
    names = tuple(name.lower() for name in re.split(r"[\s,]+", text) if name)
    for name in names:
        if name != ANY and not _ORIGIN.fullmatch(name):
            raise ValueError(f"expected origins such as https://notes.example, got {name[:100]!r}")
    return names


class Origins:
    """Tells the origins that may ask from those that may not."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed)

    def require_allowed(self, request: web.Request) -> None:
        """Raises ``ForeignOrigin`` when a page asks that may not."""
        origins = request.headers.getall(hdrs.ORIGIN, ())
        if origins and not (len(origins) == 1 and self._allows(origins[0], request)):
            raise ForeignOrigin

    def _allows(self, origin: str, request: web.Request) -> bool:
        return ANY in self._allowed or origin in self._allowed or _is_own(origin, request.headers.get(hdrs.HOST, ""))

    def allow_cors(self, app: web.Application, routes: Iterable[web.AbstractRoute]) -> None:
        """Let pages of the allowed origins read the answers of these routes (the Fetch standard, CORS)."""
        if not self._allowed:
            return
        options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
            expose_headers=EXPOSED_HEADERS, allow_headers="*", max_age=PREFLIGHT_MAX_AGE_S
        )
        cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(self._allowed, options))
        for route in routes:
            cors.add(route)
        app.middlewares.append(_plain_options)
        app.on_response_prepare.append(_vary_by_origin)


def _is_own(origin: str, host: str) -> bool:
    """Whether the page came from where it asks. Behind a proxy we do not see its scheme: the host and port decide."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return False
    scheme, name, port = found.groups()
    default = _DEFAULT_PORT[scheme]
    try:
        asked = urlsplit(f"{scheme}://{host.lower()}")
        return (name, port or default) == (_bracketed(asked.hostname or ""), str(asked.port or default))
    except ValueError:
        return False


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


@web.middleware
async def _plain_options(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An OPTIONS that is no preflight asks what is allowed; aiohttp-cors would refuse it."""
    if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
        resource = request.match_info.route.resource
        if resource is not None:
            allowed = {route.method for route in resource}
            raise web.HTTPMethodNotAllowed(request.method, allowed)  # answered as where no origin may ask
    return await handler(request)


async def _vary_by_origin(request: web.Request, response: web.StreamResponse) -> None:
    """A cache must not show the answer for one origin to another."""
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
