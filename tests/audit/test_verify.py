"""Whoever changes anything in the files is found out: bits, events, tables, the ledger, and copies kept elsewhere."""

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from events.record import COLUMNS, leaf_hash
from projections import log_check
from projections.checking import Checking
from projections.findings import (
    EVENT_ADDED,
    EVENT_EDITED,
    EVENT_REMOVED,
    EVENTS_SWAPPED,
    LEDGER_DAMAGED,
    TABLE_DIFFERS,
    UNREADABLE,
    Findings,
)
from projections.rebuild import of_notes, rebuild
from projections.search import SCHEMA
from projections.search_check import check_index
from service.terminal.verify import PROCESSES
from tests.audit.checked import found
from tests.audit.folders import REPOSITORY, WITHIN_S, beside, copied, notelog, result, tampering
from tests.audit.histories import History
from tests.audit.test_tlog import published
from tests.audit.writing import writing
from tests.engines import found_in
from tests.service.running import Running, until
from tests.tools import need_root


async def test_everything_holds_after_a_stop_in_order(closed: Path) -> None:
    """An untouched folder: exit code 0, all of it compared up to the head."""
    done = result(await beside("verify", "--data", closed, "--json"))
    assert (done["ok"], done["findings"]) == (True, [])
    assert done["up_to"] == dict.fromkeys(("events", "ledger", "notes", "versions", "search"), 600)


def edited(log: sqlite3.Connection) -> None:
    log.execute("UPDATE events SET data = data || ' ' WHERE position = 300")


def removed(log: sqlite3.Connection) -> None:
    log.execute("DELETE FROM events WHERE position = 300")


def removed_at_the_end(log: sqlite3.Connection) -> None:
    log.execute("DELETE FROM events WHERE position >= 599")


def swapped(log: sqlite3.Connection) -> None:
    log.execute("UPDATE events SET position = -1 WHERE position = 100")
    log.execute("UPDATE events SET position = 100 WHERE position = 300")
    log.execute("UPDATE events SET position = 300 WHERE position = -1")


def added_at_the_end(log: sqlite3.Connection) -> None:
    columns = "note_id + 1000, 1, type, schema, at, actor, NULL, part, NULL, meta, salt, data"
    log.execute(f"INSERT INTO events SELECT 601, {columns} FROM events WHERE position = 1")


def closed_up(log: sqlite3.Connection) -> None:
    log.execute("DELETE FROM events WHERE position = 300")
    log.execute("UPDATE events SET position = -position WHERE position > 300")
    log.execute("UPDATE events SET position = -position - 1 WHERE position < 0")


@pytest.mark.parametrize(
    ("tamper", "what", "position"),
    [
        (edited, EVENT_EDITED, 300),
        (removed, EVENT_REMOVED, 300),
        (removed_at_the_end, EVENT_REMOVED, 599),
        (swapped, EVENTS_SWAPPED, 100),
        (added_at_the_end, EVENT_ADDED, 601),
        (closed_up, EVENT_EDITED, 300),
    ],
)
async def test_verify_says_what_was_done_to_the_log_and_where_first(
    closed: Path, tamper: Callable[[sqlite3.Connection], None], what: str, position: int
) -> None:
    """An event edited, removed, swapped or added with the triggers dropped is named with its position; exit code 1."""
    with tampering(closed / "events.db") as log:
        tamper(log)
    done = result(await beside("verify", "--data", closed, "--json"), code=1)
    assert not done["ok"]
    findings = {finding["what"]: finding["position"] for finding in reversed(done["findings"])}
    assert findings[what] == position
    assert min(finding["position"] or 601 for finding in done["findings"]) == position
    shown = await beside("verify", "--data", closed)
    assert (shown.returncode, str(position) in shown.stderr.decode()) == (1, True)


async def test_a_change_of_the_ledger_is_not_blamed_on_the_log(closed: Path) -> None:
    """A hash that was changed in the ledger is said to be the ledger's; the event stays good."""
    for position in (100, 560):  # in a full tile, and in the last one
        data = copied(closed, closed.parent / "changed")
        with tampering(data / "ledger.db") as ledger:
            number, place = divmod(position - 1, 256)
            (tile,) = ledger.execute("SELECT hashes FROM tiles WHERE level = 0 AND number = ?", (number,)).fetchone()
            changed = tile[: place * 32] + b"x" * 32 + tile[(place + 1) * 32 :]
            ledger.execute("UPDATE tiles SET hashes = ? WHERE level = 0 AND number = ?", (changed, number))
        kinds = {finding.position: finding.what for finding in found(data) if finding.what != "history_rewritten"}
        assert kinds[position] == LEDGER_DAMAGED
        assert EVENT_EDITED not in kinds.values()


async def test_a_table_that_does_not_fit_is_named(closed: Path) -> None:
    """A note changed in the tables alone is found there, and the log is not blamed."""
    with tampering(closed / "notes.db") as tables:
        changed, removed = [note_id for (note_id,) in tables.execute("SELECT id FROM notes ORDER BY id LIMIT 2")]
        tables.execute("UPDATE notes SET priority = 77 WHERE id = ?", (changed,))
        tables.execute("UPDATE versions SET title = 'x' WHERE position = 17")
        tables.execute("DELETE FROM notes WHERE id = ?", (removed,))
    assert {finding.what for finding in found(closed)} == {TABLE_DIFFERS}
    details = " ".join(finding.detail for finding in found(closed))
    assert f"note {changed} is not" in details
    assert f"note {removed} is missing" in details
    assert "version at 17" in details


async def test_a_last_event_that_cannot_be_hashed_is_named(closed: Path, stopped: Running) -> None:
    """A number that no event can have, where the checkpoints stand, is a finding and no fault; the service says so."""
    with tampering(closed / "events.db") as log:
        log.execute("UPDATE events SET schema = schema + (1 << 28) WHERE position = 600")
    done = result(await beside("verify", "--data", closed, "--json"), code=1)
    assert (600, "unreadable") in {(finding["position"], finding["what"]) for finding in done["findings"]}
    await stopped.start()
    report = await stopped.get("/readyz")
    assert (report.status, report.json["projections"]["ledger"]["state"]) == (503, "stopped")


async def test_a_trigger_that_is_gone_is_missed(closed: Path) -> None:
    """The guards of the log are part of what is checked."""
    with closing(sqlite3.connect(closed / "events.db")) as log:
        log.execute("DROP TRIGGER events_never_change")
    done = result(await beside("verify", "--data", closed, "--json"), code=1)
    assert [finding["what"] for finding in done["findings"]] == ["schema_changed"]


async def test_tables_left_before_they_had_caught_up_are_whole_so_far(closed: Path) -> None:
    """A stop during the first building leaves tables without indexes, and verify says that all of it holds."""
    with closing(sqlite3.connect(closed / "notes.db")) as tables:
        for projection in of_notes():
            for table in projection.tables:
                tables.execute(f"DROP TABLE {table}")
            projection.create(tables)
        tables.execute("UPDATE checkpoints SET position = 0, hash = x''")
        tables.commit()
    assert result(await beside("verify", "--data", closed, "--json"))["findings"] == []


async def test_a_ledger_that_is_gone_is_missed(closed: Path) -> None:
    """Where a key has signed there must be a ledger."""
    (closed / "ledger.db").unlink()
    assert [finding.what for finding in found(closed)] == [LEDGER_DAMAGED]


async def test_verify_holds_beside_a_service_that_is_written_to(notelog: Running) -> None:
    """Nothing that a running service is about to write is taken for a difference."""
    async with writing(notelog):
        for _ in range(3):
            assert result(await beside("verify", "--data", notelog.data, "--json"))["ok"]


async def test_a_crash_is_no_tampering(notelog: Running, tmp_path: Path) -> None:
    """Events that a killed service had not yet put into its ledger are not taken for added ones."""
    for number in range(20):
        await notelog.note(f"number {number}")
    killed = copied(notelog.data, tmp_path / "killed")  # what a SIGKILL at this moment leaves
    assert found(killed) == []


async def test_a_checkpoint_kept_elsewhere_finds_a_rewritten_log(
    closed: Path, stopped: Running, history: History
) -> None:
    """Who rewrites the log, the ledger and the tables alike is told from a checkpoint that somebody else has kept."""
    await stopped.start()
    key = (await stopped.get("/tlog/key")).body
    note = (await stopped.get("/tlog/checkpoint")).body
    await stopped.stop()
    kept, keys = closed.parent / "kept.txt", closed.parent / "key.txt"
    kept.write_bytes(note)
    keys.write_bytes(key)
    arguments = ("verify", "--data", closed, "--checkpoint", kept, "--key", keys, "--json")
    assert result(await beside(*arguments))["checkpoint_size"] == 600
    with tampering(closed / "events.db") as log:
        log.execute("UPDATE events SET actor = 'mallory' WHERE position = 300")
    (closed / "ledger.db").unlink()
    (closed / "ledger-key.pem").unlink()
    rebuild(closed / "events.db", closed / "notes.db", of_notes())
    assert found(closed) == []
    done = result(await beside(*arguments), code=1)
    assert [finding["what"] for finding in done["findings"]] == ["checkpoint_contradicts"]


async def test_a_checkpoint_holds_for_a_copy_of_a_copy(closed: Path, stopped: Running) -> None:
    """A checkpoint that was kept of a log is one of every log that goes on from it, however often it was copied."""
    await stopped.start()
    kept = closed.parent / "kept.txt"
    kept.write_bytes((await stopped.get("/tlog/checkpoint")).body)
    await stopped.stop()
    for _ in range(2):
        assert (await beside("epoch", "--new", "--data", closed)).returncode == 0
        await stopped.start()
        await stopped.note("in the copy")
        await stopped.stop()
    done = await beside("verify", "--data", closed, "--checkpoint", kept, "--json")
    assert json.loads(done.stdout)["checkpoint_size"] == 600, done.stderr


async def test_a_checkpoint_is_only_believed_with_its_signature(closed: Path, stopped: Running) -> None:
    """A changed checkpoint and one beyond the log do not hold; a key that is none is a usage error."""
    await stopped.start()
    note = (await stopped.get("/tlog/checkpoint")).body.decode()
    await stopped.stop()
    kept = closed.parent / "kept.txt"
    kept.write_text(note)
    assert result(await beside("verify", "--data", closed, "--checkpoint", kept, "--json"))["ok"]
    kept.write_text(note.replace("\n600\n", "\n599\n"))
    result(await beside("verify", "--data", closed, "--checkpoint", kept, "--json"), code=1)
    kept.write_text(note)
    assert (await beside("verify", "--data", closed, "--checkpoint", kept, "--key", "none")).returncode == 2
    assert (await beside("verify", "--data", closed, "--checkpoint", closed / "nothing")).returncode == 2
    with tampering(closed / "events.db") as log:
        log.execute("DELETE FROM events WHERE position = 600")
    done = result(await beside("verify", "--data", closed, "--checkpoint", kept, "--json"), code=1)
    assert "600" in next(one["detail"] for one in done["findings"] if one["what"] == "checkpoint_contradicts")


async def test_a_file_that_is_no_checkpoint_is_a_usage_error(closed: Path, stopped: Running) -> None:
    """Text or bytes, with a key or without: exit code 2, and the line names --checkpoint, which was wrong."""
    await stopped.start()
    keys, kept = closed.parent / "key.txt", closed.parent / "kept.txt"
    keys.write_bytes((await stopped.get("/tlog/key")).body)
    await stopped.stop()
    for content in (b"", b"no checkpoint", b"\xff\xfe\n\n"):
        kept.write_bytes(content)
        for key in ((), ("--key", keys)):
            done = await beside("verify", "--data", closed, "--checkpoint", kept, *key)
            assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
            assert b"--checkpoint" in done.stderr


async def test_tables_that_are_no_database_are_a_finding(closed: Path) -> None:
    """Garbage in notes.db is named like every other difference, also with --json; exit code 1."""
    (closed / "notes.db").write_bytes(b"something else" * 100)
    done = result(await beside("verify", "--data", closed, "--json"), code=1)
    assert {finding["what"] for finding in done["findings"]} == {UNREADABLE}


async def test_an_interrupted_verify_says_nothing_more(closed: Path) -> None:
    """Ctrl-C, which every process of a terminal gets, ends it with 130 and without a traceback of any of them."""
    command = (sys.executable, "-m", "service", "verify", "--data", str(closed))
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stderr=PIPE, process_group=0)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def hears(child: str) -> bool:
        """Whether Python is up in it: before that, Ctrl-C ends it without a word."""
        caught = re.search(r"SigCgt:\s+(\w+)", Path(f"/proc/{child}/status").read_text())
        return caught is not None and bool(int(caught[1], 16) & 1 << signal.SIGINT - 1)

    async def has_parts() -> bool:
        return sum(map(hears, children.read_text().split())) >= PROCESSES

    await until(has_parts, "all parts are there")
    os.killpg(process.pid, signal.SIGINT)
    _, said = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert (process.returncode, said.strip()) == (130, b"")


async def test_a_new_epoch_is_no_tampering(closed: Path) -> None:
    """Between ``epoch --new`` and the first start the old ledger is what the log is compared with, and holds."""
    assert (await beside("epoch", "--new", "--data", closed)).returncode == 0
    assert result(await beside("verify", "--data", closed, "--json"))["up_to"]["ledger"] == 600
    with tampering(closed / "events.db") as log:
        edited(log)
    done = result(await beside("verify", "--data", closed, "--json"), code=1)
    assert [(finding["what"], finding["position"]) for finding in done["findings"]] == [(EVENT_EDITED, 300)]


async def test_an_import_where_a_service_ran_is_no_tampering(notelog: Running, dice: random.Random) -> None:
    """What a service left beside its empty log contradicts nothing that is imported then."""
    await published(notelog, 0)
    await notelog.stop()
    lines = b"".join(History(dice, 20).lines())
    assert (await beside("import", "-", "--data", notelog.data, stdin=lines)).returncode == 0
    assert found(notelog.data) == []


async def test_what_cannot_be_compared_is_no_difference(closed: Path) -> None:
    """SQLite compares the index of the search by writing: where it may not, that says nothing of the index."""
    with closing(sqlite3.connect(f"file:{closed / 'notes.db'}?mode=ro", uri=True, isolation_level=None)) as tables:
        checking = Checking(tables, tables, "", False, Findings())
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            check_index(tables, checking)
    assert checking.findings.count == 0


@pytest.mark.parametrize(
    ("word", "notes", "byte", "bit"),
    [("50", (1, 2), len("0") + 1, 7), ("a", (1, 4, 6, 9), len("0a"), 2)],
    ids=["another word", "other notes"],
)
def test_a_changed_bit_that_fts5_does_not_see_is_found(word: str, notes: tuple[int, ...], byte: int, bit: int) -> None:
    """Its checksums cancel each other out where they change alike for an even number of notes; sums do not."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as tables:
        tables.execute(SCHEMA)
        tables.execute("BEGIN")
        rows = [(note_id, word) for note_id in notes]
        tables.executemany("INSERT INTO search (rowid, title, description) VALUES (?, ?, '')", rows)
        tables.execute("COMMIT")
        assert check_of_index(tables).count == 0
        segment, block = tables.execute("SELECT max(id), block FROM search_data").fetchone()
        changed = bytearray(block)
        changed[block.index(b"0" + word.encode()) + byte] ^= 1 << bit  # FTS5 writes a "0" before each word
        tables.execute("UPDATE search_data SET block = ? WHERE id = ?", (bytes(changed), segment))
        tables.execute("INSERT INTO search (search) VALUES ('integrity-check')")
        assert check_of_index(tables).count == 1


def test_a_word_that_fts5_cuts_off_is_no_difference() -> None:
    """The longest description may be a single word, which is longer than what FTS5 keeps of one."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as tables:
        tables.execute(SCHEMA)
        tables.execute("INSERT INTO search (rowid, title, description) VALUES (1, 'a', ?)", ("é" * 65_536,))
        assert check_of_index(tables).count == 0


def check_of_index(tables: sqlite3.Connection) -> Findings:
    """What is found in an index alone."""
    check_index(tables, checking := Checking(tables, tables, "", False, Findings()))
    return checking.findings


@pytest.mark.faults
async def test_a_file_that_somebody_writes_is_no_difference(closed: Path) -> None:
    """Another tool has the tables' lock for longer than is waited: what was not looked at is said, nothing else."""
    with closing(sqlite3.connect(closed / "notes.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = result(await beside("verify", "--data", closed, "--json"))
    assert (done["ok"], done["findings"], len(done["skipped"])) == (True, [], 1)
    assert "locked" in done["skipped"][0]


@pytest.mark.faults
async def test_a_folder_that_is_mounted_for_reading_only_holds(closed: Path) -> None:
    """Nothing is written to check it; that the index of the search was not looked at is said."""
    need_root()
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$1" -m service verify --json'
    command = ("unshare", "-m", "sh", "-c", f'{mounted} --data "$0"', str(closed), sys.executable)
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=PIPE, stderr=PIPE)
    printed, said = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 0, (printed, said)
    assert (json.loads(printed)["count"], len(json.loads(printed)["skipped"])) == (0, 1)


def test_verify_of_what_is_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    """No log, or a file that is something else: exit code 2 and one line."""
    assert notelog("verify", "--data", tmp_path).returncode == 2
    (tmp_path / "events.db").write_bytes(b"something else" * 100)
    done = notelog("verify", "--data", tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


async def test_the_leaf_of_the_check_is_the_leaf_of_the_record(closed: Path) -> None:
    """The check's own way to hash a row, from bytes, gives what the ledger was made with."""

    records = found_in(closed / "events.db")
    with closing(sqlite3.connect(closed / "events.db")) as log:
        log.text_factory = bytes
        rows = log.execute(f"SELECT {COLUMNS} FROM events ORDER BY position").fetchall()
    assert [log_check.leaf_hash(row) for row in rows] == [leaf_hash(record) for record in records]
