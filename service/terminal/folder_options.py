"""What commands on a data folder share: their options, the folder that they are given, and asking its log."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from events.errors import FolderError
from events.folder import DataFolder
from events.store import select_head
from projections.rebuild import open_log_file, select_epoch

data_option = click.option(
    "--data",
    envvar="NOTELOG_DATA",
    default="notelog-data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the log and its tables.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def existing(data: Path) -> DataFolder:
    """The folder, which must have a log in it. Raises ``FolderError``."""
    folder = DataFolder(data)
    if not folder.events.exists():
        raise FolderError(f"there is no log in {data}")
    return folder


def head_of(log: Path) -> int:
    """The last position of a log."""
    return int(asked(log, select_head))


def asked(log: Path, query: Callable[[sqlite3.Connection], Any]) -> Any:
    """What a log answers. Raises ``FolderError`` where there is none."""
    source = open_log_file(log)
    try:
        select_epoch(source)
        return query(source)
    finally:
        source.close()
