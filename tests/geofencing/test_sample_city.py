"""The sample retailer: what the files in ``geofences/`` promise to demonstration, tests and documentation."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from itertools import combinations
from math import cos, radians
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import shapely
from opening_hours import OpeningHours

from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.uploads.checks import check
from geoservice.geofencing.uploads.geojson import read_geojson
from geoservice.vocabulary import GeofenceKind

CITY = Path(__file__).parents[2] / "geofences"
METRES_A_DEGREE = 111_195


def read(name: str) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = json.loads((CITY / name).read_text(encoding="utf-8"))["features"]
    return features


STORES = {item["properties"]["id"]: item for item in read("stores.geojson")}
POSITIONS = {store_id: tuple(item["geometry"]["coordinates"]) for store_id, item in STORES.items()}
PARSED = check(read_geojson({"type": "FeatureCollection", "features": read("geofences.geojson")}), POSITIONS)


def by_store() -> dict[str, dict[GeofenceKind, list[Geofence]]]:
    grouped: dict[str, dict[GeofenceKind, list[Geofence]]] = defaultdict(lambda: defaultdict(list))
    for fence in PARSED.fences:
        grouped[str(fence.store_id)][fence.kind].append(fence)
    return grouped


def on_plane(fence: Geofence) -> Any:
    """The fence in metres around Hamburg's town hall, a circle as a polygon of 64 corners."""
    middle = np.array([9.9925, 53.5505])
    scale = METRES_A_DEGREE * np.array([cos(radians(middle[1])), 1])
    flat = shapely.transform(fence.geometry, lambda lonlat: (lonlat - middle) * scale)
    return flat.buffer(fence.radius_m) if fence.radius_m else flat


def test_the_files_are_clean() -> None:
    """The geofences are read without an error and without a warning."""
    assert PARSED.errors == []
    assert PARSED.warnings == []


def test_every_store_has_its_fences() -> None:
    """Each of at least 12 stores has one approach fence and one store fence, named after it."""
    grouped = by_store()
    assert len(STORES) >= 12
    assert grouped.keys() == STORES.keys()
    for store_id, kinds in grouped.items():
        assert [fence.geofence_id for fence in kinds[GeofenceKind.APPROACH]] == [f"{store_id}-approach"]
        assert [fence.geofence_id for fence in kinds[GeofenceKind.STORE]] == [f"{store_id}-store"]


@pytest.mark.parametrize("store_id", STORES)
def test_a_store_says_when_and_where(store_id: str) -> None:
    """Every store has a name, an address in Hamburg, a real time zone and opening hours that can be read."""
    properties = STORES[store_id]["properties"]
    assert properties["name"].startswith("Strandläufer Sport ")
    assert properties["address"].endswith(" Hamburg")
    assert ZoneInfo(properties["timezone"]).key == "Europe/Berlin"
    assert str(OpeningHours(properties["opening_hours"]))


def test_one_store_opens_on_sundays() -> None:
    """Only the store in the main station is open on a Sunday at noon."""
    noon = datetime.fromisoformat("2026-11-22T12:00")
    hours = {key: OpeningHours(item["properties"]["opening_hours"]) for key, item in STORES.items()}
    assert [key for key, opening in hours.items() if opening.is_open(noon)] == ["hh-hauptbahnhof"]


@pytest.mark.parametrize("store_id", STORES)
def test_fences_lie_inside_each_other(store_id: str) -> None:
    """The approach fence holds the building, the building holds its departments and the store's position."""
    kinds = by_store()[store_id]
    approach, building = on_plane(kinds[GeofenceKind.APPROACH][0]), on_plane(kinds[GeofenceKind.STORE][0])
    assert approach.contains(building)
    assert kinds[GeofenceKind.STORE][0].geometry.contains(shapely.Point(POSITIONS[store_id]))
    for department in kinds[GeofenceKind.DEPARTMENT]:
        assert building.contains(on_plane(department))


def test_two_stores_have_departments() -> None:
    """Two stores have three or more departments with floor and beacons; no beacon stands in two of them."""
    departments = [fence for fence in PARSED.fences if fence.kind is GeofenceKind.DEPARTMENT]
    counts = [len(kinds[GeofenceKind.DEPARTMENT]) for kinds in by_store().values()]
    assert sorted(counts)[-3:] == [0, 3, 4]
    assert all(fence.floor is not None and fence.beacons for fence in departments)
    beacons = [json.dumps(beacon) for fence in departments for beacon in fence.beacons]
    assert len(beacons) == len(set(beacons))


def test_departments_of_a_floor_are_apart() -> None:
    """Departments on the same floor of a store do not overlap."""
    for kinds in by_store().values():
        for one, other in combinations(kinds[GeofenceKind.DEPARTMENT], 2):
            assert one.floor != other.floor or not one.geometry.intersects(other.geometry)


def test_approaches_are_apart() -> None:
    """No two approach fences overlap, and a walk from the flagship leaves one well before the next."""
    approaches = {str(f.store_id): on_plane(f) for f in PARSED.fences if f.kind is GeofenceKind.APPROACH}
    gaps = {(a, b): approaches[a].distance(approaches[b]) for a, b in combinations(approaches, 2)}
    assert min(gaps.values()) > 250
    assert gaps["hh-moenckebergstrasse", "hh-gaensemarkt"] > 400
    assert gaps["hh-moenckebergstrasse", "hh-neuer-wall"] > 400
