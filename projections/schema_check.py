"""Compare what a file is made of with what it should be: a trigger that is gone no longer guards anything."""

import re
import sqlite3
from collections.abc import Callable

from projections.findings import SCHEMA_CHANGED, UNREADABLE, Findings

_COMMENT = re.compile(r"--[^\n]*")


def check_schema(
    connection: sqlite3.Connection,
    name: str,
    create: Callable[[sqlite3.Connection], object],
    findings: Findings,
    catching_up: bool = False,
) -> None:
    """Every table, index and trigger that ``create`` makes must be there, and nothing else.

    ``catching_up``: indexes may be missing, because they are made when the tables have caught up.
    """
    model = sqlite3.connect(":memory:", isolation_level=None)
    try:
        create(model)
        expected, found = _parts(model), _parts(connection)
    finally:
        model.close()
    for part in sorted(expected.keys() | found.keys()):
        if part not in found and catching_up and part[0] == "index":
            continue
        if part not in found:
            findings.add(None, SCHEMA_CHANGED, f"{name}: the {part[0]} {part[1]} is missing")
        elif part not in expected:
            findings.add(None, SCHEMA_CHANGED, f"{name}: there is a {part[0]} {part[1]}, which there should not be")
        elif expected[part] != found[part]:
            findings.add(None, SCHEMA_CHANGED, f"{name}: the {part[0]} {part[1]} is another one")


def check_structure(connection: sqlite3.Connection, name: str, findings: Findings) -> None:
    """Let SQLite look at its own pages and indexes. It sees nothing that happens inside a row."""
    for (message,) in connection.execute("PRAGMA integrity_check(10)"):
        if message != "ok":
            findings.add(None, UNREADABLE, f"{name}: {message}")


def _parts(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
    return {(type_, name): " ".join(_COMMENT.sub("", sql).split()) for type_, name, sql in rows}
