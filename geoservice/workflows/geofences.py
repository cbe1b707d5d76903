"""Publishing geofences: all or nothing, with a report, as versions that can be shown and restored.

Each publication writes down what every geofence that it touches was before. That is enough to tell what any version
changed, and to go back to it exactly. Going back is a publication, too: history is only ever added to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import asyncpg
import msgspec
import orjson
import shapely

from geoservice.errors import Conflict, ErrorDetail, Invalid, NotFound
from geoservice.geofencing.geofence import Geofence, to_feature
from geoservice.geofencing.uploads.changes import Changes, diff
from geoservice.geofencing.uploads.checks import ParsedGeofences, check
from geoservice.geofencing.uploads.darkness import dark_stores
from geoservice.geofencing.uploads.documents import Document
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import GeofenceKind, to_jsonable
from geoservice.workflows.directory import Store, load_geofences, load_stores, to_geofences
from geoservice.workflows.preconditions import ANYTHING, Expected

LISTED_IDS: Final = 1_000
"""So many ids a kind of change are named in a report; the counts are always complete."""
SWEEPING: Final = 20
"""Removing more than half of all geofences, and more than this, must be confirmed."""

Mode = Literal["merge", "replace"]

_sql = Queries("catalogue")
_directory = Queries("directory")


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be published, and how.

    ``replace`` removes what the document does not name: of all geofences, or of those that ``managed_by`` manages.
    ``confirm_removed`` is the number of removals that the caller has seen and means. ``jurisdiction`` is that of
    sensitive places that name none. ``expected`` is what the caller takes for the only geofence of a document of one.
    """

    document: Document
    mode: Mode = "merge"
    make_valid: bool = False
    dry_run: bool = False
    confirm_removed: int | None = None
    managed_by: str | None = None
    jurisdiction: str | None = None
    expected: Expected = ANYTHING


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an upload did, or would do."""

    version: int
    changes: Changes
    warnings: list[ErrorDetail]
    version_before: int | None = None
    """Of the only geofence of a document of one, if it was there."""

    @property
    def version_of_one(self) -> int:
        """The version that changed the only geofence of a document of one last."""
        unchanged = self.version_before if self.changes.unchanged else None
        return self.version if unchanged is None else unchanged

    def jsonable(self) -> dict[str, Any]:
        """Counts, the first ids of each kind, warnings."""
        ids = msgspec.structs.asdict(self.changes)
        return {
            "version": self.version,
            **{kind: len(named) for kind, named in ids.items()},
            "ids": {kind: named[:LISTED_IDS] for kind, named in ids.items() if kind != "unchanged"},
            "warnings": to_jsonable(self.warnings),
        }


class _NothingToDo(Exception):
    """Rolls the transaction back: a dry run, or an upload that changes nothing."""

    def __init__(self, report: ImportReport) -> None:
        self.report = report


# Publishing -------------------------------------------------------------------------------------------------


async def publish(database: Database, upload: Upload, actor: str, at: datetime) -> ImportReport:
    """Publish a document, or nothing of it; raises Invalid with what is wrong where, Conflict if it sweeps."""
    async with database.connection() as connection:
        stores = await load_stores(connection)
    parsed = await asyncio.to_thread(check_geofences, upload.document, stores, make_valid=upload.make_valid)
    refuse_errors(parsed)
    named = [fence.geofence_id for fence in parsed.fences]

    async def work(connection: Connection) -> ImportReport:
        version = await _directory.publish.value(connection, room="geofences")
        one = await _sql.geofence_version.value(connection, geofence_id=named[0]) if len(named) == 1 else None
        upload.expected.check(one)
        before = await _before(connection, upload, named)
        changes = await asyncio.to_thread(diff, before, parsed.fences, replace=upload.mode == "replace")
        dark = await _dark_stores(connection, stores, parsed.fences, changes, upload.jurisdiction)
        report = ImportReport(version, changes, [*parsed.warnings, *dark], one)
        if not upload.dry_run:
            await _refuse_sweeping(connection, upload, len(changes.removed))
        managed_by = dict.fromkeys(named, upload.managed_by)
        return await _publish(connection, parsed.fences, report, actor, at, managed_by, dry_run=upload.dry_run)

    report = await _run(database, work)
    if upload.managed_by is not None and not upload.dry_run:
        async with database.connection() as connection:
            await _sql.adopt.run(connection, managed_by=upload.managed_by, geofence_ids=named)
    return report


async def _run(database: Database, work: Any) -> ImportReport:
    try:
        return await database.run(work)
    except _NothingToDo as signal:
        return signal.report


async def _before(connection: Connection, upload: Upload, named: list[str]) -> list[Geofence]:
    """Load what an upload is compared with: a merge touches only what it names."""
    if upload.mode == "replace" and upload.managed_by is None:
        return await load_geofences(connection)
    rows = await _sql.geofences_named.fetch(connection, geofence_ids=named, managed_by=upload.managed_by)
    return await asyncio.to_thread(to_geofences, rows)


async def _refuse_sweeping(connection: Connection, upload: Upload, removed: int) -> None:
    if removed <= max(SWEEPING, upload.confirm_removed or 0):
        return
    total = await _sql.count.value(connection, managed_by=upload.managed_by)
    if 2 * removed > total:
        raise Conflict(
            f"This would remove {removed} of {total} geofences; nothing was changed. "
            f"If that is meant, say confirm_removed={removed}.",
            code="removal_needs_confirmation",
        )


async def _dark_stores(
    connection: Connection,
    stores: Mapping[str, Store],
    fences: Sequence[Geofence],
    changes: Changes,
    jurisdiction: str | None,
) -> list[ErrorDetail]:
    """Warn of stores where nobody is noticed: those of the upload, or all when sensitive places change."""
    uploaded = [fence for fence in fences if fence.kind is GeofenceKind.SENSITIVE]
    touched = {*changes.created, *changes.changed}
    concerned = set(stores) if any(f.geofence_id in touched for f in uploaded) else {f.store_id for f in fences}
    asked = {key: (store.lon, store.lat) for key, store in sorted(stores.items()) if key in concerned}
    if not asked:
        return []
    but = [*changes.removed, *(fence.geofence_id for fence in fences)]
    kept = to_geofences(await _sql.sensitive.fetch(connection, but=but))
    return await asyncio.to_thread(dark_stores, asked, [*kept, *uploaded], jurisdiction)


async def _publish(
    connection: Connection,
    fences: Sequence[Geofence],
    report: ImportReport,
    actor: str,
    at: datetime,
    managed_by: Mapping[str, str | None],
    *,
    dry_run: bool,
) -> ImportReport:
    changes = report.changes
    touched = {*changes.created, *changes.changed, *changes.removed}
    if dry_run:
        raise _NothingToDo(report)
    if not touched:
        raise _NothingToDo(replace(report, version=report.version - 1))
    await _sql.add_changes.run(connection, version=report.version, geofence_ids=sorted(touched))
    await _save(connection, [f for f in fences if f.geofence_id in touched], report.version, managed_by)
    turned = [f.geofence_id for f in fences if f.kind is GeofenceKind.SENSITIVE and f.geofence_id in touched]
    if turned:
        await _sql.end_visits_in.run(connection, geofence_ids=turned, at=at)
    await _sql.delete_geofences.run(connection, geofence_ids=changes.removed)
    summary = {kind: len(ids) for kind, ids in msgspec.structs.asdict(changes).items()}
    await _sql.add_version.run(connection, version=report.version, at=at, actor=actor, summary=summary)
    await _directory.announce.value(connection, room="geofences")
    return report


SAVED_AT_ONCE: Final = 500
"""While so many are written down for the database, nobody else is served."""


async def _save(
    connection: Connection, fences: Sequence[Geofence], version: int, managed_by: Mapping[str, str | None]
) -> None:
    for first in range(0, len(fences), SAVED_AT_ONCE):
        await _save_some(connection, fences[first : first + SAVED_AT_ONCE], version, managed_by)


async def _save_some(
    connection: Connection, fences: Sequence[Geofence], version: int, managed_by: Mapping[str, str | None]
) -> None:
    await _sql.save_geofences.run(
        connection,
        geofence_ids=[f.geofence_id for f in fences],
        store_ids=[f.store_id for f in fences],
        names=[f.name for f in fences],
        kinds=[f.kind.value for f in fences],
        geometries=list(shapely.to_wkb([f.geometry for f in fences])),
        radii_m=[f.radius_m for f in fences],
        dwells_s=[f.dwell_s for f in fences],
        floors=[f.floor for f in fences],
        jurisdictions=[f.jurisdiction for f in fences],
        valid_froms=[f.valid_from for f in fences],
        valid_untils=[f.valid_until for f in fences],
        managed_bys=[managed_by.get(f.geofence_id) for f in fences],
        more=[{"tags": f.tags, "beacons": f.beacons, "metadata": dict(f.metadata)} for f in fences],
        version=version,
    )


async def delete_geofence(
    database: Database, geofence_id: str, actor: str, at: datetime, expected: Expected = ANYTHING
) -> None:
    """Remove one geofence; raises NotFound, and PreconditionFailed when it is not what is ``expected``."""

    async def work(connection: Connection) -> ImportReport:
        version = await _directory.publish.value(connection, room="geofences")
        before = await _sql.geofence_version.value(connection, geofence_id=geofence_id)
        if before is None:
            raise NotFound("There is no such geofence.")
        expected.check(before)
        report = ImportReport(version, Changes([], [], [], [geofence_id]), [])
        return await _publish(connection, [], report, actor, at, {}, dry_run=False)

    await _run(database, work)


# Giving back ------------------------------------------------------------------------------------------------


def write_collection(fences: Iterable[Geofence]) -> bytes:
    """Write a FeatureCollection, a line each in the order of their ids, so that a file's history shows what changed.

    Feature by feature: nobody else is served while one piece is written, in whatever thread.
    """
    lines = b",\n".join(orjson.dumps(to_feature(fence)) for fence in fences)
    return b'{"type": "FeatureCollection", "features": [\n' + lines + b"\n]}\n"


# Checking ---------------------------------------------------------------------------------------------------


def check_geofences(
    document: Document, stores: Mapping[str, Store] | None, *, make_valid: bool = False
) -> ParsedGeofences:
    """Check a document without publishing it; without ``stores``, their rules are left out."""
    places = {store.store_id: (store.lon, store.lat) for store in (stores or {}).values()}
    parsed = check(document, places, make_valid=make_valid)
    if stores is None:
        errors = [error for error in parsed.errors if error.code != "store_unknown"]
        return ParsedGeofences(parsed.fences, errors, parsed.warnings)
    return parsed


def refuse_errors(parsed: ParsedGeofences) -> None:
    """Raise Invalid if any feature breaks a rule."""
    if parsed.errors:
        count = len(parsed.errors)
        raise Invalid(
            f"{count} problem{'s' if count > 1 else ''} in the upload; nothing was changed.",
            code="invalid_geofences",
            details=parsed.errors,
        )


# Versions ---------------------------------------------------------------------------------------------------


async def versions(database: Database, *, before: int, limit: int) -> list[asyncpg.Record]:
    """List publications, newest first."""
    async with database.connection() as connection:
        return await _sql.versions.fetch(connection, before=before, limit=limit)


async def version(
    database: Database, number: int, *, after_id: str, limit: int
) -> tuple[asyncpg.Record, list[dict[str, Any]]]:
    """Give one publication and what it changed, by id; raises NotFound."""
    async with database.connection() as connection:
        row = await _version(connection, number)
        changes = await _sql.changes_of.fetch(connection, version=number, after_id=after_id, limit=limit)
    return row, await asyncio.to_thread(_write_changes, changes)


async def _version(connection: Connection, number: int) -> asyncpg.Record:
    row = await _sql.version.row(connection, version=number)
    if row is None:
        raise NotFound("There is no such version.")
    return row


def _write_changes(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    written = []
    for row in rows:
        before = None if row["before"] is None else to_feature(_recorded(row["before"], row["before_geometry"]))
        after = None if row["after"] is None else to_feature(_recorded(row["after"], row["after_geometry"]))
        change = "created" if before is None else "removed" if after is None else "changed"
        written.append({"geofence_id": row["geofence_id"], "change": change, "before": before, "after": after})
    return written


def _recorded(row: Mapping[str, Any], geometry: bytes) -> Geofence:
    """A geofence as it was written down."""
    instants = {
        key: None if row[key] is None else datetime.fromisoformat(row[key]) for key in ("valid_from", "valid_until")
    }
    (fence,) = to_geofences([{**row, **instants, "geometry": geometry}])
    return fence


async def restore(
    database: Database, number: int, *, dry_run: bool, actor: str, at: datetime, jurisdiction: str | None = None
) -> ImportReport:
    """Publish the geofences as they were in a version; raises NotFound, and Conflict where it was not kept.

    ``jurisdiction`` is that of sensitive places that name none.
    """

    async def work(connection: Connection) -> ImportReport:
        newest = await _directory.publish.value(connection, room="geofences")
        await _version(connection, number)
        if not await _sql.is_recorded.value(connection, since=number, through=newest - 1):
            message = "What changed since was published by an older release, which did not keep what was there before."
            raise Conflict(message, code="version_not_kept")
        rows = await _sql.state_at.fetch(connection, version=number)
        then = [_recorded(row["before"], row["before_geometry"]) for row in rows if row["before"] is not None]
        ids = [row["geofence_id"] for row in rows]
        now = to_geofences(await _sql.geofences_named.fetch(connection, geofence_ids=ids, managed_by=None))
        changes = await asyncio.to_thread(diff, now, then, replace=True)
        managed_by = {row["geofence_id"]: (row["before"] or {}).get("managed_by") for row in rows}
        dark = await _dark_stores(connection, await load_stores(connection), then, changes, jurisdiction)
        report = ImportReport(newest, changes, dark)
        return await _publish(connection, then, report, actor, at, managed_by, dry_run=dry_run)

    return await _run(database, work)
