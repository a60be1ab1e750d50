"""``/openapi.json`` is good OpenAPI, and strict about what it takes."""

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.description.described import Description
from tests.description.provoking import VALUES
from tests.service.running import Running


async def test_the_description_is_valid(running: Running) -> None:
    """openapi-spec-validator finds nothing wrong with it."""
    await running.start()
    document = (await running.get("/openapi.json")).json
    assert document["openapi"].startswith("3.1.")
    assert not [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]


async def test_operations_have_names_of_their_own(running: Running) -> None:
    """Programs are generated from the names of operations: each has one, and no two the same."""
    await running.start()
    names = [described["operationId"] for _, described in (await described_by(running)).operations()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z_]+", name) for name in names)


async def test_nothing_is_described_twice_or_in_vain(running: Running) -> None:
    """Every type, header and parameter that the description names is used in it."""
    await running.start()
    document = (await running.get("/openapi.json")).json
    used = set(re.findall(r"'#/components/(\w+/[\w.-]+)'", str(document)))
    named = {f"{kind}/{name}" for kind, items in document["components"].items() for name in items}
    assert named - used == {"securitySchemes/token"}


async def test_the_methods_of_a_path_are_those_described(running: Running) -> None:
    """OPTIONS names the methods that are described, and HEAD beside each GET; another one is refused with the same."""
    await running.start()
    methods: dict[str, set[str]] = {}
    for operation, _ in (await described_by(running)).operations():
        methods.setdefault(operation.path.format(**VALUES), {"OPTIONS"}).add(operation.method)
    for path, described in methods.items():
        allowed = described | ({"HEAD"} if "GET" in described and path != "/ws" else set())
        refused = await running.ask("TRACE", path)
        assert refused.status == 405
        for answer in (await running.ask("OPTIONS", path), refused):
            assert set(answer.headers["Allow"].split(", ")) == allowed, path


async def test_a_token_is_asked_for_where_the_service_asks_for_one(running: Running) -> None:
    """Without authentication a token is optional in the description; with it, it is not."""
    await running.start()
    assert {} in await securities(running)
    await running.stop()
    await running.start(auth_secret=b"0123456789abcdef0123456789abcdef")
    assert {} not in await securities(running)


@pytest.mark.parametrize(
    "query", ["priority=null", "priority=1.5", "count=1", "count=True", "limit=0", "sort=colour", "limit=1&limit=2"]
)
async def test_a_parameter_that_does_not_fit_is_refused(running: Running, query: str) -> None:
    """What is no value of the described type is answered 422, and the parameter is named."""
    await running.start()
    answer = await running.get(f"/notes?{query}")
    assert answer.status == 422
    assert [flaw["pointer"] for flaw in answer.json["errors"]] == [f"?{query.partition('=')[0]}"]


async def described_by(running: Running) -> Description:
    """What the service says of itself."""
    return Description((await running.get("/openapi.json")).json)


async def securities(running: Running) -> list[Any]:
    """All that the operations say of tokens."""
    operations = (await described_by(running)).operations()
    return [one for _, described in operations for one in described.get("security", ())]
