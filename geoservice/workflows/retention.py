"""Deleting what is too old, by the table of what is kept: a slice at a time, a few seconds a tick."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from geoservice.clock import Clock
from geoservice.config import Settings
from geoservice.decisions.limits import slot_window_s
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry.metrics import RETENTION_DAYS, RETENTION_DELETED, RETENTION_RUN
from geoservice.workflows.directory import Directory
from geoservice.workflows.records import RECORDS, Kept

TICK_S: Final = 60
SLICE: Final = 10_000
BUDGET_S: Final = 5.0
"""A tick works no longer than this, so that a stop need not wait; the next one goes on."""

_sql = Queries("privacy")
_catalogue = Queries("catalogue")


async def retain(database: Database, directory: Directory, settings: Settings, clock: Clock) -> None:
    """Delete what is older than the settings say. What a timer runs: a shorter time holds from its next tick on."""
    give_up_at = time.monotonic() + BUDGET_S
    for kept in RECORDS.values():
        if kept.fixed_days is not None:
            RETENTION_DAYS.labels(kept.table).set(kept.fixed_days)
        if kept.days is None:
            continue
        RETENTION_DAYS.labels(kept.table).set(getattr(settings, kept.days))
        before = clock.now() - _how_long(kept, settings, directory)
        while deleted := await database.run(_slice_of(kept, before)):
            RETENTION_DELETED.labels(kept.table).inc(deleted)
            if time.monotonic() > give_up_at:
                return
    while deleted := await database.run(_forget_changes):
        RETENTION_DELETED.labels("catalogue_changes").inc(deleted)
        if time.monotonic() > give_up_at:
            return
    RETENTION_RUN.set_to_current_time()


def _how_long(kept: Kept, settings: Settings, directory: Directory) -> timedelta:
    days = timedelta(days=getattr(settings, kept.days or ""))
    if kept.table != "messages":
        return days
    # A message row is its own cap slot: deleted too early it would let another one through.
    snapshot = directory.snapshot
    return max(days, timedelta(seconds=slot_window_s(tuple(snapshot.campaigns.values()), snapshot.retailer)))


async def _forget_changes(connection: Connection) -> int:
    return await _catalogue.forget_changes.run(connection, limit=SLICE)


def _slice_of(kept: Kept, before: datetime) -> Callable[[Connection], Awaitable[int]]:
    """Delete the oldest; the names are those of the table of what is kept."""
    spared = f" and not ({kept.spared})" if kept.spared else ""
    sql = (
        f"delete from {kept.table} where ctid = any(array("
        f"select ctid from {kept.table} t where {kept.age} < $1{spared} limit $2))"
    )

    async def work(connection: Connection) -> int:
        await _sql.act_as_retention.value(connection)
        status: str = await connection.execute(sql, before, SLICE)
        return int(status.rpartition(" ")[2])

    return work
