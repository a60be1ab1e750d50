"""Signed notes: samples of others, our own, and what is not one."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from projections import signed_note
from projections.signed_note import Signer, UnusableKey, load_key, make_key
from service.checkpoint_checker import CheckFailed, open_note, parse_checkpoint, parse_key, parse_proof
from tests.audit.stranger import signed_text

# The sample of the C2SP signed-note specification; it does not say the public key.
SPECIFICATION = (
    "Ognuno sta solo sul cuor della terra\n"
    "trafitto da un raggio di sole:\n"
    "\n"
    "ed è subito sera.\n"
    "\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
# The test vector of the format's reference implementation (golang.org/x/mod/sumdb/note): a key and its note.
REFERENCE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
REFERENCE_SECRET = "810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173"
REFERENCE_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
REFERENCE_NOTE = (
    REFERENCE_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_note_of_the_reference_implementation_checks() -> None:
    """A note that another program has signed is good here, under its verifier key."""
    assert open_note(REFERENCE_NOTE, parse_key(REFERENCE_KEY)) == REFERENCE_TEXT
    assert signed_text(REFERENCE_NOTE, REFERENCE_KEY) == REFERENCE_TEXT


def test_the_sample_of_the_specification_is_read_as_it_is_meant() -> None:
    """Its text, empty line included, and its signature's key id are found; under another key it is refused."""
    text, signature = SPECIFICATION.rsplit("\n\n", 1)
    assert text.endswith("sera.")
    assert signature.startswith("— quasimodo.example/salvatore ")
    with pytest.raises(CheckFailed, match="has not signed"):
        open_note(SPECIFICATION, parse_key(REFERENCE_KEY))


def test_every_changed_bit_of_a_note_is_noticed() -> None:
    """Any bit of any byte changed: the note is refused, or is no text any more."""
    key, good = parse_key(REFERENCE_KEY), REFERENCE_NOTE.encode()
    for bit in range(8 * len(good)):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            note = changed.decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(CheckFailed):
            open_note(note, key)


@pytest.mark.parametrize("place", range(0, len(REFERENCE_KEY), 7))
def test_a_mangled_key_is_no_key(place: int) -> None:
    """A verifier key with a character changed, or cut, is refused."""
    mangled = REFERENCE_KEY[:place] + chr(ord(REFERENCE_KEY[place]) + 1) + REFERENCE_KEY[place + 1 :]
    for key in (mangled, REFERENCE_KEY[:place]):
        with pytest.raises(CheckFailed):
            parse_key(key)


def test_our_notes_are_good_for_both_checkers(tmp_path: Path) -> None:
    """What we sign is a note to the checker of ``verify`` and to the stranger, also with others beside it."""
    signer = Signer("notelog/0123", make_key(tmp_path / "key.pem"))
    text = signed_note.checkpoint_text(signer.name, 7, b"r" * 32)
    note = signed_note.signed(text, signer.name, signer.public, signer.sign(text))
    witnessed = note + "— somebody.example/else " + "A" * 92 + "\n"
    for one in (note, witnessed):
        assert open_note(one, parse_key(signer.verifier_key)) == text
        assert signed_text(one, signer.verifier_key) == text
    assert parse_checkpoint(text) == ("notelog/0123", 7, b"r" * 32)


@pytest.mark.parametrize(
    "text",
    ["", "a\n", "a\n7\n", "a\n07\nAAAA\n", "a\n7\nAAAA\n", "a\n-1\n" + "A" * 43 + "=\n", "\n7\n" + "A" * 43 + "=\n"],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Origin, size and root must be there and be what they are."""
    with pytest.raises(CheckFailed):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "text", ["", "c2sp.org/tlog-proof@v1\n\nx", "c2sp.org/tlog-proof@v1\nindex 01\n\nx", "x\nindex 1\n\nx"]
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    """A proof has its first line, an index without leading zeros, and hashes."""
    with pytest.raises(CheckFailed):
        parse_proof(text)


def test_a_key_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    """The file has mode 0600 and gives the same key again; one that is no Ed25519 key is refused."""
    path = tmp_path / "key.pem"
    made = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).public_key() == made.public_key()
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"-----BEGIN PRIVATE KEY-----\n", other):
        path.write_bytes(content)
        with pytest.raises(UnusableKey):
            load_key(path)


def test_the_reference_secret_signs_the_reference_note() -> None:
    """Ed25519 leaves no choice: with the same secret our note is theirs, byte for byte."""
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(REFERENCE_SECRET))
    signer = Signer("PeterNeumann", secret)
    assert signer.verifier_key == REFERENCE_KEY
    signature = signer.sign(REFERENCE_TEXT)
    assert signed_note.signed(REFERENCE_TEXT, signer.name, signer.public, signature) == REFERENCE_NOTE
