"""Who calls: customers by JWT, operations and servers by API key."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec

from geoservice.api.jwks import PublishedKeys
from geoservice.clock import Clock
from geoservice.errors import Unauthenticated
from geoservice.storage.database import Database
from geoservice.storage.secret_file import stored_secret
from geoservice.vocabulary import CustomerId, Role
from geoservice.workflows.operating import KEY_PREFIX, Actor, find_key, hash_key

ALGORITHM: Final = "HS256"
_LEEWAY_S: Final = 30
_REMEMBERED: Final = 20_000
_FOREVER: Final = float("inf")
_KEY_FRESH_S: Final = 5.0
"""A revoked key stops working everywhere within this time."""


class UnknownKey(Unauthenticated):
    """The token names a key that is not known here; the identity provider may have a new one."""

    code = "invalid_token"


class CustomerTokens:
    """Verifies customers' tokens, by a shared secret (HS256) or by the keys that an identity provider publishes.

    A token that held is remembered by its hash until it expires, so a token cannot be called back; but when the
    published keys change, everything is forgotten and checked anew. Token times are checked against the machine's
    clock, never against a steered one.
    """

    def __init__(
        self,
        keys: str | PublishedKeys,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        lifetime_max_s: int = 0,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._lifetime_max_s = lifetime_max_s or _FOREVER
        # A provider's tokens end; one that its own backend signs for a machine in the shop may be meant to last.
        must_end = lifetime_max_s or isinstance(keys, PublishedKeys)
        self._required = ["sub", "exp"] if must_end else ["sub"]
        self._known: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        if isinstance(keys, PublishedKeys):
            keys.on_change = self._known.clear

    @property
    def ready(self) -> bool:
        """Whether there is anything to check tokens with."""
        return isinstance(self._keys, str) or self._keys.known

    async def holder(self, token: str) -> str:
        """Give the customer id of a token that holds; an unknown key is asked for first. Raises also NotReady."""
        try:
            return self.customer(token)
        except UnknownKey:
            if isinstance(self._keys, PublishedKeys):
                await self._keys.look_again()
            return self.customer(token)

    def customer(self, token: str) -> str:
        """Give the customer id of a token that holds; raises Unauthenticated."""
        hashed = sha256(token.encode()).digest()
        known = self._known.get(hashed)
        if known is not None and known[1] > time.time():
            return known[0]
        customer_id, expires_at = self._verify(token)
        self._known[hashed] = customer_id, expires_at + _LEEWAY_S
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return customer_id

    def _verify(self, token: str) -> tuple[str, float]:
        try:
            key, algorithm = self._key_of(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_S,
                options={"require": self._required, "verify_aud": self._audience is not None},
            )
            customer_id = msgspec.convert(claims["sub"], CustomerId)
            expires_at = float(claims.get("exp", _FOREVER))
            begins_at = float(claims.get("iat", time.time()))
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.", code="token_expired") from None
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, TypeError, OverflowError):
            raise Unauthenticated("The token does not hold.", code="invalid_token") from None
        if expires_at - begins_at > self._lifetime_max_s:
            raise Unauthenticated("The token lives longer than is allowed here.", code="invalid_token")
        return customer_id, expires_at

    def _key_of(self, token: str) -> tuple[Any, str]:
        """Choose the key and its algorithm; what the token says of its algorithm decides nothing."""
        if isinstance(self._keys, str):
            return self._keys, ALGORITHM
        found = self._keys.find(jwt.get_unverified_header(token).get("kid"))
        if found is None:
            raise UnknownKey("The token does not hold.")
        return found.key, found.algorithm

    def sign(self, customer_id: str, ttl_s: int) -> str:
        """Make a token, for development and the demo. Raises TypeError when tokens come from a provider."""
        if not isinstance(self._keys, str):
            raise TypeError("an identity provider signs the tokens")
        claims: dict[str, object] = {"sub": customer_id, "exp": int(time.time()) + ttl_s}
        if self._issuer is not None:
            claims["iss"] = self._issuer
        if self._audience is not None:
            claims["aud"] = self._audience
        return jwt.encode(claims, self._keys, ALGORITHM)


class ApiKeys:
    """Verifies API keys: the bootstrap key from the settings, which holds every role, or one from the database."""

    def __init__(self, database: Database, clock: Clock, bootstrap_key: str | None) -> None:
        self._database = database
        self._clock = clock
        self._bootstrap = None if bootstrap_key is None else hash_key(bootstrap_key)
        self._known: dict[bytes, tuple[Actor | None, float]] = {}

    async def actor(self, key: str) -> Actor:
        """Give the actor whose key this is; raises Unauthenticated."""
        hashed = hash_key(key)
        if self._bootstrap is not None and hmac.compare_digest(hashed, self._bootstrap):
            return Actor("bootstrap", frozenset(Role))
        actor, until = self._known.get(hashed, (None, 0.0))
        if until < time.monotonic():
            actor = await find_key(self._database, key, self._clock.now()) if key.startswith(KEY_PREFIX) else None
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known[hashed] = actor, time.monotonic() + _KEY_FRESH_S
        if actor is None:
            raise Unauthenticated("The API key does not hold.", code="invalid_key")
        return actor


def jwt_secret(configured: str | None, data_dir: Path) -> str:
    """Give the configured secret, or the one that was generated into the data directory, made at first use."""
    if configured is not None:
        return configured
    return stored_secret(data_dir / "jwt-secret", lambda: secrets.token_urlsafe(48))
