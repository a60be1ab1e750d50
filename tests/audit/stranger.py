"""Somebody who trusts nobody: the formats read and checked again from their specifications, as plainly as can be.

Nothing here is of the program. The tree is the recursion of RFC 6962, section 2.1, over all leaves, without any tiles;
proofs are made by the recursions of sections 2.1.1 and 2.1.2, to be compared; notes are C2SP signed-note.
"""

import base64
import hashlib
import struct
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(*parts: bytes) -> bytes:
    """The hash over all parts."""
    return hashlib.sha256(b"".join(parts)).digest()


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH, over leaf hashes."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    return sha256(b"\x01", tree_hash(leaves[:middle]), tree_hash(leaves[middle:]))


def split(count: int) -> int:
    """The largest power of two that is less than ``count``."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


class Trees:
    """All trees over the same leaves, each hash computed once."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def hash(self, start: int, end: int) -> bytes:
        """MTH of some of the leaves."""
        if (start, end) not in self._known:
            if end - start <= 1:
                self._known[start, end] = tree_hash(self._leaves[start:end])
            else:
                middle = start + split(end - start)
                self._known[start, end] = sha256(b"\x01", self.hash(start, middle), self.hash(middle, end))
        return self._known[start, end]

    def path(self, index: int, start: int, end: int) -> list[bytes]:
        """PATH."""
        if end - start == 1:
            return []
        middle = start + split(end - start)
        if index < middle:
            return [*self.path(index, start, middle), self.hash(middle, end)]
        return [*self.path(index, middle, end), self.hash(start, middle)]

    def proof(self, old: int, start: int, end: int, known: bool = True) -> list[bytes]:
        """SUBPROOF."""
        if old == end - start:
            return [] if known else [self.hash(start, end)]
        middle = split(end - start)
        if old <= middle:
            return [*self.proof(old, start, start + middle, known), self.hash(start + middle, end)]
        return [*self.proof(old - middle, start + middle, end, False), self.hash(start, start + middle)]


def signed_text(note: str, verifier_key: str) -> str:
    """The text of a note, if the key's owner has signed it; else an error."""
    name, key_id, key = verifier_key.strip().split("+", 2)
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, encoded = line.split(" ")
        signature = base64.b64decode(encoded)
        assert dash == "\N{EM DASH}"
        if (signer, signature[:4].hex()) == (name, key_id):
            public = base64.b64decode(key)
            assert public[0] == 1
            assert sha256(name.encode(), b"\n", public)[:4].hex() == key_id
            Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], text.encode())
            return text
    raise AssertionError("nobody that is known has signed this")


def tree_of(checkpoint: str) -> tuple[str, int, bytes]:
    """Origin, size and root."""
    origin, size, root, *rest = checkpoint.split("\n")
    assert rest == [""]
    return origin, int(size), base64.b64decode(root)


def tile_name(number: int) -> str:
    """The number of a tile in a path."""
    digits = f"{number:03d}"
    digits = "0" * (-len(digits) % 3) + digits
    groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def entries(bundle: bytes) -> list[bytes]:
    """The entries of a bundle."""
    found = []
    while bundle:
        (length,) = struct.unpack(">H", bundle[:2])
        found.append(bundle[2 : 2 + length])
        assert len(found[-1]) == length
        bundle = bundle[2 + length :]
    return found


def entry(record: dict[str, Any]) -> bytes:
    """The entry of an exported record, by the table in docs/EVENTS.md."""

    def sized(value: bytes) -> bytes:
        return struct.pack(">H", len(value)) + value

    def hashed(value: str | None) -> bytes:
        return b"\xff\xff" if value is None else sized(bytes.fromhex(value))

    meta, data = record["meta"].encode(), record["data"].encode()
    return (
        b"\x01"
        + struct.pack(">QQQ", record["position"], record["note_id"], record["version"])
        + sized(record["type"].encode())
        + struct.pack(">Hq", record["schema"], record["at"])
        + sized(record["actor"].encode())
        + hashed(record["command"])
        + struct.pack(">H", record["part"])
        + hashed(record["request"])
        + sha256(bytes.fromhex(record["salt"]), struct.pack(">I", len(meta)), meta, data)
    )
