"""The limit of one durable write: plain sqlite3, one row, one transaction, one fsync, over and over."""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.figures import percentile

INSERT = "INSERT INTO notes (title, description, created_at, created_by, priority) VALUES (?, ?, ?, ?, ?)"
ROW = ("A note to measure with", "sample notes of ordinary length, about a line of text", "2017-08-23", "apcelent", 4)


def main() -> None:
    """Writes for so many seconds, and prints the median and the 99th percentile of a write in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    with closing(sqlite3.connect(given.data / "loop.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY,"
            " title TEXT, description TEXT, created_at TEXT, created_by TEXT, priority INTEGER)"
        )
        taken_ms = []
        ends = time.monotonic() + given.seconds
        while (began := time.monotonic()) < ends:
            database.execute(INSERT, ROW)  # in autocommit: a transaction of its own
            taken_ms.append((time.monotonic() - began) * 1e3)
    print(json.dumps({"p50_ms": percentile(taken_ms, 0.5), "p99_ms": percentile(taken_ms, 0.99)}))


if __name__ == "__main__":
    main()
