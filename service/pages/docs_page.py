"""``/openapi.json``, ``/asyncapi.json``, and ``/docs``, which shows both and needs no network.

Swagger UI and the viewer of AsyncAPI come from Python packages and are served from here (docs/decisions). The page has
no inline script or style, so its policy allows none: only files of this service run, and only they are fetched.
"""

import asyncio
from collections.abc import Iterable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import msgspec
from aiohttp import web

from service.http.files import Files
from service.http.requests import JSON
from service.http.route import Route

# data: is for the small pictures in Swagger UI's stylesheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class DocsApi:
    """The handlers of the descriptions and of the page that shows them."""

    def __init__(self) -> None:
        self._files = Files(_files())
        self._routes: list[Route] = []
        self._authentication = False

    def describe(self, routes: Iterable[Route], authentication: bool) -> None:
        """Say what the descriptions are of, once all routes are known."""
        self._routes, self._authentication = list(routes), authentication

    async def openapi(self, request: web.Request) -> web.Response:
        """``GET /openapi.json``: the REST API described."""
        openapi, _ = await asyncio.to_thread(lambda: self._descriptions)
        return web.Response(body=openapi, headers={"Content-Type": JSON})

    async def asyncapi(self, request: web.Request) -> web.Response:
        """``GET /asyncapi.json``: the websocket described."""
        _, asyncapi = await asyncio.to_thread(lambda: self._descriptions)
        return web.Response(body=asyncapi, headers={"Content-Type": JSON})

    async def page(self, request: web.Request) -> web.Response:
        """``GET /docs``: both on a page."""
        return await self._files.answer(request, "index.html", {"Content-Security-Policy": POLICY})

    async def file(self, request: web.Request) -> web.Response:
        """``GET /docs/{file}``: what the page is made of."""
        return await self._files.answer(request, request.match_info["file"])

    @cached_property
    def _descriptions(self) -> tuple[bytes, bytes]:
        """Both as JSON, made when somebody asks first: it takes longer than the rest of a start."""
        from service.pages import asyncapi, openapi

        return (
            msgspec.json.encode(openapi.describe(self._routes, self._authentication)),
            msgspec.json.encode(asyncapi.describe()),
        )


def _files() -> dict[str, Path]:
    page, swagger, viewer = Path(__file__).parent / "docs", _package("offapi"), _package("asyncapi_viewer") / "static"
    return {
        "index.html": page / "index.html",
        "docs.css": page / "docs.css",
        "docs.js": page / "docs.js",
        "swagger-ui.css": swagger / "swagger_style.css",
        "swagger-ui.js": swagger / "swagger_bundle.js",
        "asyncapi-viewer.js": viewer / "asyncapi-viewer.iife.js",
    }


def _package(name: str) -> Path:
    """Where a package's files are. It is not imported: only its files are wanted."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
