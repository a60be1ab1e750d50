"""Tables built anew: equal to the ones that grew with the log, whatever the pages and whoever interrupts."""

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from events.folder import DataFolder
from events.transfer import import_log
from projections.rebuild import of_notes, rebuild
from tests.audit.folders import beside, contents, killed_after, notelog, result, tampering, took_s
from tests.audit.histories import History
from tests.service.running import Running, until
from tests.sizes import count


async def test_rebuilt_tables_equal_those_that_grew_whatever_the_page(
    stopped: Running, history: History, dice: random.Random, tmp_path: Path
) -> None:
    """A service's tables and those of a rebuild in pages of any size are the same, row for row."""
    await stopped.start()
    await stopped.delete(f"/notes/{history.living(600)[0]['id']}")
    await until(stopped.has_caught_up, "every projection is at the head")
    await stopped.stop()
    grown = contents(stopped.data / "notes.db")
    for page_events in (1, 7, dice.randrange(2, 600), 1000):
        rebuild(stopped.data / "events.db", tmp_path / "other.db", of_notes(), page_events=page_events)
        assert contents(tmp_path / "other.db") == grown, page_events


async def test_a_service_goes_on_with_rebuilt_tables(stopped: Running, history: History) -> None:
    """After a rebuild by command the service answers at once what the model says."""
    done = notelog("rebuild", "--data", stopped.data, "--json")
    assert result(done)["position"] == 600
    await stopped.start()
    assert await stopped.all_notes() == history.living(600)


async def test_a_rebuild_is_refused_while_the_service_runs(notelog: Running) -> None:
    """Two may not write one file: exit code 2, one line, nothing changed."""
    await notelog.note()
    for command in (["rebuild"], ["epoch", "--new"], ["import", "-"]):
        done = await beside(*command, "--data", notelog.data)
        assert done.returncode == 2, done
        assert b"in use" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert (await notelog.get("/notes/1")).status == 200


def test_a_rebuild_without_a_log_says_so_and_makes_nothing(tmp_path: Path) -> None:
    """A wrong folder is named and not made."""
    done = notelog("rebuild", "--data", tmp_path / "nowhere")
    assert done.returncode == 2
    assert b"nowhere" in done.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.faults
def test_a_rebuild_that_is_killed_anywhere_can_be_run_again(dice: random.Random, tmp_path: Path) -> None:
    """SIGKILL at random moments leaves the old tables or none, never others; the next run gives the same as one."""
    folder = DataFolder(tmp_path)
    import_log(History(dice, 3000).lines(), folder.events)
    rebuild(folder.events, tmp_path / "expected.db", of_notes())
    expected = contents(tmp_path / "expected.db")
    whole_s = took_s("rebuild", "--data", tmp_path)
    for _ in range(count("command_kills")):
        if dice.random() < 0.3:
            folder.notes.unlink(missing_ok=True)
        killed_after(whole_s * dice.uniform(0.4, 1.1), "rebuild", "--data", tmp_path)
        if folder.notes.exists():
            assert contents(folder.notes) == expected
    assert notelog("rebuild", "--data", tmp_path).returncode == 0
    assert contents(folder.notes) == expected
    assert not list(tmp_path.glob("*.new*"))


async def test_a_rebuild_stops_at_an_event_that_it_cannot_understand(stopped: Running, history: History) -> None:
    """An event of a newer version ends it with 1, and the tables are as they were."""

    await stopped.start()
    await until(stopped.has_caught_up, "every projection is at the head")
    await stopped.stop()
    before = contents(stopped.data / "notes.db")
    with tampering(stopped.data / "events.db") as log:
        log.execute("UPDATE events SET schema = 99 WHERE position = 300")
    done = notelog("rebuild", "--data", stopped.data, "--json")
    assert "event 300" in result(done, code=1)["error"]
    assert contents(stopped.data / "notes.db") == before


async def test_replay_gives_the_notes_as_they_were(stopped: Running, history: History, dice: random.Random) -> None:
    """As lines on stdout, as one JSON object, as a file of lines and as tables; beside a running service."""

    await stopped.start()
    position = dice.randrange(100, 600)
    living = history.living(position)
    done = await beside("replay", "--data", stopped.data, "--as-of", str(position))
    assert [json.loads(line) for line in done.stdout.decode().split("\n") if line] == living
    both = result(await beside("replay", "--data", stopped.data, "--as-of", str(position), "--json"))
    assert both == {"as_of": position, "notes": living}
    for name in ("then.ndjson", "then.db"):
        output = stopped.data.parent / name
        done = await beside("replay", "--data", stopped.data, "--as-of", str(position), "--output", output, "--json")
        assert result(done) == {"as_of": position, "notes": len(living), "output": str(output)}
    lines = (stopped.data.parent / "then.ndjson").read_text().split("\n")
    assert [json.loads(line) for line in lines if line] == living
    bodies = sqlite3.connect(stopped.data.parent / "then.db").execute("SELECT body FROM notes ORDER BY id")
    assert [json.loads(body) for (body,) in bodies] == living
    for wrong in ("601", "soon", "-1"):
        assert (await beside("replay", "--data", stopped.data, "--as-of", wrong)).returncode == 2


async def test_a_replay_never_replaces_the_services_own_files(closed: Path) -> None:
    """The log, the tables and the ledger stay as they are, under every name that they have; exit code 2."""
    (closed.parent / "link.db").hardlink_to(closed / "events.db")
    (closed / f"ledger-{'0' * 32}.db").write_bytes(b"put aside")
    for output in (*closed.glob("*.db"), closed.parent / "link.db", closed.parent / "nowhere" / "then.db"):
        before = output.read_bytes() if output.exists() else b""
        done = await beside("replay", "--data", closed, "--as-of", "5", "--output", output)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), output
        assert (output.read_bytes() if output.exists() else b"") == before


async def test_a_replay_is_not_spoilt_by_what_lay_beside_the_file_before(closed: Path) -> None:
    """The write-ahead log of a database that was at the place of the output goes with it."""
    output = closed.parent / "then.db"
    assert (await beside("replay", "--data", closed, "--as-of", "500", "--output", output)).returncode == 0
    with sqlite3.connect(output) as old:
        old.execute("DELETE FROM notes")
        old.commit()
        left = output.with_name("then.db-wal").read_bytes()
    old.close()
    output.with_name("then.db-wal").write_bytes(left)
    done = result(await beside("replay", "--data", closed, "--as-of", "500", "--output", output, "--json"))
    with closing(sqlite3.connect(output)) as new:
        assert new.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert new.execute("SELECT count(*) FROM notes").fetchone() == (done["notes"],)
