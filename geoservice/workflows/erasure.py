"""Erasing a customer: at once what could act, then everything else, a slice at a time, however much it is.

1. One transaction ends her: consents become evidence without her name, phones, positions and push tokens go, waiting
   messages are cancelled, the audit log and the campaigns that she tested lose her names, and her ids are remembered as
   keyed hashes so that nobody stores anything about her again.
2. The rows of every table that has a `customer_id` are deleted in slices; the tables are looked up, not listed, so that
   a new one cannot be forgotten. This goes on after the answer if it takes long, and after a crash.
3. One transaction deletes what came in between and her own row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from geoservice.clock import Clock
from geoservice.errors import NotFound
from geoservice.storage.database import Database
from geoservice.storage.journal import Erased, Journal
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import MessageState
from geoservice.workflows.customers import DevicesChanged, run_locked
from geoservice.workflows.operating import Actor, put_on_record

SLICE: Final = 10_000
PATIENCE_S: Final = 2.0
"""A request waits so long for the end; then it is answered with a receipt, and the timer goes on."""
AT_ONCE: Final = 20

_sql = Queries("privacy")
_customers = Queries("customers")


@dataclass(frozen=True, slots=True)
class Erasure:
    """A receipt. ``in_flight`` are messages that the push provider may have already."""

    erasure_id: str
    requested_at: datetime
    finished_at: datetime | None
    in_flight: list[str]


@dataclass(frozen=True, slots=True)
class Order:
    """Who has somebody else erased, and why: it goes on record with the erasure."""

    actor: Actor
    reason: str | None


async def erase(
    database: Database, journal: Journal, customer_id: str, at: datetime, *, order: Order | None = None
) -> Erasure:
    """Erase a customer. When this returns, nothing more is sent to her or stored about her."""
    erasure_id = str(uuid4())

    in_flight = await run_locked(database, lambda connection: _begin(connection, customer_id, erasure_id, at, order))
    await journal.add(Erased(at, journal.pseudonym(customer_id)))
    done = await _work_off(database, erasure_id, customer_id, at, give_up_at=time.monotonic() + PATIENCE_S)
    return Erasure(erasure_id, at, at if done else None, in_flight)


async def erase_again(database: Database, customer_id: str, at: datetime) -> None:
    """Erase a customer whom a restored backup brought back."""
    erasure_id = str(uuid4())
    await run_locked(database, lambda connection: _begin(connection, customer_id, erasure_id, at))
    await _work_off(database, erasure_id, customer_id, at, give_up_at=float("inf"))


async def receipt(database: Database, customer_id: str, erasure_id: str) -> Erasure:
    """Tell how far her erasure is; raises NotFound."""
    async with database.connection() as connection:
        row = await _sql.erasure.row(connection, customer_id=customer_id, erasure_id=erasure_id)
    if row is None:
        raise NotFound("There is no such erasure.")
    return Erasure(row["erasure_id"], row["requested_at"], row["finished_at"], [])


async def finish_erasures(database: Database, clock: Clock) -> None:
    """Go on with what requests left behind; what a timer runs."""
    async with database.connection() as connection:
        rows = await _sql.open_erasures.fetch(connection, limit=AT_ONCE)
    for row in rows:
        give_up_at = time.monotonic() + PATIENCE_S
        await _work_off(database, row["erasure_id"], row["of_customer"], clock.now(), give_up_at=give_up_at)


async def _begin(
    connection: Connection, customer_id: str, erasure_id: str, at: datetime, order: Order | None = None
) -> list[str]:
    await _lock(connection, customer_id)
    await _sql.suppress.run(connection, customer_id=customer_id, at=at)
    if order is not None:
        await put_on_record(
            connection,
            order.actor,
            "erased customer",
            at,
            customer_id=customer_id,
            subject=erasure_id,
            reason=order.reason,
        )
    for row in await _sql.ids_of.fetch(connection, customer_id=customer_id):
        await _sql.erase_name.run(connection, customer_id=customer_id, id=row["id"])
        await _sql.forget_tester.value(connection, id=row["id"], at=at)
    await _sql.keep_evidence.run(connection, customer_id=customer_id, at=at)
    messages = await _sql.end_messages.fetch(connection, customer_id=customer_id, at=at)
    await _customers.drop_undecided.run(connection, customer_id=customer_id, at=at)
    await _customers.drop_deferred.run(connection, customer_id=customer_id)
    await _sql.erase_devices.run(connection, customer_id=customer_id)
    await _sql.begin_erasure.run(connection, erasure_id=erasure_id, customer_id=customer_id, at=at)
    return [row["message_id"] for row in messages if row["state"] == MessageState.SENDING]


async def _lock(connection: Connection, customer_id: str) -> None:
    """Take L1 and L2 so that nobody else writes anything of hers."""
    locked = await _sql.lock_devices.fetch(connection, customer_id=customer_id)
    await _sql.lock_customers.fetch(connection, customer_ids=[customer_id])
    if await _sql.device_ids.fetch(connection, customer_id=customer_id) != locked:
        raise DevicesChanged


async def _work_off(database: Database, erasure_id: str, customer_id: str, at: datetime, *, give_up_at: float) -> bool:
    """Delete in slices, then the rest; returns whether it is done. Harmless when two do it at once."""
    async with database.connection() as connection:
        rooms = [row["room"] for row in await _sql.customer_tables.fetch(connection)]
    for room in rooms:
        while await database.run(_slice_of(room, customer_id)):
            if time.monotonic() > give_up_at:
                return False
    await run_locked(database, lambda connection: _finish(connection, erasure_id, customer_id, rooms, at))
    return True


def _slice_of(room: str, customer_id: str) -> Any:
    return lambda connection: _sql.erase_slice.value(connection, room=room, customer_id=customer_id, limit=SLICE)


async def _finish(connection: Connection, erasure_id: str, customer_id: str, rooms: list[str], at: datetime) -> None:
    await _lock(connection, customer_id)
    for room in rooms:
        while await _sql.erase_slice.value(connection, room=room, customer_id=customer_id, limit=SLICE):
            pass
    await _sql.erase_name.run(connection, customer_id=customer_id, id=customer_id)
    await _sql.erase_customer.run(connection, customer_id=customer_id)
    await _sql.finish_erasure.run(connection, erasure_id=erasure_id, at=at)
