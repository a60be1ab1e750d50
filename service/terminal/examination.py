"""What ``notelog doctor`` looks at: everything that can be seen beside a running service, without changing anything.

It reads no event: whether the data holds is for ``notelog verify`` to say.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from events.copies import is_copy, select_ancestors, select_parent
from events.errors import FolderError
from events.folder import DataFolder, reading_uri
from events.store import APPLICATION_ID, FORMAT, select_head
from projections.ledger import Ledger
from projections.ledger_book import LOST
from projections.ledger_copy import select_ledger_checkpoint
from projections.rebuild import of_notes, open_any_file, select_epoch
from projections.tables import Checkpoint, select_checkpoint
from service.past.ledger_part import has_signed
from service.settings import Secret, Settings, WrongSetting, without_password
from service.terminal.file_system import FileSystem, file_system_of
from service.terminal.surroundings import Remark, about_folder, about_place, about_sqlite, versions


class LogState(Struct, frozen=True):
    """What the file of the log says of itself. ``engine``: sqlite, or jetstream for a replica.

    ``ancestors``: the epochs that the log had before it was copied, the parent's first. ``is_copy``: it was not started
    yet, and gets an epoch of its own then.
    """

    format: int
    engine: str
    epoch: str
    head: int
    parent_epoch: str | None
    parent_position: int | None
    ancestors: list[str]
    is_copy: bool


class ProjectionState(Struct, frozen=True):
    """How far a projection is."""

    checkpoint: int
    lag: int


class Report(Struct, frozen=True):
    """What ``--json`` prints. ``ok``: there is no error among the remarks; a warning is none."""

    ok: bool
    versions: dict[str, str]
    settings: dict[str, Any]
    file_system: FileSystem
    file_bytes: dict[str, int]
    in_use_by: str | None
    log: LogState | None
    projections: dict[str, ProjectionState]
    remarks: list[Remark]


def examine(data: Path, settings: Settings, wrong: list[WrongSetting]) -> Report:
    """Look at everything. ``wrong``: what the settings were refused for already."""
    folder = DataFolder(data)
    remarks = [Remark("error", "settings", without_password(str(error))) for error in wrong]
    place = file_system_of(data)
    file_bytes = {file.name: file.stat().st_size for file in folder.files() if file.exists()}
    remarks += [*about_sqlite(), *about_place(place, sum(file_bytes.values())), *about_folder(folder, settings)]
    log, projections = None, {}
    try:
        log = _log(folder)
        remarks += _about_log(folder, settings, log)
        # What came from elsewhere was not signed under this epoch.
        signed = has_signed(settings, folder) and not log.is_copy and log.head > (log.parent_position or 0)
        found = _projections(folder, log, signed, remarks)
        projections = {name: ProjectionState(*state) for name, state in found}
    except (FolderError, sqlite3.Error) as error:
        remarks.append(Remark("error", "log", f"{error}; see --data"))
    return Report(
        all(remark.level != "error" for remark in remarks),
        versions(),
        shown_settings(settings),
        place,
        file_bytes,
        _holder(folder),
        log,
        projections,
        remarks,
    )


def shown_settings(settings: Settings) -> dict[str, Any]:
    """The settings as they can be shown to anybody: secrets are there or not, and no more is said."""
    return {name: _shown(value) for name, value in asdict(settings).items()}


def _shown(value: object) -> object:
    if isinstance(value, Secret):
        return "(hidden)"
    return without_password(str(value)) if isinstance(value, Path | str) else value


def _holder(folder: DataFolder) -> str | None:
    """Which process has the folder, or None."""
    if not folder.is_in_use():
        return None
    return (folder.path / "lock").read_text(errors="replace").strip() or "a process"


def _log(folder: DataFolder) -> LogState:
    with closing(open_any_file(folder.events)) as log:
        epoch, parent, ancestors = select_epoch(log), select_parent(log), select_ancestors(log)
        is_replica = log.execute("SELECT 1 FROM meta WHERE key = 'stream'").fetchone() is not None
        return LogState(
            log.execute("PRAGMA user_version").fetchone()[0],
            "jetstream" if is_replica else "sqlite",
            epoch,
            select_head(log),
            parent.epoch if parent else None,
            parent.position if parent else None,
            [ancestor.epoch for ancestor in ancestors],
            is_copy(log),
        )


def _about_log(folder: DataFolder, settings: Settings, log: LogState) -> Iterator[Remark]:
    with closing(open_any_file(folder.events)) as source:
        application_id = source.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        yield Remark("error", "log", f"{folder.events} has the application_id {application_id:#x}, not notelog's")
    if log.format > FORMAT:
        yield Remark("error", "log", f"its format is {log.format}, this version knows {FORMAT}: upgrade notelog")
    if (log.engine == "sqlite") != (settings.log == "sqlite"):
        yield Remark(
            "error", "log", f"it is of the engine {log.engine}, and --log is {_shown(settings.log)}: one must change"
        )
    if log.is_copy and log.engine == "sqlite":
        yield Remark("warning", "log", "it is a copy that was not started yet: its first start gives it a new epoch")


def _projections(
    folder: DataFolder, log: LogState, signed: bool, remarks: list[Remark]
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each projection's checkpoint and lag; what is wrong with one, or with its file, goes to the remarks."""
    for name, number, found in [*_read(folder.notes, _of_notes, remarks), *_read(folder.ledger, _of_ledger, remarks)]:
        if name == Ledger.name and signed and (found is None or found.epoch in log.ancestors):
            remarks.append(Remark("error", name, LOST))
            continue
        if found is None:
            remarks.append(Remark("warning", name, "is not built yet: the next start builds it"))
            continue
        remarks += _about_projection(log, number, found)
        yield name, (found.position, log.head - found.position)


Checkpoints = list[tuple[str, int, Checkpoint | None]]


def _read(file: Path, read: Callable[[Path], Checkpoints], remarks: list[Remark]) -> Checkpoints:
    """What is read of a file; one that cannot be read is itself what is wrong."""
    try:
        return read(file)
    except sqlite3.Error as error:
        mend = "the next start builds it anew" if file.name == "notes.db" else "keep it, and see notelog verify"
        remarks.append(Remark("error", file.name, f"{file} cannot be read: {error}; {mend}"))
        return []


def _of_notes(notes: Path) -> Checkpoints:
    wanted = [(projection.name, projection.version) for projection in of_notes()]
    if not notes.exists():
        return [(name, number, None) for name, number in wanted]
    with closing(sqlite3.connect(reading_uri(notes), uri=True)) as tables:
        return [(name, number, select_checkpoint(tables, name)) for name, number in wanted]


def _of_ledger(ledger: Path) -> Checkpoints:
    return [(Ledger.name, Ledger.version, select_ledger_checkpoint(ledger))]


def _about_projection(log: LogState, number: int, found: Checkpoint) -> Iterator[Remark]:
    of_parent = found.epoch in log.ancestors
    if found.name == Ledger.name:
        # A ledger is evidence and never built over: one that does not fit is a fault.
        if found.position > log.head or (found.epoch != log.epoch and not of_parent):
            yield Remark(
                "error", found.name, f"it has {found.position} events of the log {found.epoch}, which is not this "
                "one's past: nothing will be signed; find out which of the two was changed (notelog verify)"
            )  # fmt: skip
    elif found.epoch != log.epoch or found.position > log.head:
        yield Remark("warning", found.name, "was built from another log: the next start builds it anew")
    elif found.version != number:
        yield Remark("warning", found.name, f"has version {found.version}, not {number}: the next start builds it anew")
