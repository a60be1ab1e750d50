"""notelog.js, used by itself as another page would use it."""

from __future__ import annotations

from typing import Any

import pytest

from .pages import Dashboard, Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _run(dashboard: Dashboard, body: str, argument: Any = None) -> Any:
    """Run the body of an async function in the page; `js` is the module, `argument` what is given."""
    script = "async (argument) => { const js = await import('./dashboard/notelog.js');\n" + body + "\n}"
    return await dashboard.page.evaluate(script, argument)


async def test_each_refusal_is_an_error_of_its_own_class(pages: Pages) -> None:
    """Invalid with all mistakes, NotFound, VersionConflict with the note as it is: each with its fields."""
    await pages.note("A note")
    dashboard = await pages.open(network_may_fail=True)
    found = await _run(
        dashboard,
        """
        const notelog = new js.Notelog();
        const caught = async (doing) => { try { await doing; } catch (error) { return error; } };
        const invalid = await caught(notelog.create({ title: " ", priority: "x" }));
        const missing = await caught(notelog.note(77));
        await notelog.edit(1, { title: "Theirs" }, { version: 1 });
        const conflict = await caught(notelog.edit(1, { title: "Mine" }, { version: 1 }));
        await notelog.delete(1);
        const deleted = await caught(notelog.note(1));
        return [
          invalid instanceof js.Invalid && invalid.errors.length,
          missing instanceof js.NotFound && missing.deletedAt,
          conflict instanceof js.VersionConflict && conflict.note.title,
          deleted instanceof js.NotFound && typeof deleted.deletedAt,
          [invalid, missing, conflict, deleted].every((error) => error instanceof js.NotelogError),
        ];
        """,
    )
    assert found == [2, None, "Theirs", "string", True]


async def test_a_change_sent_twice_under_one_key_is_made_once(pages: Pages) -> None:
    """The same key brings the same note back; every change carries a key, even when none is given."""
    dashboard = await pages.open()
    keys: list[str | None] = []
    dashboard.page.on(
        "request",
        lambda request: keys.append(request.headers.get("idempotency-key")) if request.method == "POST" else None,
    )
    ids = await _run(
        dashboard,
        """
        const notelog = new js.Notelog();
        const key = js.newKey();
        const notes = [];
        for (const options of [{ key }, { key }, {}]) notes.push(await notelog.create({ title: "Same" }, options));
        return notes.map((note) => note.id);
        """,
    )
    assert ids == [1, 1, 2]
    assert None not in keys
    assert len(set(keys)) == 2


async def test_a_feed_has_no_hole_and_no_repeat_over_breaks(pages: Pages) -> None:
    """Sockets are cut while events are written: the handler gets every position once, in order."""
    dashboard = await pages.open(network_may_fail=True)
    await _run(
        dashboard,
        """
        const sockets = [];
        const WebSocketOfTheBrowser = WebSocket;
        globalThis.WebSocket = class extends WebSocketOfTheBrowser {
          constructor(...all) { super(...all); sockets.push(this); }
        };
        globalThis.positions = [];
        globalThis.cut = () => sockets.at(-1).close();
        globalThis.live = new js.Notelog().connect();
        live.subscribe("events", { after: 0 }, {
          events: ({ events }) => positions.push(...events.map((event) => event.position)),
        });
        """,
    )
    for number in range(1, 31):
        await pages.note(f"Note {number}")
        if number % 10 == 0:
            await dashboard.holds("count => positions.length >= count", number)
            await dashboard.page.evaluate("cut()")
    await dashboard.holds("() => positions.length >= 30 && live.state === 'open'")
    assert await dashboard.page.evaluate("positions") == list(range(1, 31))


async def test_an_older_epoch_resets_the_subscription(pages: Pages) -> None:
    """A position of another log is not resumed from: reset is told, then everything comes from the beginning."""
    await pages.note("A note")
    dashboard = await pages.open()
    told = await _run(
        dashboard,
        """
        const live = new js.Notelog().connect();
        const told = [];
        await new Promise((resolve) => live.subscribe("notes", { after: 5, epoch: "0".repeat(32) }, {
          reset: (reason) => told.push(reason),
          notes: ({ notes }) => told.push(...notes.map((note) => note.title)),
          caughtUp: resolve,
        }));
        live.close();
        return told;
        """,
    )
    assert told[1:] == ["A note"]
    assert isinstance(told[0], str)


async def test_what_cannot_be_subscribed_is_refused_and_the_rest_goes_on(pages: Pages) -> None:
    """A bad filter refuses its own subscription; another one on the same connection gets its notes."""
    await pages.note("A note")
    dashboard = await pages.open()
    told = await _run(
        dashboard,
        """
        const live = new js.Notelog().connect();
        const code = new Promise((resolve) => live.subscribe("notes", { where: { colour: "red" } }, {
          refused: (error) => resolve(error.code),
        }));
        const title = new Promise((resolve) => live.subscribe("notes", { after: 0 }, {
          notes: ({ notes }) => resolve(notes[0].title),
        }));
        const both = [await code, await title];
        live.close();
        return both;
        """,
    )
    assert told == ["bad_request", "A note"]


async def test_a_list_of_many_pages_is_read_to_its_end(pages: Pages) -> None:
    """`pages` follows `next` until there is none, and nothing is left out."""
    for number in range(7):
        await pages.note(f"Note {number}")
    dashboard = await pages.open()
    sizes = await _run(
        dashboard,
        """
        const sizes = [];
        for await (const page of new js.Notelog().pages("notes", { limit: 3 })) sizes.push(page.notes.length);
        return sizes;
        """,
    )
    assert sizes == [3, 3, 1]
