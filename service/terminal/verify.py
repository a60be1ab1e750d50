"""``notelog verify``: whether the data holds against itself, the ledger, and a checkpoint kept elsewhere."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from events.copies import select_ancestors
from events.folder import DataFolder
from events.store import select_head
from projections.findings import Finding
from projections.log_check import rows
from projections.rebuild import open_log_file, select_epoch
from projections.signed_note import Signer, load_key, origin
from projections.verification import Checked, Task, verify_index, verify_log, verify_tables, verify_words
from service import checkpoint_checker
from service.checkpoint_checker import CheckFailed
from service.past.ledger_part import key_path
from service.settings import WrongSetting
from service.terminal.folder_options import data_option, existing, json_option
from service.terminal.output import fail, progress_bars, show

PROCESSES = 2
# How often the progress bars are drawn.
POLL_S = 0.1


class Result(Struct, frozen=True):
    """What ``--json`` prints. ``findings``: the first of them; ``count``: of all. ``skipped``: not looked at."""

    ok: bool
    epoch: str
    head: int
    up_to: dict[str, int]
    count: int
    findings: list[Finding]
    skipped: list[str]
    checkpoint_size: int | None = None


@click.command("verify")
@data_option
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A signed checkpoint that was kept elsewhere.",
)
@click.option(
    "--key", metavar="KEY", help="The verifier key (or a file with it) for --checkpoint; default: the folder's."
)
@click.option("--thorough", is_flag=True, help="Let SQLite look at all pages and indexes of its files too.")
@click.option("--ledger-key", envvar="NOTELOG_LEDGER_KEY", type=click.Path(path_type=Path), hidden=True)
@json_option
def verify_command(
    data: Path, checkpoint: Path | None, key: str | None, thorough: bool, ledger_key: Path | None, as_json: bool
) -> None:
    """Hash every record again, compare with the ledger, fold the log and compare with the tables.

    Works beside a running service. Ends with 1 when something does not hold, and names the first position.
    """
    folder = existing(data)
    note = None if checkpoint is None else _note(checkpoint)
    verifier = None if note is None else _verifier(folder, note, key, ledger_key)
    task = _task(folder, thorough)
    result = _verified(task)
    if result.findings and not task.in_use and folder.is_in_use():
        # A service started meanwhile: what it wrote may have looked wrong.
        result = _verified(replace(task, in_use=True))
    if note is not None and verifier is not None:
        result = _with_checkpoint(result, folder, note, verifier, str(checkpoint))
    values = {name: getattr(result, name) for name in Result.__struct_fields__}
    if not result.ok:
        fail(values, _sentence(result), as_json)
    show(values, _sentence(result), as_json)


def _task(folder: DataFolder, thorough: bool) -> Task:
    in_use = folder.is_in_use()
    with closing(open_log_file(folder.events)) as log:
        return Task(folder.path, select_epoch(log), select_head(log), in_use, thorough)


def _verified(task: Task) -> Result:
    """Check the parts in two processes, because one core can only do half."""
    context = multiprocessing.get_context("spawn")
    done: Done = (context.Value("q", 0), context.Value("q", 0))
    with ProcessPoolExecutor(PROCESSES, context, initializer=_share, initargs=done) as pool, _interruptible():
        # Ctrl-C reaches every process of the terminal: it is for this one to end the others.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        parts = [pool.submit(part, task) for part in (_tables, _log, verify_index, verify_words)]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with progress_bars(("hashing", task.head), ("folding", task.head)) as advances:
            while wait(parts, POLL_S).done != set(parts):
                for advance, value in zip(advances, done, strict=True):
                    advance(value.value)
    return _result(task, tuple(part.result() for part in parts))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Without this, whoever interrupts would wait for the parts that are under way."""
    try:
        yield
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        raise


Done = tuple[Any, Any]
_done: Done | None = None


def _share(hashed: Any, folded: Any) -> None:
    """In a process of the pool: where to say how far it is."""
    global _done  # noqa: PLW0603 - the process does nothing else
    _done = (hashed, folded)


def _log(task: Task) -> Checked:
    return verify_log(task, partial(_say, 0))


def _tables(task: Task) -> Checked:
    return verify_tables(task, partial(_say, 1))


def _say(which: int, position: int) -> None:
    assert _done is not None
    _done[which].value = position


def _result(task: Task, checked: tuple[Checked, ...]) -> Result:
    findings = [finding for one in checked for finding in one.findings]
    findings.sort(key=lambda finding: (finding.position is None, finding.position or 0))
    count = sum(one.count for one in checked)
    up_to = {name: position for one in checked for name, position in one.up_to.items()}
    skipped = [what for one in checked for what in one.skipped]
    return Result(count == 0, task.epoch, task.head, up_to, count, findings, skipped)


def _sentence(result: Result) -> str:
    reached = ", ".join(f"{name} up to {position}" for name, position in result.up_to.items())
    if result.ok:
        kept = f", the checkpoint of {result.checkpoint_size} events" if result.checkpoint_size is not None else ""
        skipped = f"; not looked at: {', '.join(result.skipped)}" if result.skipped else ""
        return f"everything holds: {reached or 'an empty log'}{kept}{skipped}"
    lines = [finding.detail for finding in result.findings]
    more = f"; {result.count - len(lines)} more" if result.count > len(lines) else ""
    return f"{result.count} things do not hold: {'; '.join(lines)}{more}"


def _note(file: Path) -> str:
    """What is in the file, which must be a checkpoint, whoever signed it. Raises ``WrongSetting``."""
    try:
        note = file.read_text()
        checkpoint_checker.parse_checkpoint(note.rpartition("\n\n")[0] + "\n")
    except (CheckFailed, OSError, ValueError) as error:
        raise WrongSetting(f"--checkpoint {file}: {error}") from None
    return note


def _verifier(
    folder: DataFolder, note: str, key: str | None, ledger_key: Path | None
) -> checkpoint_checker.VerifierKey:
    """Whose signature counts: of the key that was given, or of the folder's own. Raises ``WrongSetting``."""
    try:
        if key is not None:
            return checkpoint_checker.parse_key(Path(key).read_text() if Path(key).is_file() else key)
        name = note.partition("\n")[0]
        return checkpoint_checker.parse_key(Signer(name, load_key(key_path(ledger_key, folder))).verifier_key)
    except FileNotFoundError:
        raise WrongSetting("--key KEY: there is no key in the data folder to check the checkpoint with") from None
    except (CheckFailed, OSError, UnicodeDecodeError) as error:
        raise WrongSetting(f"--key: {error}") from None


def _with_checkpoint(
    result: Result, folder: DataFolder, note: str, verifier: checkpoint_checker.VerifierKey, name: str
) -> Result:
    with closing(open_log_file(folder.events)) as log:
        try:
            text = checkpoint_checker.open_note(note, verifier)
            checkpoint = checkpoint_checker.parse_checkpoint(text)
            epochs = [result.epoch, *(ancestor.epoch for ancestor in select_ancestors(log))]
            if checkpoint.origin not in map(origin, epochs):
                raise CheckFailed(f"it is of the log {checkpoint.origin}, this is {origin(result.epoch)}")
            log.text_factory = bytes
            checkpoint_checker.check_records(rows(log, checkpoint.size), checkpoint)
        except (CheckFailed, OverflowError) as error:
            finding = Finding(None, "checkpoint_contradicts", f"{name}: {error}")
            return replace(result, ok=False, count=result.count + 1, findings=[*result.findings, finding])
    return replace(result, checkpoint_size=checkpoint.size)
