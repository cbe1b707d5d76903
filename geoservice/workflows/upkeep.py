"""What the timers run. Each tick claims its slot in the database first, so any number of processes may tick."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import structlog

from geoservice.clock import Clock
from geoservice.errors import GeoserviceError
from geoservice.storage.database import UNREACHABLE, Database
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry.metrics import MESSAGES
from geoservice.vocabulary import MessageState
from geoservice.workflows.directory import Directory
from geoservice.workflows.engage import engage

FORGET_FIX_AFTER: Final = timedelta(hours=24)
"""No fix, presence or ping receipt is kept longer, even of a phone that fell silent."""

_deliver = Queries("deliver")
_engage = Queries("engage")
_ops = Queries("ops")
_log = structlog.get_logger(__name__)


async def claim_slot(database: Database, name: str, slot: datetime) -> bool:
    """L0, committed alone: whether this process is the one that runs this slot of a timer."""
    async with database.connection() as connection:
        return await _ops.claim_slot.value(connection, name=name, slot=slot) is not None


async def settle_messages(database: Database, clock: Clock) -> None:
    """Expire what is too late, and take back what a dead sender left behind."""
    at = clock.now()
    async with database.connection() as connection:
        await _deliver.expire.run(connection, at=at)
        await _deliver.recover_leases.run(connection, at=at)
        counts = {row["state"]: row["messages"] for row in await _deliver.states.fetch(connection)}
    for state in MessageState:
        MESSAGES.labels(state.value).set(counts.get(state.value, 0))


async def forget_locations(database: Database, clock: Clock) -> None:
    """Erase fixes, presence and receipts that are older than a day."""
    at = clock.now()

    async def work(connection: Connection) -> int:
        rows = await _ops.forget_old_tracks.fetch(connection, before=at - FORGET_FIX_AFTER)
        customer_ids = sorted({row["customer_id"] for row in rows})
        await _ops.end_stale_visits.run(connection, customer_ids=customer_ids, before=at - FORGET_FIX_AFTER)
        return len(rows)

    while await database.run(work):
        pass
    async with database.connection() as connection:
        await _ops.delete_old_receipts.run(connection, before=at - FORGET_FIX_AFTER)


async def decide_postponed(database: Database, directory: Directory, clock: Clock, customers: int = 100) -> bool:
    """Decide transitions whose customer was locked when they were found, and campaigns whose wait is over.

    Returns whether some customers are still locked.
    """
    async with database.connection() as connection:
        rows = await _engage.customers_waiting.fetch(connection, at=clock.now(), limit=customers)
    waiting = sorted(row["customer_id"] for row in rows)

    async def work(connection: Connection) -> int:
        return await engage(connection, directory.snapshot, waiting, clock.now())

    return bool(waiting) and await database.run(work) < len(waiting)


async def watch_postponed(database: Database, directory: Directory, clock: Clock, noticed: asyncio.Event) -> None:
    """Run :func:`decide_postponed` once a second and whenever a batch left something behind, until cancelled."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await noticed.wait()
        noticed.clear()
        try:
            if await decide_postponed(database, directory, clock):
                await asyncio.sleep(0.05)
                noticed.set()
        except (GeoserviceError, asyncpg.PostgresError, *UNREACHABLE) as error:
            _log.warning("postponed_not_decided", error=type(error).__name__)
