"""What every matcher holds in memory: stores, geofences, campaigns; reloaded when the database says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
import shapely
import structlog

from geoservice.clock import Clock
from geoservice.decisions.campaigns import Campaign, CampaignSpec
from geoservice.decisions.compiling import compile_campaign
from geoservice.decisions.facts import GeofenceFacts, RetailerDefaults, StoreFacts
from geoservice.decisions.listening import Listeners
from geoservice.errors import GeoserviceError, NotFound
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import DEFAULT_DWELL_S, Geofence
from geoservice.storage.database import UNREACHABLE, Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import GeofenceKind, Transition
from geoservice.workflows.policy import load_policy

CHANNEL: Final = "geoservice_directory"
_POLL_S: Final = 1.0
WORN_MOST: Final = 1_000
"""After so many changes of single geofences, the whole index is built anew."""

_sql = Queries("directory")
_catalogue = Queries("catalogue")
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
    muted_until: datetime | None = None

    @property
    def facts(self) -> StoreFacts:
        """The part that decisions may know."""
        place = self.lat, self.lon
        return StoreFacts(self.store_id, self.name, self.timezone, self.opening_hours, self.muted_until, place)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view; a batch works with the one it started with."""

    catalogue: Catalogue
    stores: Mapping[str, Store] = field(default_factory=dict)
    campaigns: Mapping[str, Campaign] = field(default_factory=dict)
    stored_campaigns: Mapping[str, asyncpg.Record] = field(default_factory=dict)
    """What they were compiled of."""
    retailer: RetailerDefaults = field(default_factory=RetailerDefaults)
    defaults: RetailerDefaults = field(default_factory=RetailerDefaults)
    listeners: Listeners = field(default_factory=lambda: Listeners({}))
    revisions: Mapping[str, int] = field(default_factory=dict)

    def fence(self, geofence_id: str) -> Geofence | None:
        """Look a geofence up; None when it has been removed meanwhile."""
        index = self.catalogue.index_of.get(geofence_id)
        return None if index is None else self.catalogue.fences[index]

    def listening(self, transition: Transition, fence: Geofence, customer_id: str) -> tuple[Campaign, ...]:
        """List the campaigns that want to know of this customer's transition."""
        return tuple(each for each in self.listeners.of(transition, as_fact(fence)) if each.speaks_to(customer_id))


class Directory:
    """Keeps a :class:`Snapshot` current: told by NOTIFY, checked once a second in case a notice was lost."""

    def __init__(
        self, database: Database, retailer: RetailerDefaults, clock: Clock, jurisdiction: str | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._jurisdiction = jurisdiction
        self._fences: dict[str, Geofence] = {}
        """All geofences, whether they are in force now or not."""
        self._bounded: dict[str, Geofence] = {}
        """Those that begin or end."""
        self._in_force_until: datetime | None = None
        """When the next geofence begins or ends."""
        self._revisions: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._reloading = asyncio.Lock()
        self.defaults = retailer
        """What the settings say; a published policy goes before."""
        self.snapshot = Snapshot(Catalogue.build((), 0), retailer=retailer, defaults=retailer)
        self.loaded = False

    async def reload(self) -> None:
        """Load the rooms whose revision moved, and swap the snapshot."""
        async with self._reloading, self._database.connection() as connection:
            rows = await _sql.revisions.fetch(connection)
            stale = {r["room"]: r["revision"] for r in rows if self._revisions.get(r["room"]) != r["revision"]}
            if stale:
                self.snapshot = await self._load(connection, stale)
                self._revisions.update(stale)
                self.snapshot = replace(self.snapshot, revisions=dict(self._revisions))
            elif self._in_force_until is not None and self._in_force_until <= self._clock.now():
                catalogue = await self._changed_catalogue((), self._revisions["geofences"])
                self.snapshot = replace(self.snapshot, catalogue=catalogue)
            self.loaded = True

    async def _load(self, connection: Connection, stale: Mapping[str, int]) -> Snapshot:
        snapshot = self.snapshot
        if "stores" in stale:
            snapshot = replace(snapshot, stores=await load_stores(connection))
        if "geofences" in stale:
            snapshot = replace(snapshot, catalogue=await self._load_catalogue(connection, stale["geofences"]))
        if "campaigns" in stale:
            snapshot = await _with_campaigns(connection, snapshot)
        if "policy" in stale:
            snapshot = replace(snapshot, retailer=await load_policy(connection, self.defaults))
        return snapshot

    async def _load_catalogue(self, connection: Connection, version: int) -> Catalogue:
        """Load what changed, where every change is on record, else everything."""
        since = self._revisions.get("geofences")
        if since is None or not await _catalogue.is_recorded.value(connection, since=since, through=version):
            self._fences = {fence.geofence_id: fence for fence in await load_geofences(connection)}
            self._bounded = {key: fence for key, fence in self._fences.items() if _is_bounded(fence)}
            return await self._build(version)
        rows = await _catalogue.changed_since.fetch(connection, since=since)
        there = await asyncio.to_thread(to_geofences, [row for row in rows if row["name"] is not None])
        for row in rows:
            self._fences.pop(row["geofence_id"], None)
            self._bounded.pop(row["geofence_id"], None)
        self._fences.update((fence.geofence_id, fence) for fence in there)
        self._bounded.update((fence.geofence_id, fence) for fence in there if _is_bounded(fence))
        return await self._changed_catalogue([row["geofence_id"] for row in rows], version)

    async def _changed_catalogue(self, touched: Iterable[str], version: int) -> Catalogue:
        """Bring the catalogue up to date with what was touched, and with what begins or ends by itself."""
        at, catalogue = self._clock.now(), self.snapshot.catalogue
        moved = {key for key, fence in self._bounded.items() if is_in_force(fence, at) != (key in catalogue.index_of)}
        keys = sorted(moved.union(touched))
        gone = [key for key in keys if key in catalogue.index_of]
        come = [fence for key in keys if (fence := self._fences.get(key)) is not None and is_in_force(fence, at)]
        if catalogue.worn + len(gone) + len(come) > WORN_MOST:
            return await self._build(version)
        changed = await asyncio.to_thread(catalogue.with_changes, gone, come, version)
        self._in_force_until = _next_change(self._bounded.values(), at)
        return changed

    async def _build(self, version: int) -> Catalogue:
        """Index the geofences that are in force now, and remember when that changes.

        Off the loop: of a large catalogue it takes long enough to hold up requests.
        """
        at = self._clock.now()
        built = await asyncio.to_thread(_indexed, self._fences, at, version, self._jurisdiction)
        self._in_force_until = _next_change(self._bounded.values(), at)
        return built

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


def _indexed(fences: Mapping[str, Geofence], at: datetime, version: int, jurisdiction: str | None) -> Catalogue:
    return Catalogue.build([each for each in fences.values() if is_in_force(each, at)], version, jurisdiction)


def _is_bounded(fence: Geofence) -> bool:
    return fence.valid_from is not None or fence.valid_until is not None


def is_in_force(fence: Geofence, at: datetime) -> bool:
    """Whether the geofence's own validity holds."""
    return (fence.valid_from is None or fence.valid_from <= at) and (
        fence.valid_until is None or fence.valid_until > at
    )


def _next_change(bounded: Iterable[Geofence], at: datetime) -> datetime | None:
    """When the next geofence begins or ends."""
    instants = (instant for fence in bounded for instant in (fence.valid_from, fence.valid_until))
    return min((instant for instant in instants if instant is not None and instant > at), default=None)


QUICK_ROOMS: Final = frozenset({"stores", "campaigns", "policy"})


async def brought_up(connection: Connection, snapshot: Snapshot) -> Snapshot:
    """Load what a decision must know as it is now: a paused campaign or a muted store is silent at once, everywhere."""
    revisions = {row["room"]: row["revision"] for row in await _sql.revisions.fetch(connection)}
    stale = {room for room in QUICK_ROOMS if snapshot.revisions.get(room) != revisions[room]}
    if "stores" in stale:
        snapshot = replace(snapshot, stores=await load_stores(connection))
    if "campaigns" in stale:
        snapshot = await _with_campaigns(connection, snapshot)
    if "policy" in stale:
        snapshot = replace(snapshot, retailer=await load_policy(connection, snapshot.defaults))
    return replace(snapshot, revisions={**snapshot.revisions, **{room: revisions[room] for room in stale}})


async def _with_campaigns(connection: Connection, snapshot: Snapshot) -> Snapshot:
    """Compile the campaigns that changed; a thousand others would hold up every request for a tenth of a second."""
    stored = {row["campaign_id"]: row for row in await _sql.stored_campaigns.fetch(connection)}
    campaigns = {}
    for campaign_id, row in stored.items():
        known = snapshot.campaigns.get(campaign_id)
        if known is not None and snapshot.stored_campaigns.get(campaign_id) == row:
            campaigns[campaign_id] = known
        elif (campaign := _compiled(row)) is not None:
            campaigns[campaign_id] = campaign
    return replace(snapshot, campaigns=campaigns, stored_campaigns=stored, listeners=Listeners(campaigns))


def _compiled(row: asyncpg.Record) -> Campaign | None:
    campaign_id = row["campaign_id"]
    try:
        spec = msgspec.json.decode(row["body"], type=CampaignSpec)
        return compile_campaign(campaign_id, row["version"], spec, row["live_since"])
    except (GeoserviceError, msgspec.ValidationError):
        # Written by another version of this service, whose rules were different: silent, and said so.
        _log.exception("campaign_not_loaded", campaign_id=campaign_id)
        return None


def as_fact(fence: Geofence) -> GeofenceFacts:
    """The part of a geofence that decisions may know."""
    dwell_s = DEFAULT_DWELL_S if fence.dwell_s is None else fence.dwell_s
    return GeofenceFacts(fence.geofence_id, fence.name, fence.kind, fence.tags, fence.store_id, dwell_s)


async def load_stores(connection: Connection) -> dict[str, Store]:
    """Read every store."""
    return {row["store_id"]: Store(**dict(row)) for row in await _sql.stores.fetch(connection)}


async def load_store(connection: Connection, store_id: str) -> Store:
    """Read one store; raises NotFound."""
    row = await _sql.store.row(connection, store_id=store_id)
    if row is None:
        raise NotFound("There is no such store.")
    return Store(**dict(row))


async def load_geofences(connection: Connection) -> list[Geofence]:
    """Read every geofence; the shapes are parsed in one call."""
    # Off the loop: of a large catalogue this takes long enough to hold up requests.
    return await asyncio.to_thread(to_geofences, await _catalogue.geofences.fetch(connection))


async def load_geofence(connection: Connection, geofence_id: str) -> tuple[Geofence, int] | None:
    """Read one geofence, and the version that changed it last."""
    rows = await _catalogue.geofences_named.fetch(connection, geofence_ids=[geofence_id], managed_by=None)
    return (to_geofences(rows)[0], rows[0]["version"]) if rows else None


def to_geofences(rows: Sequence[Any]) -> list[Geofence]:
    """Make geofences of their rows; the shapes are parsed in one call."""
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
        jurisdiction=row["jurisdiction"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        metadata=row["metadata"],
    )
