"""Who is at the other end of a websocket, what it may follow, and until when."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from service.errors import KeysUnavailable, Unauthorized
from service.http.scopes import Scope
from service.live.close_codes import BAD_TOKEN, INTERNAL_ERROR, NO_AUTH_IN_TIME, NOT_ALLOWED, CloseCode

if TYPE_CHECKING:
    from service.http.auth import Authenticator, Identity

# How long a connection may be open without having shown a token.
AUTH_TIMEOUT_S = 10.0
FEED_SCOPE: dict[str, Scope] = {"events": "audit:read", "notes": "notes:read"}

Ending = tuple[CloseCode, str]
"""Why the connection must be closed."""


class SocketAuth:
    """The token of one connection. There is one of these only where tokens are asked for."""

    def __init__(self, authenticator: "Authenticator", identity: "Identity | None") -> None:
        self._authenticator = authenticator
        self._identity: Identity | None = None
        self._show_by = time.monotonic() + AUTH_TIMEOUT_S
        self._ends_at = float("inf")
        if identity is not None:
            self._take(identity)

    @property
    def missing(self) -> bool:
        """Whether no good token was shown yet."""
        return self._identity is None

    def allows(self, feed: str) -> bool:
        """Whether the token allows the feed."""
        return self._identity is not None and self._identity.allows(FEED_SCOPE[feed])

    async def show(self, token: str, followed: Iterable[str]) -> Ending | None:
        """Take a token, the first or a new one; what comes back is why the connection ends. Cancel: safe.

        A new one must be of the same subject and allow the feeds that are followed: it is renewed, not changed.
        """
        try:
            identity = await self._authenticator.identify(token)
        except Unauthorized as error:
            return BAD_TOKEN, str(error)
        except KeysUnavailable as error:
            return INTERNAL_ERROR, str(error)
        if self._identity is not None and self._identity.subject != identity.subject:
            return NOT_ALLOWED, "the new token is of another subject"
        if not identity.allows(*(FEED_SCOPE[feed] for feed in followed)):
            return NOT_ALLOWED, "the new token does not allow what is followed"
        self._take(identity)
        return None

    def ending(self) -> Ending | None:
        """Why the connection must end now, if it must."""
        if self._identity is None and time.monotonic() > self._show_by:
            return NO_AUTH_IN_TIME, "no token came in time"
        if time.time() >= self._ends_at:
            return BAD_TOKEN, "the token has expired"
        return None

    def _take(self, identity: "Identity") -> None:
        """The connection ends when the token does."""
        self._identity = identity
        self._ends_at = identity.expires_at
