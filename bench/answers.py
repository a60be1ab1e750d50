"""notelog's own answers, captured so that the bare handler can send the same bytes."""

from __future__ import annotations

from msgspec import Struct

from bench.client import Answer, ask
from bench.load import Requests
from bench.server import Server


class Answers(Struct, frozen=True):
    """One answer for each request that is measured."""

    create: Answer
    read: Answer
    list: Answer
    edit: Answer


def capture(server: Server, requests: Requests) -> Answers:
    """Asks each request once, of a server that holds notes already."""
    asked = (requests.create, requests.read, requests.list, requests.edit)
    return Answers(*(ask(server, request) for request in asked))
