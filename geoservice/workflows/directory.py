"""What every matcher holds in memory: stores, geofences, campaigns; reloaded when the database says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg
import msgspec
import shapely
import structlog

from geoservice.decisions.campaigns import Campaign, CampaignSpec, CampaignState, compile_campaign
from geoservice.decisions.facts import GeofenceFacts, RetailerDefaults, StoreFacts
from geoservice.errors import GeoserviceError
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.storage.database import UNREACHABLE, Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import GeofenceKind, Transition

CHANNEL: Final = "geoservice_directory"
_POLL_S: Final = 1.0

_sql = Queries("directory")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Store:
    """A store as operations wrote it down; lat and lon in degrees."""

    store_id: str
    name: str
    lat: float
    lon: float
    timezone: str
    opening_hours: str | None = None
    address: str | None = None

    @property
    def facts(self) -> StoreFacts:
        """The part that decisions may know."""
        return StoreFacts(self.store_id, self.name, self.timezone, self.opening_hours)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view; a batch works with the one it started with."""

    catalogue: Catalogue
    stores: Mapping[str, Store] = field(default_factory=dict)
    campaigns: Mapping[str, Campaign] = field(default_factory=dict)
    retailer: RetailerDefaults = field(default_factory=RetailerDefaults)

    def fence(self, geofence_id: str) -> Geofence | None:
        """Look a geofence up; None when it has been removed meanwhile."""
        index = self.catalogue.index_of.get(geofence_id)
        return None if index is None else self.catalogue.fences[index]

    def listening(self, transition: Transition, geofence: GeofenceFacts) -> tuple[Campaign, ...]:
        """List the live campaigns that want to know of this transition."""
        return tuple(
            campaign
            for campaign in self.campaigns.values()
            if campaign.spec.state is CampaignState.LIVE and campaign.listens_to(transition, geofence)
        )


class Directory:
    """Keeps a :class:`Snapshot` current: told by NOTIFY, checked once a second in case a notice was lost."""

    def __init__(self, database: Database, retailer: RetailerDefaults) -> None:
        self._database = database
        self._revisions: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._reloading = asyncio.Lock()
        self.snapshot = Snapshot(Catalogue.build((), 0), retailer=retailer)
        self.loaded = False

    async def reload(self) -> None:
        """Load the rooms whose revision moved, and swap the snapshot."""
        async with self._reloading, self._database.connection() as connection:
            rows = await _sql.revisions.fetch(connection)
            stale = {r["room"]: r["revision"] for r in rows if self._revisions.get(r["room"]) != r["revision"]}
            if stale:
                self.snapshot = await self._load(connection, stale)
                self._revisions.update(stale)
            self.loaded = True

    async def _load(self, connection: Connection, stale: Mapping[str, int]) -> Snapshot:
        snapshot = self.snapshot
        if "stores" in stale:
            snapshot = replace(snapshot, stores=await load_stores(connection))
        if "geofences" in stale:
            fences = await load_geofences(connection)
            # Off the loop: building the index of a large catalogue must not hold up a request.
            catalogue = await asyncio.to_thread(Catalogue.build, fences, stale["geofences"])
            snapshot = replace(snapshot, catalogue=catalogue)
        if "campaigns" in stale:
            snapshot = replace(snapshot, campaigns=await _load_campaigns(connection))
        return snapshot

    def notice(self, *_: object) -> None:
        """Wake the watcher; the callback of LISTEN."""
        self._changed.set()

    async def watch(self) -> None:
        """Reload whenever something was published, until cancelled."""
        listener: asyncpg.Connection | None = None
        try:
            while True:
                try:
                    if listener is None or listener.is_closed():
                        listener = await self._database.listen(CHANNEL, self.notice)
                    await self.reload()
                except (GeoserviceError, asyncpg.PostgresError, *UNREACHABLE) as error:
                    _log.warning("directory_not_reloaded", error=type(error).__name__)
                try:
                    async with asyncio.timeout(_POLL_S):
                        await self._changed.wait()
                except TimeoutError:
                    continue
                self._changed.clear()
        finally:
            if listener is not None:
                listener.terminate()


async def load_stores(connection: Connection) -> dict[str, Store]:
    """Read every store."""
    return {row["store_id"]: Store(**dict(row)) for row in await _sql.stores.fetch(connection)}


async def load_geofences(connection: Connection) -> list[Geofence]:
    """Read every geofence; the shapes are parsed in one call."""
    # Off the loop: of a large catalogue this takes long enough to hold up requests.
    return await asyncio.to_thread(_to_geofences, await _sql.geofences.fetch(connection))


async def load_geofence(connection: Connection, geofence_id: str) -> Geofence | None:
    """Read one geofence."""
    row = await _sql.geofence.row(connection, geofence_id=geofence_id)
    return None if row is None else _to_geofences([row])[0]


def _to_geofences(rows: Sequence[Any]) -> list[Geofence]:
    shapes = shapely.from_wkb([row["geometry"] for row in rows])
    return [_to_geofence(row, shape) for row, shape in zip(rows, shapes, strict=True)]


def _to_geofence(row: Any, shape: shapely.Geometry) -> Geofence:
    return Geofence(
        geofence_id=row["geofence_id"],
        name=row["name"],
        kind=GeofenceKind(row["kind"]),
        geometry=shape,
        radius_m=row["radius_m"],
        store_id=row["store_id"],
        tags=tuple(row["tags"]),
        dwell_s=row["dwell_s"],
        floor=row["floor"],
        beacons=tuple(row["beacons"]),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        metadata=row["metadata"],
    )


async def _load_campaigns(connection: Connection) -> dict[str, Campaign]:
    campaigns = {}
    for row in await _sql.campaigns.fetch(connection):
        try:
            spec = msgspec.convert(row["body"], CampaignSpec)
            campaigns[row["campaign_id"]] = compile_campaign(row["campaign_id"], row["version"], spec)
        except (GeoserviceError, msgspec.ValidationError):
            # Written by another version of this service, whose rules were different: silent, and said so.
            _log.exception("campaign_not_loaded", campaign_id=row["campaign_id"])
    return campaigns
