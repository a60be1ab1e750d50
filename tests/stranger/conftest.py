"""What these tests need of a machine, and a checkout that nobody has touched."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.browser.conftest import missing as missing_for_browser
from tests.stranger.blocks import REPOSITORY
from tests.tools import cannot_run

# What a checkout does not have, and what earlier runs have left in this one.
NOT_IN_A_CHECKOUT = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "*.egg-info", "notelog-data", "notelog-cluster", "tutorial-*"
)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs what this machine has not, or fail it in CI."""
    reasons = [reason for marker in item.iter_markers("needs") for what in marker.args if (reason := missing(what))]
    if reasons:
        cannot_run(reasons[0])


@cache
def missing(what: str) -> str | None:
    """Why something cannot be had here; None: it can."""
    if what == "browser":
        return missing_for_browser()
    if what == "registry":
        return None if _reaches_registry() else "pip reaches no registry"
    return None if shutil.which(what) else f"{what} is not installed"


def _reaches_registry() -> bool:
    """Whether pip, as it is configured here, finds what a build begins with."""
    asked = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", "--dry-run"]
    found = subprocess.run([*asked, "setuptools>=77"], capture_output=True, timeout=60, check=False)
    return found.returncode == 0


def copy_checkout(folder: Path) -> Path:
    """The project in a new folder, as it is before anybody has done anything with it."""
    shutil.copytree(REPOSITORY, folder, ignore=NOT_IN_A_CHECKOUT)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout."""
    return copy_checkout(tmp_path / "notelog")
