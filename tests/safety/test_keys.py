"""The keys that tokens are checked with: read again when they change, fetched, rotated, and never taken for more."""

import asyncio
import json
import os
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from service.http import auth, jwks
from service.settings import Secret, WrongSetting
from tests.safety.issuer import SECRET, Issuer, jwk, rs256
from tests.service.running import Running, until


async def status(running: Running, token: str) -> int:
    """What a read with the token is answered."""
    answer = await running.ask("GET", "/notes", headers={"Authorization": f"Bearer {token}"})
    return answer.status


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims for a service that names no issuer and no audience."""
    return {"sub": "alice", "exp": int(time.time()) + 3600, "scope": "notes:read", **changed}


def signed(header: dict[str, str], key: Key) -> str:
    """A token, made with whatever joserfc itself would rather not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode(header, claims(), key, algorithms=[header["alg"]])


def weak_key() -> RSAKey:
    """An RSA key that is too short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return RSAKey.import_key(rsa.generate_private_key(65537, 1024))


class Provider:
    """An identity provider on loopback: what it answers, and how often it was asked."""

    def __init__(self) -> None:
        self.document = b""
        self.failing = False
        self.delay_s = 0.0
        self.asked = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        return web.Response(status=500) if self.failing else web.Response(body=self.document)


@asynccontextmanager
async def providing(document: bytes) -> AsyncIterator[Provider]:
    """An identity provider that publishes this document."""
    provider = Provider()
    provider.document = document
    app = web.Application()
    app.router.add_get("/keys", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
        yield provider
    finally:
        await runner.cleanup()


async def test_a_file_of_keys_is_read_again_when_it_changes(running: Running, issuer: Issuer, tmp_path: Path) -> None:
    """A new key is taken without a restart, and what an old one has signed is refused, remembered or not."""
    file = tmp_path / "keys.json"
    file.write_bytes(issuer.key_set())
    await running.start(auth_jwks=str(file))
    old, new = rs256(claims(), issuer.key), rs256(claims(), issuer.other_key, "key-2")
    assert (await status(running, old), await status(running, new)) == (200, 401)
    changed = tmp_path / "keys.new"
    changed.write_text(json.dumps({"keys": [jwk(issuer.other_key, "key-2")]}))
    os.replace(changed, file)

    async def swapped() -> bool:
        return (await status(running, old), await status(running, new)) == (401, 200)

    await until(swapped, "the new key is taken and the old one refused")


async def test_a_broken_file_of_keys_leaves_the_last_good_one(
    running: Running, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key set that is half written, or gone, lets in and keeps out whom the last one did."""
    monkeypatch.setattr(jwks, "ASKED_EVERY_S", -1.0)
    file = tmp_path / "keys.json"
    file.write_bytes(issuer.key_set())
    await running.start(auth_jwks=str(file))
    token = rs256(claims(), issuer.key)
    for break_ in (lambda: file.write_bytes(issuer.key_set()[:100]), file.unlink):
        break_()
        # A token that names an unknown key makes the service look at the file now.
        assert await status(running, rs256(claims(), issuer.other_key, "key-9")) == 401
        assert await status(running, token) == 200


@pytest.mark.parametrize("odd", [{"key_ops": None}, {"key_ops": 5}, {"alg": []}, {"use": []}, {"kty": None}])
async def test_an_odd_key_is_passed_over(running: Running, issuer: Issuer, tmp_path: Path, odd: dict[str, Any]) -> None:
    """A key that is said in a way that no key is changes nothing for the others of its set."""
    file = tmp_path / "keys.json"
    keys = [jwk(issuer.other_key, "key-2") | odd, jwk(issuer.key, "key-1")]
    file.write_text(json.dumps({"keys": keys}))
    await running.start(auth_jwks=str(file))
    assert await status(running, rs256(claims(), issuer.key)) == 200


async def test_a_password_in_the_place_of_the_keys_is_not_logged(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """A URL of keys that cannot be read is named without its user and password."""
    await running.start(auth_jwks="http://user:s3cret@127.0.0.1:9/keys")
    said = "".join(capsys.readouterr())
    assert "127.0.0.1:9/keys" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("document", [b"", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AAAA"}]}', b"[" * 9999])
async def test_a_start_without_a_key_is_refused(running: Running, tmp_path: Path, document: bytes) -> None:
    """A file that holds no public key that can check a signature ends the start, in one line that names the setting."""
    (tmp_path / "keys.json").write_bytes(document)
    with pytest.raises(WrongSetting, match="NOTELOG_AUTH_JWKS"):
        await running.start(auth_jwks=str(tmp_path / "keys.json"))


async def test_fetched_keys_are_fetched_again_for_a_key_id_that_is_new(running: Running, issuer: Issuer) -> None:
    """After a rotation the first tokens of the new key are let in; made up ids cause no flood of fetches."""
    async with providing(issuer.key_set()) as provider:
        await running.start(auth_jwks=provider.url)
        assert await status(running, rs256(claims(), issuer.key)) == 200
        assert provider.asked == 1
        provider.document, provider.delay_s = issuer.key_set(jwk(issuer.other_key, "key-2")), 0.3
        rotated = [rs256(claims(sub=f"user {number}"), issuer.other_key, "key-2") for number in range(20)]
        assert await asyncio.gather(*(status(running, token) for token in rotated)) == [200] * 20
        for number in range(50):
            assert await status(running, rs256(claims(), issuer.other_key, f"made-up-{number}")) == 401
        assert provider.asked == 2


async def test_without_keys_no_token_is_judged(
    running: Running, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the provider has never answered, a token gets 503 with Retry-After; once it has, the token is judged."""
    monkeypatch.setattr(jwks, "RETRY_EVERY_S", 0.1)
    async with providing(issuer.key_set()) as provider:
        provider.failing = True
        await running.start(auth_jwks=provider.url)
        token = rs256(claims(), issuer.key)
        answer = await running.ask("GET", "/notes", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.json["type"]) == (503, "/problems/keys-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await running.ask("GET", "/notes")).status == 401
        provider.failing = False

        async def judged() -> bool:
            return await status(running, token) == 200

        await until(judged, "the keys are there")


async def test_a_provider_that_fails_later_changes_nothing(running: Running, issuer: Issuer) -> None:
    """Keys that were fetched once stand while the provider is down."""
    async with providing(issuer.key_set()) as provider:
        await running.start(auth_jwks=provider.url)
        provider.failing = True
        assert await status(running, rs256(claims(), issuer.other_key, "key-9")) == 401
        assert await status(running, rs256(claims(sub="bob"), issuer.key)) == 200
        assert provider.asked == 2


KINDS: dict[str, tuple[Key, str]] = {
    "ES256": (ECKey.generate_key("P-256"), "ES256"),
    "ES384": (ECKey.generate_key("P-384"), "ES384"),
    "EdDSA": (OKPKey.generate_key("Ed25519"), "EdDSA"),
    "Ed25519": (OKPKey.generate_key("Ed25519"), "Ed25519"),
    "PS256": (RSAKey.generate_key(2048, {"alg": "PS256"}), "PS256"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_usual_kind_of_key_is_taken(running: Running, tmp_path: Path, kind: str) -> None:
    """Keys on curves and with PSS check what was signed with them, with no id or the key's own."""
    key, algorithm = KINDS[kind]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key.as_dict(private=False, kid="k")]}))
    await running.start(auth_jwks=str(tmp_path / "keys.json"))
    for header in ({"alg": algorithm}, {"alg": algorithm, "kid": "k"}):
        assert await status(running, signed(header, key)) == 200
    assert await status(running, signed({"alg": algorithm, "kid": "j"}, key)) == 401


async def test_a_key_is_taken_for_its_own_algorithm_only(running: Running, issuer: Issuer, tmp_path: Path) -> None:
    """What the key set says that a key is for, and nothing else: not PS256 for RS256, not a secret, not encryption."""
    secret = OctKey.import_key(SECRET)
    encryption = RSAKey.generate_key(2048, {"use": "enc"})
    weak = weak_key()
    others = [secret.as_dict(kid="s"), encryption.as_dict(private=False, kid="e"), weak.as_dict(private=False, kid="w")]
    (tmp_path / "keys.json").write_bytes(issuer.key_set(*others, {"kty": "new", "kid": "n"}, {"kty": "RSA", "n": 1}))
    await running.start(auth_jwks=str(tmp_path / "keys.json"))
    strong = RSAKey.import_key(issuer.key)
    assert await status(running, signed({"alg": "RS256"}, strong)) == 200
    for header, key in (
        ({"alg": "PS256"}, strong),
        ({"alg": "RS512"}, strong),
        ({"alg": "HS256", "kid": "s"}, secret),
        ({"alg": "RS256", "kid": "e"}, RSAKey.import_key(encryption.private_key)),
        ({"alg": "RS256", "kid": "w"}, weak),
    ):
        assert await status(running, signed(header, key)) == 401, header


async def test_an_audience_that_we_do_not_name_is_not_ours(running: Running, issuer: Issuer) -> None:
    """Without NOTELOG_AUTH_AUDIENCE a token that names an audience is refused, and one that names none is let in."""
    await running.start(auth_secret=Secret(SECRET))
    assert await status(running, issuer.token("notes:read", shared=True, aud=None, iss=None)) == 200
    assert await status(running, issuer.token("notes:read", shared=True, iss=None)) == 401


async def test_one_of_several_audiences_may_be_ours(running: Running, issuer: Issuer) -> None:
    """A token for us and for others is for us."""
    await running.start(auth_secret=Secret(SECRET), auth_audience="notelog")
    assert await status(running, issuer.token("notes:read", shared=True, aud=["other", "notelog"])) == 200


async def test_clocks_may_differ_by_the_leeway(running: Running, issuer: Issuer) -> None:
    """Half a minute early is the clocks, more is not; the end of a token is its end."""
    await running.start(auth_secret=Secret(SECRET), auth_audience="notelog")
    now = int(time.time())
    inside = [{"exp": now + 60.5}, {"nbf": now + 20}, {"iat": now + 20}]
    outside = [
        {"exp": now - 1},
        {"exp": now - 0.5},
        {"nbf": now + 60},
        {"iat": now + 60},
        {"exp": 0},
        {"exp": -(10**400)},
    ]
    for times in inside:
        assert await status(running, issuer.token("notes:read", shared=True, **times)) == 200, times
    for times in outside:
        assert await status(running, issuer.token("notes:read", shared=True, **times)) == 401, times


async def test_a_remembered_token_ends_too(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is checked once and remembered, but not past its end."""
    authenticator = auth.Authenticator(jwks.SharedSecret(Secret(SECRET)), audience="notelog")
    token = issuer.token("notes:read", shared=True, exp=int(time.time()) + 10)
    assert (await authenticator.identify(token)).subject == "alice"
    later = time.time() + 10
    monkeypatch.setattr(auth.time, "time", lambda: later)
    with pytest.raises(auth.Unauthorized, match="expired"):
        await authenticator.identify(token)


async def test_what_is_remembered_is_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens are shown, so many are remembered, the last ones."""
    monkeypatch.setattr(auth, "REMEMBERED_TOKENS_MAX", 3)
    authenticator = auth.Authenticator(jwks.SharedSecret(Secret(SECRET)), audience="notelog")
    for number in range(10):
        await authenticator.identify(issuer.token("notes:read", shared=True, sub=f"user {number}"))
    assert [identity.subject for identity in authenticator._remembered.values()] == ["user 7", "user 8", "user 9"]


async def test_the_subject_is_the_actor(running: Running, issuer: Issuer) -> None:
    """``sub`` becomes the event's actor and, unless the client says another, the note's author."""
    await running.start(auth_secret=Secret(SECRET), auth_audience="notelog")
    token = issuer.token("notes:write audit:read", shared=True, sub="Zoë ☃ " + "z" * 194)
    headers = {"Authorization": f"bearer  {token}"}
    made = await running.ask("POST", "/notes", {"title": "Milk"}, headers=headers)
    assert made.json["created_by"] == "Zoë ☃ " + "z" * 194
    event = await running.ask("GET", "/events/1", headers=headers)
    assert event.json["actor"] == made.json["created_by"]


async def test_a_subject_that_cannot_be_an_actor_is_told_so(running: Running, issuer: Issuer) -> None:
    """Too long a ``sub`` is refused before anything is judged: which claim, what is expected, and not what it says."""
    await running.start(auth_secret=Secret(SECRET), auth_audience="notelog")
    for length in (201, 4097, 5000):
        token = issuer.token("notes:write", shared=True, sub="x" * length)
        headers = {"Authorization": f"Bearer {token}"}
        refused = await running.ask("POST", "/notes", {"title": "Milk"}, headers=headers)
        assert (refused.status, running.log.head) == (401, 0)
        assert "length <= 200 - at `$.sub`" in refused.json["detail"]
        assert "xxx" not in refused.json["detail"]


async def test_keys_belong_to_their_subject(running: Running, issuer: Issuer) -> None:
    """The same Idempotency-Key of two subjects is two keys."""
    await running.start(auth_secret=Secret(SECRET), auth_audience="notelog")
    ids = []
    for subject in ("alice", "bob", "alice"):
        token = issuer.token("notes:write", shared=True, sub=subject)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k"}
        ids.append((await running.ask("POST", "/notes", {"title": "Milk"}, headers=headers)).json["id"])
    assert ids == [1, 2, 1]
