"""Check everything in a data folder against everything else: records, ledger, tables. Nothing is changed.

The parts need nothing of each other, so that several processes can do them.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from events.copies import select_ancestors
from events.folder import DataFolder, reading_uri
from events.store import create_log, select_head
from projections.checking import Checking, good_checkpoints
from projections.findings import LEDGER_DAMAGED, UNREADABLE, Finding, Findings
from projections.ledger import Ledger
from projections.ledger_check import LedgerFacts, cached, check_ledger
from projections.log_check import check_log
from projections.merkle import ReadTile
from projections.note_check import check_notes
from projections.rebuild import of_notes, open_log_file
from projections.schema_check import check_schema, check_structure
from projections.search_check import check_index, check_words
from projections.tables import CHECKPOINTS
from projections.version_check import check_versions

Progress = Callable[[int], None]


class Task(Struct, frozen=True):
    """What to check.

    ``in_use``: a service runs on the folder; what it is about to write is not missed. ``thorough``: let SQLite look at
    all pages and indexes of its files too.
    """

    data: Path
    epoch: str
    head: int
    in_use: bool
    thorough: bool = False


class Checked(Struct, frozen=True):
    """What was found. ``up_to``: by name, up to which position each thing was there to be compared.

    ``skipped``: what could not be compared, and why.
    """

    findings: list[Finding]
    count: int
    up_to: dict[str, int]
    skipped: list[str] = []


def verify_log(task: Task, progress: Progress) -> Checked:
    """Check the records against the ledger, and the ledger against itself."""
    folder, findings = DataFolder(task.data), Findings()
    with closing(open_log_file(folder.events)) as log, _reading(folder.ledger) as ledger:
        _check_file(task, log, "events.db", lambda model: create_log(model, {}), findings)
        facts: tuple[LedgerFacts, ReadTile] | None = None
        if ledger is None:
            if (folder.path / "ledger-key.pem").exists() and task.head:
                findings.add(None, LEDGER_DAMAGED, "there is no ledger, though one was signed here")
        else:
            facts = _ledger_facts(task, log, ledger, findings)
        # Asked after the ledger was: it is never ahead of the log.
        head = select_head(log) if task.in_use else task.head
        try:
            check_log(log, head, facts, findings, progress)
        except sqlite3.DatabaseError as error:
            findings.add(None, UNREADABLE, f"events.db: {error}")
    up_to = {"events": head} | ({"ledger": facts[0].size} if facts else {})
    return Checked(findings.kept, findings.count, up_to)


def verify_tables(task: Task, progress: Progress) -> Checked:
    """Fold the log and compare with the versions, and the notes with these."""
    folder = DataFolder(task.data)
    with closing(open_log_file(folder.events)) as log, _reading(folder.notes) as tables:
        if tables is None:
            return Checked([], 0, {})
        checking = Checking(log, tables, task.epoch, task.in_use, Findings())
        up_to: dict[str, int] = {}
        try:
            tables.execute("ATTACH DATABASE ? AS log", (reading_uri(folder.events),))
            _check_file(
                task, tables, "notes.db", _create_tables, checking.findings, _is_catching_up(checking, task.head)
            )
            up_to = good_checkpoints(checking, of_notes(), task.head)
            if "versions" in up_to:
                check_versions(checking, up_to["versions"], progress)
                if "notes" in up_to:
                    check_notes(checking, up_to["versions"])
        except sqlite3.DatabaseError as error:
            checking.findings.add(None, UNREADABLE, f"notes.db: {error}")
    return Checked(checking.findings.kept, checking.findings.count, up_to)


def verify_words(task: Task) -> Checked:
    """Compare the words of the search with the versions."""
    return _verify_search(task, check_words)


def verify_index(task: Task) -> Checked:
    """Compare the index of the search with its words; not beside a service, since it takes the lock of who writes."""
    skipped: list[str] = []
    checked = _verify_search(task, partial(_check_index, task, skipped))
    return replace(checked, skipped=skipped)


def _verify_search(task: Task, check: Callable[[Checking], None]) -> Checked:
    folder = DataFolder(task.data)
    with closing(open_log_file(folder.events)) as log, _reading(folder.notes) as tables:
        if tables is None:
            return Checked([], 0, {})
        checking = Checking(log, tables, task.epoch, task.in_use, Findings())
        try:
            if {"search", "versions"} <= checking.checkpoints().keys():
                check(checking)
        except sqlite3.DatabaseError as error:
            checking.findings.add(None, UNREADABLE, f"notes.db: {error}")
    return Checked(checking.findings.kept, checking.findings.count, {})


def _check_index(task: Task, skipped: list[str], checking: Checking) -> None:
    """Says why it was not done, where the file cannot be written or somebody else is writing it."""
    if task.in_use:
        return
    try:
        with closing(sqlite3.connect(DataFolder(task.data).notes, isolation_level=None)) as tables:
            tables.execute("PRAGMA wal_autocheckpoint = 0")
            check_index(tables, checking)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY):
            raise
        skipped.append(f"the index of the search ({error})")


def _ledger_facts(
    task: Task, log: sqlite3.Connection, ledger: sqlite3.Connection, findings: Findings
) -> tuple[LedgerFacts, ReadTile] | None:
    try:
        _check_file(task, ledger, "ledger.db", _create_ledger, findings)
        facts = check_ledger(ledger, task.epoch, _epochs_before(log, task.head), task.in_use, findings)
    except sqlite3.DatabaseError as error:
        findings.add(None, LEDGER_DAMAGED, f"ledger.db: {error}")
        return None
    return (facts, cached(ledger)) if facts else None


def _epochs_before(log: sqlite3.Connection, head: int) -> list[str]:
    """The epochs that the log had before, while it has no event yet that was signed under its own."""
    ancestors = select_ancestors(log)
    return [ancestor.epoch for ancestor in ancestors] if ancestors and ancestors[0].position == head else []


def _check_file(
    task: Task,
    connection: sqlite3.Connection,
    name: str,
    create: Callable[[sqlite3.Connection], object],
    findings: Findings,
    catching_up: bool = False,
) -> None:
    check_schema(connection, name, create, findings, catching_up)
    if task.thorough and not task.in_use:
        check_structure(connection, name, findings)


def _is_catching_up(checking: Checking, head: int) -> bool:
    """Whether the tables were left before they had caught up: the next start goes on."""
    try:
        return min(checking.checkpoints().values(), default=0) < head
    except sqlite3.DatabaseError:
        return False  # what is wrong with the checkpoints is told where they are looked at


def _create_ledger(model: sqlite3.Connection) -> None:
    model.execute(CHECKPOINTS)
    Ledger().create(model)


def _create_tables(model: sqlite3.Connection) -> None:
    model.execute(CHECKPOINTS)
    for projection in of_notes():
        projection.create(model)
        projection.index(model)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that can only read; None where there is no such file."""
    if not path.exists():
        yield None
        return
    with closing(sqlite3.connect(reading_uri(path), uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only = ON")
        yield connection
