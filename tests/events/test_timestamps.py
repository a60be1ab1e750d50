"""Times: what clients write, and microseconds since 1970."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.timestamps import microseconds, normalised, rfc3339

zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones)


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_and_back(moment: datetime) -> None:
    """Every microsecond of the years 1 to 9999 has its text, always with six digits, and comes back from it."""
    text = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert rfc3339(microseconds(text)) == text


@given(moments, st.sampled_from("T t"), st.integers(0, 6), st.booleans())
def test_any_zone_and_fraction(moment: datetime, separator: str, digits: int, colon: bool) -> None:
    """What a client writes in any zone is the same moment in UTC, with the digits that it gave and no others."""
    fraction = f"{moment.microsecond:06d}"[:digits]
    zone = f"{moment:%z}"[:5]
    zone = f"{zone[:3]}:{zone[3:]}" if colon else zone
    written = f"{moment:%Y}".rjust(4, "0") + f"{moment:-%m-%d}{separator}{moment:%H:%M:%S}"
    text = normalised(written + (f".{fraction}" if digits else "") + zone)
    utc = moment.astimezone(UTC).replace(microsecond=int(fraction.ljust(6, "0")))
    assert datetime.fromisoformat(text) == utc
    assert text.endswith("Z")
    assert text.partition(".")[2] == (f"{fraction}Z" if digits else "")
    assert normalised(text) == text


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2017-08-23 00:00", "2017-08-23T00:00:00Z"),
        ("2017-08-23T12:34:56", "2017-08-23T12:34:56Z"),
        ("2017-08-23t12:34:56z", "2017-08-23T12:34:56Z"),
        ("2017-08-23T12:34:56.70Z", "2017-08-23T12:34:56.70Z"),
        ("2017-08-23T00:30+01", "2017-08-22T23:30:00Z"),
        ("2017-08-23T00:30-0130", "2017-08-23T02:00:00Z"),
        ("2016-02-29 00:00", "2016-02-29T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_as_people_write_it(written: str, kept: str) -> None:
    """T or a space; seconds, fraction and zone may be left out."""
    assert normalised(written) == kept


@pytest.mark.parametrize(
    "written",
    [
        "",
        "yesterday",
        "2017-08-23",
        "2017-8-23 00:00",
        "2017-02-29 00:00",
        "2017-08-23 25:00",
        "2017-08-23 24:00",
        "2017-08-23 00:60",
        "2017-08-23T00:00:60Z",
        "2017-08-23T00:00:00.1234567Z",
        "2017-08-23T00:00:00+25:00",
        "2017-08-23T00:00:00Z ",
        "2017-08-23T00:00:00Z\n",
        "２０１７-08-23 00:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_what_is_no_time_is_refused(written: str) -> None:
    """Anything else, and a year outside 1 to 9999 in UTC, is a ValueError with a sentence for the client."""
    with pytest.raises(ValueError, match=r"^(expected a|there is no such time)"):
        normalised(written)
