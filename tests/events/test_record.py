"""The record's bytes in the ledger: the published vectors, computed here a second time from the description alone."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import PAYLOADS, SCHEMAS
from events.record import (
    ACTOR_BYTES_MAX,
    INTEGER_MAX,
    META_BYTES_MAX,
    NewEvent,
    RecordedEvent,
    command_hash,
    leaf,
    leaf_hash,
    request_hash,
)
from tests.engines import from_plain

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "EVENTS.md").read_text()
VECTORS = [json.loads(block) for block in re.findall(r"```json leaf\n(.*?)```", DOCUMENT, re.DOTALL)]

positions = st.integers(1, INTEGER_MAX)
small = st.integers(0, 65_535)
texts = st.text(max_size=300)
hashes = st.none() | st.binary(min_size=16, max_size=16)
records = st.builds(
    RecordedEvent,
    *(positions, positions, positions, texts, small, st.integers(-(2**63), INTEGER_MAX), texts),
    *(hashes, small, hashes, texts, st.binary(min_size=16, max_size=16), texts),
)


def leaf_by_the_book(record: RecordedEvent) -> bytes:
    """The leaf, written from docs/EVENTS.md and not from the code."""
    out = bytearray([1])
    for number in (record.position, record.note_id, record.version):
        out += number.to_bytes(8, "big")
    out += with_length(record.type.encode("utf-8"))
    out += record.schema.to_bytes(2, "big")
    out += record.at.to_bytes(8, "big", signed=True)
    out += with_length(record.actor.encode("utf-8"))
    out += b"\xff\xff" if record.command is None else with_length(record.command)
    out += record.part.to_bytes(2, "big")
    out += b"\xff\xff" if record.request is None else with_length(record.request)
    payload = hashlib.sha256(record.salt)
    payload.update(len(record.meta.encode("utf-8")).to_bytes(4, "big"))
    payload.update(record.meta.encode("utf-8"))
    payload.update(record.data.encode("utf-8"))
    return bytes(out) + payload.digest()


def with_length(value: bytes) -> bytes:
    """Two bytes of length, and the value."""
    return len(value).to_bytes(2, "big") + value


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_the_published_vectors(vector: dict[str, Any]) -> None:
    """Each vector of docs/EVENTS.md holds for the code and for the description."""
    record = from_plain(list(vector["record"].values()))
    assert leaf(record).hex() == leaf_by_the_book(record).hex() == vector["leaf"]
    assert leaf_hash(record).hex() == hashlib.sha256(b"\0" + bytes.fromhex(vector["leaf"])).hexdigest()
    assert leaf_hash(record).hex() == vector["leaf_hash"]


def test_the_vectors_cover_null_and_text() -> None:
    """The vectors show a record with a key and one without, and text beyond ASCII."""
    published = [vector["record"] for vector in VECTORS]
    assert {record["command"] is None for record in published} == {True, False}
    assert any(not record["data"].isascii() for record in published)


@given(records)
def test_any_record(record: RecordedEvent) -> None:
    """The code and the description agree on every record."""
    assert leaf(record) == leaf_by_the_book(record)


@given(records, st.sampled_from(RecordedEvent.__struct_fields__), st.data())
def test_every_column_counts(record: RecordedEvent, column: str, data: st.DataObject) -> None:
    """A record that differs in any column has another leaf: nothing can be changed without its being seen."""
    other = msgspec.structs.replace(record, **{column: getattr(data.draw(records), column)})
    assert (leaf(other) == leaf(record)) == (other == record)


def test_commands_and_requests() -> None:
    """The hashes of docs/EVENTS.md; the parts cannot run into each other."""
    published = json.loads(re.findall(r"```json hashes\n(.*?)```", DOCUMENT, re.DOTALL)[0])
    assert command_hash("ada", "key-1").hex() == published["command"]
    assert request_hash("POST", "/notes", "", b'{"title":"Milk"}').hex() == published["request"]
    assert command_hash("ab", "c") != command_hash("a", "bc")
    assert request_hash("PUT", "/notes/1", '"1"', b"") != request_hash("PUT", "/notes/1", "", b'"1"')


def test_the_catalogue_is_whole() -> None:
    """Every event type with its schema, every field and every column stands in docs/EVENTS.md."""
    for type_, schema in SCHEMAS.items():
        assert f"| `{type_}` | {schema} |" in DOCUMENT
    fields = {field for payload in PAYLOADS.values() for field in payload.__struct_fields__}
    for name in {*fields, *RecordedEvent.__struct_fields__}:
        assert f"| `{name}` |" in DOCUMENT


@pytest.mark.parametrize(
    "wrong",
    [
        {"note_id": 0},
        {"note_id": INTEGER_MAX + 1},
        {"actor": "x" * (ACTOR_BYTES_MAX + 1)},
        {"actor": "\ud800"},
        {"meta": '"' + "é" * (META_BYTES_MAX // 2) + '"'},
        {"data": "\udfff"},
    ],
)
def test_an_event_that_cannot_be_stored_is_refused(wrong: dict[str, Any]) -> None:
    """What would spoil a commit for the others in it, or the ledger, is refused before it is an event."""
    fitting: dict[str, Any] = {"note_id": 1, "type": "NoteEdited", "schema": 1, "actor": "ada", "data": "{}"}
    NewEvent(**fitting)
    with pytest.raises(ValueError):
        NewEvent(**fitting | wrong)
