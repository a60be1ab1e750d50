"""Export, import, backup: a log that moves keeps every byte, and a copy is another log."""

import asyncio
import json
import random
import shutil
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import pytest

from events.transfer import NotImportable, import_log
from service.checkpoint_checker import parse_key
from tests.audit.folders import REPOSITORY, beside, copied, killed_after, notelog, result, tampering, took_s
from tests.audit.histories import EPOCH, History
from tests.audit.test_tlog import published
from tests.audit.writing import writing
from tests.engines import found_in
from tests.service.running import Running
from tests.sizes import count


def meta(file: Path) -> dict[str, str]:
    """The table meta of a log."""
    with closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute("SELECT key, value FROM meta"))


async def test_an_export_is_every_record_whole(stopped: Running, history: History) -> None:
    """What was imported comes out again, byte for byte in each field, under the log's own epoch."""
    await stopped.start()
    done = await beside("export", "--data", stopped.data)
    lines = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
    assert lines == [record | {"epoch": stopped.log.epoch} for record in history.records]
    some = await beside("export", "--data", stopped.data, "--after", "590")
    assert some.stdout == b"".join(done.stdout.splitlines(keepends=True)[590:])


async def test_an_import_gives_the_same_positions_notes_and_root(
    notelog: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported and imported, a log has equal records, equal notes, an equal root, and says which log it was."""
    for number in range(40):
        note = await notelog.note(f"number {number}")
        await notelog.patch(f"/notes/{note['id']}", {"priority": number + 1}, Idempotency_Key=f"k{number}")
    _, root = await published(notelog, 80)
    notes, epoch = await notelog.all_notes(), notelog.log.epoch
    exported = (await beside("export", "--data", notelog.data)).stdout
    await notelog.stop()
    other = Running(tmp_path / "other", monkeypatch)
    done = await beside("import", "-", "--data", other.data, "--json", stdin=exported)
    assert result(done) == {"position": 80, "parent_epoch": epoch}
    assert found_in(other.data / "events.db") == found_in(notelog.data / "events.db")
    await other.start()
    try:
        assert other.log.epoch != epoch
        assert (meta(other.data / "events.db")["parent_epoch"], await other.all_notes()) == (epoch, notes)
        assert (await published(other, 80))[1] == root
        again = await other.patch("/notes/3", {"priority": 3}, Idempotency_Key="k2")
        assert again.headers["Idempotency-Replayed"] == "true"
    finally:
        await other.stop()


def unfit_type(record: dict[str, object]) -> str:
    """What cannot have happened instead: a note is restored that is there, or deleted that is not."""
    return "NoteDeleted" if record["type"] == "NoteRestored" else "NoteRestored"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record | {"position": 6},
        lambda record: record | {"version": record["version"] + 1},
        lambda record: record | {"epoch": "f" * 32},
        lambda record: record | {"schema": 99},
        lambda record: record | {"type": "Other"},
        lambda record: record | {"data": "{"},
        lambda record: record | {"salt": "xyz"},
        lambda record: record | {"other": 1},
        lambda record: {name: value for name, value in record.items() if name != "meta"},
        lambda record: record | {"type": unfit_type(record), "data": "{}"},
        lambda record: record | {"note_id": 99},
        lambda record: record | {"at": "now"},
    ],
)
def test_an_import_that_does_not_fit_leaves_nothing(dice: random.Random, tmp_path: Path, spoil: object) -> None:
    """A line that cannot be in a log is named, the exit code is 1, and the folder is as it was."""
    history = History(dice, 20)
    history.records[9] = spoil(history.records[9])  # type: ignore[operator]
    done = notelog("import", "-", "--data", tmp_path, "--json", stdin=b"".join(history.lines()))
    assert "line 10" in result(done, code=1)["error"]
    assert not list(tmp_path.glob("events.db*"))


CREATION = {"title": "t", "description": "", "created_at": "2020-01-01T00:00:00Z", "created_by": "", "priority": 0}


@pytest.mark.parametrize(
    "changes",
    [
        *({"at": at} for at in (2**63 - 1, -(2**62), 2**70)),
        *({"part": part} for part in (-1, 70_000)),
        *({"actor": actor} for actor in ("a" * 70_000, "a\0b")),
        *({"meta": meta} for meta in ("no JSON", "[]", json.dumps({"x": "x" * 5000}))),
        {"salt": "00"},
        {"command": "00", "request": "00" * 16},
        {"command": "00" * 16, "request": "00"},
        {"command": "00" * 16, "request": None},
        {"data": json.dumps(CREATION, indent=1)},
        *({"data": json.dumps(CREATION | {"priority": priority})} for priority in (10**23 - 1, 2**31)),
        *({"data": json.dumps(CREATION | {"created_at": time})} for time in ("2020", "2020-01-01 00:00")),
        *({"data": json.dumps(CREATION | {"title": title})} for title in ("", "a\0b", "t" * 201)),
    ],
)
def test_an_import_takes_no_record_that_could_not_be_served(
    dice: random.Random, tmp_path: Path, changes: dict[str, object]
) -> None:
    """A field that the service would never have written is refused, with its line; nothing is left."""
    (record,) = History(dice, 1).records
    import_log([json.dumps(record | {"data": json.dumps(CREATION)}).encode()], tmp_path / "good.db")
    line = json.dumps(record | {"data": json.dumps(CREATION)} | changes).encode()
    with pytest.raises(NotImportable, match="line 1: "):
        import_log([line], tmp_path / "events.db")
    assert not list(tmp_path.glob("events.db*"))


def test_an_import_into_a_log_with_events_is_refused(tmp_path: Path, dice: random.Random) -> None:
    """What is there stays; the exit code is 1."""
    lines = b"".join(History(dice, 20).lines())
    assert notelog("import", "-", "--data", tmp_path, stdin=lines).returncode == 0
    before = found_in(tmp_path / "events.db")
    done = notelog("import", "-", "--data", tmp_path, stdin=lines)
    assert (done.returncode, b"20 events" in done.stderr) == (1, True)
    assert found_in(tmp_path / "events.db") == before


def test_an_import_never_replaces_what_it_cannot_read(tmp_path: Path, dice: random.Random) -> None:
    """A log that another process has locked stays as it is; the exit code is 2."""
    lines = b"".join(History(dice, 20).lines())
    assert notelog("import", "-", "--data", tmp_path, stdin=lines).returncode == 0
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        done = notelog("import", "-", "--data", tmp_path, stdin=lines)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert len(found_in(tmp_path / "events.db")) == 20


def test_an_import_never_replaces_the_file_of_somebody_else(tmp_path: Path, dice: random.Random) -> None:
    """A database of another program, or no database, stays byte for byte; exit code 2 and one line."""
    lines, file = b"".join(History(dice, 20).lines()), tmp_path / "events.db"
    with closing(sqlite3.connect(tmp_path / "precious.db")) as other:
        other.execute("CREATE TABLE precious (x)")
    for content in ((tmp_path / "precious.db").read_bytes(), b"something else" * 100):
        file.write_bytes(content)
        done = notelog("import", "-", "--data", tmp_path, stdin=lines)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert file.read_bytes() == content


async def test_an_import_takes_the_place_of_an_empty_log(notelog: Running, dice: random.Random) -> None:
    """A folder whose service ran and recorded nothing can be imported into; the service then runs on it."""
    await published(notelog, 0)
    await notelog.stop()
    history = History(dice, 50)
    lines = b"".join(history.lines())
    assert (await beside("import", "-", "--data", notelog.data, stdin=lines)).returncode == 0
    await notelog.start()
    assert await notelog.all_notes() == history.living(50)
    await published(notelog, 50)


@pytest.mark.faults
def test_an_import_that_is_killed_anywhere_has_not_happened(dice: random.Random, tmp_path: Path) -> None:
    """SIGKILL at random moments leaves an empty folder or the whole log; then it can simply be run again."""
    lines = b"".join(History(dice, 3000).lines())
    (tmp_path / "log.ndjson").write_bytes(lines)
    data = tmp_path / "data"
    command = ("import", tmp_path / "log.ndjson", "--data", data)
    whole_s = took_s("import", tmp_path / "log.ndjson", "--data", tmp_path / "other")
    for _ in range(count("command_kills")):
        if dice.random() < 0.3:
            shutil.rmtree(data, ignore_errors=True)
        killed_after(whole_s * dice.uniform(0.5, 1.1), *command)
        assert not (data / "events.db").exists() or len(found_in(data / "events.db")) == 3000
    was_there = (data / "events.db").exists()
    assert notelog(*command).returncode == (1 if was_there else 0)
    assert len(found_in(data / "events.db")) == 3000


async def test_a_backup_of_a_running_service_is_whole_and_then_only_what_is_new(notelog: Running) -> None:
    """The copy has every event and the ledger; the second run copies the new events alone; verify holds for it."""
    for number in range(30):
        await notelog.note(f"number {number}")
    await published(notelog, 30)
    copy = notelog.data.parent / "copy"
    first = result(await beside("backup", "--data", notelog.data, copy, "--json"))
    assert (first["position"], first["copied"]) == (30, 30)
    await notelog.note("newer")
    second = result(await beside("backup", "--data", notelog.data, copy, "--json"))
    assert (second["position"], second["copied"]) == (31, 1)
    assert found_in(copy / "events.db") == found_in(notelog.data / "events.db")
    assert result(await beside("verify", "--data", copy, "--json"))["up_to"]["ledger"] >= 30
    assert not (copy / "ledger-key.pem").exists()


async def test_a_backup_beside_writers_is_the_log_up_to_a_position(notelog: Running) -> None:
    """While clients create, edit and delete, each run copies a beginning of the log, in which verify finds nothing."""
    copy, reached = notelog.data.parent / "copy", 0
    async with writing(notelog):
        for _ in range(2):
            done = result(await beside("backup", "--data", notelog.data, copy, "--json"))
            assert done["position"] == reached + done["copied"]
            assert result(await beside("verify", "--data", copy, "--json"))["ok"]
            reached = done["position"]
    assert found_in(copy / "events.db") == found_in(notelog.data / "events.db")[:reached]


@pytest.mark.faults
def test_a_backup_that_is_killed_anywhere_can_be_run_again(dice: random.Random, tmp_path: Path) -> None:
    """SIGKILL at random moments: what was copied stays, the next run copies the rest, and verify finds nothing."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    lines = b"".join(History(dice, 3000).lines())
    assert notelog("import", "-", "--data", data, stdin=lines).returncode == 0
    whole_s = took_s("backup", "--data", data, tmp_path / "other")
    under_way = 0
    for _ in range(count("command_kills")):
        if dice.random() < 0.7:
            shutil.rmtree(copy, ignore_errors=True)
        under_way += killed_after(whole_s * dice.uniform(0.5, 1.1), "backup", "--data", data, copy)
    print(f"{under_way} of {count('command_kills')} were under way")
    assert result(notelog("backup", "--data", data, copy, "--json"))["position"] == 3000
    assert found_in(copy / "events.db") == found_in(data / "events.db")
    assert result(notelog("verify", "--data", copy, "--json"))["ok"]


async def test_the_copys_first_start_makes_it_another_log(
    notelog: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new epoch with its parent, once; the old ledger is kept beside the new one, which has the same root."""
    for number in range(30):
        await notelog.note(f"number {number}")
    _, root = await published(notelog, 30)
    epoch, notes = notelog.log.epoch, await notelog.all_notes()
    await beside("backup", "--data", notelog.data, tmp_path / "copy")
    await notelog.stop()
    copy = Running(tmp_path / "copy", monkeypatch)
    await copy.start()
    try:
        renewed = copy.log.epoch
        assert renewed != epoch
        known = meta(copy.data / "events.db")
        assert (known["parent_epoch"], known["parent_position"]) == (epoch, "30")
        assert await copy.all_notes() == notes
        assert await published(copy, 30) == (f"notelog/{renewed}", root)
        assert (copy.data / f"ledger-{epoch}.db").exists()
        await copy.restart()
        assert copy.log.epoch == renewed
    finally:
        await copy.stop()
    refused = await beside("backup", "--data", notelog.data, copy.data)
    assert refused.returncode == 2


async def test_a_backup_onto_a_changed_copy_is_refused(notelog: Running) -> None:
    """When the copy has another past than the log, one of them was changed: exit code 1, and nothing is written."""
    for number in range(10):
        await notelog.note(f"number {number}")
    await notelog.stop()
    copy = notelog.data.parent / "copy"
    assert (await beside("backup", "--data", notelog.data, copy)).returncode == 0
    with tampering(copy / "events.db") as log:
        log.execute("UPDATE events SET actor = 'mallory' WHERE position = 10")
    done = await beside("backup", "--data", notelog.data, copy, "--json")
    assert "event 10" in result(done, code=1)["error"]
    assert (await beside("backup", "--data", notelog.data, notelog.data)).returncode == 2


async def test_a_sick_source_is_not_blamed_on_the_copy(closed: Path) -> None:
    """A page of the log that cannot be read ends every command that reads it with 1 and one line, without a traceback;
    a ledger that cannot be read does not keep the log from being copied, and is told."""
    sick, copy = copied(closed, closed.parent / "sick"), closed.parent / "copy"
    (sick / "ledger.db").write_bytes(b"something else" * 100)
    done = await beside("backup", "--data", sick, copy)
    assert (done.returncode, len(done.stderr.splitlines()), b"ledger" in done.stderr) == (1, 1, True)
    assert found_in(copy / "events.db") == found_in(closed / "events.db")
    with closing(sqlite3.connect(sick / "events.db")) as log:
        (page_bytes,) = log.execute("PRAGMA page_size").fetchone()
    with (sick / "events.db").open("r+b") as file:
        file.seek(20 * page_bytes)
        file.write(b"\xff" * 10 * page_bytes)
    for command in (["export"], ["rebuild"], ["replay", "--as-of", "600"], ["backup", closed.parent / "other"]):
        done = await beside(*command, "--data", sick)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done
        assert b"another destination" not in done.stderr


async def test_a_ledger_without_all_of_its_tree_is_told(closed: Path) -> None:
    """A ledger that lacks hashes does not keep the log from being copied: exit code 1 and one line that says so."""
    short, copy = copied(closed, closed.parent / "short"), closed.parent / "copy"
    with closing(sqlite3.connect(short / "ledger.db")) as ledger:
        ledger.execute("UPDATE tiles SET hashes = substr(hashes, 1, 32)")
        ledger.commit()
    done = await beside("backup", "--data", short, copy)
    assert (done.returncode, len(done.stderr.splitlines()), b"ledger" in done.stderr) == (1, 1, True)
    assert found_in(copy / "events.db") == found_in(closed / "events.db")


async def test_a_full_disk_ends_with_a_line(closed: Path) -> None:
    """What cannot be printed is said in one line, with exit code 1."""
    for command in ("export", "replay --as-of 5", "replay --as-of 5 --json"):
        script = f"{sys.executable} -m service {command} --data {closed} > /dev/full"
        process = await asyncio.create_subprocess_shell(script, cwd=REPOSITORY, stderr=PIPE)
        _, said = await process.communicate()
        assert (process.returncode, len(said.splitlines())) == (1, 1), said


async def test_a_copy_made_by_other_means_can_be_told_so(notelog: Running) -> None:
    """``epoch --new`` gives a copied folder its own epoch; a ledger of the old one is put aside at the start."""
    await notelog.note()
    await published(notelog, 1)
    key = parse_key((await notelog.get("/tlog/key")).body.decode())
    epoch = notelog.log.epoch
    await notelog.stop()
    kept = copied(notelog.data, notelog.data.parent / "kept")
    done = result(await beside("epoch", "--new", "--data", notelog.data, "--json"))
    assert (done["parent_epoch"], done["epoch"] != epoch) == (epoch, True)
    await notelog.start()
    assert notelog.log.epoch == done["epoch"]
    await published(notelog, 1)
    assert parse_key((await notelog.get("/tlog/key")).body.decode()).public == key.public
    assert meta(kept / "events.db")["epoch"] == epoch


async def test_no_command_works_on_a_log_of_a_newer_version(closed: Path) -> None:
    """What may mean something else by now is neither read nor written nor copied: exit code 2, one line."""
    with closing(sqlite3.connect(closed / "events.db")) as log:
        log.execute("PRAGMA user_version = 2")
    before, copy = meta(closed / "events.db"), closed.parent / "copy"
    for command in (["export"], ["rebuild"], ["replay", "--as-of", "5"], ["epoch", "--new"], ["verify"], ["backup"]):
        done = await beside(*command, "--data", closed, *([copy] if command == ["backup"] else []))
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), command
        assert b"has format 2" in done.stderr
    assert (meta(closed / "events.db"), (copy / "events.db").exists()) == (before, False)


def test_imported_records_name_the_log_that_they_came_from(tmp_path: Path, dice: random.Random) -> None:
    """The new log's parent is the epoch that stands in the lines, up to their last position."""
    lines = b"".join(History(dice, 20).lines())
    assert result(notelog("import", "-", "--data", tmp_path, "--json", stdin=lines))["parent_epoch"] == EPOCH
    known = meta(tmp_path / "events.db")
    assert (known["parent_epoch"], known["parent_position"]) == (EPOCH, "20")
    assert known["epoch"] != EPOCH
