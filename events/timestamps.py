"""Times as texts and as microseconds since 1970, UTC.

Inside, a time is an integer of microseconds; outside, RFC 3339 in UTC with ``Z``.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_BIRTH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# ISO 8601 as people write it: T or a space; seconds, fraction and zone optional.
_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?([Zz]|[+-]\d\d(?::?[0-5]\d)?)?", re.ASCII
)


def rfc3339(microseconds: int) -> str:
    """The time as text, always with six digits: ``2017-08-23T00:00:00.000000Z``."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{_whole_seconds(seconds)}.{fraction:06d}Z"


def normalised(text: str) -> str:
    """What a client wrote, as RFC 3339 in UTC, with the digits of the fraction that it gave: none, or up to six.

    Raises ``ValueError`` with a sentence for the client. Normalising twice changes nothing.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError("expected a time like 2017-08-23T00:00:00Z or 2017-08-23 00:00")
    day, minutes, seconds, fraction, zone = form.groups()
    if minutes.startswith("24"):  # midnight for Python 3.14, an error for those before
        raise ValueError("there is no such time: hour must be in 0..23")
    text = f"{day}T{minutes}:{seconds or '00'}"
    if zone is None or zone in "Zz":
        zone = "+00:00"
    try:
        there = datetime.fromisoformat(text + zone)
    except ValueError as error:
        raise ValueError(f"there is no such time: {error}") from None
    if zone != "+00:00":
        text = _in_utc(there)
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def _in_utc(there: datetime) -> str:
    try:
        return there.astimezone(UTC).isoformat().removesuffix("+00:00")
    except OverflowError:
        raise ValueError("expected a year from 1 to 9999 in UTC") from None


def microseconds(text: str) -> int:
    """The microseconds since 1970 of a normalised text."""
    return (datetime.fromisoformat(text) - _BIRTH) // _MICROSECOND


@lru_cache(maxsize=64)
def _whole_seconds(seconds: int) -> str:
    """Many events fall into one second."""
    return (_BIRTH + timedelta(seconds=seconds)).isoformat()[:19]  # a third of the cost of strftime
