"""A real browser before a real service."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.process import Server
from tests.ports import lasting_port
from tests.tools import cannot_run

from .pages import Pages

try:
    from playwright.async_api import async_playwright
except ImportError:
    async_playwright = None  # type: ignore[assignment]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# No sandbox: a container's root has none. No GPU: a machine without a screen has none.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


def missing() -> str | None:
    """What a browser test needs and this machine has not."""
    if async_playwright is None:
        return "the Python package playwright is not installed"
    if CHROMIUM is None:
        return "chromium is not installed"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, so that `-m "not browser"` leaves them out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before anything is started: skip the test, or fail it in CI, where something that it needs is missing."""
    if reason := missing():
        cannot_run(reason)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    """Chromium, started once; each page that is opened in it has a profile of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def service(tmp_path: Path) -> AsyncIterator[Server]:
    """A service on an empty folder, running; it can be killed and started again on the same port."""
    async with Server(tmp_path / "data", "--port", str(lasting_port())) as server:
        await server.start()
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browser: Any, service: Server) -> AsyncIterator[Pages]:
    """Opens pages of the dashboard; at the end, none of them may have had an error in its console."""
    pages = Pages(browser, service)
    yield pages
    await pages.close()
    assert pages.errors() == []
