"""Bodies: the rules of each field, times in all their forms, and everything that is wrong told at once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from events.timestamps import microseconds, normalised
from service.errors import Invalid, NotJson
from service.notes.commands import CreateNote, PatchNote, ReplaceNote, create_note, patch_note, replace_note

READ_ONLY: dict[str, Any] = {"id": 7, "version": 3, "updated_at": "never", "position": [None]}


def body(**fields: Any) -> bytes:
    """A body with a good title, unless another is given."""
    return json.dumps({"title": "Milk", **fields}).encode()


def flaws(parse: Any, sent: bytes) -> list[str]:
    """What is wrong with the body: the pointers."""
    with pytest.raises(Invalid) as invalid:
        parse(sent)
    assert all(flaw.detail for flaw in invalid.value.flaws)
    return [flaw.pointer for flaw in invalid.value.flaws]


def test_a_body_may_have_a_title_only() -> None:
    """Everything but the title has a default; POST takes now and the actor for what the client left out."""
    assert create_note(body()) == CreateNote("Milk", "", None, None, 0)
    assert replace_note(body()) == ReplaceNote("Milk", "", None, None, 0)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "9" * 20], ids=["large", "small", "long", "longer"])
def test_a_number_of_any_size_is_json(number: str) -> None:
    """JSON knows no largest number: one that does not fit is a flaw of its field, and nothing where none counts."""
    sent = b'{"title": "Milk", "%s": ' + number.encode() + b', "priority": 5}'
    assert create_note(sent.replace(b"%s", b"id")) == CreateNote("Milk", priority=5)
    assert flaws(create_note, sent.replace(b"%s", b"description")) == ["#/description"]
    assert flaws(patch_note, b'{"priority": ' + number.encode() + b', "other": 1}') == ["#/priority", "#/other"]
    for rest in (b"", b', "title": "\\ud800"}', b', "title": NaN}', b', "title": ' + b"[" * 100_000):
        with pytest.raises(NotJson):
            create_note(b'{"id": ' + number.encode() + rest)


def test_read_only_fields_are_ignored() -> None:
    """A note as GET answers it is taken: the read-only fields may have any value, and count for nothing."""
    assert create_note(body(**READ_ONLY)) == CreateNote("Milk")
    assert replace_note(body(**READ_ONLY)) == ReplaceNote("Milk")
    assert patch_note(json.dumps(READ_ONLY).encode()) == PatchNote()
    assert create_note(body(**dict.fromkeys(READ_ONLY))) == CreateNote("Milk")


GOOD: dict[str, list[Any]] = {
    "title": ["a", "x" * 200, "𝄞" * 200, " a", "\u00a0a", "\n.\n"],
    "description": ["", " ", "x" * 65_536, "𝄞" * 65_536, "\x01\x7f\ufeff"],
    "created_by": ["", "x" * 200, "ä"],
    "priority": [0, -(2**31), 2**31 - 1],
}
BAD: dict[str, list[Any]] = {
    "title": ["", " ", "\t\n \u00a0\u2003", "x" * 201, "a\0", "\0", None, 1, ["a"], {}, True],
    "description": ["x" * 65_537, "a\0b", "\0", None, 0, [], False],
    "created_by": ["x" * 201, "\0", None, 5, {}],
    "priority": [2**31, -(2**31) - 1, 10**30, 10**400, 1.5, "1", None, True, [1]],
    "created_at": [None, 1503446400, "", "yesterday", ["2017-08-23"], True],
    "colour": ["red", None, 0],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in GOOD for value in GOOD[name]])
@pytest.mark.parametrize("parse", [create_note, replace_note, patch_note])
def test_a_field_takes_all_that_its_rule_allows(parse: Any, name: str, value: Any) -> None:
    """The limits themselves are within, counted in characters, in every kind of body."""
    assert getattr(parse(body(**{name: value})), name) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
@pytest.mark.parametrize("parse", [create_note, replace_note, patch_note])
def test_a_field_refuses_all_else(parse: Any, name: str, value: Any) -> None:
    """A wrong type, null, U+0000 and one over the limit are refused with a pointer to the field, unknown fields too."""
    if parse is patch_note and value is None and name in ("description", "priority"):
        assert getattr(patch_note(body(**{name: value})), name) == {"description": "", "priority": 0}[name]
    else:
        assert flaws(parse, body(**{name: value})) == [f"#/{name}"]


def test_all_errors_are_told_at_once() -> None:
    """A body with many faults gets one answer that names them all, in the order of the note's fields."""
    wrong = {"description": None, "created_at": "x", "created_by": 1, "priority": "1", "a/b~c": 1, "": 2}
    pointers = ["#/title", "#/description", "#/created_at", "#/created_by", "#/priority", "#/a~1b~0c", "#/"]
    assert sorted(flaws(create_note, json.dumps(wrong).encode())) == sorted(pointers)
    two = body(priority=1.5, created_at="2017-13-01T00:00")
    assert sorted(flaws(create_note, two)) == ["#/created_at", "#/priority"]


def test_a_title_is_required_in_a_whole_note_only() -> None:
    """POST and PUT need a title; a patch needs nothing."""
    assert flaws(create_note, b"{}") == flaws(replace_note, b"{}") == ["#/title"]
    assert patch_note(b"{}") == PatchNote(UNSET, UNSET, UNSET, UNSET, UNSET)


@pytest.mark.parametrize("sent", [b"[]", b"1", b'"a"', b"null", b"true", b"1.5", b'[{"title":"a"}]'])
@pytest.mark.parametrize("parse", [create_note, replace_note, patch_note])
def test_a_body_must_be_an_object(parse: Any, sent: bytes) -> None:
    """JSON that is no object is refused as a whole."""
    assert flaws(parse, sent) == ["#"]


NO_JSON = [
    b"",
    b" ",
    b"{",
    b'{"title":"Milk"',
    b'{"title":"Milk"}}',
    b'{"title":"Milk",}',
    b"{'title':'Milk'}",
    b"title=Milk",
    b'{"title":NaN}',
    b'{"title":"\xff"}',
    b"\xff\xfe{\x00}\x00",
    b'\xef\xbb\xbf{"title":"Milk"}',
    b'{"title":"a\nb"}',
    b'{"title":"\\x41"}',
    b'{"title":"\\ud800"}',
    b'{"title":"\\udc00\\ud800"}',
    b'{"title":"\xed\xa0\x80"}',
    b'{"title":"a","priority":01}',
    b'{"title":"a","priority":1e}',
    b"[" * 100_000,
    b'{"title":' * 100_000,
    b'{"title":"a","version":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"title":"a","colour":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
]


@pytest.mark.parametrize("sent", NO_JSON, ids=lambda sent: repr(sent[:30]))
@pytest.mark.parametrize("parse", [create_note, replace_note, patch_note])
def test_what_is_no_json_is_told_so(parse: Any, sent: bytes) -> None:
    """Broken or bottomless JSON, bad UTF-8 and half a surrogate pair are no JSON, in every kind of body."""
    with pytest.raises(NotJson):
        parse(sent)


@pytest.mark.parametrize("digits", [20, 400, 5_000, 100_000])
@pytest.mark.parametrize("name", ["priority", "id", "version", "colour"])
def test_a_huge_number_is_only_a_wrong_number(name: str, digits: int) -> None:
    """A number of any length is judged like any other value: refused, or ignored in a read-only field."""
    sent = b'{"title":"Milk","%b":%b}' % (name.encode(), b"9" * digits)
    try:
        assert create_note(sent) == CreateNote("Milk")
        assert name in ("id", "version")
    except (Invalid, NotJson):
        pass


def test_of_a_key_that_is_there_twice_the_last_counts() -> None:
    """Duplicate keys: the last value is the one, whether the first was good or bad."""
    assert create_note(b'{"title":"a","title":"b"}') == CreateNote("b")
    assert create_note(b'{"title":1,"title":"b"}') == CreateNote("b")
    assert flaws(create_note, b'{"title":"a","title":1}') == ["#/title"]


TIMES = [
    ("2017-08-23 00:00", "2017-08-23T00:00:00Z"),
    ("2017-08-23T00:00", "2017-08-23T00:00:00Z"),
    ("2017-08-23t00:00z", "2017-08-23T00:00:00Z"),
    ("2017-08-23T00:00:00Z", "2017-08-23T00:00:00Z"),
    ("2017-08-23T00:00:00.5", "2017-08-23T00:00:00.5Z"),
    ("2017-08-23T00:00:00.500000Z", "2017-08-23T00:00:00.500000Z"),
    ("2017-08-23T00:00:00.000001+00:00", "2017-08-23T00:00:00.000001Z"),
    ("2017-08-23T02:00:00+02:00", "2017-08-23T00:00:00Z"),
    ("2017-08-22T19:00-0500", "2017-08-23T00:00:00Z"),
    ("2017-08-23T05:30+05:30", "2017-08-23T00:00:00Z"),
    ("2017-08-23T02:00+02", "2017-08-23T00:00:00Z"),
    ("2016-02-29T23:59:59.999999Z", "2016-02-29T23:59:59.999999Z"),
    ("0001-01-01T00:00Z", "0001-01-01T00:00:00Z"),
    ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
]
NO_TIMES = [
    "2017-08-23",
    "2017-08-23T00",
    "2017-8-23T00:00",
    "20170823T0000",
    "2017-08-23_00:00",
    "2017-08-23T00:00:00.",
    "2017-08-23T00:00:00.1234567Z",
    "2017-08-23T00:00:60Z",
    "2017-08-23T24:01Z",
    "2017-02-29T00:00Z",
    "2017-13-01T00:00Z",
    "2017-08-23T00:00Zulu",
    "2017-08-23T00:00+25:00",
    "2017-08-23T00:00+00:60",
    " 2017-08-23T00:00",
    "2017-08-23T00:00\n",
    "٢٠١٧-08-23T00:00",
    "0000-01-01T00:00Z",
    "10000-01-01T00:00Z",
    "-001-01-01T00:00Z",
    "0001-01-01T00:00+00:01",
    "9999-12-31T23:59-00:01",
    "2017-W34-3T00:00",
    "1503446400",
    "now",
    "",
]


@pytest.mark.parametrize(("given_", "returned"), TIMES)
@pytest.mark.parametrize("parse", [create_note, replace_note, patch_note])
def test_a_time_is_returned_in_one_form(parse: Any, given_: str, returned: str) -> None:
    """Whatever ISO 8601 form the client chose comes back as RFC 3339 UTC, with the fraction that it gave, or none."""
    assert parse(body(created_at=given_)).created_at == returned
    assert normalised(returned) == returned


@pytest.mark.parametrize("given_", NO_TIMES)
@pytest.mark.parametrize("parse", [create_note, replace_note, patch_note])
def test_what_is_no_time_is_refused(parse: Any, given_: str) -> None:
    """What is no time, or none from the year 1 to 9999 in UTC, is refused with a pointer to the field."""
    assert flaws(parse, body(created_at=given_)) == ["#/created_at"]


@given(st.datetimes(), st.timedeltas().map(lambda delta: delta.seconds // 60 - 720), st.sampled_from("T t"))
def test_normalising_keeps_the_moment(moment: Any, zone_minutes: int, separator: str) -> None:
    """The moment that a client names is the moment that is kept, whatever its zone; normalised twice is as once."""
    sign, minutes = "-" if zone_minutes < 0 else "+", abs(zone_minutes)
    text = moment.isoformat(separator) + f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    try:
        kept = normalised(text)
    except ValueError:
        assert moment.year in (1, 9999)
        return
    assert microseconds(kept) == microseconds(moment.isoformat() + "+00:00") - zone_minutes * 60_000_000
    assert normalised(kept) == kept


def test_a_patch_leaves_alone_what_it_does_not_name() -> None:
    """What a merge patch does not name stays; null brings description and priority back to their defaults."""
    assert patch_note(b'{"title":"Tea"}') == PatchNote(title="Tea")
    assert patch_note(b'{"description":null,"priority":null}') == PatchNote(description="", priority=0)
    assert flaws(patch_note, b'{"title":null,"created_at":null,"created_by":null}') == [
        "#/title",
        "#/created_at",
        "#/created_by",
    ]
