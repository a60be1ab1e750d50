"""README.md and docs/TUTORIAL.md, done from the first line to the last in a fresh checkout."""

import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import ARGUMENTS, CHROMIUM, async_playwright
from tests.faults.process import until
from tests.ports import lasting_port
from tests.stranger.blocks import REPOSITORY, Block, blocks, shows
from tests.stranger.terminal import CommandFailed, Prompt, Terminal

# The first start installs everything.
SHOWN_WITHIN_S = 300.0
SEEN_WITHIN_S = 30.0
# The ports of the pages, which may be taken on the machine that runs the tests.
PORTS = ("8080", "8081", "8000")


class Walk:
    """Somebody with some terminals and a browser, who does what the pages say.

    A block of ``sh`` is pasted; with a word behind it, into the terminal of that name, where it stays. A block of
    ``text`` is what the last block printed, or what the terminal shows, or the page of that address.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack, prompt: Prompt, environment: dict[str, str]) -> None:
        self.frames_sent: list[str] = []
        self._folder = folder
        self._stack = stack
        self._prompt = prompt
        self._environment = environment
        self._ports: dict[str, str] = {}
        self._printed = ""
        self._terminals: dict[str, Terminal] = {}
        self._pages: dict[str, Any] = {}

    async def do(self, block: Block) -> None:
        """One block. Fails where it does not go as it is shown."""
        text = self._with_free_ports(block.text)
        try:
            if block.language == "sh":
                await self._paste(text, block.where)
            elif block.where.startswith("http"):
                await self._sees(text, self._with_free_ports(block.where))
            elif block.where:
                await self._has_shown(text, self._terminals[block.where])
            else:
                assert shows(text, self._printed), f"expected:\n{text}\ngot:\n{self._printed}"
        except AssertionError as error:
            raise AssertionError(f"{block}: {error}") from None

    def _with_free_ports(self, text: str) -> str:
        return re.sub(r"\b({})\b".format("|".join(PORTS)), lambda port: self.port(port[0]), text)

    def port(self, shown: str) -> str:
        """The port that stands for one of the pages."""
        return self._ports.setdefault(shown, str(lasting_port()))

    async def _paste(self, text: str, where: str) -> None:
        if not where:
            self._printed = await self._prompt.paste(text)
            return
        if where not in self._terminals:
            output = self._folder.with_name(f"{where}.out")
            environment = self._environment | {"NOTELOG_PORT": self.port("8080")}
            self._terminals[where] = Terminal(self._folder, environment, output)
            self._stack.push_async_callback(self._terminals[where].kill)
        await self._terminals[where].interrupt()
        self._terminals[where].start(text)

    async def _has_shown(self, text: str, terminal: Terminal) -> None:
        def is_there() -> bool:
            if terminal.ended:
                raise CommandFailed(f"the command has ended; it had shown:\n{terminal.shown}")
            return shows(f"…\n{text.strip()}\n…", terminal.shown)

        try:
            await until(is_there, SHOWN_WITHIN_S, text)
        except AssertionError as error:
            raise AssertionError(f"{error}\ngot:\n{terminal.shown}") from None

    async def _sees(self, text: str, address: str) -> None:
        if address not in self._pages:
            self._pages[address] = page = await self._new_page()
            await page.goto(address)
        lines: list[str] = []

        async def is_there() -> bool:
            lines[:] = [line for line in (await self._pages[address].inner_text("body")).splitlines() if line.strip()]
            return shows(text, "\n".join(lines))

        try:
            await until(is_there, SEEN_WITHIN_S, f"{address} shows {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\ngot:\n{lines}") from None

    async def _new_page(self) -> Any:
        playwright = await self._stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        self._stack.push_async_callback(browser.close)
        page = await browser.new_page()
        page.on("websocket", lambda socket: socket.on("framesent", self._note_frame))
        return page

    def _note_frame(self, frame: str) -> None:
        self.frames_sent.append(frame)


@pytest.fixture
async def walk(checkout: Path) -> AsyncIterator[Walk]:
    """Somebody in a fresh checkout; at the end everything that runs is ended."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOTELOG_", "MAKE", "PYTHON"))}
    environment = {**kept, "PYTHON": sys.executable}
    environment.pop("PORT", None)
    async with AsyncExitStack() as stack:
        port = str(lasting_port())
        prompt = await stack.enter_async_context(Prompt(checkout, environment))
        walk = Walk(checkout, stack, prompt, environment | {"NOTELOG_URL": f"http://127.0.0.1:{port}"})
        walk._ports["8080"] = port
        yield walk


@pytest.mark.needs("bash", "make", "curl", "registry", "browser")
async def test_readme_and_tutorial(walk: Walk) -> None:
    """Somebody who has never seen the project pastes each block of the README, then each of the tutorial to which it
    leads: everything goes as it is shown, and a page that comes back asks only for what it has missed."""
    readme = REPOSITORY / "README.md"
    assert "(docs/TUTORIAL.md)" in readme.read_text()
    for block in [*blocks(readme), *blocks(REPOSITORY / "docs" / "TUTORIAL.md")]:
        if block.language:
            await walk.do(block)
    first, *later = walk.frames_sent
    assert '"after":0}' in first
    assert later
    for frame in later:
        assert '"epoch"' in frame
        assert '"after":0' not in frame
