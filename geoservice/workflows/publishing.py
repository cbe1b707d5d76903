"""Store operations: stores and campaigns. Matchers hear of each change at commit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
from opening_hours import OpeningHours

from geoservice.decisions.brakes import annoys
from geoservice.decisions.campaigns import CampaignSpec, CampaignState
from geoservice.decisions.compiling import compile_campaign
from geoservice.decisions.wall_clock import local_midnight_after
from geoservice.errors import ErrorDetail, Invalid, NotFound
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Latitude, Longitude, to_jsonable
from geoservice.workflows.directory import Store, load_store
from geoservice.workflows.preconditions import ANYTHING, Expected

_sql = Queries("directory")


class StoreBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store: degrees, an IANA time zone, opening hours in OpenStreetMap's syntax."""

    name: str
    lat: Latitude
    lon: Longitude
    timezone: str
    opening_hours: str | None = None
    address: str | None = None


# Stores -----------------------------------------------------------------------------------------------------


def check_store(body: StoreBody) -> None:
    """Raise Invalid unless the zone exists and the opening hours can be read."""
    problems = []
    if not is_zone(body.timezone):
        problems.append(ErrorDetail("timezone", "unknown_timezone", "must be an IANA time zone"))
    if body.opening_hours is not None:
        try:
            OpeningHours(body.opening_hours)
        except Exception:  # noqa: BLE001 - the parser raises several kinds, some of them its own
            problems.append(
                ErrorDetail("opening_hours", "opening_hours", "must be in OpenStreetMap's opening_hours syntax")
            )
    if not body.name.strip() or len(body.name) > 200:
        problems.append(ErrorDetail("name", "length", "1 to 200 characters"))
    if problems:
        raise Invalid("This store cannot be stored as it is.", details=problems)


def is_zone(name: str) -> bool:
    """Whether this is an IANA time zone of this machine's database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


async def save_store(database: Database, store_id: str, body: StoreBody, at: datetime) -> Store:
    """Create or replace a store."""
    check_store(body)
    store = Store(store_id=store_id, **msgspec.structs.asdict(body))

    async def work(connection: Connection) -> None:
        await _sql.publish.value(connection, room="stores")
        await _sql.save_store.run(connection, store_id=store_id, at=at, **msgspec.structs.asdict(body))
        await _sql.announce.value(connection, room="stores")

    await database.run(work)
    return store


async def mute_store(database: Database, store_id: str, at: datetime) -> datetime:
    """Send nothing about a store until its local midnight; returns when that is. Raises NotFound."""

    async def work(connection: Connection) -> datetime:
        await _sql.publish.value(connection, room="stores")
        store = await load_store(connection, store_id)
        until = local_midnight_after(ZoneInfo(store.timezone), at)
        await _sql.mute_store.run(connection, store_id=store_id, until=until)
        await _sql.cancel_of_store.run(connection, store_id=store_id, at=at)
        await _sql.announce.value(connection, room="stores")
        return until

    return await database.run(work)


async def unmute_store(database: Database, store_id: str) -> None:
    """Take a mute back; raises NotFound."""

    async def work(connection: Connection) -> None:
        await _sql.publish.value(connection, room="stores")
        if not await _sql.mute_store.run(connection, store_id=store_id, until=None):
            raise NotFound("There is no such store.")
        await _sql.announce.value(connection, room="stores")

    await database.run(work)


# Campaigns --------------------------------------------------------------------------------------------------


async def save_campaign(
    database: Database, campaign_id: str, spec: CampaignSpec, at: datetime, expected: Expected = ANYTHING
) -> dict[str, Any]:
    """Create a campaign, or its next version; raises Invalid with every problem that it has, PreconditionFailed."""
    compile_campaign(campaign_id, 1, spec)

    async def work(connection: Connection) -> asyncpg.Record | None:
        await _sql.publish.value(connection, room="campaigns")
        before = await _sql.campaign.row(connection, campaign_id=campaign_id)
        expected.check(None if before is None else before["version"])
        row = await _sql.save_campaign.row(
            connection, campaign_id=campaign_id, state=spec.state.value, body=to_jsonable(spec), at=at
        )
        if spec.state is not CampaignState.LIVE:
            await _sql.cancel_of_campaign.run(connection, campaign_id=campaign_id, at=at)
        await _sql.announce.value(connection, room="campaigns")
        return row

    row = await database.run(work)
    assert row is not None  # noqa: S101 - an upsert returns its row
    return _campaign(row)


async def campaigns(database: Database) -> list[dict[str, Any]]:
    """List every campaign in its newest version."""
    async with database.connection() as connection:
        return [_campaign(row) for row in await _sql.campaigns.fetch(connection)]


async def campaign(database: Database, campaign_id: str) -> dict[str, Any]:
    """Give one campaign in its newest version; raises NotFound."""
    return _campaign(await _newest(database, campaign_id))


async def campaign_spec(database: Database, campaign_id: str) -> CampaignSpec:
    """Give what was put as this campaign's newest version; raises NotFound."""
    return _spec(await _newest(database, campaign_id))


async def _newest(database: Database, campaign_id: str) -> asyncpg.Record:
    async with database.connection() as connection:
        row = await _sql.campaign.row(connection, campaign_id=campaign_id)
    if row is None:
        raise NotFound("There is no such campaign.")
    return row


async def campaign_versions(database: Database, campaign_id: str, before: int, limit: int) -> list[dict[str, Any]]:
    """List what a campaign was, newest version first; raises NotFound."""
    async with database.connection() as connection:
        rows = await _sql.campaign_versions.fetch(connection, campaign_id=campaign_id, before=before, limit=limit)
        if not rows and await _sql.campaign.row(connection, campaign_id=campaign_id) is None:
            raise NotFound("There is no such campaign.")
    return [{"id": campaign_id, "version": row["version"], **row["body"], "at": row["at"]} for row in rows]


async def set_campaign_state(
    database: Database, campaign_id: str, state: CampaignState, at: datetime, *, because: str | None = None
) -> dict[str, Any]:
    """Pause or resume a campaign, at once: pausing cancels what waits, and tells how much. Raises NotFound."""

    async def work(connection: Connection) -> dict[str, Any]:
        await _sql.publish.value(connection, room="campaigns")
        row = await _sql.set_campaign_state.row(
            connection, campaign_id=campaign_id, state=state.value, at=at, because=because
        )
        if row is None:
            raise NotFound("There is no such campaign.")
        cancelled = {}
        if state is CampaignState.PAUSED:
            cancelled["cancelled"] = await _sql.cancel_of_campaign.run(connection, campaign_id=campaign_id, at=at)
        await _sql.announce.value(connection, room="campaigns")
        return _campaign(row) | cancelled

    return await database.run(work)


COMPLAINTS_LATELY: Final = timedelta(hours=1)
"""Campaigns that nobody complained about for so long are not looked at: their share can only have fallen."""


async def pause_annoying(database: Database, at: datetime) -> list[str]:
    """Pause every live campaign that too many people called creepy or wanted to stop; its ids."""
    async with database.connection() as connection:
        rows = await _sql.complaints.fetch(connection, since=at - COMPLAINTS_LATELY)
    annoying = [row for row in rows if annoys(row["delivered"], row["complaints"])]
    for row in annoying:
        because = f"{row['complaints']} of {row['delivered']} delivered were called creepy or led to a stop"
        await set_campaign_state(database, row["campaign_id"], CampaignState.PAUSED, at, because=because)
    return [row["campaign_id"] for row in annoying]


def _campaign(row: Mapping[str, Any]) -> dict[str, Any]:
    spec = _spec(row)
    known = {name: row[name] for name in ("live_since", "paused_because") if row[name] is not None}
    return {"id": row["campaign_id"], "version": row["version"], **as_mapping(spec), **known}


def _spec(row: Mapping[str, Any]) -> CampaignSpec:
    return msgspec.convert(row["body"], CampaignSpec)


def as_mapping(spec: CampaignSpec) -> dict[str, Any]:
    """Write a campaign as its JSON body, defaults that matter included."""
    body = to_jsonable(spec)
    assert isinstance(body, dict)  # noqa: S101 - a struct becomes a dict
    return {"state": spec.state.value, **body}
