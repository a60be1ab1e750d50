"""Records and events: what goes in comes out, old shapes are brought up, newer ones are refused."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import SCHEMAS, decode, decode_payload, encode, view
from events.errors import MalformedEvent, NewerEvent
from events.note import NoteCreated, NoteDeleted, NoteEdited, NoteRestored, Payload
from events.record import RecordedEvent
from events.upcast import STEPS

SHAPES = Path(__file__).with_name("shapes")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
numbers = st.integers(-(2**31), 2**31 - 1)
some = {"title": texts, "description": texts, "created_at": texts, "created_by": texts, "priority": numbers}
changes = st.fixed_dictionaries({}, optional=some)
payloads = st.one_of(
    st.builds(NoteCreated, **some),
    changes.map(lambda fields: NoteEdited(**fields)),
    changes.map(lambda fields: NoteRestored(**fields)),
    st.just(NoteDeleted()),
)


def record(type_: str, schema: int, data: str) -> RecordedEvent:
    """A record with that payload."""
    return RecordedEvent(7, 3, 1, type_, schema, 1_503_446_400_000_000, "ada", None, 0, None, "{}", bytes(16), data)


@given(payloads)
def test_what_is_encoded_is_decoded(payload: Payload) -> None:
    """Every payload comes back as it was; what was left unset stays unset."""
    event = decode(record(*encode(payload)))
    assert event.payload == payload
    assert (event.position, event.note_id, event.version, event.actor) == (7, 3, 1, "ada")
    assert event.at == "2017-08-23T00:00:00.000000Z"


def test_an_old_shape_is_brought_up() -> None:
    """The stored example of NoteCreated's schema 0 reads as a note of today."""
    stored = (SHAPES / "NoteCreated-0.json").read_text()
    assert decode_payload(record("NoteCreated", 0, stored)) == NoteCreated(
        "Milk", "", "2017-08-23T00:00:00Z", "anonymous", 0
    )


def test_every_old_shape_has_an_example() -> None:
    """Each step of the upcasting is proved by a stored example, which every later version must still read."""
    for type_, schema in STEPS:
        stored = (SHAPES / f"{type_}-{schema}.json").read_text()
        decode(record(type_, schema, stored))
    assert {schema for _, schema in STEPS} <= set(range(max(SCHEMAS.values())))


def test_a_view_shows_the_data_as_stored() -> None:
    """In today's shape the payload is shown byte for byte; in an old one it is shown brought up."""
    stored = '{ "title":"a",  "description":"","created_at":"b","created_by":"c","priority":1}'
    assert stored.encode() in view(record("NoteCreated", 1, stored))
    shown = msgspec.json.decode(view(record("NoteCreated", 0, (SHAPES / "NoteCreated-0.json").read_text())))
    assert list(shown) == ["position", "note_id", "version", "type", "at", "actor", "data"]
    assert shown["data"]["created_at"] == "2017-08-23T00:00:00Z"


@pytest.mark.parametrize(("type_", "schema"), [("NoteCreated", 2), ("NoteArchived", 1), ("NoteArchived", 0)])
def test_a_newer_event_is_refused(type_: str, schema: int) -> None:
    """A type or schema that is not known here was written by a newer version; the error says so and where."""
    for read in (decode, view):
        with pytest.raises(NewerEvent, match="written by a newer version: upgrade") as refused:
            read(record(type_, schema, "{}"))
        assert (refused.value.position, refused.value.type, refused.value.schema) == (7, type_, schema)


@pytest.mark.parametrize(
    ("type_", "schema", "data"),
    [
        ("NoteCreated", 1, "{}"),
        ("NoteCreated", 1, "no JSON"),
        ("NoteEdited", 1, '{"priority":"high"}'),
        ("NoteEdited", 1, '{"colour":"red"}'),
        ("NoteDeleted", 1, "[]"),
        ("NoteCreated", 0, "{}"),
        ("NoteCreated", 0, "[]"),
        ("NoteCreated", 0, '{"title":"a","created_at":"yesterday"}'),
        ("NoteCreated", 0, '{"title":1,"created_at":"2017-08-23 00:00"}'),
        ("NoteDeleted", -1, "{}"),
        ("NoteCreated", 1, "[" * 100_000),
    ],
)
def test_a_payload_that_does_not_fit_is_malformed(type_: str, schema: int, data: str) -> None:
    """A payload that its shape does not allow is an error with its position, whatever is wrong with it."""
    with pytest.raises(MalformedEvent) as refused:
        decode(record(type_, schema, data))
    assert refused.value.position == 7
