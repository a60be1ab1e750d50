"""What a schema cannot say, told to schemathesis: which valid requests depend on the state of the service.

A cursor must come from an earlier page, a position must have been reached, a key belongs to one request. Requests that
are meant to be valid are made so here; those that are meant to be refused are sent as they were generated.
"""

import re
import uuid
from typing import Any

import schemathesis

INTEGER_MAX = 2**63 - 1
# Parameters of which a request may have only one.
EITHER_OR = [("as_of", "q"), ("as_of", "version"), ("as_of", "cursor"), ("after", "before")]

_seen: dict[str, Any] = {"position": 0, "brought back": set()}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Make what is meant to be valid fit the state."""
    if case.headers:
        case.headers.update({name: str(value) for name, value in case.headers.items()})
        _fit_headers(case.headers)
    if not _is_meant_to_be_refused(case):
        _fit_query(case.query or {})
        _fit_body(case.body)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Remember how far the log is, and which deleted notes are there again."""
    for value in response.headers.get("notelog-position", ()):
        _seen["position"] = max(_seen["position"], int(value))
    note_id = str((case.path_parameters or {}).get("id"))
    if case.path.endswith(("/restore", "/revert")) and response.status_code == 200:
        _seen["brought back"].add(note_id)
    elif case.method.upper() == "DELETE" and response.status_code == 204:
        _seen["brought back"].discard(note_id)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Headers that nobody knows are no error in HTTP."""
    return not any("unknown-property" in name for name in case.headers or ())


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """A deleted note is not found any more until it is brought back, but its past is."""
    of_the_past = case.path.endswith("/history") or bool({"version", "as_of"} & set(case.query or ()))
    brought_back = str((case.path_parameters or {}).get("id")) in _seen["brought back"]
    return not ((of_the_past or brought_back) and type(failure).__name__ == "UseAfterFree")


def _fit_headers(headers: Any) -> None:
    # Hardly any version that is made up is the note's: half of the conditions are made to hold.
    if len(headers.get("If-Match", "")) % 2:
        headers["If-Match"] = "*"
    if re.fullmatch("[\x21-\x7e]{1,255}", str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = uuid.uuid4().hex
    position = str(headers.get("Notelog-Min-Position", ""))
    if re.fullmatch("[0-9]{1,19}", position) and int(position) <= INTEGER_MAX:
        headers["Notelog-Min-Position"] = str(int(position) % (_seen["position"] + 1))


def _fit_query(query: dict[str, Any]) -> None:
    query.pop("cursor", None)
    for kept, dropped in EITHER_OR:
        if kept in query:
            query.pop(dropped, None)
    if re.fullmatch("[0-9]+", str(query.get("as_of", ""))):
        query["as_of"] = str(int(query["as_of"]) % (_seen["position"] + 1))


def _fit_body(body: Any) -> None:
    if not isinstance(body, dict):
        return
    # JSON Schema takes 5.0 for an integer; this service wants it written as one.
    if isinstance(body.get("priority"), float):
        body["priority"] = int(body["priority"])
    # Of a revert. Every note has this version; in other bodies the field is ignored.
    if "version" in body:
        body["version"] = 1


def _is_meant_to_be_refused(case: Any) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_negative
