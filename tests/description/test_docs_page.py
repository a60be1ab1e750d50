"""``/docs`` in a real browser: both descriptions are shown, and nothing is asked of another host."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.service.running import Running

try:
    from playwright.async_api import async_playwright
except ImportError:
    async_playwright = None  # type: ignore[assignment]

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Far more than the page takes: only what never comes about meets it.
WITHIN_MS = 60_000
# Whatever the page's policy has refused, the page tells.
TELL_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


@pytest.fixture
async def page() -> AsyncIterator[Any]:
    """An empty page."""
    if async_playwright is None or CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("in CI the browser tests must run, but playwright or chromium is not installed")
        pytest.skip("playwright or chromium is not installed")
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = await browser.new_page()
        page.set_default_timeout(WITHIN_MS)
        yield page
        await browser.close()


async def test_both_descriptions_are_shown_from_this_host_alone(running: Running, page: Any) -> None:
    """REST and websocket are there, no script fails, the policy refuses nothing, and no other host is asked."""
    await running.start()
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    await page.add_init_script(TELL_VIOLATIONS)
    await page.goto(f"{running.url}/docs")
    await page.get_by_text("Create a note").click()
    await page.get_by_text("Idempotency-Key").first.wait_for()
    await page.get_by_role("heading", name="subscribe", exact=True).first.wait_for()
    assert await page.evaluate("violations") == []
    assert errors == []
    assert hosts == {urlsplit(running.url).netloc}


async def test_a_request_can_be_tried_out(running: Running, page: Any) -> None:
    """ "Try it out" sends the request to this service and shows what it answers."""
    await running.start()
    await running.note("Milk")
    await page.goto(f"{running.url}/docs")
    await page.get_by_text("List notes").click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_role("button", name="Execute").click()
    await page.locator(".live-responses-table").get_by_text('"Milk"').first.wait_for()
