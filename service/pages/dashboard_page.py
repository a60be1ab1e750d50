"""``/``: the dashboard, and the files that it is made of. They are open: the page itself asks for a token.

The policy lets the page run, show and fetch only what this service serves, and be shown in no other page: whatever
somebody writes into a note, it cannot become a script, and a token that the page holds cannot be sent elsewhere.
"""

from pathlib import Path

from aiohttp import web

from service.http.files import Files

FOLDER = Path(__file__).parent / "dashboard"
PAGE = "index.html"
ICON = "favicon.svg"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


class DashboardPage:
    """The handlers of the dashboard's files."""

    def __init__(self) -> None:
        self._files = Files({path.name: path for path in FOLDER.iterdir() if path.is_file()})

    async def page(self, request: web.Request) -> web.Response:
        """``GET /``: the page."""
        return await self._files.answer(request, PAGE, PAGE_HEADERS)

    async def file(self, request: web.Request) -> web.Response:
        """``GET /dashboard/{file}``: what the page is made of; only what stood in its folder at the start."""
        return await self._files.answer(request, request.match_info["file"], {"Content-Security-Policy": POLICY})

    async def icon(self, request: web.Request) -> web.Response:
        """``GET /favicon.ico``: browsers ask for it by this name, whatever the page says."""
        return await self._files.answer(request, ICON)
