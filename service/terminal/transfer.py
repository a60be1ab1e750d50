"""Commands that move a log: export, import, backup."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from events.backup import CopyDiffers, copy_log
from events.copies import Parent
from events.errors import ClusterError, FolderError, NotelogError
from events.folder import DataFolder
from events.log import PAGE_EVENTS_MAX
from events.store import select_head
from events.transfer import LINE_BYTES_MAX, exported, import_log
from projections.ledger_copy import LedgersDiffer, copy_ledger, select_ledger_checkpoint
from projections.merkle import MissingHashes
from projections.rebuild import open_log_file, pages, select_epoch
from projections.tables import Checkpoint, discard
from service.cluster import nats_settings
from service.settings import Settings, WrongSetting, from_environment
from service.terminal.folder_options import data_option, existing, json_option
from service.terminal.output import fail, print_bytes, progress_bar, show


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
                print_bytes(b"".join(exported(record, epoch) + b"\n" for record in page))
                advance(page[-1].position)
    finally:
        source.close()


@click.command("import")
@click.argument("file", type=click.File("rb"))
@data_option
@click.option("--log", envvar="NOTELOG_LOG", default="sqlite", show_default=True, help="sqlite, or nats://host:port,…")
@json_option
def import_command(file: BinaryIO, data: Path, log: str, as_json: bool) -> None:
    """Make an empty log one that has the events of FILE (- for stdin), position for position.

    The log gets an epoch of its own and notes which one it was. When it fails, nothing has happened; into a stream
    (--log nats://…) it goes in batches, and is run again after a break to go on where it was.
    """
    lines = iter(partial(file.readline, LINE_BYTES_MAX + 1), b"")
    try:
        with progress_bar("importing", None) as advance:
            parent, found = _imported(lines, data, log, advance)
    except NotelogError as error:
        if isinstance(error, (FolderError, ClusterError, WrongSetting)):
            raise
        fail({"error": str(error)}, str(error), as_json)
    show(
        {"position": parent.position, "parent_epoch": parent.epoch} | ({"found": found} if found else {}),
        f"imported {parent.position} events of the log {parent.epoch or '(empty)'}"
        + (f"; {found} of them were there already" if found else ""),
        as_json,
    )


def _imported(lines: Iterator[bytes], data: Path, log: str, advance: Callable[[int], None]) -> tuple[Parent, int]:
    """Which log was imported, and how many of its events a run before had brought."""
    if log != "sqlite":
        return _imported_into_stream(lines, log, advance)
    folder = DataFolder(data)
    folder.lock()
    try:
        parent = import_log(lines, folder.events, advance)
        discard(folder.notes)  # built from the empty log
        return parent, 0
    finally:
        folder.unlock()


def _imported_into_stream(lines: Iterator[bytes], log: str, advance: Callable[[int], None]) -> tuple[Parent, int]:
    settings = Settings(log=log, **from_environment(os.environ))
    settings.check()
    nats = nats_settings(settings)
    from events.stream_import import import_into_stream  # NATS is imported for this only

    imported = import_into_stream(lines, nats, advance)
    return imported.parent, imported.found


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
        checkpoint = _ledger_checkpoint(folder)
        with progress_bar("copying", select_head(source)) as advance:
            copied = copy_log(source, copy.events, advance)
        _copy_ledger(folder, copy, checkpoint, copied.epoch)
    except (CopyDiffers, LedgersDiffer, LedgerNotCopied) as error:
        fail({"error": str(error)}, str(error), as_json)
    finally:
        source.close()
        copy.unlock()
    result = {"epoch": copied.epoch, "position": copied.position, "copied": copied.position - copied.before}
    show(result, f"copied {result['copied']} events; the copy is at position {copied.position}", as_json)


class LedgerNotCopied(NotelogError):
    """The log was copied, and its ledger cannot be read or written."""

    def __init__(self, error: sqlite3.Error | MissingHashes) -> None:
        super().__init__(f"the log was copied, its ledger was not: {error}; see notelog verify")


def _ledger_checkpoint(folder: DataFolder) -> Checkpoint | sqlite3.Error | None:
    """How far the ledger is. A sick one must not keep the log from being copied: what is wrong is told after that."""
    try:
        return select_ledger_checkpoint(folder.ledger)
    except sqlite3.Error as error:
        return error


def _copy_ledger(
    folder: DataFolder, copy: DataFolder, checkpoint: Checkpoint | sqlite3.Error | None, epoch: str
) -> None:
    if isinstance(checkpoint, sqlite3.Error):
        raise LedgerNotCopied(checkpoint)
    try:
        if checkpoint is not None and checkpoint.epoch == epoch:
            copy_ledger(folder.ledger, copy.ledger, checkpoint)
    except (sqlite3.Error, MissingHashes) as error:
        raise LedgerNotCopied(error) from error


COMMANDS = (export_command, import_command, backup_command)
