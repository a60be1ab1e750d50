"""The client's own ledger: what it asked, and what it was told. The truth that the log is compared with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a client knows of its request."""

    OK = "ok"  # it was answered 2xx: its event is there, once, for ever
    REFUSED = "refused"  # it was answered with a problem, or never left: nothing may be there
    UNKNOWN = "unknown"  # the connection broke or the outcome is unknown: there once, or not at all


@dataclass(frozen=True)
class Answer:
    """What one sending of a request brought. Times are CLOCK_MONOTONIC in nanoseconds, the same in every process."""

    verdict: Verdict
    status: int = 0  # 0: no answer came
    position: int = 0
    note_id: int = 0
    version: int = 0
    replayed: bool = False
    etag: str | None = None
    location: str | None = None
    note: dict[str, Any] | None = None
    why: str = ""
    asked_ns: int = 0
    at_ns: int = field(default_factory=time.monotonic_ns)


@dataclass
class Request:
    """One command of a client with every answer it got; sent again only under the same Idempotency-Key.

    `marker` is the title that it writes, unlike every other, so that its event can be found. A deletion
    writes nothing: it is found by its note, because a note is deleted by one request at most.
    """

    marker: str
    kind: str  # create, patch, delete
    method: str
    path: str
    body: dict[str, Any] | None = None
    key: str | None = None
    if_match: str | None = None
    note_id: int | None = None  # the note it changes; None for a creation
    answers: list[Answer] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What all the answers together say."""
        known = [answer.verdict for answer in self.answers]
        if Verdict.OK in known:
            return Verdict.OK
        if not known or known[-1] is Verdict.UNKNOWN:
            return Verdict.UNKNOWN
        # A refusal speaks of its own sending. Of the ones before it only a judgement (4xx) does, because the key is
        # looked up before anything else is judged; a 503 says nothing of them.
        judged = self.key is not None and 400 <= self.answers[-1].status < 500
        return Verdict.REFUSED if judged or Verdict.UNKNOWN not in known else Verdict.UNKNOWN

    @property
    def first_ok(self) -> Answer:
        """The answer that said where the event is."""
        return next(answer for answer in self.answers if answer.verdict is Verdict.OK)

    def as_known_at(self, at_ns: int) -> Request:
        """The request with the answers that had come by then."""
        if all(answer.at_ns <= at_ns for answer in self.answers):
            return self
        return replace(self, answers=[answer for answer in self.answers if answer.at_ns <= at_ns])
