"""The identity provider's public keys: fetched in the background, kept, and asked for again when a new one shows up.

Two shapes are read: a JWK Set (RFC 7517), and the map from key id to X.509 certificate that Firebase Auth publishes
beside its JWK Set. A key decides the algorithm that its signatures are checked with, never the token: an RSA key
means RS256, a P-256 key ES256, and every other key is left out, symmetric ones above all.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp
import jwt
import orjson
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import load_pem_x509_certificate

from geoservice.errors import NotReady

FETCH_S: Final = 5.0
ANSWER_MAX_BYTES: Final = 256 * 1024
KEYS_MAX: Final = 100
RSA_MIN_BITS: Final = 2_048

COOL_S: Final = 10.0
"""Tokens that name unknown keys cause at most one fetch in this time, however many they are."""
FRESH_MIN_S: Final = 60.0
FRESH_MAX_S: Final = 3_600.0
"""How often the keys are fetched, within what the provider's Cache-Control says: a withdrawn key holds no longer."""
STALE_S: Final = 24 * 3_600.0
"""While the provider cannot be reached its last keys hold, but not for longer than this."""
RETRY_S: Final = 10.0

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])")
_log = structlog.get_logger(__name__)

Key: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and the one algorithm that it is good for."""

    key: Key
    algorithm: str


@dataclass(frozen=True, slots=True)
class Published:
    """What one fetch gave: keys by id, and for how many seconds the provider says that they are fresh."""

    keys: Mapping[str | None, VerifyingKey]
    fresh_s: float


class PublishedKeys:
    """The key set in force. :meth:`find` is for every request and never waits; fetching happens beside."""

    def __init__(self, url: str, *, fetch: Callable[[str], Awaitable[Published]] | None = None) -> None:
        self._url = url
        self._fetch = fetch or fetch_keys
        self._keys: Mapping[str | None, VerifyingKey] = {}
        self._fetched_at: float | None = None
        self._tried_at = float("-inf")
        self._failed = False
        self._fetching: asyncio.Task[float] | None = None
        self.on_change: Callable[[], object] = lambda: None
        """Called when a key came, went or changed."""

    @property
    def known(self) -> bool:
        """Whether there are keys to check tokens with."""
        return self._fetched_at is not None and time.monotonic() - self._fetched_at < STALE_S

    def find(self, key_id: str | None) -> VerifyingKey | None:
        """Give the key with this id; a token that names none means the only key, if there is but one."""
        if not self.known:
            return None
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def look_again(self) -> None:
        """Fetch because of an unknown key: together with whoever waits already, and not again too soon.

        Raises NotReady when the provider cannot be asked: whether the token holds is not known then.
        """
        if self._fetching is not None or time.monotonic() - self._tried_at >= COOL_S:
            await self._join()
        if self._failed or not self.known:
            raise NotReady("The identity provider's keys cannot be fetched; try again shortly.", retry_after_s=5)

    async def watch(self) -> None:
        """Keep the keys fresh until cancelled."""
        while True:  # noqa: ASYNC110 - nobody tells of a new key
            await asyncio.sleep(await self._join())

    async def _join(self) -> float:
        """Wait for the fetch under way, or begin one; returns the seconds until the next is due."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._refresh(), name="keys")
            self._fetching.add_done_callback(self._fetched)
        return await asyncio.shield(self._fetching)  # whoever hangs up does not stop it for the others

    def _fetched(self, _: asyncio.Task[float]) -> None:
        self._fetching = None

    async def _refresh(self) -> float:
        self._tried_at = time.monotonic()
        try:
            published = await self._fetch(self._url)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._failed = True
            _log.warning("keys_not_fetched", error=type(error).__name__)
            return RETRY_S
        self._failed = False
        self._fetched_at = time.monotonic()
        if _numbers(published.keys) != _numbers(self._keys):
            self._keys = published.keys
            self.on_change()
            _log.info("keys_changed", keys=len(published.keys))
        return min(max(published.fresh_s, FRESH_MIN_S), FRESH_MAX_S)


def _numbers(keys: Mapping[str | None, VerifyingKey]) -> dict[str | None, object]:
    """What makes keys equal; the key objects themselves only know whether they are the same one."""
    return {key_id: each.key.public_numbers() for key_id, each in keys.items()}


async def fetch_keys(url: str) -> Published:
    """Ask the provider: in bounded time and size, without following it elsewhere. Raises ClientError, ValueError."""
    timeout = aiohttp.ClientTimeout(total=FETCH_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
    ):
        if response.status != 200:
            raise ValueError("not a 200")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > ANSWER_MAX_BYTES:
                raise ValueError("too long")
        age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    return Published(read_keys(bytes(body)), float(age[1]) if age else FRESH_MAX_S)


def read_keys(body: bytes) -> dict[str | None, VerifyingKey]:
    """Read a JWK Set or a map of certificates. Raises ValueError when there is no usable key in it."""
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 - of the answer, not of a caller
    listed = document.get("keys")
    pairs = _of_jwks(listed) if isinstance(listed, list) else _of_certificates(document)
    keys = dict(pairs)
    if not keys:
        raise ValueError("no usable key")
    return keys


def _of_jwks(listed: list[Any]) -> Iterator[tuple[str | None, VerifyingKey]]:
    for each in listed[:KEYS_MAX]:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig" or each.get("kty") not in {"RSA", "EC"}:
            continue
        try:
            key = _usable(jwt.PyJWK.from_dict(each).key)
        except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
            continue
        key_id = each.get("kid")
        if key is not None and each.get("alg", key.algorithm) == key.algorithm and isinstance(key_id, str | None):
            yield key_id, key


def _of_certificates(document: Mapping[str, Any]) -> Iterator[tuple[str | None, VerifyingKey]]:
    for key_id, pem in list(document.items())[:KEYS_MAX]:
        try:
            key = _usable(load_pem_x509_certificate(str(pem).encode()).public_key())
        except (ValueError, UnsupportedAlgorithm):
            continue
        if key is not None:
            yield key_id, key


def _usable(key: object) -> VerifyingKey | None:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_MIN_BITS:
        return VerifyingKey(key, "RS256")
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return VerifyingKey(key, "ES256")
    return None
