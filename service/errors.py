"""Why a request is refused, as one tree. ``problems`` says what a client sees of each.

Refused (a NotelogError)         judged and refused: nothing was appended
├── NotJson                      the body is no JSON
├── Invalid                      body, parameter or header does not fit, with all that is wrong
├── UnsupportedMediaType         a Content-Type that is not taken here
├── NoSuchNote                   there is none, or it was deleted
├── NoSuchVersion                the note has no such version
├── NoSuchEvent                  there is none at this position
├── ConditionFailed              If-Match does not match
├── ConditionMissing             If-Match is required here
├── LostRaces                    other nodes changed the note each time
├── LineFull                     too many changes wait for this note
├── TooFarBehind                 the tables did not reach the position in time
├── Unauthorized                 no token, or one that is not good
├── KeysUnavailable              the keys that tokens are checked with could not be fetched yet
├── Forbidden                    the token lacks a scope
├── ForeignOrigin                a browser's page of another origin asks
└── TooManyRequests              more than the operator allows
"""

from collections.abc import Mapping

import msgspec

from events.errors import NotelogError
from events.note import Note


class Refused(NotelogError):
    """The request was judged and refused. Nothing was appended. ``headers``: what the answer says beside its body."""

    headers: Mapping[str, str] = {}


class NotJson(Refused):
    """The body is not JSON in UTF-8."""


class Flaw(msgspec.Struct, frozen=True):
    """One thing that is wrong. ``pointer``: into the body as in RFC 9457 §3, or ``?name`` or a header's name."""

    pointer: str
    detail: str


class Invalid(Refused):
    """Something in the request does not fit; ``flaws`` has everything that does not."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(f"{flaw.pointer}: {flaw.detail}" for flaw in flaws))
        self.flaws = flaws


class UnsupportedMediaType(Refused):
    """The body's Content-Type is not taken here."""

    def __init__(self, given: str, taken: str) -> None:
        super().__init__(f"expected {taken}, got {given}")
        self.given, self.taken = given, taken


class NoSuchNote(Refused):
    """There is no such note (any more)."""

    def __init__(self, note_id: int | None, deleted_at: str | None = None) -> None:
        which = "such note" if note_id is None else f"note {note_id}"
        super().__init__(f"there is no {which}" + (f": it was deleted at {deleted_at}" if deleted_at else ""))
        self.note_id, self.deleted_at = note_id, deleted_at


class NoSuchVersion(Refused):
    """The note is there, or was, and never had this version."""

    def __init__(self, note_id: int, version: int) -> None:
        super().__init__(f"note {note_id} has no version {version}")
        self.note_id, self.version = note_id, version


class NoSuchEvent(Refused):
    """There is no event at the position, or it is not in the signed ledger yet."""

    def __init__(self, position: int, last: int) -> None:
        super().__init__(f"there is no event {position} here: the last one is {last}")
        self.position, self.last = position, last


class ConditionFailed(Refused):
    """The note is not at the version that If-Match names; ``note`` is what it is now."""

    def __init__(self, note: Note) -> None:
        super().__init__(f"note {note.id} is at version {note.version}, which If-Match does not name")
        self.note = note


class ConditionMissing(Refused):
    """This service changes a note only under If-Match."""

    def __init__(self) -> None:
        super().__init__("send If-Match with the ETag of the version that you have read")


class LostRaces(Refused):
    """Other nodes changed the note each time before this change could be appended."""

    def __init__(self, note_id: int, races: int) -> None:
        super().__init__(f"note {note_id} was changed by others {races} times meanwhile; read it and try again")
        self.note_id = note_id


class LineFull(Refused):
    """Too many changes wait in line for this note."""

    def __init__(self, note_id: int, waiting: int) -> None:
        super().__init__(f"{waiting} changes are waiting for note {note_id}; try again in a moment")
        self.note_id = note_id


class TooFarBehind(Refused):
    """The tables did not reach the position in time."""

    def __init__(self, position: int, checkpoint: int) -> None:
        super().__init__(f"this node shows position {checkpoint}, and did not reach {position} in time")
        self.position, self.checkpoint = position, checkpoint


class Unauthorized(Refused):
    """A token is needed (``why`` None), or the one that was shown is not good. RFC 6750 §3."""

    def __init__(self, why: str | None = None) -> None:
        super().__init__(why or "send a token as Authorization: Bearer")
        self.why = why
        challenge = 'Bearer realm="notelog"'
        self.headers = {
            "WWW-Authenticate": f'{challenge}, error="invalid_token", error_description="{why}"' if why else challenge
        }


class KeysUnavailable(Refused):
    """The identity provider's keys could not be fetched yet, so no token can be checked."""

    def __init__(self) -> None:
        super().__init__("the keys that tokens are checked with could not be fetched yet")


class Forbidden(Refused):
    """The token is good, but lacks a scope."""

    def __init__(self, *scopes: str) -> None:
        super().__init__(f"the token needs the scope {' and '.join(scopes)}")
        self.scopes = scopes
        self.headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'}


class ForeignOrigin(Refused):
    """A page of an origin that is not allowed asks, through somebody's browser."""

    def __init__(self) -> None:
        super().__init__("the page's origin is not allowed here")


class TooManyRequests(Refused):
    """This subject or address has asked more often than the operator allows."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests; come back in {retry_after_s} s")
        self.retry_after_s = retry_after_s
        self.headers = {"Retry-After": str(retry_after_s)}
