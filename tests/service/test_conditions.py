"""If-Match: which changes it lets through, and in which order a request is judged."""

from typing import Any

import pytest

from tests.service.running import Answer, Running, problem


async def test_the_order_of_the_checks(notelog: Running) -> None:
    """First the body (422), then existence (404), then the condition (412)."""
    await notelog.note()
    bad, good, wrong = {"title": 1}, {"title": "Tea"}, '"7"'
    problem(await notelog.put("/notes/2", bad, If_Match=wrong), 422, "invalid")
    problem(await notelog.put("/notes/2", good, If_Match=wrong), 404, "not-found")
    problem(await notelog.put("/notes/1", bad, If_Match=wrong), 422, "invalid")
    problem(await notelog.put("/notes/1", good, If_Match=wrong), 412, "precondition-failed")
    assert (await notelog.put("/notes/1", good, If_Match='"1"')).status == 200


NO_MATCH = (
    '"2"',
    '"0"',
    '"01"',
    'W/"1"',
    "1",
    "'1'",
    'x"1"',
    '"1',
    '"2", W/"1"',
    "",
    "x*",
    '"a", *',
    '"1"x',
    '"1" "1"',
)
MATCH = ('"1"', '"9", "1"', '"a,b" , "1"', ',"1",', '"1",, ,', "*")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "restore"])
async def test_conditions(notelog: Running, method: str) -> None:
    """If-Match must name the note's version, in a list or with a star; weak tags and what is no tag never match."""

    async def change(note: dict[str, Any], tag: str) -> Answer:
        path, body = f"/notes/{note['id']}", {"title": "Tea"} if method in ("PUT", "PATCH") else None
        if method == "restore":
            return await notelog.post(f"{path}/restore", If_Match=tag)
        return await notelog.ask(method, path, body, headers={"If-Match": tag})

    note = await notelog.note()
    for tag in NO_MATCH:
        assert problem(await change(note, tag), 412, "precondition-failed")["note"] == note, tag
    assert notelog.log.head == 1
    for tag in MATCH:
        assert (await change(await notelog.note(), tag)).status in (200, 204), tag


async def test_conditions_can_be_required(stopped: Running) -> None:
    """Where If-Match is required a change without it is answered 428; creating needs none."""
    await stopped.start(require_if_match=True)
    await stopped.note()
    problem(await stopped.put("/notes/1", {"title": "Tea"}), 428, "precondition-required")
    problem(await stopped.delete("/notes/1"), 428, "precondition-required")
    problem(await stopped.put("/notes/2", {"title": "Tea"}), 404, "not-found")
    assert (await stopped.put("/notes/1", {"title": "Tea"}, If_Match='"1"')).status == 200
    assert (await stopped.delete("/notes/1", If_Match="*")).status == 204
    problem(await stopped.post("/notes/1/restore"), 428, "precondition-required")
