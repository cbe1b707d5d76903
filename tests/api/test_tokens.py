"""Who may call, by keys that an identity provider publishes: rotation, doubt, and what attackers make of tokens."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from aiohttp import web
from conftest import JWT_SECRET, environment, running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from geoservice.api import jwks
from geoservice.api.auth import CustomerTokens
from geoservice.api.jwks import PublishedKeys, read_keys
from geoservice.errors import NotReady, Unauthenticated

RSA = rsa.generate_private_key(65_537, 2_048)
OTHER_RSA = rsa.generate_private_key(65_537, 2_048)
EC = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, key_id: str | None, **more: Any) -> dict[str, Any]:
    kind = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    named = {} if key_id is None else {"kid": key_id}
    return json.loads(kind.to_jwk(key.public_key())) | named | {"use": "sig"} | more


def token(key: Any = RSA, key_id: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
    headers = {} if key_id is None else {"kid": key_id}
    body = {"sub": "ada", "exp": time.time() + 600} | claims
    return jwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm, headers=headers)


class Provider:
    """An identity provider: publishes what it is told to, and counts who asks."""

    def __init__(self) -> None:
        self.document: Any = {"keys": [jwk(RSA, "one"), jwk(EC, "two", alg="ES256")]}
        self.asked = 0
        self.status = 200
        self.delay_s = 0.0
        self.headers = {"Cache-Control": "public, max-age=3600"}

    async def answer(self, _: web.Request) -> web.Response:
        """Answer as told."""
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        body = self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()
        return web.Response(body=body, status=self.status, headers=self.headers)


@asynccontextmanager
async def listening(provider: Provider) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/keys", provider.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    await runner.cleanup()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    async with listening(provider) as provider.url:
        yield provider


@pytest.fixture
def keys(provider) -> PublishedKeys:
    return PublishedKeys(provider.url)


async def held(keys: PublishedKeys, text: str, **more: Any) -> bool:
    try:
        return await CustomerTokens(keys, **more).holder(text) == "ada"
    except Unauthenticated:
        return False


# Which tokens hold --------------------------------------------------------------------------------------------------


async def test_tokens_of_both_kinds_hold(keys):
    """Tokens signed with RS256 or ES256 by a published key are believed."""
    assert await held(keys, token())
    assert await held(keys, token(EC, "two", "ES256"))


def hs256_with_the_public_key() -> str:
    """The old trick: a public key, known to everybody, used as if it were a shared secret."""
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return by_hand({"alg": "HS256", "kid": "one"}, pem)


def by_hand(head: dict[str, Any], secret: bytes | None = None) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    body = {"sub": "ada", "exp": int(time.time()) + 600}
    signed = f"{part(json.dumps(head).encode())}.{part(json.dumps(body).encode())}"
    signature = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{part(signature)}"


FORGED = {
    "the public key as a secret": hs256_with_the_public_key,
    "no signature": lambda: by_hand({"alg": "none", "kid": "one"}),
    "no signature, in capitals": lambda: by_hand({"alg": "NONE", "kid": "one"}),
    "a secret of another service": lambda: token(JWT_SECRET, "one", "HS256"),
    "another key under this name": lambda: token(OTHER_RSA),
    "the other key's name": lambda: token(RSA, "two"),
    "another size of hash": lambda: token(algorithm="RS512"),
    "another padding": lambda: token(algorithm="PS256"),
    "a key of its own in the head": lambda: jwt.encode(
        {"sub": "ada", "exp": time.time() + 600}, OTHER_RSA, "RS256", headers={"kid": "one", "jwk": jwk(OTHER_RSA, "")}
    ),
    "an address of its own in the head": lambda: jwt.encode(
        {"sub": "ada", "exp": time.time() + 600}, OTHER_RSA, "RS256", headers={"kid": "one", "jku": "http://127.0.0.1:1"}
    ),
    "no name of a key, of two": lambda: token(key_id=None),
    "a name that is no text": lambda: by_hand({"alg": "RS256", "kid": {"a": 1}}),
    "a name with a path": lambda: token(OTHER_RSA, "../../etc/passwd"),
    "an unknown name": lambda: token(key_id="three"),
    "no end": lambda: token(exp=None),
    "the end of time": lambda: token(exp=float("inf")),
    "a time beyond numbers": lambda: token(exp=10**400),
    "long over": lambda: token(exp=time.time() - 31),
    "not yet": lambda: token(nbf=time.time() + 600),
    "made tomorrow": lambda: token(iat=time.time() + 86_400),
    "nobody's": lambda: token(sub=None),
}  # fmt: skip


@pytest.mark.parametrize("forge", FORGED.values(), ids=list(FORGED))
async def test_forged_tokens_do_not_hold(keys, forge):
    """Whatever is done to a token's head, key, signature or times, it is not believed."""
    try:
        forged = forge()
    except (TypeError, ValueError, OverflowError):
        pytest.skip("the library does not write such a token")
    assert not await held(keys, forged)


async def test_clocks_may_differ_by_half_a_minute(keys):
    """A token that ended 20 s ago, or begins in 20 s, still holds: clocks differ."""
    assert await held(keys, token(exp=time.time() - 20))
    assert await held(keys, token(nbf=time.time() + 20, iat=time.time() + 20))


async def test_issuer_and_audience_count(keys):
    """Google signs everybody's tokens with the same keys: only those for this project hold."""
    project = {"issuer": "https://securetoken.google.com/shop", "audience": "shop"}
    assert await held(keys, token(iss=project["issuer"], aud="shop"), **project)
    assert not await held(keys, token(iss=project["issuer"], aud="another"), **project)
    assert not await held(keys, token(iss="https://securetoken.google.com/another", aud="shop"), **project)
    assert not await held(keys, token(), **project)


@pytest.mark.parametrize(
    ("claims", "holds"),
    [
        ({"iat": time.time(), "exp": time.time() + 3_600}, True),
        ({"iat": time.time(), "exp": time.time() + 7_200}, False),
        ({"exp": time.time() + 7_200}, False),
        ({"exp": None}, False),
    ],
    ids=["an hour", "two hours", "two hours from now", "for ever"],
)
def test_a_lifetime_can_be_limited(claims, holds):
    """With a longest lifetime in the settings, tokens that live longer, or for ever, do not hold."""
    tokens = CustomerTokens(JWT_SECRET, lifetime_max_s=3_660)
    text = token(JWT_SECRET, None, "HS256", **claims)
    if holds:
        assert tokens.customer(text) == "ada"
    else:
        with pytest.raises(Unauthenticated):
            tokens.customer(text)


def test_a_backends_token_may_last():
    """Without such a limit, a token that the retailer's own backend signed without an end holds."""
    assert CustomerTokens(JWT_SECRET).customer(token(JWT_SECRET, None, "HS256", exp=None)) == "ada"


# Keys that come and go ----------------------------------------------------------------------------------------------


async def test_a_new_key_is_found(provider, keys, monkeypatch):
    """When the provider turns to a new key, its first token is believed, and the old key's tokens no longer are."""
    tokens = CustomerTokens(keys)
    before = token()
    assert await tokens.holder(before) == "ada"
    provider.document = {"keys": [jwk(OTHER_RSA, "next")]}
    monkeypatch.setattr(jwks, "COOL_S", 0.0)
    assert await tokens.holder(token(OTHER_RSA, "next")) == "ada"
    with pytest.raises(Unauthenticated):
        await tokens.holder(before)  # although it was remembered a moment ago


async def test_unknown_keys_cause_no_stampede(provider, keys):
    """A thousand tokens with made-up key names cost the provider one question, and honest ones are answered."""
    tokens = CustomerTokens(keys)
    provider.delay_s = 0.1
    made_up = [tokens.holder(token(OTHER_RSA, f"made-up-{n % 10}")) for n in range(1_000)]
    answers = await asyncio.gather(*made_up, tokens.holder(token()), return_exceptions=True)
    assert provider.asked == 1
    assert answers[-1] == "ada"
    assert all(isinstance(answer, Unauthenticated) for answer in answers[:-1])
    assert await tokens.holder(token(EC, "two", "ES256")) == "ada"
    for n in range(5):  # one after another neither
        with pytest.raises(Unauthenticated):
            await tokens.holder(token(OTHER_RSA, f"later-{n}"))
    assert provider.asked == 1


async def test_who_hangs_up_stops_nobody(provider, keys):
    """A caller who gives up while the keys are fetched does not end the fetch for the others."""
    provider.delay_s = 0.2
    tokens = CustomerTokens(keys)
    first, second = (asyncio.create_task(tokens.holder(token())) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second == "ada"
    assert provider.asked == 1


async def test_while_the_provider_is_away_its_last_keys_hold(provider, keys, monkeypatch):
    """A provider that cannot be reached costs nobody a sign-in for a day; unknown keys are told to come back."""
    monkeypatch.setattr(jwks, "COOL_S", 0.0)
    tokens = CustomerTokens(keys)
    assert await tokens.holder(token()) == "ada"
    provider.status = 500
    assert await tokens.holder(token(EC, "two", "ES256")) == "ada"
    with pytest.raises(NotReady):
        await tokens.holder(token(OTHER_RSA, "next"))
    monkeypatch.setattr(jwks, "STALE_S", 0.0)
    with pytest.raises(NotReady):
        await tokens.holder(token(sub="ada", jti="another"))


BAD_ANSWERS = {
    "too long": lambda p: setattr(p, "document", b'{"keys": [' + b" " * jwks.ANSWER_MAX_BYTES + b"]}"),
    "no JSON": lambda p: setattr(p, "document", b"<html>"),
    "a list": lambda p: setattr(p, "document", []),
    "no keys": lambda p: setattr(p, "document", {"keys": []}),
    "an error": lambda p: setattr(p, "status", 404),
    "sent elsewhere": lambda p: (setattr(p, "status", 302), p.headers.update(Location="http://127.0.0.1:1/")),
    "slow": lambda p: setattr(p, "delay_s", 0.5),
}


@pytest.mark.parametrize("spoil", BAD_ANSWERS.values(), ids=list(BAD_ANSWERS))
async def test_a_bad_answer_is_no_key_set(provider, keys, spoil, monkeypatch):
    """What is too long, too slow, elsewhere or no key set is not taken, and callers are told to come back."""
    monkeypatch.setattr(jwks, "FETCH_S", 0.2)
    spoil(provider)
    with pytest.raises(NotReady):
        await CustomerTokens(keys).holder(token())


async def test_keys_are_kept_fresh_in_the_background(provider, monkeypatch):
    """The keys are fetched again when their time is over, without any caller's waiting."""
    monkeypatch.setattr(jwks, "FRESH_MIN_S", 0.02)
    provider.headers = {"Cache-Control": "max-age=0"}
    keys = PublishedKeys(provider.url)
    watching = asyncio.create_task(keys.watch())
    async with asyncio.timeout(60):
        while provider.asked < 3:
            await asyncio.sleep(0.01)
    watching.cancel()
    assert keys.find("one") is not None


# What is read -------------------------------------------------------------------------------------------------------


def certificate(key: Any) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "securetoken.system.gserviceaccount.com")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + dt.timedelta(days=16)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def test_firebases_certificates_are_read(provider, keys):
    """The map from key id to certificate that Firebase Auth publishes works as well as its JWK Set."""
    provider.document = {"one": certificate(RSA), "next": certificate(OTHER_RSA)}
    assert await held(keys, token())
    assert await held(keys, token(OTHER_RSA, "next"))


def test_only_keys_for_signatures_are_taken():
    """Keys for encryption, symmetric, weak, of other curves or spoilt are left out; the good one stays."""
    weak = rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - refused
    secret = {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(b"s" * 32).decode()}
    twisted = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key()))
    listed = [
        secret, jwk(weak, "weak"), jwk(RSA, "encrypts", use="enc"), twisted | {"kid": "twisted"}, None, {"kty": "RSA"},
        jwk(ec.generate_private_key(ec.SECP384R1()), "long"), jwk(RSA, "other", alg="PS256"), jwk(RSA, "name", kid=7),
        jwk(EC, "spoilt", x="!!"), jwk(RSA, "good"),
    ]  # fmt: skip
    assert set(read_keys(json.dumps({"keys": listed}).encode())) == {"good"}


# In the service -----------------------------------------------------------------------------------------------------


async def test_a_service_believes_its_identity_provider(provider, database_url, tmp_path):
    """With a JWKS URL, the provider's tokens open the customer's routes, and tokens of the old secret do not."""
    settings = environment(database_url, None, tmp_path, GEOSERVICE_JWKS_URL=provider.url)
    del settings["GEOSERVICE_JWT_SECRET"]
    async with running(settings, None) as client:
        who = {"Authorization": f"Bearer {token(sub='firebase|Uid_1')}"}
        assert (await client.call("GET", "/v1/me/consents", who=who)).status == 200
        answer = await client.call("GET", "/v1/me/consents", who=client.customer("ada"))
        assert (answer.status, answer.body["code"]) == (401, "invalid_token")
        assert not (tmp_path / "jwt-secret").exists()


async def test_without_the_providers_keys_nobody_is_told_a_lie(provider, database_url, tmp_path):
    """While no keys could be fetched, callers get a 503 with Retry-After, not a 401 that would sign them out."""
    provider.status = 500
    settings = environment(database_url, None, tmp_path, GEOSERVICE_JWKS_URL=provider.url)
    del settings["GEOSERVICE_JWT_SECRET"]
    async with running(settings, None) as client:
        answer = await client.call("GET", "/v1/me/consents", who={"Authorization": f"Bearer {token()}"})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert (await client.call("GET", "/v1/stores", who=client.ops)).status == 200
        assert (await client.call("GET", "/readyz")).body["checks"]["keys"] is False
