"""``events.db``: which files are opened, and which are refused and left as they are."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from events.errors import BrokenLog, FolderError, NewerFormat, NotANotelogFile
from events.sqlite_log import SqliteLog
from events.store import APPLICATION_ID, FORMAT
from tests.engines import creation


async def refused(path: Path, error: type[FolderError]) -> FolderError:
    """Open the file, which must be refused and stay as it is, byte for byte."""
    before = path.read_bytes()
    with pytest.raises(error) as raised:
        await SqliteLog.open(path)
    assert path.read_bytes() == before
    assert str(path) in str(raised.value)
    return raised.value


async def new_log(path: Path) -> str:
    """A log with one event; its epoch."""
    log = await SqliteLog.open(path)
    await log.append(creation(), 0)
    await log.close()
    return log.epoch


def execute(path: Path, *statements: str) -> None:
    """Do something to a file that no log has open."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_a_new_log(tmp_path: Path) -> None:
    """A new log has an epoch of its own, 32 hexadecimal digits, and marks that any tool can read."""
    path = tmp_path / "events.db"
    epoch = await new_log(path)
    assert len(bytes.fromhex(epoch)) == 16
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    assert dict(connection.execute("SELECT key, value FROM meta"))["epoch"] == epoch
    connection.close()
    assert await new_log(tmp_path / "other.db") != epoch


async def test_something_else_is_left_alone(tmp_path: Path) -> None:
    """Another program's database, or a file that is none, is refused and not changed by a byte."""
    path = tmp_path / "events.db"
    execute(path, "CREATE TABLE bookmarks (url TEXT)", "PRAGMA application_id = 99")
    assert "0x63" in str(await refused(path, NotANotelogFile))
    path.write_text("not a database, but long enough to be looked at as one" * 20)
    await refused(path, NotANotelogFile)


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A log of a newer version is refused with the way out, and not changed."""
    path = tmp_path / "events.db"
    await new_log(path)
    execute(path, f"PRAGMA user_version = {FORMAT + 1}")
    error = await refused(path, NewerFormat)
    assert isinstance(error, NewerFormat)
    assert (error.found, error.known) == (FORMAT + 1, FORMAT)


async def test_a_log_without_an_epoch_is_broken(tmp_path: Path) -> None:
    """A log whose epoch somebody removed is refused: no client could tell it from another."""
    path = tmp_path / "events.db"
    await new_log(path)
    execute(path, "DELETE FROM meta")
    await refused(path, BrokenLog)


async def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """What keeps the file from being opened is told as it is, and not as if it were another program's file."""
    with pytest.raises(FolderError, match="cannot be opened") as raised:
        await SqliteLog.open(tmp_path / "nowhere" / "events.db")
    assert not isinstance(raised.value, NotANotelogFile)


async def test_a_file_that_was_exchanged_is_not_written(tmp_path: Path) -> None:
    """A log that must open its file again, and finds another one there, takes no writes and says so."""
    path, other = tmp_path / "events.db", tmp_path / "other.db"
    epoch = await new_log(path)
    await new_log(other)
    log = await SqliteLog.open(path)
    shutil.move(other, path)
    for exchange in ("another log", "is gone"):
        with pytest.raises(BrokenLog, match=exchange):
            await log._open_again()
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(f"{path}{suffix}"):
                os.unlink(f"{path}{suffix}")
    assert log.epoch == epoch
    await log.close()


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b", "ä ö"])
async def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URI are just characters of the path."""
    (tmp_path / name).mkdir()
    await new_log(tmp_path / name / "events.db")
    assert (tmp_path / name / "events.db").exists()
