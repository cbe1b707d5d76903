"""Who calls: customers by JWT, operations and servers by API key."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final

import jwt
import msgspec

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


class CustomerTokens:
    """Verifies customers' tokens; a token that held is remembered until it expires.

    Token times are checked against the machine's clock, never against a steered one.
    """

    def __init__(self, secret: str, *, issuer: str | None = None, audience: str | None = None) -> None:
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def customer(self, token: str) -> str:
        """Give the customer id of a token that holds; raises Unauthenticated."""
        known = self._known.get(token)
        if known is not None and known[1] > time.time():
            return known[0]
        customer_id, expires_at = self._verify(token)
        self._known[token] = customer_id, expires_at
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return customer_id

    def _verify(self, token: str) -> tuple[str, float]:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_S,
                options={"require": ["sub"], "verify_aud": self._audience is not None},
            )
            customer_id = msgspec.convert(claims["sub"], CustomerId)
            expires_at = float(claims.get("exp", _FOREVER))
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.", code="token_expired") from None
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError):
            raise Unauthenticated("The token does not hold.", code="invalid_token") from None
        return customer_id, expires_at

    def sign(self, customer_id: str, ttl_s: int) -> str:
        """Make a token, for development and the demo."""
        claims: dict[str, object] = {"sub": customer_id, "exp": int(time.time()) + ttl_s}
        if self._issuer is not None:
            claims["iss"] = self._issuer
        if self._audience is not None:
            claims["aud"] = self._audience
        return jwt.encode(claims, self._secret, ALGORITHM)


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
