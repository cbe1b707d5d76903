"""Store operations: stores, geofences, campaigns. All or nothing, with a report; matchers hear of it at commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import shapely
from opening_hours import OpeningHours

from geoservice.decisions.campaigns import CampaignSpec, CampaignState, TriggerOn, compile_campaign
from geoservice.errors import ErrorDetail, Invalid, NotFound
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.uploads.changes import Changes, diff
from geoservice.geofencing.uploads.checks import ParsedGeofences, parse_collection
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Latitude, Longitude, to_jsonable
from geoservice.workflows.directory import Store, load_geofences, load_stores

LISTED_IDS: Final = 1_000
"""So many ids a kind of change are named in a report; the counts are always complete."""

Mode = Literal["merge", "replace"]

_sql = Queries("directory")


class StoreBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store: degrees, an IANA time zone, opening hours in OpenStreetMap's syntax."""

    name: str
    lat: Latitude
    lon: Longitude
    timezone: str
    opening_hours: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an upload did, or would do."""

    version: int | None
    changes: Changes
    warnings: list[ErrorDetail]

    def jsonable(self) -> dict[str, Any]:
        """Counts, the first ids of each kind, warnings."""
        ids = msgspec.structs.asdict(self.changes)
        return {
            "version": self.version,
            **{kind: len(named) for kind, named in ids.items()},
            "ids": {kind: named[:LISTED_IDS] for kind, named in ids.items() if kind != "unchanged"},
            "warnings": to_jsonable(self.warnings),
        }


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


# Geofences --------------------------------------------------------------------------------------------------


async def import_geofences(
    database: Database, document: object, *, mode: Mode, dry_run: bool, actor: str, at: datetime
) -> ImportReport:
    """Publish a FeatureCollection, or nothing of it; raises Invalid with what is wrong where."""
    async with database.connection() as connection:
        stores = await load_stores(connection)
    parsed = await asyncio.to_thread(check_geofences, document, stores)
    refuse_errors(parsed)

    async def work(connection: Connection) -> ImportReport:
        version = await _sql.publish.value(connection, room="geofences")
        before = await load_geofences(connection)
        changes = await asyncio.to_thread(diff, before, parsed.fences, replace=mode == "replace")
        report = ImportReport(version, changes, parsed.warnings)
        if dry_run:
            raise _DryRun(report)
        if not (changes.created or changes.changed or changes.removed):
            raise _DryRun(ImportReport(version - 1, changes, parsed.warnings))
        await _publish(connection, parsed.fences, report, actor, at)
        return report

    try:
        return await database.run(work)
    except _DryRun as signal:
        return signal.report


def check_geofences(document: object, stores: Mapping[str, Store] | None) -> ParsedGeofences:
    """Read a FeatureCollection without publishing it; without ``stores``, their rules are left out."""
    places = {store.store_id: (store.lon, store.lat) for store in (stores or {}).values()}
    parsed = parse_collection(document, places)
    if stores is None:
        errors = [error for error in parsed.errors if error.code != "store_unknown"]
        return ParsedGeofences(parsed.fences, errors, parsed.warnings)
    return parsed


class _DryRun(Exception):
    def __init__(self, report: ImportReport) -> None:
        self.report = report


def refuse_errors(parsed: ParsedGeofences) -> None:
    """Raise Invalid if any feature breaks a rule."""
    if parsed.errors:
        count = len(parsed.errors)
        raise Invalid(
            f"{count} problem{'s' if count > 1 else ''} in the upload; nothing was changed.",
            code="invalid_geofences",
            details=parsed.errors,
        )


async def _publish(
    connection: Connection, fences: Sequence[Geofence], report: ImportReport, actor: str, at: datetime
) -> None:
    moved = {*report.changes.created, *report.changes.changed}
    await _save_fences(connection, [f for f in fences if f.geofence_id in moved], report.version)
    await _sql.delete_geofences.run(connection, geofence_ids=report.changes.removed)
    summary = {kind: len(ids) for kind, ids in msgspec.structs.asdict(report.changes).items()}
    await _sql.add_version.run(connection, version=report.version, at=at, actor=actor, summary=summary)
    await _sql.announce.value(connection, room="geofences")


async def _save_fences(connection: Connection, fences: Sequence[Geofence], version: int | None) -> None:
    await _sql.save_geofences.run(
        connection,
        geofence_ids=[f.geofence_id for f in fences],
        store_ids=[f.store_id for f in fences],
        names=[f.name for f in fences],
        kinds=[f.kind.value for f in fences],
        geometries=list(shapely.to_wkb([f.geometry for f in fences])) if fences else [],
        radii_m=[f.radius_m for f in fences],
        dwells_s=[f.dwell_s for f in fences],
        floors=[f.floor for f in fences],
        valid_froms=[f.valid_from for f in fences],
        valid_untils=[f.valid_until for f in fences],
        more=[{"tags": f.tags, "beacons": f.beacons, "metadata": dict(f.metadata)} for f in fences],
        version=version,
    )


async def delete_geofence(database: Database, geofence_id: str, actor: str, at: datetime) -> None:
    """Remove one geofence; raises NotFound."""

    async def work(connection: Connection) -> None:
        version = await _sql.publish.value(connection, room="geofences")
        if not await _sql.delete_geofences.run(connection, geofence_ids=[geofence_id]):
            raise NotFound("There is no such geofence.")
        summary = {"created": 0, "changed": 0, "unchanged": 0, "removed": 1}
        await _sql.add_version.run(connection, version=version, at=at, actor=actor, summary=summary)
        await _sql.announce.value(connection, room="geofences")

    await database.run(work)


async def versions(database: Database, limit: int) -> list[asyncpg.Record]:
    """List publications of geofences, newest first."""
    async with database.connection() as connection:
        return await _sql.versions.fetch(connection, limit=limit)


# Campaigns --------------------------------------------------------------------------------------------------


async def save_campaign(database: Database, campaign_id: str, spec: CampaignSpec, at: datetime) -> dict[str, Any]:
    """Create a campaign, or its next version; raises Invalid with every problem that it has."""
    _refuse_unbuilt(spec)
    compile_campaign(campaign_id, 1, spec)

    async def work(connection: Connection) -> int:
        await _sql.publish.value(connection, room="campaigns")
        version: int = await _sql.save_campaign.value(
            connection, campaign_id=campaign_id, state=spec.state.value, body=to_jsonable(spec), at=at
        )
        await _sql.announce.value(connection, room="campaigns")
        return version

    version = await database.run(work)
    return {"id": campaign_id, "version": version, **as_mapping(spec)}


def _refuse_unbuilt(spec: CampaignSpec) -> None:
    """A trigger that nothing gives yet would be a campaign that is silent for ever."""
    if spec.trigger.on in {TriggerOn.DWELL, TriggerOn.CROSSED}:
        detail = ErrorDetail("trigger.on", "not_supported", "only enter and exit are found so far")
        raise Invalid("This campaign cannot be used as it is.", details=[detail])


async def campaigns(database: Database) -> list[dict[str, Any]]:
    """List every campaign in its newest version."""
    async with database.connection() as connection:
        return [_campaign(row) for row in await _sql.campaigns.fetch(connection)]


async def campaign(database: Database, campaign_id: str) -> dict[str, Any]:
    """Give one campaign in its newest version; raises NotFound."""
    async with database.connection() as connection:
        row = await _sql.campaign.row(connection, campaign_id=campaign_id)
    if row is None:
        raise NotFound("There is no such campaign.")
    return _campaign(row)


async def set_campaign_state(
    database: Database, campaign_id: str, state: CampaignState, at: datetime
) -> dict[str, Any]:
    """Pause or resume a campaign, at once: pausing cancels what waits. Raises NotFound."""

    async def work(connection: Connection) -> asyncpg.Record:
        await _sql.publish.value(connection, room="campaigns")
        row = await _sql.set_campaign_state.row(connection, campaign_id=campaign_id, state=state.value, at=at)
        if row is None:
            raise NotFound("There is no such campaign.")
        if state is CampaignState.PAUSED:
            await _sql.cancel_of_campaign.run(connection, campaign_id=campaign_id, at=at)
        await _sql.announce.value(connection, room="campaigns")
        return row

    return _campaign(await database.run(work))


def _campaign(row: Mapping[str, Any]) -> dict[str, Any]:
    spec = msgspec.convert(row["body"], CampaignSpec)
    return {"id": row["campaign_id"], "version": row["version"], **as_mapping(spec)}


def as_mapping(spec: CampaignSpec) -> dict[str, Any]:
    """Write a campaign as its JSON body, defaults that matter included."""
    body = to_jsonable(spec)
    assert isinstance(body, dict)  # noqa: S101 - a struct becomes a dict
    return {"state": spec.state.value, **body}
