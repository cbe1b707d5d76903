"""One customer under several ids: the app's, the web shop's, the till's. They are joined, and parted again.

Events that came in under an alias are hers while it is joined, and go back to it when it is parted; nothing else is
left under the alias meanwhile. Tokens name her own id only.
"""

from __future__ import annotations

from datetime import datetime

import asyncpg

from geoservice.errors import Conflict, Invalid, NotFound
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.workflows.operating import Actor, put_on_record
from geoservice.workflows.standing import standing

_sql = Queries("privacy")
_customers = Queries("customers")


async def join(database: Database, actor: Actor, customer_id: str, alias: str, at: datetime) -> None:
    """Make an id another name of hers; joining it again changes nothing. Raises Conflict, Invalid."""
    if alias == customer_id:
        raise Invalid("Nobody is an alias of herself.")

    async def work(connection: Connection) -> None:
        if await _is_joined(connection, customer_id, alias):
            return
        for each in sorted({customer_id, alias}):
            await _customers.add_customer.run(connection, customer_id=each, at=at)
        await _sql.lock_customers.fetch(connection, customer_ids=[customer_id, alias])
        if await _sql.owns_something.value(connection, customer_id=alias):
            raise Conflict(
                "This id has phones, settings or aliases of its own, so it is no other name of somebody else.",
                code="alias_in_use",
            )
        await _sql.add_alias.run(connection, customer_id=customer_id, alias=alias, at=at)
        await _sql.copy_profile.run(connection, customer_id=customer_id, alias=alias)
        await _sql.move_events.run(connection, from_id=alias, to_id=customer_id, of_alias=None, as_alias=alias)
        await _sql.erase_customer.run(connection, customer_id=alias)
        await put_on_record(connection, actor, "joined an alias", at, customer_id=customer_id)

    try:
        await database.run(work)
    except asyncpg.UniqueViolationError:  # somebody joined it in this very moment
        await database.run(work)


async def _is_joined(connection: Connection, customer_id: str, alias: str) -> bool:
    """Whether there is nothing left to do; raises Conflict when it cannot be done."""
    hers, its = await standing(connection, customer_id), await standing(connection, alias)
    if hers.away or its.away:
        raise Conflict("One of the two had herself erased.", code="customer_erased")
    if hers.alias is not None:
        raise Conflict("This id is an alias itself.", code="is_alias")
    if its.alias is not None and its.customer_id != customer_id:
        raise Conflict("This id is somebody else's alias already.", code="alias_in_use")
    return its.alias is not None


async def part(database: Database, actor: Actor, customer_id: str, alias: str, at: datetime) -> None:
    """Take an alias away from her, and what came in under it. Raises NotFound."""

    async def work(connection: Connection) -> None:
        await _customers.add_customer.run(connection, customer_id=alias, at=at)
        await _sql.lock_customers.fetch(connection, customer_ids=[customer_id, alias])
        if not await _sql.remove_alias.run(connection, customer_id=customer_id, alias=alias):
            raise NotFound("She has no such alias.")
        await _sql.move_events.run(connection, from_id=customer_id, to_id=alias, of_alias=alias, as_alias=None)
        await put_on_record(connection, actor, "parted an alias", at, customer_id=customer_id)

    await database.run(work)


async def aliases(database: Database, customer_id: str) -> list[asyncpg.Record]:
    """List her other ids."""
    async with database.connection() as connection:
        return await _sql.aliases.fetch(connection, customer_id=customer_id)
