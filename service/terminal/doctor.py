"""``notelog doctor``: which versions, settings, disk and data there are, and what is wrong with them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from service.settings import Settings, WrongSetting, from_environment
from service.terminal.folder_options import data_option, json_option
from service.terminal.output import EXIT_DOES_NOT_HOLD

EXIT_SETTINGS = 2


@click.command("doctor")
@data_option
@click.option("--host", envvar="NOTELOG_HOST", default="127.0.0.1", hidden=True)
@click.option("--port", envvar=["NOTELOG_PORT", "PORT"], type=int, default=8080, hidden=True)
@click.option("--log", envvar="NOTELOG_LOG", default="sqlite", hidden=True)
@click.option("--insecure", envvar="NOTELOG_INSECURE", is_flag=True, hidden=True)
@click.option("--require-if-match", envvar="NOTELOG_REQUIRE_IF_MATCH", type=bool, default=False, hidden=True)
@click.option("--access-log", envvar="NOTELOG_ACCESS_LOG", type=bool, default=False, hidden=True)
@json_option
def doctor_command(data: Path, as_json: bool, **options: Any) -> None:
    """Say which versions, settings, disk and data there are, and what is wrong. Works beside a running service.

    Ends with 0 when nothing is wrong (warnings may be there), 1 when something is, 2 when it is a setting. Nothing is
    changed, and secrets are not shown. Give it the environment of the service to see the service's settings.
    """
    from service.terminal.examination import examine  # late: it loads what signs and checks

    settings, wrong = _settings(data, options)
    report = examine(data, settings, wrong)
    click.echo(msgspec.json.encode(report).decode() if as_json else "\n".join(_lines(report)))
    if wrong:
        sys.exit(EXIT_SETTINGS)
    if not report.ok:
        sys.exit(EXIT_DOES_NOT_HOLD)


def _settings(data: Path, options: dict[str, Any]) -> tuple[Settings, list[WrongSetting]]:
    """The settings that a service started here would have, as far as they can be read, and what is wrong with them."""
    wrong: list[WrongSetting] = []
    given: dict[str, Any] = {}
    for name, text in os.environ.items():
        try:
            given |= from_environment({name: text})
        except WrongSetting as error:
            wrong.append(error)
    settings = Settings(data=data, **options, **given)
    try:
        settings.check()
    except WrongSetting as error:
        wrong.append(error)
    return settings, wrong


def _lines(report: Any) -> Iterator[str]:
    yield from _table("versions", report.versions)
    yield from _table("settings", {name: value for name, value in report.settings.items() if value not in (None, ())})
    place = report.file_system
    where = {"kind": place.kind or "unknown", "mount": place.mount or "unknown", "free_bytes": place.free_bytes}
    yield from _table("file system", where | report.file_bytes)
    yield from _table("folder", {"in use by": report.in_use_by or "nobody"})
    if report.log is not None:
        fields = msgspec.structs.asdict(report.log)
        yield from _table("log", {name: value for name, value in fields.items() if value is not None})
    shown = {name: f"{state.checkpoint} (lag {state.lag})" for name, state in report.projections.items()}
    yield from _table("projections", shown)
    for remark in report.remarks:
        yield f"{remark.level}: {remark.about}: {remark.detail}"
    yield "nothing is wrong" if report.ok else "something is wrong: see the errors above"


def _table(title: str, rows: dict[str, Any]) -> Iterator[str]:
    yield title
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        yield f"  {name:<{width}}  {value}"
