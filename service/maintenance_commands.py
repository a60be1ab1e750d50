"""Commands on a data folder: rebuild, replay, export, import, backup, epoch."""

import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import click

from events.backup import CopyDiffers, copy_log
from events.copies import is_replica, renew_epoch
from events.errors import EventError, FolderError
from events.folder import DataFolder
from events.log import PAGE_EVENTS_MAX
from events.store import select_head
from events.timestamps import microseconds, normalised
from events.transfer import LINE_BYTES_MAX, NotEmpty, NotImportable, exported, import_log
from projections.ledger_copy import LedgersDiffer, copy_ledger, select_ledger_checkpoint
from projections.notes import Notes
from projections.rebuild import of_notes, open_log_file, pages, rebuild, select_epoch
from service.output import EXIT_DOES_NOT_HOLD, fail, progress_bar, show
from service.settings import WrongSetting

data_option = click.option(
    "--data",
    envvar="NOTELOG_DATA",
    default="notelog-data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the log and its tables.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.command("rebuild")
@data_option
@json_option
def rebuild_command(data: Path, as_json: bool) -> None:
    """Build the projections anew beside the old ones and swap them in. The service must not run.

    It can be interrupted at any moment and run again.
    """
    with _locked(data) as folder:
        with progress_bar("rebuilding", _head(folder.events)) as advance:
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
    if output is not None and output.suffix not in (".db", ".ndjson"):
        raise WrongSetting(f"--output {output}: expected a name that ends with .db or .ndjson")
    folder = existing(data)
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
        tables.replace(output)
    show(
        {"as_of": position, "notes": notes, "output": str(output)},
        f"{notes} notes as of position {position} are in {output}",
        as_json,
    )


@click.command("export")
@data_option
@click.option("--after", type=click.IntRange(min=0), default=0, show_default=True, help="Leave out events up to here.")
def export_command(data: Path, after: int) -> None:
    """Print the log as NDJSON, each record whole. Works beside a running service."""
    folder = existing(data)
    source = open_log_file(folder.events)
    try:
        epoch, head = select_epoch(source), select_head(source)
        with progress_bar("exporting", head) as advance:
            for page in pages(source, after, head, PAGE_EVENTS_MAX):
                _print(b"".join(exported(record, epoch) + b"\n" for record in page))
                advance(page[-1].position)
    finally:
        source.close()


@click.command("import")
@click.argument("file", type=click.File("rb"))
@data_option
@click.option("--log", envvar="NOTELOG_LOG", default="sqlite", show_default=True, help="sqlite is what is taken.")
@json_option
def import_command(file: BinaryIO, data: Path, log: str, as_json: bool) -> None:
    """Make an empty log one that has the events of FILE (- for stdin), position for position.

    The log gets an epoch of its own and notes which one it was. When it fails, nothing has happened.
    """
    if log != "sqlite":
        raise WrongSetting(f"--log {log}: importing goes into the embedded log only")
    folder = DataFolder(data)
    folder.lock()
    try:
        with progress_bar("importing", None) as advance:
            lines = iter(partial(file.readline, LINE_BYTES_MAX + 1), b"")
            parent = import_log(lines, folder.events, advance)
    except (NotImportable, NotEmpty) as error:
        fail({"error": str(error)}, str(error), as_json)
    finally:
        folder.unlock()
    show(
        {"position": parent.position, "parent_epoch": parent.epoch},
        f"imported {parent.position} events of the log {parent.epoch or '(empty)'}",
        as_json,
    )


@click.command("backup")
@data_option
@click.argument("destination", type=click.Path(path_type=Path), metavar="DEST")
@json_option
def backup_command(data: Path, destination: Path, as_json: bool) -> None:
    """Copy the log and its ledger to the folder DEST; again to the same place: only what is new.

    Works beside a running service. The tables are not copied, they are built at the first start, which also gives
    the copy an epoch of its own. The key that signs is not copied either.
    """
    folder, copy = existing(data), DataFolder(destination)
    if copy.path.resolve() == folder.path.resolve():
        raise WrongSetting(f"DEST {destination}: expected another folder than --data")
    copy.lock()
    source = open_log_file(folder.events)
    try:
        select_epoch(source)
        # The ledger's checkpoint first: the log, copied after it, is then at least as long.
        checkpoint = select_ledger_checkpoint(folder.ledger)
        with progress_bar("copying", select_head(source)) as advance:
            copied = copy_log(source, copy.events, advance)
        if checkpoint is not None and checkpoint.epoch == copied.epoch:
            copy_ledger(folder.ledger, copy.ledger, checkpoint)
    except (CopyDiffers, LedgersDiffer) as error:
        fail({"error": str(error)}, str(error), as_json)
    finally:
        source.close()
        copy.unlock()
    result = {"epoch": copied.epoch, "position": copied.position, "copied": copied.position - copied.before}
    show(result, f"copied {result['copied']} events; the copy is at position {copied.position}", as_json)


@click.command("epoch")
@click.option("--new", "new", is_flag=True, required=True, help="Give the log a new epoch.")
@data_option
@json_option
def epoch_command(new: bool, data: Path, as_json: bool) -> None:
    """Say that this folder is a copy made by other means: its log gets a new epoch. The service must not run."""
    with _locked(data) as folder:
        old = _epoch(folder.events)
        if _asked(folder.events, is_replica):
            raise WrongSetting(f"--data {data}: the epoch of a replica is that of its stream")
        connection = sqlite3.connect(folder.events, isolation_level=None)
        try:
            epoch = renew_epoch(connection)
        finally:
            connection.close()
    show({"epoch": epoch, "parent_epoch": old}, f"the epoch is {epoch} now; it was {old}", as_json)


def existing(data: Path) -> DataFolder:
    """The folder, which must have a log in it. Raises ``FolderError``."""
    folder = DataFolder(data)
    if not folder.events.exists():
        raise FolderError(f"there is no log in {data}")
    return folder


@contextmanager
def _locked(data: Path) -> Iterator[DataFolder]:
    """The folder for this process alone. Raises ``FolderInUse`` while the service runs."""
    folder = existing(data)
    folder.lock()
    try:
        yield folder
    finally:
        folder.unlock()


def _position(log: Path, as_of: str) -> int:
    """The position that ``--as-of`` names. Raises ``WrongSetting``."""
    head = _head(log)
    if re.fullmatch(r"[0-9]{1,19}", as_of):
        if int(as_of) > head:
            raise WrongSetting(f"--as-of {as_of}: expected a position up to the head, {head}")
        return int(as_of)
    try:
        at = microseconds(normalised(as_of))
    except ValueError as error:
        raise WrongSetting(f"--as-of {as_of}: {error}") from None
    last = "SELECT coalesce(max(position), 0) FROM events WHERE at <= ?"
    return int(_asked(log, lambda source: source.execute(last, (at,)).fetchone()[0]))


def _head(log: Path) -> int:
    return int(_asked(log, select_head))


def _epoch(log: Path) -> str:
    return str(_asked(log, select_epoch))


def _asked(log: Path, query: Callable[[sqlite3.Connection], Any]) -> Any:
    source = open_log_file(log)
    try:
        select_epoch(source)
        return query(source)
    finally:
        source.close()


def _bodies(tables: Path) -> Iterator[str]:
    connection = sqlite3.connect(tables)
    try:
        yield from (body for (body,) in connection.execute("SELECT body FROM notes ORDER BY id"))
    finally:
        connection.close()


def _count(tables: Path) -> int:
    connection = sqlite3.connect(tables)
    try:
        return int(connection.execute("SELECT count(*) FROM notes").fetchone()[0])
    finally:
        connection.close()


def _print_notes(tables: Path, position: int, as_json: bool) -> None:
    """The notes a line each, or as one JSON object; either way one after the other."""
    if as_json:
        _print(b'{"as_of":%d,"notes":[' % position)
    for place, body in enumerate(_bodies(tables)):
        _print((b"," if as_json and place else b"") + body.encode() + (b"" if as_json else b"\n"))
    if as_json:
        _print(b"]}\n")


def _write_lines(tables: Path, output: Path) -> None:
    with output.open("wb") as file:
        for body in _bodies(tables):
            file.write(body.encode() + b"\n")


def _print(chunk: bytes) -> None:
    """Write to stdout. When nobody reads it any more, there is nothing left to do."""
    try:
        sys.stdout.buffer.write(chunk)
    except BrokenPipeError:
        # What is still in the buffer must not be tried again at the exit (docs.python.org/3/library/signal.html).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_DOES_NOT_HOLD)


COMMANDS = (rebuild_command, replay_command, export_command, import_command, backup_command, epoch_command)
