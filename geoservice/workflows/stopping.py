"""The stop: from its answer on no message of its scope goes out, in any process, until it is released.

Senders share a lock while they look at the stops and commit their `sending`; a stop takes that lock alone. So whoever
looks after the stop has committed sees it, and whoever looked before is counted as in flight.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from geoservice.errors import NotFound
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Channel

GATE: Final = 0x6765_6F74
"""The advisory lock: shared by the begins of sending, taken alone by a stop."""

ALL: Final = "all"

_sql = Queries("deliver")


class Stop(msgspec.Struct, frozen=True):
    """A stop in force; ``in_flight`` messages had left before it and may still arrive."""

    scope: str
    at: datetime
    actor: str
    reason: str | None
    in_flight: int = 0


def scope_of(campaign_id: str | None, channel: Channel | None) -> str:
    """Name what is to be stopped: one campaign, one channel, or everything."""
    if campaign_id is not None:
        return f"campaign:{campaign_id}"
    return ALL if channel is None else f"channel:{channel.value}"


async def stop(database: Database, scope: str, *, actor: str, reason: str | None, at: datetime) -> Stop:
    """Stop a scope; when this returns, nothing of it begins any more. Repeated, it stays as it was."""

    async def work(connection: Connection) -> Stop:
        await _sql.take_the_gate.value(connection, gate=GATE)
        await _sql.add_stop.run(connection, scope=scope, actor=actor, reason=reason, at=at)
        row = await _sql.stop.row(connection, scope=scope)
        assert row is not None  # noqa: S101 - it was just added, and a release waits for the gate
        return Stop(**row)

    return await database.run(work)


async def release(database: Database, scope: str) -> None:
    """Let a scope send again. Raises NotFound when it is not stopped."""

    async def work(connection: Connection) -> None:
        await _sql.take_the_gate.value(connection, gate=GATE)
        if not await _sql.remove_stop.run(connection, scope=scope):
            raise NotFound("This is not stopped.")
        await _sql.wake_senders.value(connection)

    await database.run(work)


async def stops(database: Database) -> list[asyncpg.Record]:
    """List the stops in force."""
    async with database.connection() as connection:
        return await _sql.stops.fetch(connection)
