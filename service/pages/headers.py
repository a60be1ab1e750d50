"""The headers that requests and answers carry, each with its meaning: for the description."""

from msgspec import Struct

from events.note import INTEGER_MAX
from service.http.requests import KEY_CHARACTERS_MAX
from service.pages.schemas import Json

POSITION: Json = {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX}
TEXT: Json = {"type": "string"}


class Header(Struct, frozen=True):
    """What a header means. ``always``: an answer that names it always has it."""

    meaning: str
    schema: Json
    always: bool = True


HEADERS = {
    "Accept": Header("application/x-ndjson: a stream of all events, one a line.", TEXT),
    "Allow": Header("The methods that are allowed.", TEXT),
    "Cache-Control": Header("How long the answer may be kept.", TEXT),
    "Content-Security-Policy": Header("What the page may load: only what this service serves.", TEXT),
    "Cross-Origin-Opener-Policy": Header("No other page has a hold on this one.", TEXT),
    "ETag": Header(
        "What the body is, to be sent as If-Match or If-None-Match; of a note, its version in quotes.", TEXT
    ),
    "Idempotency-Key": Header(
        "Any name for this request. Sent again with the same key, it gets the same answer and appends nothing.",
        {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS_MAX, "pattern": "^[\\x21-\\x7e]+$"},
    ),
    "Idempotency-Replayed": Header(
        "This is the answer to an earlier request with the same key.", {"type": "string", "const": "true"}, always=False
    ),
    "If-Match": Header("Change the note only while it is at this version (its ETag).", TEXT),
    "If-None-Match": Header("Answer 304 while this is the ETag.", TEXT),
    "Link": Header('The next page, with rel="next"; left out on the last.', TEXT, always=False),
    "Location": Header("Where the new note is.", TEXT),
    "Notelog-Epoch": Header("Which log this is. Positions of different epochs must not be compared.", TEXT),
    "Notelog-Min-Position": Header("Show at least this position; wait for it for at most 5 s.", POSITION),
    "Notelog-Position": Header("Of a change: the position of its event. Of a read: the position it shows.", POSITION),
    "Permissions-Policy": Header("What of the device the page may use.", TEXT),
    "Referrer-Policy": Header("Whether links tell where they were followed.", TEXT),
    "Retry-After": Header("Come back after so many seconds.", {"type": "integer", "minimum": 0}),
    "Upgrade": Header("What to upgrade to.", TEXT),
    "WWW-Authenticate": Header("How to authenticate, and the scopes that are needed.", TEXT, always=False),
    "X-Content-Type-Options": Header("The Content-Type is right: do not guess.", {"const": "nosniff"}),
    "X-Request-Id": Header("A name for this request in logs and in the event: taken from the request, or made.", TEXT),
    "traceparent": Header("Where the request stands in a distributed trace (W3C): kept with the event.", TEXT),
}
