"""The transparency log from outside, as a stranger sees it who has the interface and the specifications only."""

import asyncio
import itertools
import random
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.checkpoint_checker import Checkpoint, check_consistency, check_inclusion, open_note, parse_key, parse_proof
from service.settings import WrongSetting
from tests.audit.histories import History
from tests.audit.stranger import Trees, entries, entry, sha256, signed_text, tile_name, tree_of
from tests.service.running import Running, problem, until


async def published(notelog: Running, size: int) -> tuple[str, bytes]:
    """The origin and the root of the tree, once it has so many events; the signature is checked."""
    key = (await notelog.get("/tlog/key")).body.decode()

    async def signed() -> bool:
        note = (await notelog.get("/tlog/checkpoint")).body.decode()
        return tree_of(signed_text(note, key))[1] == size

    await until(signed, f"a checkpoint of {size} events")
    origin, _, root = tree_of(signed_text((await notelog.get("/tlog/checkpoint")).body.decode(), key))
    return origin, root


async def test_the_root_is_that_of_the_exported_records(stopped: Running, history: History) -> None:
    """Whoever has an export can compute each entry and the root, and finds it signed under name and epoch."""
    await stopped.start()
    leaves = [sha256(b"\x00", entry(record)) for record in history.records]
    origin, root = await published(stopped, len(leaves))
    assert origin == f"notelog/{stopped.log.epoch}"
    assert root == Trees(leaves).hash(0, len(leaves))


async def test_tiles_and_entries_of_every_width_are_those_of_the_tree(
    stopped: Running, history: History, dice: random.Random
) -> None:
    """Full and partial tiles of hashes and entries, each under its one name."""
    await stopped.start()
    await published(stopped, 600)
    records = [entry(record) for record in history.records]
    leaves = [sha256(b"\x00", one) for one in records]
    for number, width in ((0, 256), (1, 256), (2, 88), *((2, dice.randrange(1, 88)) for _ in range(4)), (0, 255)):
        name = tile_name(number) + ("" if width == 256 else f".p/{width}")
        hashes = await stopped.get(f"/tlog/tile/0/{name}")
        assert hashes.body == b"".join(leaves[number * 256 : number * 256 + width])
        assert hashes.headers["Content-Type"] == "application/octet-stream"
        assert "immutable" in hashes.headers["Cache-Control"]
        bundle = (await stopped.get(f"/tlog/tile/entries/{name}")).body
        assert entries(bundle) == records[number * 256 : number * 256 + width]
    trees = Trees(leaves)
    above = (await stopped.get("/tlog/tile/1/000.p/2")).body
    assert above == trees.hash(0, 256) + trees.hash(256, 512)


async def test_every_partial_tile_that_a_size_needs_is_served(stopped: Running, history: History) -> None:
    """Whichever size somebody keeps a checkpoint of, the tiles of that size are there, also when they have grown."""
    await stopped.start()
    await published(stopped, 600)
    leaves = [sha256(b"\x00", entry(record)) for record in history.records]
    trees = Trees(leaves)
    for size in range(1, 601):
        full, width = divmod(size, 256)
        if width:
            tile = await stopped.get(f"/tlog/tile/0/{tile_name(full)}.p/{width}")
            assert tile.body == b"".join(leaves[full * 256 : size]), size
        if full:
            above = await stopped.get(f"/tlog/tile/1/000.p/{full}")
            assert above.body == b"".join(trees.hash(at * 256, at * 256 + 256) for at in range(full)), size


NO_TILES = """
    0/002 0/003 0/002.p/89 0/002.p/0 0/002.p/256 0/002.p/08 1/000.p/3 1/000 2/000.p/1 00/000 64/000 0/x000/000 0/0
    0/1000 entries/002 entries/002.p/89 0/000.p/ x/000 0/000/x -1/000
"""


async def test_tiles_that_the_tree_does_not_have_are_not_found(stopped: Running, history: History) -> None:
    """Beyond the signed tree, empty, or under a name that is not the one of the specification: 404."""
    await stopped.start()
    await published(stopped, 600)
    for tile in (*NO_TILES.split(), f"0/{'x111/' * 1500}111"):
        assert (await stopped.get(f"/tlog/tile/{tile}")).status == 404, tile


async def test_every_event_has_a_proof_that_needs_nobody(
    stopped: Running, history: History, dice: random.Random
) -> None:
    """The proof of an event holds its index, its path and the signed checkpoint; two checkers agree that it is good."""
    await stopped.start()
    await published(stopped, 600)
    key = (await stopped.get("/tlog/key")).body.decode()
    for position in (1, 600, *dice.sample(range(2, 600), 30)):
        index, path, note = parse_proof((await stopped.get(f"/tlog/proof/{position}")).body.decode())
        origin, size, root = tree_of(open_note(note, parse_key(key)))
        assert index == position - 1
        leaf = sha256(b"\x00", entry(history.records[index]))
        check_inclusion(leaf, index, path, Checkpoint(origin, size, root))
    for nothing in ("0", "601", "x"):
        assert (await stopped.get(f"/tlog/proof/{nothing}")).status == 404


async def test_a_checkpoint_has_what_was_written_before(notelog: Running) -> None:
    """The checkpoint shows the reader's own writes, and a position that is asked for; one that is none is refused."""
    for _ in range(2):
        written = await notelog.post(json={"title": "Milk"})
        assert (await notelog.get("/tlog/checkpoint")).position >= written.position
    waiting = asyncio.create_task(notelog.get("/tlog/proof/3", Notelog_Min_Position="3"))
    await notelog.note()
    assert (await waiting).status == 200
    for path in ("checkpoint", "key", "proof/1", "tile/0/000.p/1"):
        problem(await notelog.get(f"/tlog/{path}", Notelog_Min_Position="abc"), 422, "invalid")


async def test_the_proof_of_an_event_of_just_now_is_waited_for(notelog: Running) -> None:
    """Right after a write the proof is asked for, and given as soon as the event is signed."""
    answer = await notelog.post(json={"title": "Milk"})
    proof = await notelog.get(f"/tlog/proof/{answer.position}")
    assert proof.status == 200, proof.body
    assert parse_proof(proof.body.decode())[0] == answer.position - 1


async def test_each_tree_goes_on_from_the_one_before(notelog: Running, dice: random.Random) -> None:
    """Checkpoints published one after the other are consistent, told from tiles alone; there is one at size 0 too."""
    seen = [(0, (await published(notelog, 0))[1])]
    for _ in range(4):
        for _ in range(dice.randrange(1, 30)):
            await notelog.note("x")
        head = notelog.log.head
        seen.append((head, (await published(notelog, head))[1]))
    size = seen[-1][0]
    hashes = (await notelog.get(f"/tlog/tile/0/000.p/{size}")).body
    trees = Trees([hashes[place : place + 32] for place in range(0, len(hashes), 32)])
    for (old, old_root), (new, new_root) in itertools.pairwise(seen):
        assert old_root == trees.hash(0, old)
        if old:
            check_consistency(Checkpoint("", old, old_root), Checkpoint("", new, new_root), trees.proof(old, 0, new))


async def test_there_is_at_most_one_checkpoint_a_second(notelog: Running) -> None:
    """However fast events come, the ledger signs once a second."""
    began, sizes = time.monotonic(), set()
    while time.monotonic() - began < 2.5:
        await notelog.note("x")
        note = (await notelog.get("/tlog/checkpoint")).body.decode()
        sizes.add(tree_of(note.rsplit("\n\n", 1)[0] + "\n")[1])
    assert len(sizes) <= 1 + 1 + (time.monotonic() - began)


async def test_a_restart_goes_on_signing_what_was_signed(notelog: Running) -> None:
    """The key, the origin and the checkpoint are the same after a restart, and the tree grows from there."""
    await notelog.note("first")
    key = (await notelog.get("/tlog/key")).body
    before = await published(notelog, 1)
    note = (await notelog.get("/tlog/checkpoint")).body
    await notelog.restart()
    assert (await notelog.get("/tlog/key")).body == key
    assert await published(notelog, 1) == before
    assert (await notelog.get("/tlog/checkpoint")).body == note
    await notelog.note("second")
    await published(notelog, 2)


async def test_a_stop_signs_what_is_there(notelog: Running) -> None:
    """An event that was answered just before a stop in order is in the checkpoint of the next start at once."""
    for number in range(25):
        await notelog.note(f"number {number}")
    await notelog.restart()
    note = (await notelog.get("/tlog/checkpoint")).body.decode()
    assert tree_of(note.rsplit("\n\n", 1)[0] + "\n")[1] == 25


async def test_the_key_is_made_at_the_first_start_or_given(stopped: Running, tmp_path: Path) -> None:
    """Embedded, a key is made for its owner alone; one that is given is used, wherever it is."""
    await stopped.start()
    assert stat.S_IMODE((stopped.data / "ledger-key.pem").stat().st_mode) == 0o600
    await stopped.stop()
    given = Ed25519PrivateKey.generate()
    pem = given.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "given.pem").write_bytes(pem)
    await stopped.start(ledger_key=tmp_path / "given.pem")
    key = parse_key((await stopped.get("/tlog/key")).body.decode())
    assert key.public == given.public_key().public_bytes_raw()
    await published(stopped, 0)


async def test_a_key_that_cannot_be_used_stops_the_start(stopped: Running, tmp_path: Path) -> None:
    """A file that is no key is a wrong setting, named in the error."""
    (tmp_path / "bad.pem").write_text("not a key")
    with pytest.raises(WrongSetting, match="NOTELOG_LEDGER_KEY"):
        await stopped.start(ledger_key=tmp_path / "bad.pem")


async def test_writes_do_not_wait_for_the_ledger(notelog: Running) -> None:
    """While somebody holds the ledger's file, writes are answered, and the ledger catches up afterwards."""
    await notelog.note("first")
    await published(notelog, 1)
    holder = sqlite3.connect(notelog.data / "ledger.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        await asyncio.gather(*(notelog.note("x") for _ in range(50)))
        assert notelog.log.head == 51
    finally:
        holder.close()
    await published(notelog, 51)
