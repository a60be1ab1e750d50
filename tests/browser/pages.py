"""The dashboard as a person meets it: pages, and what a test does and sees in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.faults.process import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Locator, Page

# Far more than anything here takes: only what never comes about meets it.
WITHIN_MS = 20_000
# Wide enough for the list, a note and the activity beside each other.
WIDE = {"width": 1440, "height": 900}
# At once in `fill`: enough for the service to write many in one commit.
WRITERS = 64

# What the browser itself says about the network. It is no fault of the page's, but only where a test expects it.
NETWORK = ("Failed to load resource", "WebSocket connection to")


class Dashboard:
    """One page."""

    def __init__(self, page: Page, network_may_fail: bool) -> None:
        self.page = page
        self.errors: list[str] = []
        self._network_may_fail = network_may_fail
        page.set_default_timeout(WITHIN_MS)
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.errors.append(f"{error.name}: {error.message}\n{error.stack}"))

    def _hear(self, kind: str, text: str) -> None:
        if kind not in ("error", "warning"):
            return
        if not (self._network_may_fail and text.startswith(NETWORK)):
            self.errors.append(f"{kind}: {text}")

    # What is seen.

    @property
    def rows(self) -> Locator:
        """The rows of the list that are in the page."""
        return self.page.locator("note-row")

    def row(self, title: str) -> Locator:
        """The row of the note with exactly this title."""
        return self.rows.filter(has=self.page.locator(".row-title").get_by_text(title, exact=True))

    @property
    def panel(self) -> Locator:
        return self.page.locator("note-panel")

    @property
    def events(self) -> Locator:
        """The events in the activity, latest first."""
        return self.page.locator(".events li")

    def field(self, label: str) -> Locator:
        """A field of the form."""
        return self.panel.get_by_label(label, exact=True)

    async def has_titles(self, *titles: str) -> None:
        """Wait until the rows in the page are exactly these, from top to bottom."""
        await self._has("note-row .row-title", "textContent", list(titles))

    async def has_positions(self, *positions: int) -> None:
        """Wait until the events in the page are exactly these, latest first."""
        await self._has(".events li", "dataset.position", [str(position) for position in positions])

    async def has_choice(self, label: str, yours: str, theirs: str) -> None:
        """Wait until a conflict shows these two values of a field, side by side."""
        await self.holds(
            """([label, ...expected]) => {
              const choices = [...document.querySelectorAll('note-conflict .choice')];
              const choice = choices.find(one => one.querySelector('legend').textContent === label);
              const seen = [...(choice?.querySelectorAll('.difference') ?? [])].map(side => {
                const copy = side.cloneNode(true);
                for (const unseen of copy.querySelectorAll('.unseen')) unseen.remove();
                return copy.textContent;
              });
              return JSON.stringify(seen) === JSON.stringify(expected);
            }""",
            [label, yours, theirs],
        )

    async def _has(self, selector: str, what: str, expected: list[str]) -> None:
        found = f"[...document.querySelectorAll('{selector}')].map(one => one.{what})"
        try:
            await self.holds(f"expected => JSON.stringify({found}) === JSON.stringify(expected)", expected)
        except Exception as error:
            raise AssertionError(f"expected {expected}, got {await self.page.evaluate(found)}") from error

    async def sees(self, locator: Locator) -> None:
        """Wait until it is there to be seen."""
        await locator.first.wait_for(state="visible", timeout=WITHIN_MS)

    async def misses(self, locator: Locator) -> None:
        """Wait until it is gone."""
        await locator.first.wait_for(state="hidden", timeout=WITHIN_MS)

    async def sees_state(self, state: str) -> None:
        """Wait for the word at the head of the page: live, waiting, …"""
        await self.sees(self.page.locator(f"connection-status[data-state={state}]"))

    async def holds(self, script: str, argument: Any = None) -> None:
        """Wait until an expression is true in the page."""
        await self.page.wait_for_function(script, arg=argument, timeout=WITHIN_MS)

    async def has_head(self, position: int) -> None:
        """Wait until the page shows this as the last position, and has all up to it."""
        await self.holds(
            "head => document.querySelector('#head').textContent === head"
            " && document.querySelector('#behind').textContent === '0'",
            f"{position:,}",
        )

    # What is done.

    async def give(self, token: str) -> None:
        """Give a token, when the page asks for one."""
        dialog = self.page.get_by_role("dialog", name="A token, please")
        await self.sees(dialog)
        await dialog.get_by_label("Bearer token").fill(token)
        await dialog.get_by_role("button", name="Use it").click()

    async def hurry(self) -> None:
        """Try to connect now, as when the browser says that the network is back."""
        await self.page.evaluate("dispatchEvent(new Event('online'))")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def open(self, title: str) -> None:
        """Open a note from the list."""
        await self.row(title).click()
        await self.sees(self.field("Title"))

    async def write(self, title: str, **fields: str) -> None:
        """Write a new note, through the form, and wait until it is saved."""
        await self.page.get_by_role("button", name="New note").click()
        await self.field("Title").fill(title)
        for label, text in fields.items():
            await self.field(label.capitalize()).fill(text)
        await self.save()

    async def save(self) -> None:
        """Save the form and wait for the answer."""
        await self.panel.get_by_role("button", name="Save", exact=True).click()
        await self.sees(self.panel.get_by_text("Saved as version"))

    async def close_panel(self) -> None:
        await self.panel.get_by_role("button", name="Close", exact=True).click()
        await self.misses(self.panel)


class Pages:
    """Opens pages of one service. Each is a browser of its own, with nothing in common with the others."""

    def __init__(self, browser: Browser, service: Server) -> None:
        self.service = service
        self.token: str | None = None
        """Who asks, by REST; None: nobody in particular."""
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._dashboards: list[Dashboard] = []

    async def open(
        self, place: str = "", *, network_may_fail: bool = False, live: bool = True, **context: Any
    ) -> Dashboard:
        """Open the dashboard. `place` follows its address; `live`: wait until it has everything."""
        context.setdefault("viewport", WIDE)
        self._contexts.append(opened := await self._browser.new_context(**context))
        dashboard = Dashboard(await opened.new_page(), network_may_fail)
        self._dashboards.append(dashboard)
        await dashboard.page.goto(f"{self.service.url}/{place}")
        if live:
            await dashboard.sees_state("live")
        return dashboard

    def errors(self) -> list[str]:
        """Everything that any page complained about."""
        return [error for dashboard in self._dashboards for error in dashboard.errors]

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()

    # The service from the other side, by its REST interface.

    async def post(self, path: str, body: Any = None) -> Any:
        return await self._ask("POST", path, body)

    async def patch(self, note_id: int, **fields: Any) -> Any:
        return await self._ask("PATCH", f"/notes/{note_id}", fields)

    async def delete(self, note_id: int) -> None:
        await self._ask("DELETE", f"/notes/{note_id}", None)

    async def get(self, path: str) -> Any:
        return await self._ask("GET", path, None)

    async def note(self, title: str, **fields: Any) -> Any:
        """Write a note."""
        return await self.post("/notes", {"title": title, **fields})

    async def fill(self, number: int) -> None:
        """Write many notes, numbered from 1, with three authors and priorities 0 to 9."""
        authors = ("Mara", "Per", "Aiko")
        waiting = iter(range(1, number + 1))

        async def write() -> None:
            for n in waiting:
                await self.note(f"Note number {n}", description=f"Text {n}", created_by=authors[n % 3], priority=n % 10)

        await asyncio.gather(*(write() for _ in range(WRITERS)))

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        async with self.service.session.request(method, self.service.url + path, json=body, headers=headers) as answer:
            assert answer.status < 300, f"{method} {path}: {answer.status} {await answer.text()}"
            return await answer.json() if answer.status != 204 else None
