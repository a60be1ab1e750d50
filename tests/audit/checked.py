"""Folders for `verify`: served until everything is there, and checked in all parts."""

import sqlite3
from contextlib import closing
from pathlib import Path

from events.folder import DataFolder
from projections.findings import Finding
from projections.verification import Task, verify_index, verify_log, verify_tables, verify_words
from tests.audit.test_tlog import published
from tests.service.running import Running


async def served(stopped: Running, events: int) -> Path:
    """Serve a folder with so many events until all its tables are there and all is signed; the folder."""
    await stopped.start()
    await published(stopped, events)
    while not await stopped.has_caught_up():
        await stopped.get("/notes/1/history")
        await stopped.get("/notes?q=milk")
    await stopped.stop()
    return stopped.data


def found(data: Path) -> list[Finding]:
    """Everything that a check of all parts finds."""
    with closing(sqlite3.connect(f"file:{data / 'events.db'}?mode=ro", uri=True)) as log:
        (epoch,) = log.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        (head,) = log.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    task = Task(data, epoch, head, in_use=DataFolder(data).is_in_use())
    parts = [
        verify_log(task, lambda position: None),
        verify_tables(task, lambda position: None),
        verify_index(task),
        verify_words(task),
    ]
    return [finding for part in parts for finding in part.findings]
