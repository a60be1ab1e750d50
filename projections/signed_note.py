"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint), made with an Ed25519 key.

What is made here is checked by code that knows nothing of it: ``service.checkpoint_checker`` and the tests.
"""

import base64
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from events.errors import FolderError
from events.folder import sync

ED25519 = b"\x01"
KEY_MODE = 0o600


class UnusableKey(FolderError):
    """The file with the ledger's key cannot be used."""


class Signer:
    """Signs for one log. ``name``: the key's name, which is the log's origin too; no space and no plus in it."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self.public = key.public_key().public_bytes_raw()
        self._key = key

    def sign(self, text: str) -> bytes:
        """The 64 bytes of the signature of a note's text."""
        return self._key.sign(text.encode())

    @property
    def verifier_key(self) -> str:
        """What others check signatures with: ``name+keyID+base64``."""
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{_base64(ED25519 + self.public)}"


def origin(epoch: str) -> str:
    """The name of a log for the outside; it is the key's name too."""
    return f"notelog/{epoch}"


def checkpoint_text(name: str, size: int, root: bytes) -> str:
    """What is signed of a tree."""
    return f"{name}\n{size}\n{_base64(root)}\n"


def signed(text: str, name: str, public: bytes, signature: bytes) -> str:
    """The note: its text, an empty line, the signature."""
    return f"{text}\n— {name} {_base64(key_id(name, public) + signature)}\n"


def proof_text(index: int, path: list[bytes], checkpoint: str) -> str:
    """An offline proof of inclusion (C2SP tlog-proof)."""
    lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *map(_base64, path)]
    return "\n".join(lines) + f"\n\n{checkpoint}"


def key_id(name: str, public: bytes) -> bytes:
    """Four bytes that tell keys apart."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file (PKCS #8). Raises ``UnusableKey``, and ``FileNotFoundError`` where there is none."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKey(f"{path} cannot be read as a PEM file with a key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{path} has a key that is not Ed25519")
    return key


def make_key(path: Path) -> Ed25519PrivateKey:
    """A new key, in a file that only its owner can read. The file is whole or not there."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_MODE)
        try:
            os.write(file, pem)
            os.fsync(file)
        finally:
            os.close(file)
        beside.rename(path)
        sync(path.parent)
    except OSError as error:
        raise UnusableKey(f"{path} cannot be made: {error.strerror}") from error
    return key


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
