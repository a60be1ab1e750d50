"""A connection to one of the servers: made, asked, and given up when it is lost.

It never mends itself. Who uses it sees ``lost``, or ``NoAnswer``, and makes another, to another server: so whatever
was forgotten with the old one cannot be mistaken for something that still is.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count

import nats.aio.client
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from events.errors import ClusterRefused, ClusterUnreachable
from events.nats_settings import CONNECT_WITHIN_S, NatsSettings, without_password
from events.stream_answers import NoAnswer, NoResponders, NotStored
from events.stream_feed import Feed

# One try of anything. A publish on three servers takes milliseconds; a disk may stand still for a second.
ANSWER_WITHIN_S = 2.0
# The server sends at most 32 MiB ahead of its flow control's answers; beyond it the client library would drop.
PENDING_BYTES_MAX = 64 * 1024 * 1024

NO_RESPONDERS = "503"


class Connection:
    """A connection to a server. ``lost``: it is over. ``server``: which one it is."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._client = _Client()
        self._inbox = ""
        self._names = count(1)
        self._asked: dict[str, asyncio.Future[bytes]] = {}
        self.lost = asyncio.Event()
        self.server = ""

    @property
    def payload_bytes_max(self) -> int:
        """The largest message that the server takes."""
        return int(self._client.max_payload)

    async def open(self, last: str | None) -> None:
        """Try the servers in random order, so that nodes spread over them, and ``last`` after the others.

        Raises ``ClusterUnreachable`` when none answers, ``ClusterRefused`` when they do and let nobody in.
        """
        servers = list(self._settings.servers)
        random.shuffle(servers)
        servers.sort(key=lambda server: server == last)
        trouble: Exception | None = None
        for server in servers:
            try:
                await self._connect(server)
                return
            except Exception as error:
                # The library raises what its own libraries raise: for keys, certificates, names, sockets.
                trouble = _graver(trouble, error)
                await self.close()
                self._client = _Client()
        assert trouble is not None
        shown = ", ".join(map(without_password, servers))
        if _is_refusal(trouble):
            raise ClusterRefused(shown, _told(trouble))
        raise ClusterUnreachable(shown, _told(trouble))

    async def close(self) -> None:
        """Let the connection go. The library may raise, or wait, when it is broken already."""
        with suppress(Exception):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._client.close()

    async def request(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> bytes:
        """The answer to a message. Raises ``NoAnswer``, ``NoResponders``, and ``NotStored`` if it was never sent.

        Not the library's own request: that waits for its whole time when the connection is lost, and costs more.
        """
        if self.lost.is_set():
            raise NotStored("the connection is lost")
        name = str(next(self._names))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[name] = answer
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                try:
                    await self._client.publish(subject, payload, f"{self._inbox}.{name}", headers)
                finally:
                    _pass_on_cancel()
                return await answer
        except (nats.errors.Error, OSError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        finally:
            del self._asked[name]

    async def send(self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """A message that is not answered. Raises ``NoAnswer``."""
        async with _in_time():
            await self._client.publish(subject, payload, headers=headers)

    async def subscribe(self, feed: Feed) -> tuple[str, Subscription]:
        """An inbox whose messages go to the feed. Raises ``NoAnswer``."""
        inbox = self._client.new_inbox()
        async with _in_time():
            subscription = await self._client.subscribe(
                inbox, cb=feed.receive, pending_msgs_limit=0, pending_bytes_limit=PENDING_BYTES_MAX
            )
        return inbox, subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Get no more of it. Of a connection that is over: nothing. Raises ``NoAnswer``."""
        if not self._client.is_closed:
            async with _in_time():
                await subscription.unsubscribe()

    async def _connect(self, server: str) -> None:
        self.lost = asyncio.Event()
        async with asyncio.timeout(CONNECT_WITHIN_S):
            try:
                await self._client.connect(server, **self._settings.options(self._on_loss))
                self._inbox = self._client.new_inbox()
                await self._client.subscribe(f"{self._inbox}.*", cb=self._answered, pending_msgs_limit=0)
            finally:
                _pass_on_cancel()
        self.server = server

    async def _answered(self, message: Msg) -> None:
        """Called by the client library for each answer."""
        answer = self._asked.get(message.subject.rpartition(".")[2])
        if answer is None or answer.done():
            return  # it came too late
        if message.headers and message.headers.get("Status") == NO_RESPONDERS:
            answer.set_exception(NoResponders("nobody answers for the stream"))
        else:
            answer.set_result(message.data)

    def _on_loss(self) -> None:
        """Whoever waits for an answer gets none."""
        self.lost.set()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(NoAnswer("the connection is lost"))


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """What waits for a server that takes nothing more is given up. Raises ``NoAnswer``."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            try:
                yield
            finally:
                _pass_on_cancel()
    except (nats.errors.Error, OSError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error


def _pass_on_cancel() -> None:
    """Do not lose a cancel: the client library swallows one that comes while it flushes, and so does Python 3.11's
    ``wait_for``, which it uses, when its result comes at the same moment."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _Client(nats.aio.client.Client):
    """Where encryption was asked for, nothing is said to a server that offers none: the next line has the password."""

    async def _process_info(self, info: dict[str, object], initial_connection: bool = False) -> None:
        if self.options.get("tls") and not info.get("tls_required"):
            raise NotEncrypted
        await super()._process_info(info, initial_connection)


class NotEncrypted(Exception):
    """The server offers no TLS, and the settings ask for it."""

    def __init__(self) -> None:
        super().__init__("the server offers no TLS")


def _is_refusal(error: Exception) -> bool:
    """Whether trying again cannot help: the server does not let us in, or is not the one that we trust."""
    if isinstance(error, (ssl.SSLCertVerificationError, NotEncrypted)):
        return True
    return "authorization violation" in str(error).lower() or "certificate required" in str(error).lower()


def _graver(trouble: Exception | None, error: Exception) -> Exception:
    """What is told of several servers: a refusal rather than one that does not answer."""
    return trouble if trouble is not None and _is_refusal(trouble) else error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
