"""The description and the service say the same: whatever is served is described, whatever is described is served."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.description.described import Json, Operation, kinds_of_problem
from tests.description.provoking import record
from tests.description.recording import Exchange, Recording

# What no request brings about: other tests break disks, nodes and identity providers.
NEEDS_FAULTS = re.compile(
    ".* (internal|conflict|busy|log-unavailable|outcome-unknown|keys-unavailable)"
    "|(POST|PUT|PATCH|DELETE) .* behind"  # the notes table would have to lag
    "|GET /tlog/.* (behind|projection-stopped)"  # the ledger would have to lag, or not to fit the log
    "|GET /tlog/(checkpoint|key) 404 not-found"  # there would have to be no key
)
# HTTP's own headers, and those that OpenAPI tells in other words: media types, security, the host.
READ_BY_HTTP = {
    *("accept", "authorization", "content-encoding", "content-type", "expect", "host", "origin", "upgrade"),
    *("sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version"),
}
ANSWERED_BY_HTTP = {
    *("connection", "content-length", "content-type", "date", "server", "transfer-encoding"),
    *("sec-websocket-accept", "sec-websocket-protocol"),
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """What was really read and answered. The tests only look at it."""
    return asyncio.run(record(tmp_path_factory.mktemp("recording")))


def test_every_route_is_described(recording: Recording) -> None:
    """The router serves the operations that are described, and no other."""
    assert recording.served == {operation for operation, _ in recording.description.operations()}


def test_every_answer_is_described(recording: Recording) -> None:
    """Each answer has a status, headers, a media type and fields that its operation names, and no other."""
    assert_none(
        f"{one.operation} {one.status}: {misfit}" for one in recording.exchanges for misfit in misfits(recording, one)
    )


def test_every_status_is_answered(recording: Recording) -> None:
    """Each status that an operation names was answered, but for those that need faults."""
    assert_none(
        f"{operation} {status}" for operation, status, _ in answerable(recording) if not recording.of(operation, status)
    )


def test_every_kind_of_problem_is_answered(recording: Recording) -> None:
    """Each kind of problem that an operation names was answered, but for those that need faults."""
    assert_none(
        f"{operation} {status}: {kind}"
        for operation, status, response in answerable(recording)
        for kind in kinds_of_problem(response)
        if not NEEDS_FAULTS.fullmatch(f"{operation} {status} {kind}")
        if kind not in {exchange.kind_of_problem for exchange in recording.of(operation, status)}
    )


def test_every_header_is_answered(recording: Recording) -> None:
    """Each header that an answer names was there, and each time if it is said to be there always."""
    assert_none(
        f"{operation} {status}: {name}"
        for operation, status, response in answerable(recording)
        for name, always in recording.description.headers(response)
        if not (all if always else any)(name in exchange.headers for exchange in recording.of(operation, status))
    )


def test_every_field_is_answered(recording: Recording) -> None:
    """Each field of each type that an answer names was there at least once."""
    named: set[tuple[str, str]] = set()
    seen: set[tuple[str, str]] = set()
    for operation, status, response in recording.description.responses():
        for media_type, content in response["content"].items():
            named |= recording.description.named_fields(content["schema"])
            for exchange in recording.of(operation, status):
                for value in exchange.values if exchange.media_type == media_type else ():
                    seen |= set(recording.description.fields_of(content["schema"], value))
    assert_none(f"{type_}.{field}" for type_, field in named - seen)


def test_every_header_that_is_read_is_described(recording: Recording) -> None:
    """Each operation looks at the headers that it names, and at no other but HTTP's own."""
    for operation, _ in recording.description.operations():
        named = {name.lower() for name in recording.description.parameters(operation, "header")}
        assert named == recording.read[operation] - READ_BY_HTTP, operation


def test_every_query_parameter_is_described(recording: Recording) -> None:
    """Each operation knows the query parameters that it names, and says so to whom sends another."""
    for operation, _ in recording.description.operations():
        assert recording.description.parameters(operation, "query") == known_parameters(recording, operation), operation


def assert_none(faults: Iterator[str]) -> None:
    """Show all that is wrong at once."""
    found = sorted(set(faults))
    assert not found, "\n".join(found)


def answerable(recording: Recording) -> Iterator[tuple[Operation, int, Json]]:
    """The answers that requests can bring about."""
    for operation, status, response in recording.description.responses():
        kinds = kinds_of_problem(response)
        if not kinds or not all(NEEDS_FAULTS.fullmatch(f"{operation} {status} {kind}") for kind in kinds):
            yield operation, status, response


def misfits(recording: Recording, exchange: Exchange) -> Iterator[str]:
    """What of an answer is not described."""
    response = recording.description.response(exchange.operation, exchange.status)
    if response is None:
        yield "is not described"
        return
    known = {name.lower() for name in response["headers"]} | ANSWERED_BY_HTTP
    yield from (f"header {name} is not described" for name in exchange.headers if name.lower() not in known)
    content: dict[str | None, Any] = response["content"]
    if exchange.body and exchange.media_type not in content:
        yield f"{exchange.media_type} is not described"
        return
    for value in exchange.values:
        yield from recording.description.misfits(content[exchange.media_type]["schema"], value)


def known_parameters(recording: Recording, operation: Operation) -> set[str]:
    """What the operation says that it knows when it is asked for what it does not know."""
    flaws = [
        flaw
        for exchange in recording.of(operation, 422)
        for flaw in exchange.values[0].get("errors", ())
        if flaw["pointer"] == "?no_such_parameter"
    ]
    return set(re.findall(r"\w+", flaws[0]["detail"].partition("known are")[2])) if flaws else set()
