"""``notes.db`` can be built from the log at any time: whatever became of the file, ``serve`` makes it right."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import Running, until
from tests.service.subscriber import connected


def execute(sql: str, *values: Any) -> Callable[[Path], None]:
    """A change of the file by another program."""

    def change(file: Path) -> None:
        connection = sqlite3.connect(file, isolation_level=None)
        assert connection.execute(sql, values).rowcount
        connection.close()

    return change


def overwrite(start: float, end: float) -> Callable[[Path], None]:
    """Rubbish in place of a part of the file; start and end as shares of its length."""

    def change(file: Path) -> None:
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(int(size * start))
            opened.write(os.urandom(int(size * (end - start))))

    return change


def cut(share: float) -> Callable[[Path], None]:
    """The file ends earlier."""

    def change(file: Path) -> None:
        os.truncate(file, int(file.stat().st_size * share))

    return change


def delete(file: Path) -> None:
    """The file is gone."""
    file.unlink()


OTHER = "UPDATE checkpoints SET"
DAMAGE: dict[str, Callable[[Path], None]] = {
    "it was deleted": delete,
    "it is empty": cut(0),
    "it is no database": overwrite(0, 1),
    "its header is rubbish": overwrite(0, 0.001),
    "its end is missing": cut(0.5),
    "of another epoch": execute(f"{OTHER} epoch = ?", "f" * 32),
    "of another log of this epoch": execute(f"{OTHER} hash = ?", b"x" * 32),
    "beyond the log": execute(f"{OTHER} position = position + 5"),
    "of another version of its tables": execute(f"{OTHER} version = 99"),
    "without checkpoints": execute("DELETE FROM checkpoints"),
}


async def some_notes(notelog: Running) -> None:
    """Notes, changed and deleted, that fill some pages of the file."""
    for number in range(30):
        await notelog.note(f"number {number}", description="x" * 2_000)
    await notelog.patch("/notes/3", {"title": "changed"})
    await notelog.delete("/notes/4")


async def is_ready(notelog: Running) -> bool:
    """Whether the service says that all its tables are there."""
    return (await notelog.get("/readyz")).status == 200


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_file_that_does_not_fit_is_built_anew(notelog: Running, damage: Callable[[Path], None]) -> None:
    """Whatever became of ``notes.db``, after a start it shows what the log says, and goes on from there."""
    await some_notes(notelog)
    notes = await notelog.all_notes()
    await notelog.stop()
    damage(notelog.data / "notes.db")
    await notelog.start()
    await until(lambda: is_ready(notelog), "the tables are built")
    assert await notelog.all_notes() == notes
    assert (await notelog.get("/notes/4")).status == 404
    changed = (await notelog.patch("/notes/3", {"priority": 7})).json
    assert (await notelog.get("/notes/3")).json == changed
    assert (await notelog.get("/notes?q=changed")).json["notes"] == [changed]
    async with connected(notelog) as client:
        frames = await client.follow("s", "notes", after=0)
        assert sum(len(frame["notes"]) for frame in frames[:-1]) == 29


async def test_a_file_that_is_damaged_inside(notelog: Running) -> None:
    """Damage that shows only when it is used stops the tables, with the advice to start again; that start mends it."""
    await some_notes(notelog)
    notes = await notelog.all_notes()
    await notelog.stop()
    overwrite(0.1, 0.9)(notelog.data / "notes.db")
    await notelog.start()
    await notelog.patch("/notes/3", {"priority": 7})
    await until(notelog.is_stopped, "the damage is found")
    report = (await notelog.get("/readyz")).json["projections"]
    assert any("start again" in str(projection["error"]) for projection in report.values())
    await notelog.restart()
    await until(lambda: is_ready(notelog), "the tables are built")
    assert len(await notelog.all_notes()) == len(notes)
    assert (await notelog.get("/notes/1")).json == notes[0]
    assert not (notelog.data / "notes.db.damaged").exists()


async def test_a_file_of_another_log(notelog: Running, tmp_path: Path) -> None:
    """The tables of one log in the folder of another are thrown away, though they are whole."""
    await notelog.note("mine")
    await notelog.stop()
    shutil.copy(notelog.data / "notes.db", tmp_path / "notes.db")
    shutil.rmtree(notelog.data)
    await notelog.start()
    await notelog.note("other")
    await notelog.stop()
    shutil.copy(tmp_path / "notes.db", notelog.data / "notes.db")
    await notelog.start()
    assert [note["title"] for note in await notelog.all_notes()] == ["other"]


async def test_a_file_that_fits_is_kept(notelog: Running) -> None:
    """A file that fits its log is gone on with: what was built is not built again."""
    await some_notes(notelog)
    await until(notelog.has_caught_up, "all projections are at the head")
    await notelog.stop()
    mark = execute("UPDATE notes SET body = replace(body, 'number 7', 'marked')")
    mark(notelog.data / "notes.db")
    await notelog.start()
    assert "marked" in [note["title"] for note in await notelog.all_notes()]
