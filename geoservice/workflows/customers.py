"""A customer: her lock, what the shop knows of her, and what an opt-out of hers does to messages.

Whatever changes what she wants starts at L1 (her devices) and goes down: customer, visits and consents, messages. An
opt-out cancels in its own transaction what has not left the house, and names what may have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from geoservice.errors import Conflict
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.workflows.standing import standing

_ATTEMPTS: Final = 5

_sql = Queries("customers")


class DevicesChanged(Exception):
    """A device appeared between the two looks; its lock belongs before the customer's."""


async def lock_customer(connection: Connection, customer_id: str) -> None:
    """Take L1 and L2 of one customer, and make sure that no device slipped in between."""
    locked = [row["device_id"] for row in await _sql.lock_devices_of.fetch(connection, customer_id=customer_id)]
    await _sql.lock_customers.fetch(connection, customer_ids=[customer_id])
    now = [row["device_id"] for row in await _sql.device_ids.fetch(connection, customer_id=customer_id)]
    if now != locked:
        raise DevicesChanged


async def run_locked(database: Database, work: Any) -> Any:
    """Run a transaction that starts with :func:`lock_customer`, again if a device appeared."""
    for _ in range(_ATTEMPTS):
        try:
            return await database.run(work)
        except (DevicesChanged, asyncpg.UniqueViolationError):
            continue
    raise Conflict("The customer's devices keep changing; try again.")


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What an opt-out did to messages: cancelled for good, or possibly with the provider already."""

    cancelled: list[str]
    in_flight: list[str]


async def cancel_messages(connection: Connection, query: Any, customer_id: str, at: datetime, **what: Any) -> Withdrawn:
    """Cancel what ``query`` finds of hers, in a transaction that holds her lock."""
    cancelled = await query.fetch(connection, customer_id=customer_id, at=at, **what)
    in_flight = await _sql.in_flight.fetch(connection, customer_id=customer_id)
    return Withdrawn([row["message_id"] for row in cancelled], [row["message_id"] for row in in_flight])


async def update_customer(database: Database, customer_id: str, at: datetime, **known: Any) -> None:
    """Note what the shop knows of her, by her own id or an alias; None leaves a field as it is. Raises Conflict."""

    async def work(connection: Connection) -> None:
        hers = await standing(connection, customer_id)
        if hers.away:
            raise Conflict("She had herself erased: nothing about her is stored.", code="customer_erased")
        await _sql.add_customer.run(connection, customer_id=hers.customer_id, at=at)
        await _sql.update_customer.run(connection, customer_id=hers.customer_id, **known)

    await database.run(work)
