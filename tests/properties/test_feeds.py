"""Both feeds, read by clients that break off and resume by chance: no hole, no repeat, and in the end the table."""

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections import queries
from service.live import feeds, ring
from tests.service.running import Running
from tests.service.subscriber import Copy, Subscriber, connected, decoded, positions_of

NOTES = 6
# How long a client listens before it breaks off; not a promise, only what ends a silence.
LISTEN_S = 0.05
# Stands for a description of which three fit into a frame.
LARGE = "large"

wheres = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(1, NOTES) | st.lists(st.integers(1, NOTES), max_size=3),
        "created_by": st.sampled_from(["ada", "bob", ["ada", "bob"]]),
        "priority": st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
        "priority_min": st.integers(0, 3),
        "priority_max": st.integers(0, 3),
    },
)
fields = st.fixed_dictionaries(
    {"priority": st.integers(0, 3)},
    optional={"created_by": st.sampled_from(["ada", "bob"]), "description": st.sampled_from(["", LARGE])},
)
creations = st.tuples(st.just("create"), st.just(0), fields)
kinds = st.sampled_from(["create", "edit", "edit", "edit", "delete", "restore"])
changes = st.tuples(kinds, st.integers(1, NOTES), fields)


def passes(note: dict[str, Any], where: dict[str, Any]) -> bool:
    """What ``where`` means."""
    named = {name: wanted if isinstance(wanted, list) else [wanted] for name, wanted in where.items()}
    return (
        all(note[name] in named[name] for name in ("id", "created_by", "priority") if name in named)
        and note["priority"] >= where.get("priority_min", 0)
        and note["priority"] <= where.get("priority_max", 3)
    )


class Reader:
    """A client of one feed that breaks off after so many frames, and resumes where it was."""

    def __init__(self, notelog: Running, feed: str, where: dict[str, Any], patience: list[int]) -> None:
        self.copy = Copy()
        self.positions: list[int] = []
        self._notelog = notelog
        self._feed = feed
        self._where = where
        self._patience = patience

    async def read(self, writing: "asyncio.Task[None]") -> None:
        """Read until all that is written has come."""
        turn = 0
        while not writing.done() or self.copy.position < self._notelog.log.head:
            async with connected(self._notelog) as client:
                await client.subscribe("s", self._feed, after=self.copy.position, where=self._where)
                await self._listen(client, self._patience[turn % len(self._patience)])
                client.connection.transport.abort()
            turn += 1

    async def _listen(self, client: Subscriber, frames: int) -> None:
        with suppress(TimeoutError):
            for _ in range(frames):
                frame = decoded(await asyncio.wait_for(client.connection.recv(), LISTEN_S))
                self.copy.take([frame])
                self.positions += positions_of([frame])


async def make(notelog: Running, wanted: list[tuple[str, int, dict[str, Any]]]) -> None:
    """Ask for the changes, some of which are refused because their note is not there."""
    for kind, id_, said in wanted:
        fields = said | ({"description": "x" * 9_000} if said.get("description") == LARGE else {})
        if kind == "create":
            await notelog.note(**fields)
        elif kind == "edit":
            await notelog.patch(f"/notes/{id_}", fields)
        elif kind == "delete":
            await notelog.delete(f"/notes/{id_}")
        else:
            await notelog.post(f"/notes/{id_}/restore")


async def follow_and_compare(
    folder: Path, patch: pytest.MonkeyPatch, before: Any, meanwhile: Any, where: dict[str, Any], patience: list[int]
) -> None:
    """Write some, then write on while clients read, and compare what they have."""
    notelog = Running(folder / "data", patch)
    await notelog.start()
    try:
        await make(notelog, before)
        writing = asyncio.create_task(make(notelog, meanwhile))
        readers = [Reader(notelog, "notes", where, patience), Reader(notelog, "notes", {}, patience[::-1])]
        events = Reader(notelog, "events", {}, patience)
        await asyncio.gather(writing, *(reader.read(writing) for reader in (*readers, events)))
        table = {note["id"]: note for note in await notelog.all_notes()}
        assert readers[0].copy.notes == {id_: note for id_, note in table.items() if passes(note, where)}
        assert readers[1].copy.notes == table
        assert events.positions == list(range(1, notelog.log.head + 1))
    finally:
        await notelog.stop()


@settings(max_examples=30, deadline=None)
@given(
    before=st.lists(st.one_of(creations, changes), min_size=4, max_size=14),
    meanwhile=st.lists(changes, min_size=5, max_size=25),
    where=wheres,
    patience=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    read_items=st.sampled_from([1, 2, 3, 200]),
    ring_bytes=st.sampled_from([1, 20_000, 8 * 1024 * 1024]),
)
def test_clients_that_break_off_and_resume(
    before: Any, meanwhile: Any, where: dict[str, Any], patience: list[int], read_items: int, ring_bytes: int
) -> None:
    """However clients break off, a copy of ``notes`` ends as the table's notes that match, and ``events`` come once."""
    folder = Path(tempfile.mkdtemp(prefix="notelog-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeds, "READ_ITEMS_MAX", read_items)
        patch.setattr(ring, "RING_BYTES_MAX", ring_bytes)
        patch.setattr(queries, "PAGE_BYTES_MAX", 20_000)
        try:
            asyncio.run(follow_and_compare(folder, patch, before, meanwhile, where, patience))
        finally:
            shutil.rmtree(folder)
