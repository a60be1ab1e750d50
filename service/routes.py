"""The whole API on one screen."""

from aiohttp import web

from service import problems
from service.health import HealthApi
from service.rest import NotesApi
from service.websocket import WebSocketApi


def add_routes(router: web.UrlDispatcher, notes: NotesApi, websocket: WebSocketApi, health: HealthApi) -> None:
    """Every path that is served, and who serves it."""
    router.add_routes(
        [
            web.get("/notes", notes.list),
            web.post("/notes", notes.create),
            web.get("/notes/{id}", notes.read),
            web.put("/notes/{id}", notes.replace),
            web.patch("/notes/{id}", notes.patch),
            web.delete("/notes/{id}", notes.delete),
            web.post("/notes/{id}/restore", notes.restore),
            web.get("/ws", websocket.connect, allow_head=False),
            web.get("/healthz", health.alive),
            web.get("/readyz", health.ready),
            web.get("/problems/{slug}", explain_problem),
        ]
    )


async def explain_problem(request: web.Request) -> web.Response:
    """``GET /problems/{slug}``: what a kind of problem means and what to do."""
    if (text := problems.page(request.match_info["slug"])) is None:
        raise web.HTTPNotFound
    return web.Response(text=text)
