"""The ledger as evidence: a root is stored before it is signed, and what contradicts it is never signed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from projections import signed_note
from projections.ledger import LedgerContradicted, store_root
from service.checkpoint_checker import open_note, parse_key
from tests.audit.folders import beside, contents, copied, result, tampering
from tests.audit.histories import History
from tests.audit.test_tlog import published
from tests.service.running import Running, problem, until


async def stands_still(notelog: Running, because: str) -> None:
    """The service runs, says that its ledger stands still and why, and signs nothing; notes go on."""
    report = await notelog.get("/readyz")
    ledger = report.json["projections"]["ledger"]
    assert (report.status, ledger["state"]) == (503, "stopped")
    assert because in ledger["error"]
    for path in ("/tlog/checkpoint", "/tlog/proof/1", "/tlog/tile/0/000.p/1"):
        told = problem(await notelog.get(path), 503, "projection-stopped")
        assert "notes" not in told["title"], path
    assert (await notelog.post(json={"title": "goes on"})).status == 201


async def signed_folder(notelog: Running, events: int = 20) -> Path:
    """A folder with some events, all of them signed, whose service has stopped."""
    for number in range(events):
        await notelog.note(f"number {number}")
    await published(notelog, events)
    await notelog.stop()
    return notelog.data


def rows(ledger: Path) -> list[list[object]]:
    """Everything in a ledger but where it was opened and closed."""
    with closing(sqlite3.connect(ledger)) as connection:
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("tiles", "roots", "signatures")
        ]


@pytest.mark.parametrize(
    ("file", "change", "because"),
    [
        ("events.db", "UPDATE events SET actor = 'mallory' WHERE position = 12", "event 12"),
        ("events.db", "DELETE FROM events WHERE position > 15", "events are missing"),
        ("ledger.db", "UPDATE tiles SET hashes = zeroblob(640)", "event 1"),
        ("ledger.db", "UPDATE roots SET root = zeroblob(32) WHERE size = 20", "20 events"),
        ("ledger.db", "UPDATE checkpoints SET epoch = 'other' WHERE name = 'ledger'", "log other"),
        ("ledger.db", "DELETE FROM checkpoints WHERE name = 'ledger'", "checkpoint is missing"),
        ("ledger.db", "UPDATE checkpoints SET version = 9 WHERE name = 'ledger'", "version 9"),
        ("ledger.db", "UPDATE checkpoints SET hash = zeroblob(32) WHERE name = 'ledger'", "event 20"),
    ],
)
async def test_a_ledger_that_does_not_fit_is_kept_and_signs_nothing(
    notelog: Running, file: str, change: str, because: str
) -> None:
    """Whichever of the two was changed: the service says so, signs no more, and leaves the evidence as it is."""
    data = await signed_folder(notelog)
    with tampering(data / file) as connection:
        connection.execute(change)
    before = rows(data / "ledger.db")
    await notelog.start()
    await stands_still(notelog, because)
    await notelog.stop()
    assert rows(data / "ledger.db") == before


async def test_a_ledger_that_is_no_database_is_kept(notelog: Running) -> None:
    """Rubbish where the ledger was is not thrown away: somebody has to look at it."""
    data = await signed_folder(notelog)
    rubbish = b"no database" * 1000
    (data / "ledger.db").write_bytes(rubbish)
    await notelog.start()
    await stands_still(notelog, "ledger.db")
    await notelog.stop()
    assert (data / "ledger.db").read_bytes() == rubbish


async def test_a_tree_that_changes_while_the_service_runs_is_not_signed(notelog: Running) -> None:
    """Somebody changes the tiles under the running service: the next root is not signed, and it says so."""
    await notelog.note("first")
    await published(notelog, 1)
    with tampering(notelog.data / "ledger.db") as ledger:
        ledger.execute("UPDATE tiles SET hashes = zeroblob(32)")
    await notelog.note("second")
    answer = await notelog.get("/tlog/proof/2")
    assert answer.status == 503
    await stands_still(notelog, "another one")
    with closing(sqlite3.connect(notelog.data / "ledger.db")) as ledger:
        assert ledger.execute("SELECT max(size) FROM signatures").fetchone() == (1,)


async def test_a_ledger_that_cannot_be_written_stands_still(
    notelog: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault of the file that does not pass is told in the log, by readiness and to whoever asks for a proof."""
    await notelog.note("first")
    await published(notelog, 1)
    with tampering(notelog.data / "ledger.db") as ledger:
        ledger.execute("ALTER TABLE roots RENAME TO other")
    await notelog.note("second")
    assert (await notelog.get("/tlog/proof/2")).status == 503
    await stands_still(notelog, "no such table: roots")
    assert "the ledger has stopped" in "".join(capsys.readouterr())


async def test_a_contradiction_at_the_stop_is_told(notelog: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """What keeps the last events from being signed when the service stops stands in its log."""
    await notelog.note("first")
    await published(notelog, 1)
    with tampering(notelog.data / "ledger.db") as ledger:
        ledger.execute("UPDATE tiles SET hashes = zeroblob(32)")
    await notelog.note("second")
    await notelog.stop()
    told = "".join(capsys.readouterr())
    assert "the end of the log was not signed" in told or "the ledger has stopped" in told


async def test_an_event_that_cannot_be_hashed_is_named(notelog: Running) -> None:
    """Projections and ledger stop before it, and say at which position it is."""
    data = await signed_folder(notelog, 3)
    with tampering(data / "events.db") as log:
        columns = "note_id + 3, 1, type, schema, at, actor, NULL, 99999, NULL, meta, salt, data"
        log.execute(f"INSERT INTO events SELECT 4, {columns} FROM events WHERE position = 1")
    await notelog.start()
    await stopped_by(notelog, "ledger", "event 4 (NoteCreated) cannot be read: it cannot be hashed")
    await stopped_by(notelog, "notes", "event 4 (NoteCreated) cannot be read: it cannot be hashed")


async def stopped_by(notelog: Running, name: str, because: str) -> None:
    """The projection stops, and readiness says why."""

    async def stopped() -> bool:
        projection = (await notelog.get("/readyz")).json["projections"][name]
        return projection["state"] == "stopped" and because in projection["error"]

    await until(stopped, because)


async def test_a_root_without_a_signature_is_signed_at_the_next_start(notelog: Running) -> None:
    """Killed after the root was stored and before it was signed: the same root is signed, no other can be."""
    data = await signed_folder(notelog)
    with tampering(data / "ledger.db") as ledger:
        ledger.execute("DELETE FROM signatures WHERE size = 20")
    await notelog.start()
    await published(notelog, 20)
    assert (await notelog.get("/readyz")).status == 200


@pytest.mark.parametrize("emptied", [False, True])
async def test_a_lost_ledger_is_not_made_again(notelog: Running, emptied: bool) -> None:
    """What is there without the ledger that it was signed in is signed as another log only, when somebody says so."""
    data = await signed_folder(notelog)
    with tampering(data / "events.db") as log:
        log.execute("UPDATE events SET actor = 'mallory' WHERE position = 2")
    (data / "ledger.db").unlink()
    if emptied:
        (data / "ledger.db").touch()
    for _ in range(2):
        await notelog.start()
        await stands_still(notelog, "there is no ledger of this log")
        await notelog.stop()
    epoch = result(await beside("epoch", "--new", "--data", data, "--json"))["parent_epoch"]
    await notelog.start()
    assert (await published(notelog, 22))[0] != f"notelog/{epoch}"


async def test_an_imported_log_is_signed_with_a_key_that_was_there(
    stopped: Running, history: History, tmp_path: Path
) -> None:
    """Events that came from elsewhere were not signed under this epoch: their ledger is made at the first start."""
    signed_note.make_key(tmp_path / "given.pem")
    await stopped.start(ledger_key=tmp_path / "given.pem")
    await published(stopped, len(history.records))


async def test_a_new_ledger_is_missed_from_the_first_event_on(notelog: Running) -> None:
    """The ledger is in its file before the first event is taken."""
    with closing(sqlite3.connect(notelog.data / "ledger.db")) as ledger:
        assert ledger.execute("SELECT epoch FROM checkpoints").fetchall() == [(notelog.log.epoch,)]


async def test_a_log_that_was_copied_twice_before_a_start_is_signed(notelog: Running) -> None:
    """The ledger of any log that this one is a copy of is put aside, not of the last one only."""
    data = await signed_folder(notelog, 3)
    first = result(await beside("epoch", "--new", "--data", data, "--json"))["parent_epoch"]
    await beside("epoch", "--new", "--data", data)
    await notelog.start()
    await published(notelog, 3)
    assert (data / f"ledger-{first}.db").exists()


async def test_another_key_signs_the_same_root(notelog: Running, tmp_path: Path) -> None:
    """A new key signs what is there; the signatures of the old one are kept, and both are good."""
    data = await signed_folder(notelog)
    signed_note.make_key(tmp_path / "new.pem")
    await notelog.start(ledger_key=tmp_path / "new.pem")
    _, root = await published(notelog, 20)
    key = parse_key((await notelog.get("/tlog/key")).body.decode())
    open_note((await notelog.get("/tlog/checkpoint")).body.decode(), key)
    with closing(sqlite3.connect(data / "ledger.db")) as ledger:
        assert ledger.execute(
            "SELECT count(*), min(root) FROM signatures JOIN roots USING (size) WHERE size = 20"
        ).fetchone() == (
            2,
            root,
        )


async def test_a_root_that_was_stored_stands_for_ever(notelog: Running) -> None:
    """Another tree of the same size cannot be stored any more."""
    data = await signed_folder(notelog)
    changed = copied(data, data.parent / "changed")
    with tampering(changed / "ledger.db") as ledger:
        ledger.execute("UPDATE tiles SET hashes = zeroblob(640)")
        with pytest.raises(LedgerContradicted):
            store_root(ledger, 20)


async def test_the_ledger_is_the_same_however_the_pages_come(stopped: Running, history: History) -> None:
    """The tiles of a ledger that grew with the service equal those that were built at once."""
    await stopped.start()
    for number in range(30):
        await stopped.note(f"number {number}")
        if number % 10 == 0:
            await published(stopped, len(history.records) + number + 1)
    await published(stopped, len(history.records) + 30)
    await stopped.stop()
    grown = rows(stopped.data / "ledger.db")[0]
    for file in ("ledger.db", "ledger-key.pem"):
        (stopped.data / file).unlink()
    await stopped.start()
    await published(stopped, len(history.records) + 30)
    await stopped.stop()
    assert rows(stopped.data / "ledger.db")[0] == grown
    assert contents(stopped.data / "notes.db")


async def test_events_that_somebody_else_added_are_told_of_and_taken_in(
    notelog: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """An event that was put into the file while no service ran contradicts nothing; the next start says so."""
    data = await signed_folder(notelog, 3)
    with tampering(data / "events.db") as log:
        columns = "note_id + 3, 1, type, schema, at, actor, NULL, part, NULL, meta, salt, data"
        log.execute(f"INSERT INTO events SELECT 4, {columns} FROM events WHERE position = 1")
    await notelog.start()
    assert "events were added while the service was stopped" in "".join(capsys.readouterr())
    await published(notelog, 4)


async def test_events_that_are_gone_from_the_end_are_missed_even_if_unsigned(notelog: Running) -> None:
    """Where the log ended at the stop is noted, also of events that the ledger did not have yet."""
    data = await signed_folder(notelog, 3)
    with tampering(data / "ledger.db") as ledger:
        ledger.execute("UPDATE checkpoints SET position = 5 WHERE name = 'closed'")
    await notelog.start()
    await stands_still(notelog, "ended at 5")
