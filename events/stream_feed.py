"""The messages of a stream as they come, until they are taken."""

import asyncio
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg

from events.replica import Received
from events.stream_answers import NoAnswer

# The server speaks at least this often while it has nothing to deliver.
HEARTBEAT_S = 1.0
SILENCE_S = 3.5
# What a feed holds before it is taken; the server's flow control holds the rest back.
FEED_BYTES_MAX = 8 * 1024 * 1024


def consumer(inbox: str, after: int) -> dict[str, object]:
    """A consumer in the memory of one server; it goes by itself when nobody listens, and is made anew."""
    return {
        "deliver_subject": inbox,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "ack_policy": "none",
        "max_deliver": 1,
        "replay_policy": "instant",
        "flow_control": True,
        "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        "inactive_threshold": int(30e9),
        "mem_storage": True,
        "num_replicas": 1,
    }


class Feed:
    """Takes what a consumer sends. ``answer``: sends an empty message, which is how flow control is answered."""

    def __init__(self, answer: Callable[[str], Awaitable[None]]) -> None:
        self._answer = answer
        self._messages: list[Received] = []
        self._size_bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def take(self) -> list[Received]:
        """What has come, at least one message; waits for it. Raises ``NoAnswer`` when the server has fallen silent."""
        while not self._messages:
            self._filled.clear()
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._filled.wait()
            except TimeoutError:
                raise NoAnswer("the server has fallen silent") from None
        taken, self._messages, self._size_bytes = self._messages, [], 0
        self._emptied.set()
        return taken

    async def receive(self, message: Msg) -> None:
        """Called by the client library for each message, one after the other."""
        self._filled.set()
        if message.headers and "Status" in message.headers:
            await self._control(message)
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.…, or with a domain and an account before them
        fields = message.reply.split(".")
        position = int(fields[5] if len(fields) == 9 else fields[7])
        self._messages.append(Received(position, message.data))
        self._size_bytes += len(message.data)
        while self._size_bytes > FEED_BYTES_MAX:
            self._emptied.clear()
            await self._emptied.wait()

    async def _control(self, message: Msg) -> None:
        """A heartbeat, which says nothing but that the server lives, or flow control, which wants an answer."""
        assert message.headers is not None
        answer_to = message.reply or message.headers.get("Nats-Consumer-Stalled")
        if answer_to:
            await self._answer(answer_to)
