"""The whole API on one screen.

To add a route, add a ``Route`` to the table: it is then served and described. Its ``answers`` and ``problems`` must say
all that it answers, ``query`` and ``headers`` all that it reads; a test compares both with what is really answered.
A header that is new here is explained in ``headers.HEADERS``, a path parameter in ``openapi.PATH_PARAMETERS``.
"""

from typing import Any

from aiohttp import web

from events.note import Note
from service import problems
from service.health import HealthApi
from service.http.requests import JSON, MERGE_PATCH, NoQuery
from service.http.route import LOG_HEADERS, Answer, Route
from service.live.websocket import WebSocketApi
from service.metrics import MetricsApi
from service.notes.bodies import NoteBody, NotePatch, RevertBody
from service.notes.rest import ListQuery, NotesApi
from service.pages.answers import Alive, Event, EventList, HistoryList, NoteList, Readiness
from service.pages.dashboard_page import PAGE_HEADERS, DashboardPage
from service.pages.docs_page import DocsApi
from service.past.audit import AuditApi, EventsQuery, HistoryQuery, NoteQuery
from service.past.event_stream import NDJSON
from service.past.tlog import TlogApi

TEXT = "text/plain"

READ_HEADERS = ("If-None-Match", "Notelog-Min-Position")
AUDIT_HEADERS = ("Notelog-Min-Position",)
READ_PROBLEMS = (problems.INVALID, problems.BEHIND, problems.STOPPED)
CHANGE_HEADERS = ("If-Match", "Idempotency-Key", "traceparent")
APPEND_PROBLEMS = (
    problems.TIMEOUT,
    problems.TOO_LARGE,
    problems.INVALID,
    problems.KEY_REUSED,
    problems.BUSY,
    problems.READ_ONLY,
    problems.OUTCOME_UNKNOWN,
)
BODY_PROBLEMS = (problems.NOT_JSON, problems.UNSUPPORTED_MEDIA_TYPE)
CHANGE_PROBLEMS = (
    *APPEND_PROBLEMS,
    problems.BEHIND,
    problems.STOPPED,
    problems.NOT_FOUND,
    problems.CONFLICT,
    problems.PRECONDITION_FAILED,
    problems.PRECONDITION_REQUIRED,
)
SOCKET_PROBLEMS = (
    problems.UPGRADE_REQUIRED,
    problems.UNAUTHORIZED,
    problems.FORBIDDEN,
    problems.TOO_MANY_REQUESTS,
    problems.KEYS_UNAVAILABLE,
)

SAME = Answer("Nothing has changed since the version that If-None-Match names.", headers=(*LOG_HEADERS, "ETag"))
ONE_NOTE = Answer("The note.", {JSON: Note}, (*LOG_HEADERS, "ETag"))
CHANGED = Answer("The note as it is now.", {JSON: Note}, (*LOG_HEADERS, "ETag", "Idempotency-Replayed"))
CREATED = Answer("The new note.", CHANGED.content, (*CHANGED.headers, "Location"))
DELETED = Answer("The note is deleted.", headers=(*LOG_HEADERS, "Idempotency-Replayed"))
NOTES = Answer("A page of notes.", {JSON: NoteList}, (*LOG_HEADERS, "ETag", "Link"))
SAME_NOTES = Answer("It is the page that If-None-Match names.", headers=NOTES.headers)

HISTORY = Answer("A page of the note's history.", {JSON: HistoryList})
EVENTS = Answer("A page of events; or all, one a line.", {JSON: EventList, NDJSON: Event})
ONE_EVENT = Answer("The event.", {JSON: Event})

TLOG_HEADERS = (*LOG_HEADERS, "Cache-Control")
TLOG_TEXT = Answer("The text.", {TEXT: str}, TLOG_HEADERS)
TILE = Answer("The bytes.", {"application/octet-stream": bytes}, TLOG_HEADERS)
TLOG_PROBLEMS = (problems.INVALID, problems.NOT_FOUND, problems.BEHIND, problems.STOPPED)

ALIVE = Answer("It does.", {JSON: Alive}, ("Cache-Control",))
READY = Answer("It can.", {JSON: Readiness}, ("Cache-Control",))
NOT_READY = Answer("It cannot: see why.", READY.content, READY.headers)

DESCRIPTION = Answer("The description.", {JSON: dict[str, Any]}, ())
FILE = Answer("The file.", {"text/css": str, "text/javascript": str}, ("ETag", "Cache-Control"))
SAME_FILE = Answer("It is the one that If-None-Match names.", headers=FILE.headers)
PAGE = Answer("The page.", {"text/html": str}, (*FILE.headers, "Content-Security-Policy"))
SAME_PAGE = Answer(SAME_FILE.summary, headers=PAGE.headers)
DASHBOARD = Answer("The page.", {"text/html": str}, (*FILE.headers, *PAGE_HEADERS))
SAME_DASHBOARD = Answer(SAME_FILE.summary, headers=DASHBOARD.headers)
PART = Answer("The file.", {**FILE.content, "image/svg+xml": str}, PAGE.headers)
ICON = Answer("The icon.", {"image/svg+xml": str}, FILE.headers)


def routes(
    *,
    notes: NotesApi,
    audit: AuditApi,
    tlog: TlogApi,
    websocket: WebSocketApi,
    health: HealthApi,
    metrics: MetricsApi,
    docs: DocsApi,
    dashboard: DashboardPage,
) -> list[Route]:
    """Every path that is served, who serves it, and what is to be said of it."""
    return [
        Route(
            "GET", "/notes", notes.list, "List notes", "notes:read",
            {200: NOTES, 304: SAME_NOTES}, READ_PROBLEMS, query=ListQuery, headers=READ_HEADERS,
        ),
        Route(
            "POST", "/notes", notes.create, "Create a note", "notes:write",
            {201: CREATED}, (*APPEND_PROBLEMS, *BODY_PROBLEMS), query=NoQuery, headers=CHANGE_HEADERS, body=NoteBody,
        ),
        Route(
            "GET", "/notes/{id}", notes.read, "Read a note", "notes:read",
            {200: ONE_NOTE, 304: SAME}, (*READ_PROBLEMS, problems.NOT_FOUND), query=NoteQuery, headers=READ_HEADERS,
        ),
        Route(
            "PUT", "/notes/{id}", notes.replace, "Replace a note", "notes:write",
            {200: CHANGED}, (*CHANGE_PROBLEMS, *BODY_PROBLEMS), query=NoQuery, headers=CHANGE_HEADERS,
            body=NoteBody,
        ),
        Route(
            "PATCH", "/notes/{id}", notes.patch, "Change some fields of a note", "notes:write",
            {200: CHANGED}, (*CHANGE_PROBLEMS, *BODY_PROBLEMS), query=NoQuery, headers=CHANGE_HEADERS,
            body=NotePatch, body_media_types=(JSON, MERGE_PATCH),
        ),
        Route(
            "DELETE", "/notes/{id}", notes.delete, "Delete a note", "notes:write",
            {204: DELETED}, CHANGE_PROBLEMS, query=NoQuery, headers=CHANGE_HEADERS,
        ),
        Route(
            "POST", "/notes/{id}/restore", notes.restore, "Bring a deleted note back", "notes:write",
            {200: CHANGED}, CHANGE_PROBLEMS, query=NoQuery, headers=CHANGE_HEADERS,
        ),
        Route(
            "POST", "/notes/{id}/revert", notes.revert, "Make a note what it was at a version", "notes:write",
            {200: CHANGED}, (*CHANGE_PROBLEMS, *BODY_PROBLEMS), query=NoQuery, headers=CHANGE_HEADERS,
            body=RevertBody,
        ),
        Route(
            "GET", "/notes/{id}/history", audit.history, "What happened to a note", "audit:read",
            {200: HISTORY}, (*READ_PROBLEMS, problems.NOT_FOUND), query=HistoryQuery, headers=AUDIT_HEADERS,
        ),
        Route(
            "GET", "/events", audit.events, "List events, or stream them as NDJSON", "audit:read",
            {200: EVENTS}, READ_PROBLEMS, query=EventsQuery, headers=("Accept", *AUDIT_HEADERS),
        ),
        Route(
            "GET", "/events/{position}", audit.event, "Read an event", "audit:read",
            {200: ONE_EVENT}, (*READ_PROBLEMS, problems.NOT_FOUND), query=NoQuery, headers=AUDIT_HEADERS,
        ),
        Route(
            "GET", "/tlog/checkpoint", tlog.checkpoint, "The signed root of the log's tree", "audit:read",
            {200: TLOG_TEXT}, TLOG_PROBLEMS, query=NoQuery, headers=AUDIT_HEADERS,
        ),
        Route(
            "GET", "/tlog/key", tlog.key, "What signatures are checked with", "audit:read",
            {200: TLOG_TEXT}, (problems.INVALID, problems.NOT_FOUND), query=NoQuery, headers=AUDIT_HEADERS,
        ),
        Route(
            "GET", "/tlog/proof/{position}", tlog.proof, "An offline proof that an event is in the signed log",
            "audit:read", {200: TLOG_TEXT}, TLOG_PROBLEMS, query=NoQuery, headers=AUDIT_HEADERS,
        ),
        Route(
            "GET", "/tlog/tile/{tile:.+}", tlog.tile, "Hashes of the tree, or entries of the log", "audit:read",
            {200: TILE}, TLOG_PROBLEMS, query=NoQuery, headers=AUDIT_HEADERS,
        ),
        Route(
            "GET", "/ws", websocket.connect, "Follow the changes on a websocket (see asyncapi.json)", None,
            {101: Answer("The websocket is open.", headers=("Upgrade",))}, SOCKET_PROBLEMS,
        ),
        Route(
            "GET", "/healthz", health.alive, "Whether the process lives", None,
            {200: ALIVE},
        ),
        Route(
            "GET", "/readyz", health.ready, "Whether the service can be relied on", None,
            {200: READY, 503: NOT_READY},
        ),
        Route(
            "GET", "/metrics", metrics.show, "Numbers for Prometheus", "notes:read",
            {200: Answer("The numbers of now.", {TEXT: str}, ())},
        ),
        Route(
            "GET", "/problems/{slug}", explain_problem, "Explain a kind of problem", None,
            {200: Answer("What it means and what to do.", {TEXT: str}, ())}, (problems.NOT_FOUND,),
        ),
        Route(
            "GET", "/", dashboard.page, "The dashboard", None,
            {200: DASHBOARD, 304: SAME_DASHBOARD}, headers=("If-None-Match",),
        ),
        Route(
            "GET", "/dashboard/{file}", dashboard.file, "A file of the dashboard", None,
            {200: PART, 304: SAME_PAGE}, (problems.NOT_FOUND,), headers=("If-None-Match",),
        ),
        Route(
            "GET", "/favicon.ico", dashboard.icon, "The dashboard's icon", None,
            {200: ICON, 304: SAME_FILE}, headers=("If-None-Match",),
        ),
        Route("GET", "/openapi.json", docs.openapi, "The REST API described", None, {200: DESCRIPTION}),
        Route("GET", "/asyncapi.json", docs.asyncapi, "The websocket described", None, {200: DESCRIPTION}),
        Route(
            "GET", "/docs", docs.page, "Both descriptions on a page", None,
            {200: PAGE, 304: SAME_PAGE}, headers=("If-None-Match",),
        ),
        Route(
            "GET", "/docs/{file}", docs.file, "A file of that page", None,
            {200: FILE, 304: SAME_FILE}, (problems.NOT_FOUND,), headers=("If-None-Match",),
        ),
    ]  # fmt: skip


async def explain_problem(request: web.Request) -> web.Response:
    """``GET /problems/{slug}``: what a kind of problem means and what to do."""
    if (text := problems.page(request.match_info["slug"])) is None:
        raise web.HTTPNotFound
    return web.Response(text=text)
