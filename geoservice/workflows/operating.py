"""What operations and support look up, the keys they use, and the record of who looked."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import asyncpg

from geoservice.errors import NotFound
from geoservice.storage.database import Database
from geoservice.storage.journal import Journal, KeyRevoked
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Role

KEY_PREFIX: Final = "gsk_"

_sql = Queries("ops")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls with an API key: a name for the record, and what she may do."""

    name: str
    roles: frozenset[Role]
    key_id: str | None = None
    """None for the bootstrap key from the settings."""


def hash_key(key: str) -> bytes:
    """SHA-256: keys are long and random, so there is nothing to guess and nothing to slow down."""
    return hashlib.sha256(key.encode()).digest()


async def create_key(database: Database, name: str, role: Role, at: datetime) -> tuple[str, str]:
    """Make a key; returns (key id, the key). The key itself is kept nowhere."""
    key_id = uuid4().hex[:12]
    key = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    async with database.transaction() as connection:
        await _sql.add_key.run(connection, key_id=key_id, name=name, role=role.value, key_hash=hash_key(key), at=at)
    return key_id, key


async def keys(database: Database) -> list[asyncpg.Record]:
    """List every key ever made, without the keys themselves."""
    async with database.connection() as connection:
        return await _sql.keys.fetch(connection)


async def revoke_key(database: Database, journal: Journal, key_id: str, at: datetime) -> str:
    """End a key, for good; returns its name. Running services take it no more within seconds. Raises NotFound."""
    async with database.transaction() as connection:
        name: str | None = await _sql.revoke_key.value(connection, key_id=key_id, at=at)
    if name is None:
        raise NotFound("There is no such key, or it is revoked already.")
    await journal.add(KeyRevoked(at, key_id))
    return name


async def find_key(database: Database, key: str, at: datetime) -> Actor | None:
    """Tell whose key this is, and note its use at most once a minute."""
    async with database.connection() as connection:
        row = await _sql.key.row(connection, key_hash=hash_key(key))
        if row is None:
            return None
        await _sql.touch_key.run(connection, key_id=row["key_id"], at=at)
    return Actor(row["name"], frozenset({Role(row["role"])}), row["key_id"])


async def audit(
    database: Database,
    actor: Actor,
    action: str,
    at: datetime,
    *,
    customer_id: str | None = None,
    subject: str | None = None,
    reason: str | None = None,
) -> None:
    """Put on record who did or read what, and why."""
    async with database.connection() as connection:
        await put_on_record(connection, actor, action, at, customer_id=customer_id, subject=subject, reason=reason)


async def put_on_record(
    connection: Connection,
    actor: Actor,
    action: str,
    at: datetime,
    *,
    customer_id: str | None = None,
    subject: str | None = None,
    reason: str | None = None,
) -> None:
    """Do it in the transaction of the deed itself. What changes campaigns, stores, keys and notices needs no word."""
    await _sql.audit.run(
        connection,
        at=at,
        actor=actor.name,
        key_id=actor.key_id,
        action=action,
        customer_id=customer_id,
        subject=subject,
        reason=reason,
    )


async def audit_entries(database: Database, **filters: Any) -> list[asyncpg.Record]:
    """List who did or read what, in the order in which it was put on record; a customer by any of her ids."""
    async with database.connection() as connection:
        names = []
        if (customer_id := filters["customer_id"]) is not None:
            names = [row["name"] for row in await _sql.names_on_record.fetch(connection, customer_id=customer_id)]
        return await _sql.audit_entries.fetch(connection, **filters, names=names)


async def transitions(database: Database, **filters: Any) -> list[asyncpg.Record]:
    """List transitions in the order in which they were stored."""
    async with database.connection() as connection:
        return await _sql.transitions.fetch(connection, **filters)


async def decisions(database: Database, **filters: Any) -> list[asyncpg.Record]:
    """List decisions in the order in which they were taken."""
    async with database.connection() as connection:
        return await _sql.decisions.fetch(connection, **filters)


async def newest_decisions(database: Database, **filters: Any) -> list[asyncpg.Record]:
    """List decisions from the newest on, back to the oldest."""
    async with database.connection() as connection:
        return await _sql.newest_decisions.fetch(connection, **filters)


async def decision(database: Database, decision_id: str) -> asyncpg.Record | None:
    """Give one decision with what became of its message."""
    async with database.connection() as connection:
        return await _sql.decision.row(connection, decision_id=decision_id)
