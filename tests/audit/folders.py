"""Data folders without a service: commands run on them as a user runs them, and what is in them."""

import asyncio
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# Far more than any of this takes: only what hangs meets it.
WITHIN_S = 120.0


def notelog(*arguments: str | Path, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """The command, run to its end."""
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, input=stdin, capture_output=True, timeout=WITHIN_S, check=False)


def took_s(*arguments: str | Path) -> float:
    """How long the command takes that is killed afterwards, so that kills meet all of it."""
    began = time.monotonic()
    assert notelog(*arguments).returncode == 0
    return time.monotonic() - began


def killed_after(seconds: float, *arguments: str | Path) -> bool:
    """The command, killed after a while: any moment will do, also one after its end. Whether it was under way."""
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
    return process.returncode != 0


async def beside(*arguments: str | Path, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """The command, while the service of the test goes on."""
    return await asyncio.to_thread(lambda: notelog(*arguments, stdin=stdin))


def result(done: "subprocess.CompletedProcess[bytes]", code: int = 0) -> Any:
    """What a command printed with --json, and that it ended with the exit code."""
    assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return json.loads(done.stdout)


def contents(file: Path) -> dict[str, str]:
    """A hash over all rows of each table, for comparing."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name in ("notes", "tombstones", "versions", "moments", "search_content", "checkpoints")
        ]
        return {name: _hash_of(connection, name) for name in tables}


def _hash_of(connection: sqlite3.Connection, table: str) -> str:
    digest = hashlib.sha256()
    for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1"):
        digest.update(repr(row).encode())
    return digest.hexdigest()


@contextmanager
def tampering(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody who has the database in hand: no trigger stands in the way; all come back."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.execute(sql)


def copied(folder: Path, to: Path) -> Path:
    """The folder once more, in the place of what was there."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to
