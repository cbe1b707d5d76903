"""What a test of uploads is made of: shapes around a store, features, and the upload read and checked."""

from __future__ import annotations

from typing import Any

from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.uploads.checks import ParsedGeofences, check
from geoservice.geofencing.uploads.geojson import read_geojson

STORE = (9.998, 53.5511)
STORES = {"hh": STORE}

# About 66 m by 111 m around the store.
RING = [[9.9975, 53.5506], [9.9985, 53.5506], [9.9985, 53.5516], [9.9975, 53.5516], [9.9975, 53.5506]]
SQUARE = {"type": "Polygon", "coordinates": [RING]}
POINT = {"type": "Point", "coordinates": list(STORE)}


def polygon(*ring: list[Any]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [list(ring)]}


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    return polygon([west, south], [east, south], [east, north], [west, north], [west, south])


def feature(geometry: Any = SQUARE, **properties: Any) -> dict[str, Any]:
    known = {"id": "f", "kind": "store", "store_id": "hh"} | properties
    kept = {key: value for key, value in known.items() if value is not ...}
    return {"type": "Feature", "geometry": geometry, "properties": kept}


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def parse(*features: Any) -> ParsedGeofences:
    return check(read_geojson(collection(*features)), STORES)


def one(item: Any) -> Geofence:
    parsed = parse(item)
    assert parsed.errors == []
    return parsed.fences[0]
