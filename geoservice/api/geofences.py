"""Routes of the catalogue: geofences, uploads, versions."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from geoservice.api import schemas
from geoservice.api.answers import geofences as answers
from geoservice.api.problems import refuse_malformed
from geoservice.api.routing import Call, Route, answer, tag
from geoservice.errors import NotFound, TooLarge
from geoservice.geofencing.geofence import to_feature
from geoservice.geofencing.uploads.csv_files import read_csv
from geoservice.geofencing.uploads.documents import Document
from geoservice.geofencing.uploads.geojson import read_geojson
from geoservice.vocabulary import Role
from geoservice.workflows import geofences
from geoservice.workflows.directory import load_geofence, load_geofences

OPS: Final = frozenset({Role.OPS})
SLICED_FROM: Final = 256 * 1024
"""A body that is larger, in bytes, takes too long to be parsed at once."""
FEATURES_MAX: Final = 1_000_000
"""More than any retailer has, and each that is wrong costs half a kilobyte until all are checked."""


async def import_geofences(call: Call) -> web.Response:
    """Publish a FeatureCollection or a CSV file, or say what is wrong with it and change nothing."""
    query, services = call.query(schemas.ImportQuery), call.services
    upload = geofences.Upload(
        await _document(call),
        mode=query.mode,
        make_valid=query.make_valid,
        dry_run=query.dry_run,
        confirm_removed=query.confirm_removed,
        jurisdiction=services.settings.sensitive_jurisdiction,
    )
    report = await geofences.publish(services.database, upload, call.actor.name, services.clock.now())
    return answer(report.jsonable() | {"dry_run": query.dry_run})


async def _document(call: Call) -> Document:
    """Read the body by its content type; one that is not given shows in the first character."""
    body = await call.raw_body()
    kind = call.request.content_type
    if kind == schemas.CSV or (kind == "application/octet-stream" and body.lstrip()[:1] not in (b"{", b"[")):
        return await asyncio.to_thread(read_csv, body)
    if len(body) <= SLICED_FROM:
        return read_geojson(_load(body))
    return await asyncio.to_thread(lambda: read_geojson(_load_sliced(body)))


def _load(body: bytes | memoryview) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse_malformed(error) from None


def _load_sliced(body: bytes) -> Any:
    """The same, feature by feature: nobody else is served while a parser runs, in whatever thread."""
    try:
        members = _members.decode(body)
        features = _list.decode(members["features"])
    except (msgspec.DecodeError, RecursionError, KeyError):
        return _load(body)  # it is no collection; what is wrong with it is said as of a small one
    if len(features) > FEATURES_MAX:
        raise TooLarge(f"An upload holds at most {FEATURES_MAX:,} features.")
    parts = {name: _load(memoryview(raw)) for name, raw in members.items() if name != "features"}
    return parts | {"features": [_load(memoryview(raw)) for raw in features]}


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])


async def get_geofences(call: Call) -> web.Response:
    """Give all geofences as one FeatureCollection."""
    async with call.services.database.connection() as connection:
        fences = await load_geofences(connection)
    body = await asyncio.to_thread(geofences.write_collection, fences)
    return web.Response(body=body, content_type="application/json")


async def get_geofence(call: Call) -> web.Response:
    """Give one geofence as a Feature."""
    async with call.services.database.connection() as connection:
        found = await load_geofence(connection, call.id())
    if found is None:
        raise NotFound("There is no such geofence.")
    fence, version = found
    return answer(to_feature(fence), headers=tag(version))


async def put_geofence(call: Call) -> web.Response:
    """Create or replace one geofence; the id in the path is its id."""
    feature = _load(await call.raw_body())
    if isinstance(feature, dict):
        properties = feature.get("properties")
        feature = feature | {
            "id": call.id(),
            "properties": (properties if isinstance(properties, dict) else {}) | {"id": call.id()},
        }
    services = call.services
    document = read_geojson({"type": "FeatureCollection", "features": [feature]})
    upload = geofences.Upload(document, jurisdiction=services.settings.sensitive_jurisdiction, expected=call.expected())
    report = await geofences.publish(services.database, upload, call.actor.name, services.clock.now())
    return answer(report.jsonable(), headers=tag(report.version_of_one))


async def delete_geofence(call: Call) -> web.Response:
    """Remove one geofence."""
    services = call.services
    at, expected = services.clock.now(), call.expected()
    await geofences.delete_geofence(services.database, call.id(), call.actor.name, at, expected)
    return web.Response(status=204)


async def get_versions(call: Call) -> web.Response:
    """List publications of geofences, newest first."""
    query = call.query(schemas.VersionsQuery)
    rows = await geofences.versions(call.services.database, before=query.before, limit=query.limit + 1)
    items = [schemas.as_json(row) for row in rows[: query.limit]]
    more = {"next": str(items[-1]["version"])} if len(rows) > query.limit else {}
    return answer({"items": items, **more})


async def get_version(call: Call) -> web.Response:
    """Give one publication: each geofence that it changed, before and after."""
    query = call.query(schemas.ChangesQuery)
    row, changes = await geofences.version(
        call.services.database, _number(call), after_id=query.after, limit=query.limit + 1
    )
    items = changes[: query.limit]
    more = {"next": items[-1]["geofence_id"]} if len(changes) > query.limit else {}
    return answer({**schemas.as_json(row), "items": items, **more})


async def restore_version(call: Call) -> web.Response:
    """Publish the geofences as they were in a version; what is there now stays on record."""
    query = call.query(schemas.RestoreQuery)
    services = call.services
    report = await geofences.restore(
        services.database,
        _number(call),
        dry_run=query.dry_run,
        actor=call.actor.name,
        at=services.clock.now(),
        jurisdiction=services.settings.sensitive_jurisdiction,
    )
    return answer(report.jsonable() | {"dry_run": query.dry_run})


def _number(call: Call) -> int:
    text = call.request.match_info["id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise NotFound("There is no such version.")
    return int(text)


ROUTES: Final = (
    Route(
        "POST",
        "/v1/geofences/import",
        import_geofences,
        OPS,
        schemas.UPLOAD_BODY,
        body=schemas.FeatureCollectionBody | schemas.FeatureBody,
        body_types=(*schemas.GEOJSON, schemas.CSV),
        query=schemas.ImportQuery,
        answer=answers.ImportAnswer,
        refuses=(409,),
    ),
    Route("GET", "/v1/geofences", get_geofences, OPS, answer=answers.FeatureCollection),
    Route(
        "GET", "/v1/geofences/versions", get_versions, OPS, query=schemas.VersionsQuery, answer=answers.VersionsAnswer
    ),
    Route(
        "GET",
        "/v1/geofences/versions/{id}",
        get_version,
        OPS,
        query=schemas.ChangesQuery,
        answer=answers.VersionAnswer,
    ),
    Route(
        "POST",
        "/v1/geofences/versions/{id}/restore",
        restore_version,
        OPS,
        query=schemas.RestoreQuery,
        answer=answers.ImportAnswer,
        refuses=(409,),
    ),
    Route("GET", "/v1/geofences/{id}", get_geofence, OPS, answer=answers.Feature, headers=("ETag",)),
    Route(
        "PUT",
        "/v1/geofences/{id}",
        put_geofence,
        OPS,
        body=schemas.FeatureBody,
        body_types=schemas.GEOJSON,
        answer=answers.ImportAnswer,
        headers=("ETag",),
        takes=("If-Match", "If-None-Match"),
        refuses=(412,),
    ),
    Route("DELETE", "/v1/geofences/{id}", delete_geofence, OPS, status=204, takes=("If-Match",), refuses=(412,)),
)
