"""The tree, its proofs and their checker, each written apart, and each compared with the others."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from projections import merkle
from projections.merkle import ReadTile
from service.checkpoint_checker import CheckFailed, Checkpoint, check_consistency, check_inclusion
from tests.audit.stranger import Trees, tree_hash
from tests.sizes import count

SIZES = 300
LEAVES = [hashlib.sha256(b"\x00" + number.to_bytes(4)).digest() for number in range(70_000)]


def grown(sizes: Sequence[int]) -> ReadTile:
    """The tiles of a tree that grew to each of the sizes."""
    tiles: dict[tuple[int, int], bytes] = {}

    def read(level: int, number: int) -> bytes:
        return tiles.get((level, number), b"")

    before = 0
    for size in sizes:
        tiles.update(merkle.grow(read, before, LEAVES[before:size]))
        before = size
    return read


def one_bit_changed(proof: Sequence[bytes], dice: random.Random) -> list[bytes]:
    """The proof with one random bit of one of its hashes flipped."""
    changed = list(proof)
    place, bit = dice.randrange(len(changed)), dice.randrange(256)
    changed[place] = (int.from_bytes(changed[place]) ^ (1 << bit)).to_bytes(32)
    return changed


def fails(check: Callable[[], None]) -> bool:
    """Whether the check refuses."""
    try:
        check()
    except CheckFailed:
        return True
    return False


def test_every_tree_up_to_300_leaves_has_the_root_of_the_recursion() -> None:
    """Grown leaf by leaf, the tiles give the root of RFC 6962 at every size, also of those that were passed."""
    read = grown(range(1, SIZES + 1))
    assert merkle.root(read, 0) == hashlib.sha256(b"").digest()
    for size in range(1, SIZES + 1):
        assert merkle.root(read, size) == tree_hash(LEAVES[:size]), size


def test_tiles_do_not_depend_on_how_the_tree_grew(dice: random.Random) -> None:
    """In any steps, over several levels of tiles: the same bytes in each tile."""
    size = 66_000
    steps = sorted({*dice.choices(range(1, size), k=30), size})
    one, other = grown([size]), grown(steps)
    for level, full, width in merkle.widths(size):
        for number in {0, full // 2, full - (width == 0), full}:
            assert one(level, number) == other(level, number)
    assert merkle.root(other, size) == tree_hash(LEAVES[:size])


def sizes(dice: random.Random) -> list[int]:
    """All sizes up to 300; when fewer are asked for all small ones, those about a tile, and a few more."""
    wanted = count("tree_sizes")
    if wanted == SIZES:
        return list(range(1, SIZES + 1))
    first = [*range(1, 34), 255, 256, 257]
    return [*first, *dice.sample([size for size in range(34, SIZES + 1) if size not in first], wanted - len(first))]


@pytest.mark.faults
def test_every_inclusion_proof_checks_and_none_with_a_changed_bit(dice: random.Random) -> None:
    """For all sizes up to 300 and every leaf: the proof is that of RFC 6962, leads to the root, and no other does."""
    read, trees = grown([SIZES]), Trees(LEAVES[:SIZES])
    for size in sizes(dice):
        tree = Checkpoint("", size, trees.hash(0, size))
        for index in range(size):
            proof = merkle.inclusion_proof(read, index, size)
            assert proof == trees.path(index, 0, size)
            check_inclusion(LEAVES[index], index, proof, tree)
            if proof:
                changed = one_bit_changed(proof, dice)
                assert fails(lambda: check_inclusion(LEAVES[index], index, changed, tree))  # noqa: B023
            assert fails(lambda: check_inclusion(LEAVES[-1], index, proof, tree))  # noqa: B023
            assert fails(lambda: check_inclusion(LEAVES[index], index, [*proof, LEAVES[0]], tree))  # noqa: B023


@pytest.mark.faults
def test_every_consistency_proof_checks_and_none_with_a_changed_bit(dice: random.Random) -> None:
    """For all pairs of sizes up to 300: it is the proof of RFC 6962, checks, and with a changed bit does not."""
    read, trees = grown([SIZES]), Trees(LEAVES[:SIZES])
    for new in sizes(dice):
        newer = Checkpoint("", new, trees.hash(0, new))
        for old in range(1, new + 1):
            older = Checkpoint("", old, trees.hash(0, old))
            proof = merkle.consistency_proof(read, old, new)
            assert proof == trees.proof(old, 0, new)
            check_consistency(older, newer, proof)
            if proof:
                assert fails(lambda: check_consistency(older, newer, one_bit_changed(proof, dice)))  # noqa: B023
            other = Checkpoint("", old, LEAVES[0][::-1])
            assert fails(lambda: check_consistency(other, newer, proof))  # noqa: B023


def every_bit_changed(proof: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The proof with each of its bits flipped in turn."""
    for place, hash_ in enumerate(proof):
        for bit in range(256):
            changed = (int.from_bytes(hash_) ^ (1 << bit)).to_bytes(32)
            yield [*proof[:place], changed, *proof[place + 1 :]]


@pytest.mark.faults
def test_no_bit_of_a_proof_may_change(dice: random.Random) -> None:
    """For proofs of random leaves and older sizes, each single bit in turn: with none of them changed they check."""
    read, trees = grown([SIZES]), Trees(LEAVES[:SIZES])
    bits = 0
    for size in sizes(dice):
        tree, index, old = Checkpoint("", size, trees.hash(0, size)), dice.randrange(size), dice.randint(1, size)
        older = Checkpoint("", old, trees.hash(0, old))
        for changed in every_bit_changed(merkle.inclusion_proof(read, index, size)):
            assert fails(lambda: check_inclusion(LEAVES[index], index, changed, tree))  # noqa: B023
            bits += 1
        for changed in every_bit_changed(merkle.consistency_proof(read, old, size)):
            assert fails(lambda: check_consistency(older, tree, changed))  # noqa: B023
            bits += 1
    print(f"{bits} bits changed, none accepted")


def test_a_missing_tile_is_no_other_tree() -> None:
    """A tile that is shorter than the tree is noticed, never taken for a smaller tree."""
    read = grown([600])

    def cut(level: int, number: int) -> bytes:
        return read(level, number)[:-32] if (level, number) == (0, 1) else read(level, number)

    with pytest.raises(merkle.MissingHashes, match="shorter"):
        merkle.inclusion_proof(cut, 510, 600)
    with pytest.raises(merkle.MissingHashes, match="shorter"):
        merkle.grow(lambda level, number: b"", 600, LEAVES[600:601])
