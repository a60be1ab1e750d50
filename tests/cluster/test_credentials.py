"""How a node is let in: each way against a real server that asks for it, and what a wrong one is told."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import nkeys
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.faults.process import Server, ServerEnded, until
from tests.nats_servers import READY_WITHIN_S, Ports, dies_with_us, server_program

pytestmark = pytest.mark.faults

Serving = Callable[[str], str]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """Starts a server whose configuration has these lines; its URL."""
    with ExitStack() as stack:

        def start(lines: str) -> str:
            ports = Ports()
            config = tmp_path / "nats.conf"
            jetstream = f'jetstream {{ store_dir: "{tmp_path / "stored"}", sync_interval: always }}'
            config.write_text(f'listen: "127.0.0.1:{ports.client}"\n{jetstream}\n{lines}\n')
            with (tmp_path / "nats.log").open("wb") as log:
                command = [*dies_with_us(), *server_program(), "-c", str(config)]
                process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return f"nats://127.0.0.1:{ports.client}"

        yield start


async def assert_let_in(url: str, folder: Path, **environment: object) -> None:
    """A node with these settings becomes ready and takes a write."""
    async with Server(folder / "good", "--log", url, environment=named(environment)) as node:
        await node.start()
        async with node.session.post(node.url + "/notes", json={"title": "let in"}) as answer:
            assert answer.status == 201


async def assert_refused(url: str, folder: Path, why: str, **environment: object) -> None:
    """A node with these settings ends at once with exit code 2 and one line that says why."""
    async with Server(
        folder / f"bad-{len(list(folder.iterdir()))}", "--log", url, environment=named(environment)
    ) as node:
        with pytest.raises(ServerEnded) as ended:
            await node.start()
        assert ended.value.code == 2
        (line,) = [line["text"] for line in node.log_lines() if "text" in line]
        assert line.startswith("notelog: ")
        assert why.lower() in line.lower()


def named(environment: dict[str, object]) -> dict[str, str]:
    """The settings by their names in the environment."""
    return {f"NOTELOG_NATS_{name.upper()}": str(value) for name, value in environment.items()}


async def listening(tmp_path: Path) -> None:
    """Wait until the server takes connections: the refusals that follow are then its own."""
    log = tmp_path / "nats.log"
    await until(lambda: b"Server is ready" in log.read_bytes(), READY_WITHIN_S, "the server is ready")


async def test_user_and_password(serving: Serving, tmp_path: Path) -> None:
    """The right pair is let in; a wrong password, and none, are refused, and no message repeats it."""
    url = serving('authorization { user: "notelog", password: "s3cret-word" }')
    await listening(tmp_path)
    await assert_let_in(url, tmp_path, user="notelog", password="s3cret-word")
    await assert_refused(url, tmp_path, "authorization violation", user="notelog", password="wr0ng-word")
    await assert_refused(url, tmp_path, "authorization violation")
    assert b"s3cret-word" not in b"".join(file.read_bytes() for file in tmp_path.glob("*.log"))
    assert b"wr0ng-word" not in b"".join(file.read_bytes() for file in tmp_path.glob("*.log"))


async def test_nkey(serving: Serving, tmp_path: Path) -> None:
    """The key that the server knows is let in; another one is refused; a file without a key is named."""
    known, other = Nkey(nkeys.PREFIX_BYTE_USER), Nkey(nkeys.PREFIX_BYTE_USER)
    url = serving(f'authorization {{ users: [ {{ nkey: "{known.public}" }} ] }}')
    await listening(tmp_path)
    await assert_let_in(url, tmp_path, nkey_seed=known.file(tmp_path / "known.nk"))
    await assert_refused(url, tmp_path, "authorization violation", nkey_seed=other.file(tmp_path / "other.nk"))
    rubbish = tmp_path / "rubbish.nk"
    rubbish.write_text("rubbish")
    await assert_refused(url, tmp_path, "NOTELOG_NATS_NKEY_SEED: ", nkey_seed=rubbish)


async def test_creds_file(serving: Serving, tmp_path: Path) -> None:
    """A JWT that the operator vouches for is let in; one of another account is refused; no creds file is named."""
    operator, system, account, user = (Nkey(kind) for kind in (OPERATOR, ACCOUNT, ACCOUNT, nkeys.PREFIX_BYTE_USER))
    url = serving(
        f'operator: "{token(operator, operator, "operator")}"\n'
        f"system_account: {system.public}\nresolver: MEMORY\n"
        f'resolver_preload: {{ {system.public}: "{token(operator, system, "account")}",'
        f' {account.public}: "{token(operator, account, "account", limits=UNLIMITED)}" }}'
    )
    await listening(tmp_path)
    await assert_let_in(url, tmp_path, credentials=creds(tmp_path / "good.creds", account, user))
    stranger = creds(tmp_path / "stranger.creds", Nkey(ACCOUNT), user)
    await assert_refused(url, tmp_path, "authorization violation", credentials=stranger)
    rubbish = tmp_path / "rubbish.creds"
    rubbish.write_text("rubbish")
    await assert_refused(url, tmp_path, "NOTELOG_NATS_CREDENTIALS: ", credentials=rubbish)


async def test_tls(serving: Serving, tmp_path: Path) -> None:
    """The server's certificate is checked against the given authority: a node that trusts another one, or none, does
    not talk to it; the server in turn lets in only whom the authority has signed."""
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    server, node = ours.certificate("server"), ours.certificate("node")
    url = serving(f'tls {{ cert_file: "{server[0]}", key_file: "{server[1]}", ca_file: "{ours.file}", verify: true }}')
    await listening(tmp_path)
    own = {"tls_certificate": node[0], "tls_key": node[1]}
    await assert_let_in(url, tmp_path, tls_ca=ours.file, **own)
    await assert_refused(url, tmp_path, "certificate verify failed", tls_ca=other.file, **own)
    await assert_refused(url, tmp_path, "certificate verify failed")
    await assert_refused(url, tmp_path, "certificate", tls_ca=ours.file)
    await assert_refused(url, tmp_path, "NOTELOG_NATS_TLS_CA: ", tls_ca=server[1])
    await assert_refused(url, tmp_path, "NOTELOG_NATS_TLS_CERTIFICATE: ", tls_ca=ours.file, tls_certificate=node[0])


async def test_no_password_goes_out_unencrypted(serving: Serving, tmp_path: Path) -> None:
    """Where TLS is set and the server offers none, the node says so and says nothing else."""
    url = serving('authorization { user: "notelog", password: "s3cret-word" }\ndebug: true\ntrace: true')
    await listening(tmp_path)
    ca = Authority(tmp_path / "ours").file
    await assert_refused(url, tmp_path, "offers no TLS", tls_ca=ca, user="notelog", password="s3cret-word")
    assert b"CONNECT" not in (tmp_path / "nats.log").read_bytes()


OPERATOR, ACCOUNT = nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT
UNLIMITED = {
    **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1),
    **dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1),
    "wildcards": True,
}


class Nkey:
    """A key pair of NATS' own kind."""

    def __init__(self, kind: int) -> None:
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), kind))
        self.pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self.pair.public_key.decode()

    def file(self, path: Path) -> Path:
        """The seed in a file, as `nk` writes it."""
        path.write_bytes(self.seed + b"\n")
        return path


def token(issuer: Nkey, subject: Nkey, kind: str, **more: object) -> str:
    """A JWT as `nsc` makes it."""
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    claims = {
        "jti": os.urandom(16).hex(),
        "iat": int(datetime.now(UTC).timestamp()),
        "iss": issuer.public,
        "sub": subject.public,
        "name": kind,
        "nats": {"type": kind, "version": 2, **more},
    }
    signed = ".".join(plain(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{plain(issuer.pair.sign(signed.encode()))}"


def plain(value: bytes) -> str:
    """Base64 without padding."""
    return urlsafe_b64encode(value).decode().rstrip("=")


def creds(path: Path, account: Nkey, user: Nkey) -> Path:
    """A creds file of a user in an account."""
    jwt = token(account, user, "user", subs=-1, data=-1, payload=-1)
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    return path


class Authority:
    """Signs certificates for loopback. ``file``: its own one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = name_of(folder.name)
        certificate = (
            self._begun(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certificate(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        certificate = (
            self._begun(name_of(name), key).add_extension(address, critical=False).sign(self._key, hashes.SHA256())
        )
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
        )


def name_of(name: str) -> x509.Name:
    """A distinguished name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
