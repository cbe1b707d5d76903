"""A checked geofence, and its GeoJSON Feature. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
import shapely

from geoservice.vocabulary import GeofenceKind

DEFAULT_DWELL_S: Final = 300
"""After so long inside a dwell is told where the geofence names no time of its own."""


class Geofence(msgspec.Struct, frozen=True, gc=False):
    """A checked geofence.

    ``geometry`` is a Polygon or MultiPolygon in lon/lat degrees, or a Point that ``radius_m`` makes round.
    ``beacons`` are those whose sighting puts a phone inside, with hexadecimal ids in lower case.
    ``valid_from`` and ``valid_until`` are in UTC. ``metadata`` holds the properties that have no field here.
    """

    geofence_id: str
    name: str
    kind: GeofenceKind
    geometry: shapely.Geometry
    radius_m: float | None = None
    store_id: str | None = None
    tags: tuple[str, ...] = ()
    dwell_s: int | None = None
    floor: int | None = None
    beacons: tuple[dict[str, Any], ...] = ()
    jurisdiction: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    metadata: Mapping[str, Any] = {}


def to_feature(fence: Geofence) -> dict[str, Any]:
    """Give the GeoJSON Feature back: reading it again yields an equal geofence."""
    properties: dict[str, Any] = {"id": fence.geofence_id, "name": fence.name, "kind": fence.kind.value}
    for key in ("radius_m", "store_id", "dwell_s", "floor", "jurisdiction"):
        if (value := getattr(fence, key)) is not None:
            properties[key] = value
    if fence.tags:
        properties["tags"] = list(fence.tags)
    if fence.beacons:
        properties["beacons"] = [dict(beacon) for beacon in fence.beacons]
    for key in ("valid_from", "valid_until"):
        if (instant := getattr(fence, key)) is not None:
            properties[key] = instant.isoformat().replace("+00:00", "Z")
    return {
        "type": "Feature",
        "id": fence.geofence_id,
        "geometry": _to_geojson(fence.geometry),
        "properties": properties | dict(fence.metadata),
    }


def _to_geojson(geometry: shapely.Geometry) -> dict[str, Any]:
    if geometry.geom_type == "Point":
        return {"type": "Point", "coordinates": [geometry.x, geometry.y]}
    parts = [
        [shapely.get_coordinates(ring).tolist() for ring in (part.exterior, *part.interiors)]
        for part in shapely.get_parts(geometry)
    ]
    return {
        "type": geometry.geom_type,
        "coordinates": parts if geometry.geom_type == "MultiPolygon" else parts[0],
    }
