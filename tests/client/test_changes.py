"""What the client asks for happens once, and what is refused is an error of its kind."""

import asyncio
from pathlib import Path

import pytest
from msgspec import UNSET

from service import problems
from service.client import Client
from service.client import errors as client_errors
from service.client.errors import Invalid, KeyReused, NotFound, PreconditionFailed, TooManyRequests, Unreachable
from tests.client.cutter import Cutter
from tests.service.running import WITHIN_S, Running


async def test_every_change_and_read(client: Client) -> None:
    """Each method does what its name says, and answers with the note as it is after it."""
    note = await client.create("Milk", priority=1, created_at="2017-08-23 00:00")
    assert (note.id, note.version, note.priority, note.created_at) == (1, 1, 1, "2017-08-23T00:00:00Z")
    replaced = await client.replace(1, "Bread")
    assert (replaced.title, replaced.priority, replaced.created_at) == ("Bread", 0, note.created_at)
    assert (await client.patch(1, description="two", priority=None)).description == "two"
    await client.delete(1)
    with pytest.raises(NotFound) as gone:
        await client.get(1)
    assert gone.value.deleted_at is not None
    assert (await client.restore(1)).version == 5
    reverted = await client.revert(1, version=1)
    assert (reverted.title, reverted.priority) == ("Milk", 1)
    assert await client.get(1) == reverted
    assert (await client.get(1, version=2)).title == (await client.get(1, as_of=2)).title == "Bread"
    assert [entry.type async for entry in client.history(1)][-2:] == ["NoteRestored", "NoteEdited"]
    assert (await client.event(1)).payload.title == "Milk"  # type: ignore[union-attr]


async def test_lists_come_over_all_pages(client: Client) -> None:
    """A list is whole whatever the size of its pages, and filters are those of the service."""
    await asyncio.gather(*(client.create(f"note {number}", priority=number % 3) for number in range(7)))
    assert [note.id async for note in client.list(page_notes=2)] == [1, 2, 3, 4, 5, 6, 7]
    assert len([note async for note in client.list(priority=1, sort="-title", page_notes=1)]) == 2
    assert [note.id async for note in client.list(as_of=3, page_notes=2)] == [1, 2, 3]


async def test_lost_answers_change_once(client: Client, cutter: Cutter, notelog: Running) -> None:
    """A change whose answer is lost is sent again under its key: recorded once, and answered as the first time."""
    cutter.lose_answers = 2
    note = await client.create("once")
    assert (note.id, note.version, cutter.cuts) == (1, 1, 2)
    cutter.lose_answers = 1
    await client.delete(1)
    assert notelog.log.head == 2


async def test_a_service_that_comes_back_is_waited_for(client: Client, notelog: Running) -> None:
    """A change that meets a stopped service is made when it is there again."""
    await notelog.stop()
    creating = asyncio.create_task(client.create("patience"))
    await notelog.start()
    assert (await asyncio.wait_for(creating, WITHIN_S)).title == "patience"


async def test_giving_up_says_the_key(client: Client, cutter: Cutter, notelog: Running) -> None:
    """When time is up, the error has the key under which the same call goes on, and records nothing twice."""
    async with Client(cutter.url, retry_total_s=0.0) as hasty:
        cutter.lose_answers = 1
        with pytest.raises(Unreachable) as lost:
            await hasty.create("once")
    assert lost.value.key
    assert (await client.create("once", key=lost.value.key)).id == 1
    assert notelog.log.head == 1
    with pytest.raises(KeyReused):
        await client.create("twice", key=lost.value.key)


async def test_refusals_say_what_is_wrong(client: Client) -> None:
    """All flaws are named, and a lost race brings the note as it is."""
    with pytest.raises(Invalid) as invalid:
        await client.create("", priority=2**40)
    assert {flaw.pointer for flaw in invalid.value.flaws} == {"#/title", "#/priority"}
    await client.create("Milk")
    await client.patch(1, title="Bread", expected_version=1)
    with pytest.raises(PreconditionFailed) as raced:
        await client.patch(1, title="Beer", expected_version=1)
    assert raced.value.note is not None
    assert raced.value.note.title == "Bread"


async def test_it_comes_back_when_it_was_told_to(stopped: Running, cutter: Cutter) -> None:
    """A refusal for a while (429 with Retry-After) is waited out; one that lasts is an error of its kind."""
    await stopped.start(rate_limit="1/second")
    async with Client(cutter.url) as client, Client(cutter.url, retry_total_s=0.0) as hasty:
        notes = [await client.create(f"note {number}") for number in range(3)]
        assert [note.id for note in notes] == [1, 2, 3]
        answers = await asyncio.gather(*(hasty.get(1) for _ in range(5)), return_exceptions=True)
        assert any(isinstance(answer, TooManyRequests) for answer in answers)


async def test_reads_show_what_was_seen(client: Client, notelog: Running) -> None:
    """The client asks each read for the last position it has seen; a log with another epoch makes it begin anew."""
    note = await client.create("Milk")
    assert client.position == note.position
    client._requests.saw("0" * 32, 10**6)
    async with Client(notelog.url) as fresh:
        fresh._requests.saw("0" * 32, 10**6)
        assert (await fresh.get(1)).title == "Milk"
        assert fresh.position == 1


def test_each_problem_has_a_class_of_error() -> None:
    """Nothing that the service can say of a refusal is left without a class, and no class without a problem."""
    assert set(client_errors.OF_SLUG) == set(problems.PROBLEMS)
    for slug, problem in problems.PROBLEMS.items():
        body = problems.answer(problem).body
        assert isinstance(body, bytes)
        error = client_errors.problem_of(problem.status, body)
        assert type(error) is client_errors.OF_SLUG[slug]
        assert (error.status, error.title) == (problem.status, problem.title)
        assert type(error).__name__ == slug.title().replace("-", "")
    assert client_errors.ProblemMembers().note is UNSET


async def test_what_is_no_notelog_is_said_so(tmp_path: Path, notelog: Running) -> None:
    """An address that answers something else, and one that answers nothing, are told apart."""
    async with Client(notelog.url + "/docs", retry_total_s=0.0) as astray:
        with pytest.raises(NotFound):
            await astray.get(1)
    async with Client("http://127.0.0.1:1", retry_total_s=0.0) as alone:
        with pytest.raises(Unreachable):
            await alone.get(1)
