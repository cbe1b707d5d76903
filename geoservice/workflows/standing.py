"""Whose an id is: a customer's own, another customer's alias, or that of somebody who had herself erased.

Whoever is erased stays away: what servers, queues and old phones still send about her is not stored. She comes back by
an act of her own: she signs in on a phone, answers a consent question or changes a setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from geoservice.errors import Conflict, NotFound
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries

_sql = Queries("privacy")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an id before anything is stored under it."""

    customer_id: str
    """Her own id, if the id that was asked about is an alias."""
    alias: str | None
    erased_at: datetime | None
    away: bool
    """Erased, and not come back."""

    def may_store(self, occurred_at: datetime) -> bool:
        """Whether something of this moment may be on record: nothing from before an erasure comes back."""
        return not self.away and (self.erased_at is None or occurred_at > self.erased_at)


async def standing(connection: Connection, customer_id: str) -> Standing:
    """Look an id up."""
    row = await _sql.standing.row(connection, customer_id=customer_id)
    assert row is not None  # noqa: S101 - the query gives one row whatever there is
    alias_of, erased_at = row["alias_of"], row["erased_at"]
    away = erased_at is not None and row["returned_at"] is None
    return Standing(alias_of or customer_id, customer_id if alias_of else None, erased_at, away)


async def own_id(database: Database, customer_id: str) -> str:
    """Give the id that a person's records are under, by any of her ids; an unknown one is as it is."""
    async with database.connection() as connection:
        return (await standing(connection, customer_id)).customer_id


async def known(database: Database, customer_id: str) -> Standing:
    """Look up somebody who must be there, by any of her ids. Raises NotFound."""
    async with database.connection() as connection:
        hers = await standing(connection, customer_id)
        if not await _sql.is_customer.value(connection, customer_id=hers.customer_id):
            raise NotFound("Nobody is known by this id.")
    return hers


def refuse_alias(known: Standing) -> None:
    """Raise Conflict unless the id is a customer's own: phones, consents and settings have one place."""
    if known.alias is not None:
        raise Conflict("This id is an alias: sign tokens with the customer's own id.", code="is_alias")


async def welcome(connection: Connection, customer_id: str, at: datetime) -> None:
    """Let her act in her own name, also after an erasure. Raises Conflict for an alias, and while she is erased."""
    known = await standing(connection, customer_id)
    refuse_alias(known)
    if known.away and not await _sql.come_back.run(connection, customer_id=customer_id, at=at):
        raise Conflict("The erasure is still under way; try again shortly.", code="erasure_running")
