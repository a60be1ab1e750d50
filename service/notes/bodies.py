"""What clients send, as types, and how it is checked: the whole body in one go, or, if that fails, each field.

msgspec stops at the first thing that is wrong. Clients are promised all of them at once, so a body that does not fit
is looked at again field by field, with the same types.
"""

import json
from functools import cache
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from events.note import INTEGER_MAX, CreatedBy, Description, Priority, Title
from events.timestamps import normalised
from service.errors import Flaw, Invalid, NotJson

T = TypeVar("T", bound=Struct)

# A body of 1 MiB can have 100,000 unknown fields; an answer that named them all would be fourteen times as long.
UNKNOWN_FIELDS_SHOWN_MAX = 100

# Of the largest integer that is taken anywhere; one with more is too large whatever it is.
INTEGER_DIGITS_MAX = len(str(INTEGER_MAX))

Time = Annotated[
    str,
    Meta(
        description="ISO 8601: T or a space; seconds, a fraction of up to 6 digits and zone optional (none: UTC)",
        examples=["2017-08-23T00:00:00Z", "2017-08-23 00:00"],
        extra_json_schema={"format": "date-time"},
    ),
]
ReadOnly = Annotated[Any, Meta(description="read only: accepted and ignored")]


class NoteBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole note, for POST and PUT. What GET answers fits: the read-only fields are ignored."""

    title: Title
    description: Description = ""
    created_at: Time | UnsetType = UNSET
    created_by: CreatedBy | UnsetType = UNSET
    priority: Priority = 0
    id: ReadOnly = None
    version: ReadOnly = None
    updated_at: ReadOnly = None
    position: ReadOnly = None


class NotePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): what is left out stays; null brings description or priority back to its default."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    created_at: Time | UnsetType = UNSET
    created_by: CreatedBy | UnsetType = UNSET
    priority: Priority | UnsetType | None = UNSET
    id: ReadOnly = None
    version: ReadOnly = None
    updated_at: ReadOnly = None
    position: ReadOnly = None


class RevertBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which version a note is to be again."""

    version: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]


def decode_body(body: bytes, type_: type[T]) -> tuple[T, str | None]:
    """The body as a ``type_``, and its ``created_at`` normalised (None when it was left out).

    Raises ``NotJson``, or ``Invalid`` with everything that is wrong.
    """
    try:
        return _with_time(_decoder(type_).decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # of which a value that does not fit is one
        return _decode_patiently(_json(body), type_)
    except ValueError:
        raise Invalid(_flaws(_json(body), type_)) from None


def _decode_patiently(value: Any, type_: type[T]) -> tuple[T, str | None]:
    """A body that the decoder stopped at, field by field. It fits when a key was there twice and the last is good."""
    if flaws := _flaws(value, type_):
        raise Invalid(flaws)
    return _with_time(fit(value, type_, strict=True, prefix="#/"))


def _with_time(decoded: T) -> tuple[T, str | None]:
    given = getattr(decoded, "created_at", UNSET)
    return decoded, None if given is UNSET else normalised(given)


def fit(fields: dict[str, Any], type_: type[T], strict: bool, prefix: str) -> T:
    """Fields as a ``type_``; raises ``Invalid`` with everything that is wrong, named with the prefix."""
    try:
        return msgspec.convert(fields, type_, strict=strict)
    except msgspec.ValidationError:
        raise Invalid(_field_flaws(fields, type_, strict, prefix)) from None


@cache
def _decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(type_)


@cache
def _hints(type_: type[Struct]) -> dict[str, Any]:
    return get_type_hints(type_, include_extras=True)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _is_out_of_range(error):
            return _json_of_any_range(body)
        raise _not_json(error) from None


def _is_out_of_range(error: Exception) -> bool:
    """JSON has numbers of any size (RFC 8259 §6), msgspec has not."""
    return "out of range" in str(error)


def _json_of_any_range(body: bytes) -> Any:
    """The body, with infinity for what is too large: wherever a number counts, it is one that does not fit."""
    try:
        value = json.loads(body, parse_int=_integer, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text that can be stored
    except (ValueError, RecursionError) as error:
        raise _not_json(error) from None
    return value


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= INTEGER_DIGITS_MAX else float(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _not_json(error: Exception) -> NotJson:
    if isinstance(error, RecursionError):
        return NotJson("the body is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return NotJson("the body is not UTF-8")
    return NotJson(f"the body cannot be read as JSON: {error}")


def _flaws(value: Any, type_: type[Struct]) -> list[Flaw]:
    if not isinstance(value, dict):
        return [Flaw("#", f"expected an object, got {_kind(value)}")]
    flaws = _field_flaws(value, type_, strict=True, prefix="#/")
    if not any(flaw.pointer == "#/created_at" for flaw in flaws) and isinstance(value.get("created_at"), str):
        try:
            normalised(value["created_at"])
        except ValueError as error:
            flaws.append(Flaw("#/created_at", str(error)))
    return flaws


def _field_flaws(fields: dict[str, Any], type_: type[Struct], strict: bool, prefix: str) -> list[Flaw]:
    hints = _hints(type_)
    flaws = []
    for field in msgspec.structs.fields(type_):
        if field.name in fields:
            flaws += _value_flaws(prefix + field.name, fields[field.name], hints[field.name], strict)
        elif field.required:
            flaws.append(Flaw(prefix + field.name, "is required"))
    return flaws + _unknown_flaws([name for name in fields if name not in type_.__struct_fields__], type_, prefix)


def _unknown_flaws(names: list[str], type_: type[Struct], prefix: str) -> list[Flaw]:
    known = ", ".join(type_.__struct_fields__)
    detail = f"is not known here; known are {known}" if known else "is not known here; nothing is taken"
    flaws = [Flaw(prefix + _escaped(name), detail) for name in names[:UNKNOWN_FIELDS_SHOWN_MAX]]
    if len(names) > len(flaws):
        flaws.append(Flaw(prefix.rstrip("/"), f"has {len(names) - len(flaws)} more fields that are not known here"))
    return flaws


def _value_flaws(pointer: str, value: Any, hint: Any, strict: bool) -> list[Flaw]:
    try:
        msgspec.convert(value, hint, strict=strict)
    except msgspec.ValidationError as error:
        return [Flaw(pointer, _in_words(str(error)))]
    return []


# What msgspec says of the patterns of events.note, in words.
_IN_WORDS = {
    "Expected `str` matching regex '^[^\\\\x00]*[^\\\\s\\\\x00][^\\\\x00]*$'": (
        "expected text that is not only white space and has no U+0000"
    ),
    "Expected `str` matching regex '^[^\\\\x00]*$'": "expected text without U+0000",
}


def _in_words(message: str) -> str:
    return _IN_WORDS.get(message, message[:1].lower() + message[1:].replace("`", ""))


def _escaped(name: str) -> str:
    """A name in a JSON pointer (RFC 6901 §3), cut to what an error message can carry."""
    return name[:100].replace("~", "~0").replace("/", "~1")


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
