"""The stream in NATS JetStream that all nodes share: its settings, publishing, and following it.

Only what the log needs, spoken directly in JetStream's JSON API (docs.nats.io, "JetStream wire API"): a stream that is
made or checked, a publish with a guard, the last position, one message, and a push consumer from a position on.

What the guard gives: a publish carries the sequence where it expects the last message of its subject, and is refused
when that is another (err_code 10071; 10164 for the losers of a race on three replicas). So a publish can be repeated
until it is answered: it is stored at most once. That needs no Msg-Id and no window in which the server remembers them.
"""

import asyncio
import itertools
import random
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import nats.aio.client
import nats.errors
from nats.aio.msg import Msg

from events.errors import BrokenLog, ClusterUnreachable, NewerFormat, StreamRefused
from events.replica import Received

FORMAT = 1
# One try of anything. A publish on three servers takes milliseconds; a disk may stand still for a second.
ANSWER_WITHIN_S = 2.0
CONNECT_WITHIN_S = 3.0
# The server speaks at least this often while it has nothing to deliver.
HEARTBEAT_S = 1.0
SILENCE_S = 3.5
# What a feed holds before it is taken; the server's flow control holds the rest back.
FEED_BYTES_MAX = 8 * 1024 * 1024
# The server sends at most 32 MiB ahead of its flow control's answers; beyond it the client library would drop.
PENDING_BYTES_MAX = 64 * 1024 * 1024
# Where the replicas are not set: three when there is a cluster.
REPLICAS = 3
# A leader hears of the others every second; they choose another after 4 s at the earliest (nats-server's raft.go).
HEARD_WITHIN_S = 3.0

WRONG_LAST_SEQUENCE = (10071, 10164)
NOT_CLUSTERED = 10074
NAME_IN_USE = 10058
STREAM_NOT_FOUND = 10059
# Refused before anything was stored: out of memory or disk by the server's own limits.
NOT_STORED = (10023, 10047)


class NatsSettings(msgspec.Struct, frozen=True):
    """Where the servers are, and how to be let in. Files are paths; ``replicas`` None: three in a cluster, else one."""

    servers: tuple[str, ...]
    stream: str = "notelog"
    replicas: int | None = None
    user: str | None = None
    password: str | None = None
    nkey_seed: Path | None = None
    credentials: Path | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def of_url(cls, url: str, **others: Any) -> "NatsSettings":
        """From ``nats://host:4222,host2:4222``; ``tls://`` asks for an encrypted connection."""
        scheme, _, hosts = url.partition("://")
        names = [host.strip() for host in hosts.split(",")]
        if scheme not in ("nats", "tls") or not all(names):
            raise ValueError(f"expected nats://host:port,host2:port, got {url}")
        return cls(servers=tuple(f"{scheme}://{name}" for name in names), **others)


class Conflict(Exception):
    """The guard refused a publish: the subject's last message is another one."""


class NotStored(Exception):
    """A publish has certainly not been stored; it may be tried again."""


class NoAnswer(Exception):
    """Nobody knows whether what was asked was done."""


class State(msgspec.Struct, frozen=True):
    """The numbers of a stream."""

    messages: int
    first_seq: int
    last_seq: int


class _Peer(msgspec.Struct, frozen=True):
    """Another server of the stream. ``active``: nanoseconds since the leader has heard of it."""

    active: int = 0
    offline: bool = False


class _Group(msgspec.Struct, frozen=True):
    """The servers of the stream, as the one that answered sees them."""

    leader: str = ""
    replicas: list[_Peer] = []


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """Any answer of the API, as far as it matters here."""

    error: _Error | None = None
    seq: int = 0
    config: dict[str, Any] = {}
    state: State | None = None
    cluster: _Group | None = None


_answers = msgspec.json.Decoder(_Answer)


class Stream:
    """A connection to the stream. It never reconnects: when it is lost, ``lost`` is set, and another is made."""

    def __init__(self, connection: nats.aio.client.Client, settings: NatsSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._name = settings.stream
        self.lost = asyncio.Event()
        self.epoch = ""
        self.server = ""

    @classmethod
    @asynccontextmanager
    async def connected(cls, settings: NatsSettings, last: str | None = None) -> AsyncIterator["Stream"]:
        """The stream, made if there is none, over the first server that answers; closed at the end of the block.

        ``last``: the server that was used before, which is asked after the others: it may be cut off from them.

        Raises ``ClusterUnreachable`` when none answers, ``StreamRefused`` when the stream is not fit for a log.
        """
        connection = nats.aio.client.Client()
        stream = cls(connection, settings)
        try:
            await stream._connect(last)
            await stream._prepare()
            yield stream
        finally:
            await stream._close()

    async def last_position(self) -> int:
        """The stream's last sequence, as its leader knows it. Raises ``NoAnswer``."""
        return (await self.state()).last_seq

    async def state(self) -> State:
        """The stream's numbers, from a leader that has a majority behind it. Raises ``NoAnswer``.

        A server that is left alone answers too (seen: for as long as it is alone), with numbers that are old.
        """
        answer = await self._ask(f"STREAM.INFO.{self._name}")
        if answer.state is None:
            raise NoAnswer(answer.error.description if answer.error else "no state")
        _require_majority(answer.cluster)
        return answer.state

    async def publish(self, token: str, payload: bytes, expected: int) -> int:
        """Store a message if the last one of its subject is at ``expected``; returns its position.

        Raises ``Conflict``, ``NotStored``, ``NoAnswer``, ``ValueError`` when it is too large. Cancel: stored or not.
        """
        if len(payload) > self._connection.max_payload:
            raise ValueError(f"expected an event of at most {self._connection.max_payload} bytes, got {len(payload)}")
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected), "Nats-Expected-Stream": self._name}
        answer = await self._request(f"{self._name}.{token}", payload, headers)
        if answer.error is None:
            return answer.seq
        if answer.error.err_code in WRONG_LAST_SEQUENCE:
            raise Conflict
        if answer.error.err_code in NOT_STORED:
            raise NotStored(answer.error.description)
        raise NoAnswer(answer.error.description)

    async def payload_at(self, position: int) -> bytes | None:
        """The message at a position, None where there is none. Raises ``NoAnswer``."""

        class Stored(msgspec.Struct):
            data: bytes = b""

        class Got(msgspec.Struct):
            message: Stored | None = None

        answer = await self._raw(f"$JS.API.STREAM.MSG.GET.{self._name}", msgspec.json.encode({"seq": position}))
        message = msgspec.json.decode(answer, type=Got).message
        return message.data if message else None

    @asynccontextmanager
    async def feed(self, after: int) -> AsyncIterator["Feed"]:
        """The messages after a position, as they come. Raises ``NoAnswer``."""
        feed = Feed(self)
        inbox = self._connection.new_inbox()
        subscription = await self._connection.subscribe(
            inbox, cb=feed.receive, pending_msgs_limit=0, pending_bytes_limit=PENDING_BYTES_MAX
        )
        try:
            await self._make_consumer(inbox, after)
            yield feed
        finally:
            if not self._connection.is_closed:
                await subscription.unsubscribe()

    async def answer_flow_control(self, subject: str) -> None:
        """Tell the server that what it sent so far has been taken."""
        await self._connection.publish(subject)

    async def _make_consumer(self, inbox: str, after: int) -> None:
        """A consumer in the memory of one server; it goes by itself when nobody listens, and is made anew."""
        config = {
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
        answer = await self._ask(f"CONSUMER.CREATE.{self._name}", {"stream_name": self._name, "config": config})
        if answer.error:
            raise NoAnswer(answer.error.description)

    async def _connect(self, last: str | None) -> None:
        """Try the servers in random order, so that nodes spread over them."""
        servers = list(self._settings.servers)
        random.shuffle(servers)
        servers.sort(key=lambda server: server == last)
        trouble: BaseException | None = None
        for server in servers:
            self.lost = asyncio.Event()
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    await self._connection.connect(server, **_options(self._settings, self.lost))
                self.server = server
                return
            except (nats.errors.Error, OSError, TimeoutError) as error:
                trouble = error
                await self._close()
                self._connection = nats.aio.client.Client()
        raise ClusterUnreachable(", ".join(map(_without_password, servers)), str(trouble) or type(trouble).__name__)

    async def _close(self) -> None:
        """Let the connection go. The library may raise, or wait, when it is broken already."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._connection.close()
        except Exception:
            pass

    async def _prepare(self) -> None:
        """Make the stream, or see that the one which is there is fit."""
        answer = await self._ask(f"STREAM.INFO.{self._name}")
        if answer.error and answer.error.err_code == STREAM_NOT_FOUND:
            answer = await self._create()
        if answer.error:
            raise NoAnswer(answer.error.description)
        self.epoch = check(answer.config, self._settings)

    async def _create(self) -> _Answer:
        """Make it with as many replicas as asked for. Another node may be faster: then its stream is ours."""
        answer = await self._create_with(self._settings.replicas or REPLICAS)
        if answer.error and answer.error.err_code == NOT_CLUSTERED and self._settings.replicas is None:
            answer = await self._create_with(1)
        if answer.error and answer.error.err_code == NAME_IN_USE:
            answer = await self._ask(f"STREAM.INFO.{self._name}")
        return answer

    async def _create_with(self, replicas: int) -> _Answer:
        return await self._ask(f"STREAM.CREATE.{self._name}", configuration(self._name, replicas))

    async def _ask(self, verb: str, body: object = None) -> _Answer:
        payload = b"" if body is None else msgspec.json.encode(body)
        return _answers.decode(await self._raw(f"$JS.API.{verb}", payload))

    async def _request(self, subject: str, payload: bytes, headers: dict[str, str]) -> _Answer:
        try:
            return _answers.decode(await self._raw(subject, payload, headers))
        except NoResponders as nobody:
            # No server had anybody to give it to: while there is no leader, nothing is stored.
            raise NotStored("the stream has no leader at the moment") from nobody

    async def _raw(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> bytes:
        if self.lost.is_set():
            raise NotStored("the connection is lost")
        try:
            answer: Msg = await self._connection.request(subject, payload, timeout=ANSWER_WITHIN_S, headers=headers)
        except nats.errors.NoRespondersError as error:
            raise NoResponders("nobody answers for the stream") from error
        except (nats.errors.Error, OSError) as error:
            raise NoAnswer(str(error)) from error
        return answer.data


class NoResponders(NoAnswer):
    """No server knew anybody who takes the message."""


class Feed:
    """Messages as they come, until they are taken."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
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
            await self._stream.answer_flow_control(answer_to)


def _require_majority(group: _Group | None) -> None:
    """Believe a leader that has just heard of enough others: no other leader can have been chosen meanwhile."""
    if group is None:
        return  # a single server
    if not group.leader:
        raise NoAnswer("the stream has no leader")
    heard = 1 + sum(peer.active < HEARD_WITHIN_S * 1e9 and not peer.offline for peer in group.replicas)
    if 2 * heard <= 1 + len(group.replicas):
        raise NoAnswer(f"the leader hears of {heard} of {1 + len(group.replicas)} servers")


def configuration(name: str, replicas: int) -> dict[str, Any]:
    """The stream's configuration: nothing ever leaves it, and nothing but events of notes is in it."""
    return {
        "name": name,
        "description": "The log of notelog: every message is an event",
        "subjects": [f"{name}.*"],
        "num_replicas": replicas,
        "metadata": {"notelog.epoch": secrets.token_hex(16), "notelog.format": str(FORMAT)},
        "max_consumers": -1,
        "allow_atomic": True,
        **_REQUIRED,
    }


_REQUIRED: dict[str, Any] = {
    "storage": "file",
    "retention": "limits",
    "discard": "new",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msgs_per_subject": -1,
    "max_msg_size": -1,
    "deny_delete": True,
    "deny_purge": True,
}
# What would take messages out of the stream, or put others in.
_FORBIDDEN = ("sealed", "allow_rollup_hdrs", "allow_msg_ttl", "mirror", "sources", "subject_transform", "no_ack")


def check(config: dict[str, Any], settings: NatsSettings) -> str:
    """See that a stream is fit for a log; returns its epoch. Raises ``StreamRefused``, ``NewerFormat``."""
    metadata = config.get("metadata") or {}
    epoch, format_ = metadata.get("notelog.epoch", ""), metadata.get("notelog.format", "")
    name = settings.stream
    if not epoch or not format_.isdigit():
        raise StreamRefused(name, "metadata", "notelog.epoch and notelog.format", metadata)
    if int(format_) > FORMAT:
        raise NewerFormat(f"the stream {name}", int(format_), FORMAT)
    wanted = {**_REQUIRED, "subjects": [f"{name}.*"]}
    if settings.replicas is not None:
        wanted["num_replicas"] = settings.replicas
    for key, value in itertools.chain(wanted.items(), ((key, None) for key in _FORBIDDEN)):
        if (config.get(key) or None) != (value or None):
            raise StreamRefused(name, key, value, config.get(key))
    return str(epoch)


def _options(settings: NatsSettings, lost: asyncio.Event) -> dict[str, Any]:
    async def ignore(_: Exception) -> None:
        """What fails is told by whatever waited for it; here it would be told twice."""

    async def on_loss() -> None:
        lost.set()

    options: dict[str, Any] = {
        "name": "notelog",
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0,
        "connect_timeout": CONNECT_WITHIN_S,
        "ping_interval": 5,
        "max_outstanding_pings": 2,
        "error_cb": ignore,
        "closed_cb": on_loss,
        "user": settings.user,
        "password": settings.password,
        "nkeys_seed": settings.nkey_seed and str(settings.nkey_seed),
        "user_credentials": settings.credentials and str(settings.credentials),
    }
    if settings.tls_ca or settings.tls_certificate:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_certificate:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        options["tls"] = context
    return options


def _without_password(server: str) -> str:
    scheme, _, rest = server.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def require_epoch(found: str, epoch: str) -> None:
    """See that a replica is one of this stream. Raises ``BrokenLog``: the operator must look."""
    if found != epoch:
        raise BrokenLog(f"the replica belongs to another stream: expected epoch {epoch}, got {found}")


def require_fit(state: State, head: int, same_record: bool) -> None:
    """See that a stream holds what its replica has. Raises ``BrokenLog``: the operator must look."""
    if state.first_seq > 1 and state.messages:
        raise BrokenLog(f"the stream begins at {state.first_seq}: its first events are gone")
    if state.last_seq < head:
        raise BrokenLog(f"the replica has {head} events, the stream only {state.last_seq}: the stream lost events")
    if not same_record:
        raise BrokenLog(f"event {head} is another one in the stream than in the replica")
