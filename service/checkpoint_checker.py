"""Check a log against a signed checkpoint that was kept elsewhere, with nothing but the published formats.

This file is written apart from what makes checkpoints, and imports none of it: the formats are C2SP signed-note,
tlog-checkpoint and tlog-proof, RFC 6962 for the tree, and docs/EVENTS.md for the bytes of an entry. It can be copied
and run by somebody who trusts nothing else here.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# A note with sixteen signatures of the largest kinds is smaller.
NOTE_BYTES_MAX = 1024 * 1024
COLUMNS = "position, note_id, version, type, schema, at, actor, command, part, request, meta, salt, data"


class CheckFailed(Exception):
    """What was checked does not hold."""


class VerifierKey(NamedTuple):
    """Who signs: a name, four bytes that tell its keys apart, and the Ed25519 public key."""

    name: str
    key_id: bytes
    public: bytes


class Checkpoint(NamedTuple):
    """What a log says of its tree."""

    origin: str
    size: int
    root: bytes


def parse_key(text: str) -> VerifierKey:
    """A verifier key, ``name+keyID+base64``. Raises ``CheckFailed``."""
    name, plus, rest = text.strip().partition("+")
    key_id, second_plus, encoded = rest.partition("+")
    key = _from_base64(encoded)
    if not (name and plus and second_plus) or len(key) != 33 or key[0] != 1:
        raise CheckFailed("this is no verifier key for Ed25519: expected name+keyID+base64")
    expected = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if key_id != expected.hex():
        raise CheckFailed(f"the key's id is {key_id}, expected {expected.hex()}")
    return VerifierKey(name, expected, key[1:])


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that the key has signed. Raises ``CheckFailed`` when it has not, or not this text."""
    if len(note) > NOTE_BYTES_MAX or any(character < " " and character != "\n" for character in note):
        raise CheckFailed("this is no signed note: it is too large or has control characters")
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise CheckFailed("this is no signed note: expected a text, an empty line and signatures")
    text += "\n"
    good = [_is_good(line, text, key) for line in signatures[:-1].split("\n")]
    if True not in good:
        raise CheckFailed(f"the key {key.name} has not signed this")
    return text


def _is_good(line: str, text: str, key: VerifierKey) -> bool:
    """Whether the line is the key's signature. One that claims to be and is not spoils the note."""
    dash, _, rest = line.partition(" ")
    name, space, encoded = rest.partition(" ")
    signature = _from_base64(encoded)
    if dash != "—" or not name or not space or len(signature) < 5:
        raise CheckFailed("this is no signed note: a signature line is not one")
    if (name, signature[:4]) != (key.name, key.key_id):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature[4:], text.encode())
    except InvalidSignature:
        raise CheckFailed(f"the signature of {name} is not good") from None
    return True


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text. Raises ``CheckFailed``."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise CheckFailed("this is no checkpoint: expected origin, size and root, a line each")
    origin, size, root = lines[:3]
    decoded = _from_base64(root)
    if not size.isascii() or not size.isdigit() or str(int(size)) != size or len(decoded) != 32:
        raise CheckFailed("this is no checkpoint: the size is no number, or the root no hash")
    return Checkpoint(origin, int(size), decoded)


def check_records(rows: Iterable[Sequence[Any]], checkpoint: Checkpoint) -> None:
    """Compare records with the checkpoint's root. ``rows``: ``COLUMNS`` in the order of positions, from 1 on.

    Raises ``CheckFailed``.
    """
    peaks: list[bytes] = []  # of whole subtrees, from the largest to the smallest
    size = 0
    for row in rows:
        size += 1
        if row[0] != size:
            raise CheckFailed(f"event {size} is missing")
        hash_ = hashlib.sha256(b"\x00" + entry(row)).digest()
        whole = size
        while whole % 2 == 0:
            hash_ = _node(peaks.pop(), hash_)
            whole //= 2
        peaks.append(hash_)
        if size == checkpoint.size:
            break
    if size < checkpoint.size:
        raise CheckFailed(f"events {size + 1} to {checkpoint.size} are missing")
    root = peaks.pop() if peaks else hashlib.sha256(b"").digest()
    while peaks:
        root = _node(peaks.pop(), root)
    if root != checkpoint.root:
        raise CheckFailed(f"the first {checkpoint.size} events are not those that the checkpoint was signed for")


def entry(row: Sequence[Any]) -> bytes:
    """The bytes of a record that are hashed into the tree (docs/EVENTS.md)."""
    position, note_id, version, type_, schema, at, actor, command, part, request, meta, salt, data = row
    payload = hashlib.sha256(salt + len(_bytes(meta)).to_bytes(4) + _bytes(meta) + _bytes(data)).digest()
    parts = [b"\x01", position.to_bytes(8), note_id.to_bytes(8), version.to_bytes(8), _with_length(type_)]
    parts += [schema.to_bytes(2), at.to_bytes(8, signed=True), _with_length(actor), _with_length(command)]
    parts += [part.to_bytes(2), _with_length(request), payload]
    return b"".join(parts)


def check_inclusion(leaf_hash: bytes, index: int, path: Sequence[bytes], tree: Checkpoint) -> None:
    """Raises ``CheckFailed`` unless the path leads from the leaf to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < tree.size:
        raise CheckFailed(f"a tree of {tree.size} events has no index {index}")
    hash_ = leaf_hash
    for sibling, is_left in _climb(index, tree.size - 1, path):
        hash_ = _node(sibling, hash_) if is_left else _node(hash_, sibling)
    if hash_ != tree.root:
        raise CheckFailed("the path does not lead to the root")


def check_consistency(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Raises ``CheckFailed`` unless the new tree goes on from the old one (RFC 9162, section 2.1.4.2)."""
    if not 0 < old.size <= new.size:
        raise CheckFailed(f"expected an old size from 1 to {new.size}, got {old.size}")
    if old.size == new.size:
        if proof or old.root != new.root:
            raise CheckFailed("two trees of the same size differ")
        return
    hashes = list(proof)
    if old.size & (old.size - 1) == 0:
        hashes.insert(0, old.root)
    if not hashes:
        raise CheckFailed("the proof is empty")
    place, last = old.size - 1, new.size - 1
    while place % 2:
        place, last = place // 2, last // 2
    old_root = new_root = hashes[0]
    for hash_, is_left in _climb(place, last, hashes[1:]):
        if is_left:
            old_root, new_root = _node(hash_, old_root), _node(hash_, new_root)
        else:
            new_root = _node(new_root, hash_)
    if (old_root, new_root) != (old.root, new.root):
        raise CheckFailed("the new tree does not go on from the old one")


def _climb(place: int, last: int, hashes: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The hashes on the way to the root, each with whether it stands to the left of what is there by then."""
    for hash_ in hashes:
        if last == 0:
            raise CheckFailed("the proof is too long")
        is_left = place % 2 == 1 or place == last
        yield hash_, is_left
        while is_left and place % 2 == 0 and place:
            place, last = place // 2, last // 2
        place, last = place // 2, last // 2
    if last != 0:
        raise CheckFailed("the proof is too short")


def parse_proof(text: str) -> tuple[int, list[bytes], str]:
    """Index, path and signed checkpoint of a ``.tlog-proof``. Raises ``CheckFailed``."""
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines[0] != "c2sp.org/tlog-proof@v1":
        raise CheckFailed("this is no tlog-proof")
    if len(lines) > 1 and lines[1].startswith("extra "):
        del lines[1]
    word, _, index = lines[1].partition(" ") if len(lines) > 1 else ("", "", "")
    path = [_from_base64(line) for line in lines[2:]]
    if word != "index" or not index.isdigit() or str(int(index)) != index or any(len(hash_) != 32 for hash_ in path):
        raise CheckFailed("this is no tlog-proof: expected an index and hashes")
    return int(index), path, checkpoint


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _with_length(value: str | bytes | None) -> bytes:
    if value is None:
        return b"\xff\xff"
    return len(_bytes(value)).to_bytes(2) + _bytes(value)


def _from_base64(text: str) -> bytes:
    """The bytes; none when this is not the one way to write them (RFC 4648 section 3.5: no bits left over)."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return value if base64.b64encode(value).decode() == text else b""
