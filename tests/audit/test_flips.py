"""Random single bits, flipped in the cells of the log, the ledger and the tables: every one is found."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from events.transfer import import_log
from projections.version_check import RANGE_POSITIONS
from projections.words import words
from tests.audit.checked import found, served
from tests.audit.folders import copied, tampering
from tests.audit.histories import WORDS, History
from tests.service.running import Running
from tests.sizes import count

pytestmark = pytest.mark.faults

TABLES = {
    "events.db": ("events",),
    "ledger.db": ("tiles", "roots", "signatures", "checkpoints"),
    "notes.db": (
        "notes",
        "tombstones",
        "versions",
        "moments",
        "checkpoints",
        "search_content",
    ),
}
LARGE_LOG_EVENTS = 2 * RANGE_POSITIONS + 300
# The full-text index is made of blobs in which a bit may mean nothing; what it finds is what counts.
INDEX = {"notes.db": ("search_data", "search_idx")}


async def test_every_flipped_bit_is_found(closed: Path, dice: random.Random) -> None:
    """One random bit of one random cell of the log, the ledger or the tables: something is always found."""
    flips = 0
    columns = cells(closed)
    while flips < count("flips"):
        data = copied(closed, closed.parent / "flipped")
        flipped = flip_a_bit(data, dice, *dice.choice(columns))
        if flipped is not None:
            flips += 1
            assert found(data), flipped
    print(f"{flips} flips in {len(columns)} columns, all found")


@pytest.mark.skipif(not count("large_log_flips"), reason="takes 20 s: NOTELOG_FAULTS=ci or long")
async def test_flipped_bits_are_found_in_a_log_that_is_checked_in_parts(stopped: Running, dice: random.Random) -> None:
    """The same where the log is longer than what is compared at once: no bit falls between two parts."""
    stopped.data.mkdir()
    import_log(History(dice, LARGE_LOG_EVENTS).lines(), stopped.data / "events.db")
    data = await served(stopped, LARGE_LOG_EVENTS)
    columns = cells(data)
    for _ in range(count("large_log_flips")):
        flipped = flip_a_bit(copy := copied(data, data.parent / "flipped"), dice, *dice.choice(columns))
        assert flipped is None or found(copy), flipped


def answers(data: Path) -> list[object]:
    """What the search finds for every word that there is; the error where it finds none any more."""
    with closing(sqlite3.connect(data / "notes.db")) as tables:
        try:
            return [
                tables.execute(
                    "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid", (f'"{word}"',)
                ).fetchall()
                for text in WORDS
                for word in words(text)
            ]
        except sqlite3.DatabaseError as error:
            return [str(error)]


async def test_a_flipped_bit_in_the_index_of_the_search_is_found_or_changes_no_answer(
    closed: Path, dice: random.Random
) -> None:
    """The index is compared by what it says: a bit that verify lets pass lets every search find what it found."""
    before, columns = answers(closed), cells(closed, INDEX)
    for _ in range(count("index_flips")):
        data = copied(closed, closed.parent / "flipped")
        flipped = flip_a_bit(data, dice, *dice.choice(columns))
        assert flipped is None or found(data) or answers(data) == before, flipped


async def test_every_column_is_looked_at(closed: Path, dice: random.Random) -> None:
    """A bit in each column of each table in turn: none is left out of the comparison."""
    columns = cells(closed)
    for column in dice.sample(columns, min(count("flipped_columns"), len(columns))):
        data = copied(closed, closed.parent / "flipped")
        flipped = flip_a_bit(data, dice, *column)
        assert flipped is None or found(data), flipped


def cells(data: Path, files: dict[str, tuple[str, ...]] = TABLES) -> list[tuple[str, str, str]]:
    """Every column of every table that is not empty, with its file."""
    columns = []
    for file, tables in files.items():
        with closing(sqlite3.connect(data / file)) as connection:
            for table in tables:
                names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
                if connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]:
                    columns += [(file, table, name) for name in names]
    return columns


def flip_a_bit(data: Path, dice: random.Random, file: str, table: str, column: str) -> str | None:
    """Change one bit of one cell; what was changed, None when the cell has none or the file does not take it."""
    with tampering(data / file) as connection:
        connection.text_factory = bytes
        count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        keys = [name.decode() for _, name, *_, key in connection.execute(f"PRAGMA table_info({table})") if key]
        picked = (
            f"SELECT {', '.join(keys)}, {column}, typeof({column}) FROM {table} LIMIT 1 OFFSET {dice.randrange(count)}"
        )
        *key, value, type_ = connection.execute(picked).fetchone()
        changed = _flipped(value, dice)
        if changed is None:
            return None
        taken = "CAST(? AS TEXT)" if type_ == b"text" else "?"
        is_text = [isinstance(part, bytes) and name in ("name",) for name, part in zip(keys, key, strict=True)]
        where = " AND ".join(
            f"{name} = {'CAST(? AS TEXT)' if text else '?'}" for name, text in zip(keys, is_text, strict=True)
        )
        try:
            assert (
                connection.execute(f"UPDATE {table} SET {column} = {taken} WHERE {where}", (changed, *key)).rowcount
                == 1
            )
        except sqlite3.IntegrityError:
            return None  # the key of another row: the file itself refuses it
        return f"{file} {table}.{column} at {key}: {value!r} -> {changed!r}"


def _flipped(value: Any, dice: random.Random) -> Any:
    if isinstance(value, int):
        return value ^ 1 << dice.randrange(63)
    if not value:
        return None
    flipped = bytearray(value)
    flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
    return bytes(flipped)
