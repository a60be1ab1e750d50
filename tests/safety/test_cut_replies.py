"""Replies that never arrive: the same request under the same key is done once, and answered as if nothing had been."""

import asyncio
import json
import random

import pytest

from tests.faults.process import Server
from tests.safety.history import read_log
from tests.safety.raw import address
from tests.sizes import count

pytestmark = pytest.mark.faults

REPLIES = count("cut_replies")
CLIENTS = 10
RECORDED_WITHIN_S = 30.0


async def test_cut_replies_double_and_lose_nothing(server: Server, dice: random.Random) -> None:
    """Of 1,000 creations whose reply was cut off, some after the commit, each stands once in the log once retried."""
    await server.start()
    numbers = iter(range(REPLIES))
    replayed = 0

    async def client() -> None:
        nonlocal replayed
        for number in numbers:
            title = f"note {number}"
            await _send_and_go(server, number, title, dice.choice([0.0, 0.001, 0.003, 0.01, None]))
            headers = {"Idempotency-Key": f"key-{number}"}
            # The same bytes: a request under a key is told by its body, too.
            body = _body(title)
            async with server.session.post(server.url + "/notes", data=body, headers=headers | JSON) as response:
                assert response.status == 201, await response.text()
                note = await response.json()
                assert (note["title"], note["version"]) == (title, 1)
                assert response.headers["Location"] == f"/notes/{note['id']}"
                assert response.headers["ETag"] == '"1"'
                replayed += response.headers.get("Idempotency-Replayed") == "true"

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    titles = [event.title for event in read_log(server.data)]
    print(f"{REPLIES} cut replies, {len(titles)} events; {replayed} replies had been cut off after the commit")
    assert sorted(titles) == sorted(f"note {number}" for number in range(REPLIES))
    assert replayed > 0


JSON = {"Content-Type": "application/json"}


def _body(title: str) -> bytes:
    return json.dumps({"title": title}).encode()


async def _send_and_go(server: Server, number: int, title: str, after_s: float | None) -> None:
    """Send a creation, and cut the connection after so long; None: when the reply has begun."""
    reader, writer = await asyncio.open_connection(*address(server.url))
    body = _body(title)
    writer.write(
        f"POST /notes HTTP/1.1\r\nHost: a\r\nIdempotency-Key: key-{number}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    if after_s is None:
        async with asyncio.timeout(RECORDED_WITHIN_S):
            await reader.readexactly(1)
    else:
        await asyncio.sleep(after_s)
    writer.transport.abort()
