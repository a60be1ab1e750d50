"""Tools of the system that some tests need: without them a test is skipped, and says so; in CI it fails."""

import os
import shutil
from typing import NoReturn

import pytest

SKIPPED: list[str] = []
"""Why tests were skipped for want of something; said again at the end of the run."""


def cannot_run(reason: str) -> NoReturn:
    """Skip the test. With CI=true it fails: a promise that nobody looked at must not pass for one that was kept."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI this test must run, but {reason}", pytrace=False)
    SKIPPED.append(reason)
    pytest.skip(reason)


def need(*programs: str) -> None:
    """Run the test only where these programs are installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        cannot_run(f"there is no {', '.join(missing)}")


def need_root() -> None:
    """Run the test only where mounts and networks may be made."""
    if os.geteuid() != 0:
        cannot_run("this is not root")
