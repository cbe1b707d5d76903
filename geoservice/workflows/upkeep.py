"""What the timers run. Each tick claims its slot in the database first, so any number of processes may tick."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from geoservice.clock import Clock
from geoservice.errors import Unavailable
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry.metrics import RETENTION_DELETED
from geoservice.workflows.directory import Directory
from geoservice.workflows.engage import engage
from geoservice.workflows.publishing import pause_annoying
from geoservice.workflows.records import RECORDS


def _fixed(table: str) -> timedelta:
    return timedelta(days=RECORDS[table].fixed_days or 0)


FORGET_FIX_AFTER: Final = _fixed("devices")
"""No fix or presence is kept longer, even of a phone that fell silent."""

CUSTOMERS_AT_ONCE: Final = 100
RECEIPTS_AT_ONCE: Final = 50_000

_engage = Queries("engage")
_ops = Queries("ops")
_customers = Queries("customers")
_log = structlog.get_logger(__name__)


async def claim_slot(database: Database, name: str, seconds: int) -> bool:
    """L0, committed alone: whether this process is the one that runs the present slot of a timer.

    Slots are as long as the timer's interval, on the database's clock: a machine whose own is wrong stops nobody.
    """
    async with database.connection() as connection:
        return await _ops.claim_slot.value(connection, name=name, seconds=float(seconds)) is not None


async def forget_locations(database: Database, clock: Clock) -> None:
    """Erase fixes, presence and receipts that are older than a day."""
    at = clock.now()

    async def work(connection: Connection) -> int:
        rows = await _ops.forget_old_tracks.fetch(connection, before=at - FORGET_FIX_AFTER)
        rows += await _ops.forget_wrong_clocks.fetch(connection, before=at - FORGET_FIX_AFTER)
        customer_ids = sorted({row["customer_id"] for row in rows})
        await _ops.end_stale_visits.run(connection, customer_ids=customer_ids, before=at - FORGET_FIX_AFTER)
        return len(rows)

    while forgotten := await database.run(work):
        RETENTION_DELETED.labels("devices").inc(forgotten)
    before = at - _fixed("ping_receipts")
    async with database.connection() as connection:
        while deleted := await _ops.delete_old_receipts.run(connection, before=before, limit=RECEIPTS_AT_ONCE):
            RETENTION_DELETED.labels("ping_receipts").inc(deleted)


async def forget_hours(database: Database, clock: Clock) -> None:
    """Erase what campaigns with a ceiling had in hours that are over."""
    async with database.connection() as connection:
        deleted = await _engage.forget_hours.run(connection, before=clock.now() - _fixed("campaign_hours"))
    RETENTION_DELETED.labels("campaign_hours").inc(deleted)


async def brake_campaigns(database: Database, clock: Clock) -> None:
    """Pause campaigns that annoy, and tell the engineer's log."""
    for campaign_id in await pause_annoying(database, clock.now()):
        _log.warning("campaign_paused_itself", campaign_id=campaign_id)


async def decide_postponed(database: Database, directory: Directory, clock: Clock) -> bool:
    """Decide transitions whose customer was locked when they were found, and campaigns whose wait is over.

    Returns whether to look again at once: there are more, or some are still locked.
    """
    async with database.connection() as connection:
        rows = await _engage.customers_waiting.fetch(connection, at=clock.now(), limit=CUSTOMERS_AT_ONCE)
    waiting = [row["customer_id"] for row in rows]
    locked = await _decide_for(database, directory, clock, waiting)
    return locked < len(waiting) or len(waiting) == CUSTOMERS_AT_ONCE


async def _decide_for(database: Database, directory: Directory, clock: Clock, customer_ids: list[str]) -> int:
    """Decide for these customers in one transaction; one whose facts break it is parted from the others."""

    async def work(connection: Connection) -> int:
        return await engage(connection, directory.snapshot, customer_ids, clock.now())

    if not customer_ids:
        return 0
    try:
        return await database.run(work)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must silence only whom it concerns
        if len(customer_ids) == 1:
            _log.error("undecidable", error=type(error).__name__, exc_info=error)
            await _give_up(database, customer_ids[0], clock.now())
            return 1
        middle = len(customer_ids) // 2
        first = await _decide_for(database, directory, clock, customer_ids[:middle])
        return first + await _decide_for(database, directory, clock, customer_ids[middle:])


async def _give_up(database: Database, customer_id: str, at: datetime) -> None:
    """Silence for the transitions that cannot be decided; presence stays as it is."""
    async with database.transaction() as connection:
        await _customers.drop_undecided.run(connection, customer_id=customer_id, at=at)
        await _customers.drop_deferred.run(connection, customer_id=customer_id)


async def watch_postponed(database: Database, directory: Directory, clock: Clock, noticed: asyncio.Event) -> None:
    """Run :func:`decide_postponed` once a second and whenever a batch left something behind, until cancelled."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await noticed.wait()
        noticed.clear()
        try:
            if await decide_postponed(database, directory, clock):
                noticed.set()
                await asyncio.sleep(0.05)
        except Unavailable as error:
            _log.warning("deciding_paused", detail=error.detail)
