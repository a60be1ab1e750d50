"""Who comes in, and for what: the one place where origin, rate, token and scope of a request are checked.

A route's handler is wrapped once, at the start, in what the settings ask for. Where they ask for nothing, a route that
reads is served by its handler as it is, and one that changes something costs a look at the Origin more.
"""

from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from service.errors import Forbidden, Unauthorized
from service.http.origins import Origins
from service.http.requests import SUBJECT
from service.http.route import Handler, Route
from service.http.scopes import Scope
from service.settings import Settings

if TYPE_CHECKING:
    from service.http.auth import Authenticator, Identity
    from service.http.rate_limits import RateLimit

AUDIT_READ: Scope = "audit:read"
# Where these are asked for, a note or a list is shown as it was.
PAST_PARAMETERS = ("as_of", "version")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Gate:
    """The checks before the handlers. ``authenticator`` None: nobody is asked for a token. ``rate`` None: no limit."""

    def __init__(self, origins: Origins, authenticator: "Authenticator | None", rate: "RateLimit | None") -> None:
        self.origins = origins
        self.authenticator = authenticator
        self._rate = rate

    @classmethod
    async def of(cls, settings: Settings) -> "Gate":
        """The gate that the settings ask for. Raises ``WrongSetting`` when the keys cannot be read.

        Imported late: what signs and counts takes a quarter of a second to load, and most starts need none of it.
        """
        authenticator = rate = None
        if settings.authentication:
            from service.http.auth import authenticator_of

            authenticator = await authenticator_of(settings)
        if settings.rate_limit is not None:
            from service.http.rate_limits import RateLimit, parse_rate

            rate = RateLimit(parse_rate(settings.rate_limit))
        return cls(Origins(settings.allowed_origins), authenticator, rate)

    async def keep_fresh(self) -> None:
        """Follow changes of the keys, until cancelled."""
        if self.authenticator is not None:
            await self.authenticator.keep_fresh()

    def guard(self, route: Route) -> Handler:
        """The route's handler behind what a request must pass first."""
        handler = route.handler
        if route.scope is not None and (self.authenticator is not None or self._rate is not None):
            handler = self._admitting(handler, route.scope)
        if route.method not in SAFE_METHODS:
            handler = self._of_allowed_origin(handler)
        return handler

    async def admit_socket(self, request: web.Request) -> "Identity | None":
        """Check what a websocket's request says; None when it shows no token. Raises ``Refused``. Cancel: safe."""
        self.origins.require_allowed(request)
        if hdrs.AUTHORIZATION in request.headers:
            return await self._identify(request)
        self._count(request)
        return None

    def _of_allowed_origin(self, handler: Handler) -> Handler:
        """A page of a foreign origin can send some changes without asking: a form, or a body without a type."""

        async def checked(request: web.Request) -> web.StreamResponse:
            if hdrs.ORIGIN in request.headers:
                self.origins.require_allowed(request)
            return await handler(request)

        return checked

    def _admitting(self, handler: Handler, scope: Scope) -> Handler:
        async def admitted(request: web.Request) -> web.StreamResponse:
            if (identity := await self._identify(request)) is not None:
                _require_scopes(identity, request, scope)
                request[SUBJECT] = identity.subject
            return await handler(request)

        return admitted

    async def _identify(self, request: web.Request) -> "Identity | None":
        """Who asks, counted against the limit: by subject, or by address where there is no good token."""
        if self.authenticator is None:
            self._count(request)
            return None
        try:
            identity = await self.authenticator.identify(bearer_token(request))
        except Unauthorized:
            self._count(request)
            raise
        self._count(request, identity)
        return identity

    def _count(self, request: web.Request, identity: "Identity | None" = None) -> None:
        if self._rate is not None:
            self._rate.take(request.remote, None if identity is None else identity.subject)


def bearer_token(request: web.Request) -> str:
    """The token of the request (RFC 6750 §2.1; never from the URL). Raises ``Unauthorized``."""
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if not given:
        raise Unauthorized
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("expected Authorization: Bearer and one token")
    return token.strip()


def _require_scopes(identity: "Identity", request: web.Request, scope: Scope) -> None:
    needed = {scope}
    if request.query_string and any(name in request.query for name in PAST_PARAMETERS):
        needed.add(AUDIT_READ)
    if not identity.allows(*needed):
        raise Forbidden(*sorted(needed))
