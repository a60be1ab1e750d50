"""The one middleware: every error becomes a problem, every answer says which log it speaks of."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from events.log import EventLog
from service import problems
from service.freshness import Freshness

logger = structlog.get_logger(__name__)


def outermost(log: EventLog, freshness: Freshness) -> Middleware:
    """The middleware around every handler."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            response = _options(error) if request.method == "OPTIONS" else problems.of_http_error(error)
        except Exception as error:
            response = problems.of_error(error) or problems.internal()
            if response.status >= 500:
                _log_failure(request, response.status, error)
        if response.status not in (401, 403):
            response.headers.setdefault("Notelog-Epoch", log.epoch)
            response.headers.setdefault("Notelog-Position", str(freshness.checkpoint))
        return response

    return middleware


def _options(error: web.HTTPException) -> web.Response:
    """OPTIONS is no method of any handler, so the router refuses it, and its refusal says what is allowed."""
    response = problems.of_http_error(error)
    if "Allow" not in response.headers:
        return response
    return web.Response(status=204, headers={"Allow": response.headers["Allow"]})


def _log_failure(request: web.Request, status: int, error: Exception) -> None:
    logger.error(
        "request failed",
        method=request.method,
        path=request.path,
        status=status,
        error=str(error),
        exc_info=error if status == 500 else None,
    )
