"""The record, version 1: what is kept of an event, and the bytes that the ledger hashes.

A record is never changed, so its shape is the hardest thing to change later. Everything an auditor may one day
ask for is in it from the start: the salt (so that a payload could be erased and its hash not guessed), the command
(so that a retry is known for ever), the request (so that a key used twice for different things is found out).
"""

import hashlib
import struct

import msgspec

from events.errors import MalformedEvent

LEAF_FORMAT = b"\x01"


class NewEvent(msgspec.Struct, frozen=True):
    """An event on its way to the log. The log gives it position, version, time and salt.

    ``note_id`` None asks for a new stream: the log numbers it, 1, 2, 3, …
    ``command`` and ``request`` are 16 bytes each or None; see ``EventLog.append``.
    ``meta`` and ``data`` are JSON texts, stored as they are; meta at most ``META_BYTES_MAX`` bytes.
    """

    note_id: int | None
    type: str
    schema: int
    actor: str
    data: str
    command: bytes | None = None
    part: int = 0
    request: bytes | None = None
    meta: str = "{}"

    def __post_init__(self) -> None:
        """Refuse with ``ValueError`` what would spoil a commit for the others in it, or the ledger's leaf."""
        if self.note_id is not None and not 0 < self.note_id <= INTEGER_MAX:
            raise ValueError(f"expected a note_id from 1 to {INTEGER_MAX}, got {self.note_id}")
        if (actor_bytes := len(self.actor.encode())) > ACTOR_BYTES_MAX:
            raise ValueError(f"expected an actor of at most {ACTOR_BYTES_MAX} bytes, got {actor_bytes}")
        if (meta_bytes := len(self.meta.encode())) > META_BYTES_MAX:
            raise ValueError(f"expected meta of at most {META_BYTES_MAX} bytes, got {meta_bytes}")
        if not self.data.isascii():
            self.data.encode()  # half a surrogate pair is no text that can be stored

    @property
    def size_bytes(self) -> int:
        """About how much memory the event takes; what limits are counted in."""
        return RECORD_OVERHEAD_BYTES + _text_bytes(self.data) + _text_bytes(self.meta)


INTEGER_MAX = 2**63 - 1  # SQLite's largest integer
# A name, a mail address, a token's subject; the prefix of the leaf could say 65,534.
ACTOR_BYTES_MAX = 4096
# A tracing header and a request id fit; a client cannot use it as a store.
META_BYTES_MAX = 2048
# The fixed columns of a row, as Python objects, measured with sys.getsizeof: about 600 bytes.
RECORD_OVERHEAD_BYTES = 600


class RecordedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event in the log: the columns of ``events``, in their order. ``at`` in microseconds since 1970, UTC."""

    position: int
    note_id: int
    version: int
    type: str
    schema: int
    at: int
    actor: str
    command: bytes | None
    part: int
    request: bytes | None
    meta: str
    salt: bytes
    data: str

    @property
    def size_bytes(self) -> int:
        """About how much memory the record takes."""
        return RECORD_OVERHEAD_BYTES + _text_bytes(self.data) + _text_bytes(self.meta)


COLUMNS = ", ".join(RecordedEvent.__struct_fields__)


def leaf(record: RecordedEvent) -> bytes:
    """The bytes that stand for the record in the ledger: its columns, and a salted hash of its payload.

    Integers are big-endian and of fixed width; texts and byte strings are preceded by their length in two bytes,
    of which 0xFFFF stands for null. The layout and test vectors are in docs/EVENTS.md.
    Raises ``MalformedEvent`` when a column of a changed file is not one that can stand there.
    """
    try:
        return _leaf(record)
    except (struct.error, ValueError) as error:
        raise MalformedEvent(record.position, record.type, f"it cannot be hashed: {error}") from error


def _leaf(record: RecordedEvent) -> bytes:
    return b"".join(
        (
            LEAF_FORMAT,
            struct.pack(">QQQ", record.position, record.note_id, record.version),
            _prefixed(record.type.encode()),
            struct.pack(">Hq", record.schema, record.at),
            _prefixed(record.actor.encode()),
            _prefixed(record.command),
            struct.pack(">H", record.part),
            _prefixed(record.request),
            payload_hash(record),
        )
    )


def payload_hash(record: RecordedEvent) -> bytes:
    """SHA-256 of the salt, the length-prefixed meta (four bytes) and the data as stored."""
    meta = record.meta.encode()
    return hashlib.sha256(record.salt + struct.pack(">I", len(meta)) + meta + record.data.encode()).digest()


def leaf_hash(record: RecordedEvent) -> bytes:
    """The leaf's hash in the Merkle tree (RFC 6962 §2.1: SHA-256 of 0x00 and the entry)."""
    return hashlib.sha256(b"\x00" + leaf(record)).digest()


def found_hash(record: RecordedEvent) -> bytes:
    """The leaf hash of a record from a file that may have been changed; empty when no record can have its numbers."""
    try:
        return leaf_hash(record)
    except MalformedEvent:
        return b""


def command_hash(subject: str, key: str) -> bytes:
    """The command's name for ever: 16 bytes of SHA-256 over the length-prefixed subject and Idempotency-Key."""
    return _hash16(subject.encode(), key.encode())


def request_hash(method: str, target: str, if_match: str, body: bytes) -> bytes:
    """What was asked: 16 bytes of SHA-256 over method, target, If-Match and body, each with its length."""
    # A header may hold any bytes; those that are no UTF-8 stand in it as surrogates.
    return _hash16(method.encode(), target.encode(), if_match.encode(errors="surrogateescape"), body)


def _text_bytes(text: str) -> int:
    """What a text takes in memory at most: up to four bytes a character when one of them is beyond ASCII.

    Not ``sys.getsizeof``: that changes when the text is encoded for the first time, and sums would not come out even.
    """
    return len(text) if text.isascii() else 4 * len(text)


def _hash16(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()[:16]


def _prefixed(value: bytes | None) -> bytes:
    if value is None:
        return b"\xff\xff"
    if len(value) >= 0xFFFF:
        raise ValueError("a column of the leaf is longer than its prefix can say")
    return struct.pack(">H", len(value)) + value
