"""Commands on a data folder that stays where it is: rebuild, replay, epoch."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from events.copies import is_replica, renew_epoch
from events.errors import EventError
from events.folder import DataFolder
from events.timestamps import microseconds, normalised
from projections.notes import Notes
from projections.rebuild import of_notes, rebuild, select_epoch, swap
from projections.tables import discard
from service.settings import WrongSetting
from service.terminal.folder_options import asked, data_option, existing, head_of, json_option
from service.terminal.output import fail, print_bytes, progress_bar, show


@click.command("rebuild")
@data_option
@json_option
def rebuild_command(data: Path, as_json: bool) -> None:
    """Build the projections anew beside the old ones and swap them in. The service must not run.

    It can be interrupted at any moment and run again.
    """
    with _locked(data) as folder:
        with progress_bar("rebuilding", head_of(folder.events)) as advance:
            try:
                built = rebuild(folder.events, folder.notes, of_notes(), progress=advance)
            except EventError as error:
                fail({"error": str(error)}, f"{error}; the tables are as they were", as_json)
    result = {"epoch": built.epoch, "position": built.position}
    show(result, f"rebuilt up to position {built.position}", as_json)


@click.command("replay")
@data_option
@click.option("--as-of", "as_of", required=True, metavar="T", help="A position, or a time (RFC 3339).")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="FILE.db for tables, FILE.ndjson for a note a line; default: notes on stdout.",
)
@json_option
def replay_command(data: Path, as_of: str, output: Path | None, as_json: bool) -> None:
    """Show the notes as they were at a position or time. Works beside a running service."""
    folder = existing(data)
    if output is not None:
        _require_fit(output, folder)
    position = _position(folder.events, as_of)
    with TemporaryDirectory(dir=output.parent if output else None, prefix=".notelog-") as place:
        tables = Path(place) / "notes.db"
        try:
            with progress_bar("replaying", position) as advance:
                rebuild(folder.events, tables, [Notes()], up_to=position, progress=advance)
        except EventError as error:
            fail({"error": str(error)}, str(error), as_json)
        if output is None:
            _print_notes(tables, position, as_json)
            return
        notes = _count(tables)
        if output.suffix == ".ndjson":
            _write_lines(tables, Path(place) / "notes.ndjson")
            tables = Path(place) / "notes.ndjson"
        swap(tables, output)
    show(
        {"as_of": position, "notes": notes, "output": str(output)},
        f"{notes} notes as of position {position} are in {output}",
        as_json,
    )


@click.command("epoch")
@click.option("--new", "new", is_flag=True, required=True, help="Give the log a new epoch.")
@data_option
@json_option
def epoch_command(new: bool, data: Path, as_json: bool) -> None:
    """Say that this folder is a copy made by other means: its log gets a new epoch. The service must not run."""
    with _locked(data) as folder:
        old = str(asked(folder.events, select_epoch))
        if asked(folder.events, is_replica):
            raise WrongSetting(f"--data {data}: the epoch of a replica is that of its stream")
        connection = sqlite3.connect(folder.events, isolation_level=None)
        try:
            epoch = renew_epoch(connection)
        finally:
            connection.close()
        discard(folder.notes)  # built from the log of the old epoch: the next start builds it anew
    show({"epoch": epoch, "parent_epoch": old}, f"the epoch is {epoch} now; it was {old}", as_json)


@contextmanager
def _locked(data: Path) -> Iterator[DataFolder]:
    """The folder for this process alone. Raises ``FolderInUse`` while the service runs."""
    folder = existing(data)
    folder.lock()
    try:
        yield folder
    finally:
        folder.unlock()


def _require_fit(output: Path, folder: DataFolder) -> None:
    """What is put at ``output`` replaces what was there. Raises ``WrongSetting``."""
    if output.suffix not in (".db", ".ndjson"):
        raise WrongSetting(f"--output {output}: expected a name that ends with .db or .ndjson")
    if output.is_dir() or not output.parent.is_dir():
        raise WrongSetting(f"--output {output}: expected a file in a folder that is there")
    if folder.owns(output):
        raise WrongSetting(f"--output {output}: this is one of the service's own files; give another name")


def _position(log: Path, as_of: str) -> int:
    """The position that ``--as-of`` names. Raises ``WrongSetting``."""
    head = head_of(log)
    if re.fullmatch(r"[0-9]{1,19}", as_of):
        if int(as_of) > head:
            raise WrongSetting(f"--as-of {as_of}: expected a position up to the head, {head}")
        return int(as_of)
    try:
        at = microseconds(normalised(as_of))
    except ValueError as error:
        raise WrongSetting(f"--as-of {as_of}: {error}") from None
    last = "SELECT coalesce(max(position), 0) FROM events WHERE at <= ?"
    return int(asked(log, lambda source: source.execute(last, (at,)).fetchone()[0]))


def _bodies(tables: Path) -> Iterator[str]:
    with closing(sqlite3.connect(tables)) as connection:
        yield from (body for (body,) in connection.execute("SELECT body FROM notes ORDER BY id"))


def _count(tables: Path) -> int:
    with closing(sqlite3.connect(tables)) as connection:
        return int(connection.execute("SELECT count(*) FROM notes").fetchone()[0])


def _print_notes(tables: Path, position: int, as_json: bool) -> None:
    """The notes a line each, or as one JSON object; either way one after the other."""
    if as_json:
        print_bytes(b'{"as_of":%d,"notes":[' % position)
    for place, body in enumerate(_bodies(tables)):
        print_bytes((b"," if as_json and place else b"") + body.encode() + (b"" if as_json else b"\n"))
    if as_json:
        print_bytes(b"]}\n")


def _write_lines(tables: Path, output: Path) -> None:
    with output.open("wb") as file:
        for body in _bodies(tables):
            file.write(body.encode() + b"\n")


COMMANDS = (rebuild_command, replay_command, epoch_command)
