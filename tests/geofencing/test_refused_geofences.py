"""Geofences: what an upload is told when it may not be, and what is odd about it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from upload_house import POINT, RING, SQUARE, STORE, STORES, box, feature, parse, polygon

from geoservice.geofencing.uploads.checks import check
from geoservice.geofencing.uploads.drafts import MAX_LISTED
from geoservice.geofencing.uploads.geojson import read_geojson

# What is refused --------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan
MANY = [[9.9975 + math.cos(n / 2000) / 1000, 53.55 + math.sin(n / 2000) / 1000] for n in range(10_001)]


@pytest.mark.parametrize(
    ("item", "code", "path"),
    [
        # The feature itself.
        (None, "not_a_feature", "type"),
        ({"type": "Point", "coordinates": [0, 0]}, "not_a_feature", "type"),
        (feature() | {"id": "f", "properties": [1]}, "properties_invalid", "properties"),
        # Ids go into URLs and paths.
        (feature(id=...), "id_missing", "properties.id"),
        (feature(id="a b"), "id_invalid", "properties.id"),
        (feature(id="a\n"), "id_invalid", "properties.id"),
        (feature(id="x" * 129), "id_invalid", "properties.id"),
        (feature(id=True), "id_invalid", "properties.id"),
        (feature(id=...) | {"id": {}}, "id_invalid", "id"),
        # Properties with a meaning have a type and a range.
        (feature(name=["x"]), "name_invalid", "properties.name"),
        (feature(name="a\0b"), "name_invalid", "properties.name"),
        (feature(kind="shop"), "kind_unknown", "properties.kind"),
        (feature(kind=[]), "kind_unknown", "properties.kind"),
        (feature(store_id="nowhere"), "store_unknown", "properties.store_id"),
        (feature(store_id={}), "store_unknown", "properties.store_id"),
        (feature(tags="mall"), "tags_invalid", "properties.tags"),
        (feature(tags=["mall", 3]), "tags_invalid", "properties.tags[1]"),
        (feature(dwell_s=0), "dwell_s_invalid", "properties.dwell_s"),
        (feature(dwell_s="60"), "dwell_s_invalid", "properties.dwell_s"),
        (feature(floor=1.5), "floor_invalid", "properties.floor"),
        (feature(beacons={}), "beacons_invalid", "properties.beacons"),
        (feature(beacons=[{"protocol": "wifi"}]), "beacons_invalid", "properties.beacons[0]"),
        (
            feature(beacons=[{"protocol": "eddystone-uid", "namespace": "0" * 19, "instance": "0" * 12}]),
            "beacons_invalid",
            "properties.beacons[0].namespace",
        ),
        (feature(valid_from="2026-11-27T00:00:00"), "valid_from_invalid", "properties.valid_from"),
        (feature(valid_until=20261127), "valid_until_invalid", "properties.valid_until"),
        (feature(valid_until="9999-12-31T23:59:59-01:00"), "valid_until_invalid", "properties.valid_until"),
        (
            feature(valid_from="2026-11-28T00:00:00Z", valid_until="2026-11-27T00:00:00Z"),
            "valid_until_invalid",
            "properties.valid_until",
        ),
        # What PostgreSQL's jsonb or a JSON writer would choke on later is refused at the door.
        (feature(note="\0"), "metadata_not_storable", "properties"),
        (feature(note=NAN), "metadata_not_storable", "properties"),
        (feature(note=2**64), "metadata_not_storable", "properties"),
        (feature(note=["\ud800"]), "metadata_not_storable", "properties"),
        # A geometry is a Polygon, a MultiPolygon or a Point with a radius.
        (feature(None), "geometry_missing", "geometry"),
        (feature("POINT(0 0)"), "geometry_invalid", "geometry"),
        (feature({"type": "LineString", "coordinates": RING}), "geometry_type_not_allowed", "geometry.type"),
        (feature({"type": []}), "geometry_invalid", "geometry"),
        (feature(POINT), "radius_missing", "properties.radius_m"),
        (feature(POINT, radius_m=0), "radius_out_of_range", "properties.radius_m"),
        (feature(POINT, radius_m=40_001), "radius_out_of_range", "properties.radius_m"),
        (feature(POINT, radius_m=NAN), "radius_out_of_range", "properties.radius_m"),
        (feature(POINT, radius_m=True), "radius_out_of_range", "properties.radius_m"),
        (feature(SQUARE, radius_m=50), "radius_on_polygon", "properties.radius_m"),
        (
            feature({"type": "Point", "coordinates": [9.9]}, radius_m=50),
            "position_invalid",
            "geometry.coordinates",
        ),
        (
            feature({"type": "Point", "coordinates": [200, 9.9]}, radius_m=50),
            "coordinate_out_of_range",
            "geometry.coordinates",
        ),
        # Rings.
        (feature({"type": "Polygon"}), "coordinates_invalid", "geometry.coordinates"),
        (feature({"type": "Polygon", "coordinates": []}), "coordinates_invalid", "geometry.coordinates"),
        (
            feature({"type": "MultiPolygon", "coordinates": [[RING], 7]}),
            "coordinates_invalid",
            "geometry.coordinates[1]",
        ),
        (feature({"type": "Polygon", "coordinates": [[]]}), "ring_too_short", "geometry.coordinates[0]"),
        (feature(polygon(*RING[:2], RING[0])), "ring_too_short", "geometry.coordinates[0]"),
        (feature(polygon(*RING[:4])), "ring_not_closed", "geometry.coordinates[0][3]"),
        (
            feature({"type": "MultiPolygon", "coordinates": [[RING], [RING, RING[:4]]]}),
            "ring_not_closed",
            "geometry.coordinates[1][1][3]",
        ),
        (
            feature(polygon(*RING[:2], ["9.9", 53.5], *RING[3:])),
            "position_invalid",
            "geometry.coordinates[0][2]",
        ),
        (
            feature(polygon(*RING[:2], [True, 53.5], *RING[3:])),
            "position_invalid",
            "geometry.coordinates[0][2]",
        ),
        (
            feature(polygon(*RING[:2], [10**400, 53.5], *RING[3:])),
            "position_invalid",
            "geometry.coordinates[0][2]",
        ),
        (
            feature(polygon(*RING[:2], [INF, 53.5], *RING[3:])),
            "coordinate_not_finite",
            "geometry.coordinates[0][2]",
        ),
        (
            feature(polygon(*RING[:2], [NAN, 53.5], *RING[3:])),
            "coordinate_not_finite",
            "geometry.coordinates[0][2]",
        ),
        (
            feature(polygon(*RING[:2], [200, 53.5], *RING[3:])),
            "coordinate_out_of_range",
            "geometry.coordinates[0][2]",
        ),
        (feature(box(190, 50, 190.01, 50.01)), "coordinate_out_of_range", "geometry.coordinates[0][0]"),
        (
            feature(polygon(*RING[:2], [9.9, 181], *RING[3:])),
            "coordinate_out_of_range",
            "geometry.coordinates[0][2]",
        ),
        (feature(polygon(*MANY, MANY[0])), "too_many_vertices", "geometry.coordinates"),
        # A latitude beyond 90° shows that the pair is the wrong way round, and so does its store.
        (feature(box(53.55, 139.69, 53.551, 139.691)), "lat_lon_swapped", "geometry.coordinates[0][0]"),
        (
            feature({"type": "Point", "coordinates": [53.55, -139.69]}, radius_m=50),
            "lat_lon_swapped",
            "geometry.coordinates",
        ),
        (feature(polygon(*[[y, x] for x, y in RING])), "lat_lon_swapped", "geometry.coordinates"),
        (
            feature({"type": "Point", "coordinates": list(STORE[::-1])}, radius_m=50),
            "lat_lon_swapped",
            "geometry.coordinates",
        ),
        # Shapes.
        (
            feature(polygon(RING[0], RING[2], RING[1], RING[3], RING[0])),
            "self_intersection",
            "geometry.coordinates",
        ),
        (
            feature({"type": "MultiPolygon", "coordinates": [[RING], [RING]]}),
            "self_intersection",
            "geometry.coordinates",
        ),
        (
            feature({"type": "Polygon", "coordinates": [RING, box(11, 53, 11.1, 53.1)["coordinates"][0]]}),
            "geometry_invalid",
            "geometry.coordinates",
        ),
        (feature(box(9.5, 53, 10.6, 53.7)), "area_too_large", "geometry.coordinates"),
        (
            feature(
                {
                    "type": "MultiPolygon",
                    "coordinates": [box(10, lat, 10.01, lat + 0.01)["coordinates"] for lat in (47.5, 54)],
                }
            ),
            "too_spread",
            "geometry.coordinates",
        ),
        (
            feature(polygon([0, 1], [120, -1], [-120, 1], [0, 1])),
            "encloses_pole",
            "geometry.coordinates[0]",
        ),
    ],
)
def test_what_is_refused(item: Any, code: str, path: str) -> None:
    """A feature that breaks one rule is refused with the feature, the path to the place, and the rule."""
    parsed = parse(item, feature(id="good"))
    (error,) = parsed.errors
    assert (error.code, error.path) == (code, f"features[0].{path}")
    assert error.message.endswith(".") or error.message.endswith("first.")
    assert error.feature in {"f", "#0"}
    assert [fence.geofence_id for fence in parsed.fences] == ["good"]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (None, "type"),
        ([feature()], "type"),
        ({"type": "Topology"}, "type"),
        ({"type": []}, "type"),
        ({"type": "FeatureCollection"}, "features"),
        ({"type": "FeatureCollection", "features": {}}, "features"),
    ],
)
def test_what_is_no_collection(document: Any, path: str) -> None:
    """Anything but a FeatureCollection or a Feature is refused as a whole."""
    parsed = check(read_geojson(document), STORES)
    assert [(error.code, error.path) for error in parsed.errors] == [("not_a_feature_collection", path)]
    assert parsed.fences == ()


def test_duplicate_ids() -> None:
    """The second feature of an id is refused and told where the first one is, however the id is written."""
    parsed = parse(feature(id="way/1"), feature(), feature(id=...) | {"id": "way:1"})
    (error,) = parsed.errors
    assert (error.path, error.code, error.feature) == ("features[2].id", "id_duplicate", "way:1")
    assert "features[0]" in error.message


def test_a_self_intersection_is_shown() -> None:
    """The sentence about a self-intersection says where it is."""
    (error,) = parse(feature(polygon([0, 0], [0.01, 0.01], [0.01, 0], [0, 0.01], [0, 0]), store_id=...)).errors
    assert "lon lat 0.005 0.005" in error.message


def test_all_errors_come_at_once() -> None:
    """Every broken rule of every feature is listed, so that one repair is enough."""
    parsed = parse(
        feature(polygon(*RING[:4]), id="a", kind="shop", floor="x"),
        feature({"type": "Polygon", "coordinates": [[RING[0]], RING[:4]]}, id="b"),
        feature(polygon(RING[0], RING[2], RING[1], RING[3], RING[0]), id="c", store_id="nowhere"),
    )
    assert {(error.feature, error.code) for error in parsed.errors} == {
        ("a", "kind_unknown"),
        ("a", "floor_invalid"),
        ("a", "ring_not_closed"),
        ("b", "ring_too_short"),
        ("b", "ring_not_closed"),
        ("c", "store_unknown"),
        ("c", "self_intersection"),
    }


def test_endless_errors_are_counted() -> None:
    """After a hundred errors the rest is counted in one last entry."""
    parsed = parse(*[feature(id=f"f{n}", kind="shop") for n in range(MAX_LISTED + 5)])
    assert len(parsed.errors) == MAX_LISTED + 1
    assert (parsed.errors[-1].code, parsed.errors[-1].message[:6]) == ("more_not_listed", "5 more")


# What is odd ------------------------------------------------------------------------------------------------

BEACON = {"protocol": "eddystone-uid", "namespace": "0" * 20, "instance": "0" * 12}
FAR = {"type": "Point", "coordinates": [9.998, 53.5811]}  # 3,336 m north of the store


@pytest.mark.parametrize(
    ("item", "codes"),
    [
        pytest.param(feature(POINT, radius_m=30), [], id="30 m is large enough"),
        pytest.param(feature(POINT, radius_m=29), ["small_geofence"], id="29 m is not"),
        pytest.param(
            feature(box(9.9978, 53.551, 9.9982, 53.5512)),
            ["small_geofence"],
            id="26 m by 22 m is as small as a circle of 14 m",
        ),
        pytest.param(
            feature(POINT, radius_m=10, kind="department", beacons=[BEACON]),
            [],
            id="beacons find a small department",
        ),
        pytest.param(
            feature(POINT, radius_m=10, kind="department"), ["small_geofence"], id="without them nothing does"
        ),
        pytest.param(
            feature(POINT, radius_m=10, kind="sensitive", store_id=...),
            [],
            id="a sensitive place counts when a disc touches it, so it cannot be too small",
        ),
        pytest.param(feature(FAR, radius_m=1_400), [], id="1,936 m from its store is near enough"),
        pytest.param(feature(FAR, radius_m=1_300), ["far_from_store"], id="2,036 m is far"),
    ],
)
def test_warnings(item: Any, codes: list[str]) -> None:
    """A fence that phones will hardly see, or that is far from its store, is taken with a warning."""
    parsed = parse(item)
    assert parsed.errors == []
    assert len(parsed.fences) == 1
    assert [warning.code for warning in parsed.warnings] == codes
