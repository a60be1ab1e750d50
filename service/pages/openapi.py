"""The REST API described as OpenAPI 3.1, made from the table of routes and the types that it names.

What is written here is what no type says: the meaning of headers and path parameters, and what can happen on every
route.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from events.note import INTEGER_MAX
from service import problems
from service.http.route import LOG_HEADERS, Answer, Route
from service.pages.headers import HEADERS, TEXT, Header
from service.pages.schemas import Json, schemas_of
from service.problems import Problem, ProblemBody
from service.version import VERSION

EVERYWHERE = (problems.INTERNAL, problems.HEADERS_TOO_LARGE)
EVERYWHERE_ASKED = ("X-Request-Id",)
EVERYWHERE_ANSWERED = ("X-Content-Type-Options", "X-Request-Id")
WITH_SCOPE = (problems.UNAUTHORIZED, problems.FORBIDDEN, problems.TOO_MANY_REQUESTS, problems.KEYS_UNAVAILABLE)

NUMBER: Json = {"type": "integer", "minimum": 1, "maximum": INTEGER_MAX}

PATH_PARAMETERS: dict[str, tuple[str, Json]] = {
    "file": ("The name of a file.", TEXT),
    "id": ("The note's id.", NUMBER),
    "position": ("The event's position.", NUMBER),
    "tile": ("Level and number of a tile: `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]` (C2SP tlog-tiles).", TEXT),
    "slug": (
        "The kind of problem: the last part of its `type`.",
        {"type": "string", "enum": sorted(problems.PROBLEMS)},
    ),
}

_OF_PROBLEM = {426: ("Upgrade",), 429: ("Retry-After",), 503: ("Retry-After",)}

TAGS = {
    "notes": "The notes: read as they are, changed by events that are appended to the log.",
    "events": "The log itself.",
    "tlog": "The log as a signed transparency log (C2SP tlog-tiles).",
    "service": "How the service is, and what it says of itself.",
}

GENERAL = """\
Every GET answers HEAD too, and every path OPTIONS, with `Allow`. Errors are problems (RFC 9457). Beside those that are
named at each route: 400 for what is no HTTP, 404 for a path that is none, 405 with `Allow` for a method that a path has
not. To pages of other origins that are allowed, answers carry the headers of CORS. A read shows every change that
this process has answered before. The websocket is described in `/asyncapi.json`."""


def describe(routes: Iterable[Route], authentication: bool = False) -> Json:
    """The description of the routes. ``authentication``: whether a token is needed, or only understood."""
    routes = list(routes)
    schemas = _Schemas([ProblemBody, *_types(routes)])
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, schemas, authentication)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "notelog",
            "version": VERSION,
            "summary": "An event-sourced notes service.",
            "description": GENERAL,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": meaning} for name, meaning in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": {name: _request_header(name) for name in _read(routes)},
            "headers": {name: _answer_header(HEADERS[name]) for name in _answered(paths)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(route: Route, schemas: "_Schemas", authentication: bool) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(route),
            *map(_header_parameter, _asked_headers(route)),
        ],
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        content = {media_type: {"schema": schemas.of(route.body)} for media_type in route.body_media_types}
        operation["requestBody"] = {"required": True, "content": content}
    if route.scope is not None:
        token = {"token": [route.scope]}
        operation["security"] = [token] if authentication else [{}, token]
    return operation


def _path_parameters(route: Route) -> list[Json]:
    return [_parameter(name, "path", *PATH_PARAMETERS[name]) for name in re.findall(r"{(\w+)}", _path(route))]


def _query_parameters(route: Route) -> list[Json]:
    if route.query is None:
        return []
    _, components = schemas_of([route.query])
    schema = components[route.query.__name__]
    required = schema["required"]
    return [
        _parameter(name, "query", field.pop("description", None), _without_null(field), name in required)
        for name, field in schema["properties"].items()
    ]


def _without_null(schema: Json) -> Json:
    """A parameter that may be left out is None inside; null cannot be sent."""
    kept = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept} if kept else rest


def _header_parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _read(routes: Iterable[Route]) -> list[str]:
    """The headers that some route reads."""
    return sorted({name for route in routes for name in _asked_headers(route)})


def _answered(paths: Json) -> list[str]:
    """The headers that some answer carries."""
    operations = [operation for methods in paths.values() for operation in methods.values()]
    responses = [response for operation in operations for response in operation["responses"].values()]
    return sorted({name for response in responses for name in response["headers"]})


def _asked_headers(route: Route) -> list[str]:
    """What the route reads. Accept is told by the media types of the answers (OpenAPI 3.1, Parameter Object)."""
    return [name for name in (*route.headers, *EVERYWHERE_ASKED) if name != "Accept"]


def _request_header(name: str) -> Json:
    return _parameter(name, "header", HEADERS[name].meaning, HEADERS[name].schema, required=False)


def _answer_header(header: Header) -> Json:
    return {"description": header.meaning, "required": header.always, "schema": header.schema}


def _parameter(name: str, place: str, meaning: str | None, schema: Json, required: bool = True) -> Json:
    parameter = {"name": name, "in": place, "required": required, "schema": schema}
    return {**parameter, "description": meaning} if meaning else parameter


def _responses(route: Route, schemas: "_Schemas") -> Json:
    responses = {str(status): _response(status, answer, schemas) for status, answer in route.answers.items()}
    for status, kinds in _by_status(_problems(route)).items():
        responses.setdefault(str(status), {"description": "", "content": {}, "headers": {}})
        _add_problem(responses[str(status)], status, kinds, schemas)
        responses[str(status)]["headers"] |= _headers(_problem_headers(status, route))
    return dict(sorted(responses.items()))


def _response(status: int, answer: Answer, schemas: "_Schemas") -> Json:
    content = {media_type: {"schema": schemas.of(type_)} for media_type, type_ in answer.content.items()}
    everywhere = ("X-Content-Type-Options",) if status == 101 else EVERYWHERE_ANSWERED
    return {"description": answer.summary, "content": content, "headers": _headers((*answer.headers, *everywhere))}


def _add_problem(response: Json, status: int, kinds: list[Problem], schemas: "_Schemas") -> None:
    titles = "; or: ".join(kind.title for kind in kinds)
    type_ = {"enum": [f"/problems/{kind.slug}" for kind in kinds]}
    schema = {**schemas.of(ProblemBody), "properties": {"type": type_, "status": {"const": status}}}
    response["description"] = " Or: ".join(filter(None, [response["description"], f"{titles}."]))
    response["content"][problems.MEDIA_TYPE] = {"schema": schema}


def _problem_headers(status: int, route: Route) -> tuple[str, ...]:
    """What a problem carries beside its body. 431 is answered before the request is looked at."""
    if status == 431:
        return ("X-Content-Type-Options",)
    log_headers = () if status in (401, 403, 426) else LOG_HEADERS
    authenticate = ("WWW-Authenticate",) if status == 401 or (status == 403 and route.scope is not None) else ()
    return (*log_headers, *authenticate, *_OF_PROBLEM.get(status, ()), *EVERYWHERE_ANSWERED)


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problems(route: Route) -> Iterable[Problem]:
    return (*route.problems, *EVERYWHERE, *(WITH_SCOPE if route.scope else ()))


def _by_status(kinds: Iterable[Problem]) -> Mapping[int, list[Problem]]:
    found: dict[int, list[Problem]] = {}
    for kind in kinds:
        found.setdefault(kind.status, []).append(kind)
    return found


class _Schemas:
    """The schemas of all types that the routes name: each is a component, and referred to."""

    def __init__(self, types: list[Any]) -> None:
        found, self.components = schemas_of(types)
        self._of = dict(zip(map(id, types), found, strict=True))

    def of(self, type_: Any) -> Json:
        """The schema of a type, as a reference where it has a name."""
        return self._of[id(type_)]


def _types(routes: Iterable[Route]) -> Iterable[Any]:
    for route in routes:
        if route.body is not None:
            yield route.body
        for answer in route.answers.values():
            yield from answer.content.values()


def _path(route: Route) -> str:
    """The path without the patterns of its parameters: ``{tile:.+}`` is ``{tile}``."""
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", route.path)


def _tag(route: Route) -> str:
    first = route.path.split("/")[1]
    return first if first in TAGS else "service"


def _operation_id(route: Route) -> str:
    """The handler's name, after that of its class: ``NotesApi.create`` is ``notes_create``."""
    *owner, name = route.handler.__qualname__.split(".")
    return "_".join([*(part.removesuffix("Api").lower() for part in owner), name])
