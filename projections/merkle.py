"""The Merkle tree of RFC 6962, section 2.1, kept as the tiles of C2SP tlog-tiles. Pure: tiles are read by a function.

A tile at level L has up to 256 hashes, each of a whole subtree of 256**L leaves; what lies between two levels is hashed
again when it is needed. A tile only ever grows at its end, so the tree of any earlier size is in the tiles of today.
"""

import hashlib
from collections.abc import Callable, Iterator

HASH_BYTES = 32
TILE_HASHES = 256
TILE_HEIGHT = 8  # 2**8 == 256
EMPTY_ROOT = hashlib.sha256(b"").digest()

ReadTile = Callable[[int, int], bytes]
"""From level and number to the tile's hashes, one after the other: at least as many as the tree in question has."""


class MissingHashes(Exception):
    """A tile has fewer hashes than the tree of that size needs: the file was damaged, or changed."""

    def __init__(self, level: int, number: int) -> None:
        super().__init__(f"tile {level}/{number} is shorter than the tree")


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(read: ReadTile, size: int, leaf_hashes: list[bytes]) -> dict[tuple[int, int], bytes]:
    """The tiles that change when the tree of ``size`` leaves gets more, by level and number, as they then are.

    This and all that follows raises ``MissingHashes``.
    """
    changed: dict[tuple[int, int], bytes] = {}
    level, start, hashes = 0, size, leaf_hashes
    while hashes:
        full: list[bytes] = []
        for number, offset, part in _by_tile(start, hashes):
            before = read(level, number)[: offset * HASH_BYTES] if offset else b""
            if len(before) < offset * HASH_BYTES:
                raise MissingHashes(level, number)
            changed[level, number] = tile = before + b"".join(part)
            if len(tile) == TILE_HASHES * HASH_BYTES:
                full.append(combined(split(tile)))
        level, start, hashes = level + 1, start // TILE_HASHES, full
    return changed


def root(read: ReadTile, size: int) -> bytes:
    """The Merkle tree hash of the first ``size`` leaves."""
    return _range_hash(read, 0, size) if size else EMPTY_ROOT


def inclusion_proof(read: ReadTile, index: int, size: int) -> list[bytes]:
    """The audit path of a leaf in the tree of ``size`` leaves, from the leaf's sibling upwards (section 2.1.1)."""
    assert 0 <= index < size, f"expected an index below {size}, got {index}"
    return [_range_hash(read, start, end) for start, end in _path(index, 0, size)]


def consistency_proof(read: ReadTile, old: int, new: int) -> list[bytes]:
    """What shows that the tree of ``new`` leaves goes on from the one of ``old`` (section 2.1.2)."""
    assert 0 < old <= new, f"expected a size from 1 to {new}, got {old}"
    return [_range_hash(read, start, end) for start, end in _subproof(old, 0, new, whole=True)]


def tile_root(tile: bytes) -> bytes:
    """The hash that a full tile gives to the level above it; empty when the tile is not full."""
    return combined(split(tile)) if len(tile) == TILE_HASHES * HASH_BYTES else b""


def widths(size: int) -> Iterator[tuple[int, int, int]]:
    """The tiles of the tree of ``size`` leaves: level, how many are full, and how many hashes the partial one has."""
    level = 0
    while size:
        yield level, *divmod(size, TILE_HASHES)
        level, size = level + 1, size // TILE_HASHES


def _path(index: int, start: int, end: int) -> list[tuple[int, int]]:
    if end - start == 1:
        return []
    middle = start + _split_point(end - start)
    if index < middle:
        return [*_path(index, start, middle), (middle, end)]
    return [*_path(index, middle, end), (start, middle)]


def _subproof(old: int, start: int, end: int, whole: bool) -> list[tuple[int, int]]:
    """``whole``: the old tree's hash is known to whoever checks, because nothing was split off it yet."""
    if old == end:
        return [] if whole else [(start, end)]
    middle = start + _split_point(end - start)
    if old <= middle:
        return [*_subproof(old, start, middle, whole), (middle, end)]
    return [*_subproof(old, middle, end, whole=False), (start, middle)]


def _range_hash(read: ReadTile, start: int, end: int) -> bytes:
    """The Merkle tree hash of the leaves from ``start`` to ``end``, as the recursion of section 2.1 cuts them."""
    count = end - start
    if count & (count - 1) == 0:
        return _subtree(read, count.bit_length() - 1, start)
    middle = start + _split_point(count)
    return node(_range_hash(read, start, middle), _range_hash(read, middle, end))


def _subtree(read: ReadTile, height: int, start: int) -> bytes:
    """The hash of a whole subtree, from the tile that has its nodes at the next level below."""
    level, above = divmod(height, TILE_HEIGHT)
    number, offset = divmod(start >> (level * TILE_HEIGHT), TILE_HASHES)
    hashes = split(read(level, number))[offset : offset + (1 << above)]
    if len(hashes) < 1 << above:
        raise MissingHashes(level, number)
    return combined(hashes)


def combined(hashes: list[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(hashes) > 1:
        pairs = iter(hashes)
        hashes = [node(left, right) for left, right in zip(pairs, pairs, strict=True)]
    return hashes[0]


def _by_tile(start: int, hashes: list[bytes]) -> Iterator[tuple[int, int, list[bytes]]]:
    """The hashes from index ``start`` on, cut where tiles end: number of the tile, offset in it, hashes."""
    while hashes:
        number, offset = divmod(start, TILE_HASHES)
        part, hashes = hashes[: TILE_HASHES - offset], hashes[TILE_HASHES - offset :]
        yield number, offset, part
        start += len(part)


def split(tile: bytes) -> list[bytes]:
    return [tile[place : place + HASH_BYTES] for place in range(0, len(tile), HASH_BYTES)]


def _split_point(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1
