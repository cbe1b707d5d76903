"""Geofences: what becomes of an upload, what it is given back as, and what it changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from upload_house import POINT, RING, STORE, STORES, box, collection, feature, one, parse, polygon

from geoservice.geofencing.geofence import Geofence, to_feature
from geoservice.geofencing.uploads.changes import diff
from geoservice.geofencing.uploads.checks import check
from geoservice.geofencing.uploads.geojson import read_geojson
from geoservice.geofencing.uploads.shapes import areas_m2
from geoservice.vocabulary import GeofenceKind


def test_a_feature_becomes_a_geofence() -> None:
    """Every property with a meaning becomes a field, and all others are kept as they came."""
    beacon = {"protocol": "ibeacon", "uuid": "5B1C6B1E-3F0A-4C57-9D3E-2A7C1F4E8B60", "major": 1, "minor": 2}
    fence = one(
        feature(
            name="Running",
            kind="department",
            tags=["running"],
            dwell_s=120,
            floor=-1,
            beacons=[beacon],
            valid_from="2026-11-27T00:00:00+01:00",
            valid_until="2026-11-28T00:00:00Z",
            opening_hours="Mo-Sa 10:00-20:00",
            sizes={"eu": [38, 48.5, None]},
        )
    )
    assert fence == Geofence(
        geofence_id="f",
        name="Running",
        kind=GeofenceKind.DEPARTMENT,
        geometry=shapely.Polygon(RING),
        store_id="hh",
        tags=("running",),
        dwell_s=120,
        floor=-1,
        beacons=(beacon | {"uuid": "5b1c6b1e-3f0a-4c57-9d3e-2a7c1f4e8b60"},),
        valid_from=datetime(2026, 11, 26, 23, tzinfo=UTC),
        valid_until=datetime(2026, 11, 28, tzinfo=UTC),
        metadata={"opening_hours": "Mo-Sa 10:00-20:00", "sizes": {"eu": [38, 48.5, None]}},
    )


def test_a_single_feature_is_a_collection_of_one() -> None:
    """A document that is one Feature is read, and paths into it start at the Feature."""
    assert len(check(read_geojson(feature()), STORES).fences) == 1
    (error,) = check(read_geojson(feature(kind="shop")), STORES).errors
    assert error.path == "properties.kind"


@pytest.mark.parametrize(
    ("item", "geofence_id"),
    [
        pytest.param(feature(id="a.b:c-d_1"), "a.b:c-d_1", id="as the property id"),
        pytest.param(feature(id=...) | {"id": "x"}, "x", id="as the feature's own id"),
        pytest.param(feature(id=17), "17", id="a number is written out"),
        pytest.param(feature(id="way/123"), "way:123", id="OpenStreetMap's form has a slash, ids have none"),
        pytest.param(feature(**{"id": ..., "@id": "relation/9"}), "relation:9", id="Overpass writes @id"),
    ],
)
def test_where_ids_come_from(item: Any, geofence_id: str) -> None:
    """The id is the property ``id``, else the feature's, else ``@id``; a missing name is the id."""
    fence = one(item)
    assert (fence.geofence_id, fence.name, fence.metadata) == (geofence_id, geofence_id, {})


def test_without_a_kind_it_is_a_store() -> None:
    """An export of another tool knows no kinds: it is read as stores, with a warning each."""
    parsed = parse(feature(kind=...))
    assert parsed.fences[0].kind is GeofenceKind.STORE
    assert [warning.code for warning in parsed.warnings] == ["kind_assumed"]


@pytest.mark.parametrize(
    ("geometry", "wkt"),
    [
        pytest.param(polygon(*[[x, y, 12.5] for x, y in RING]), shapely.Polygon(RING).wkt, id="heights are dropped"),
        pytest.param(polygon(*RING[::-1]), shapely.Polygon(RING[::-1]).wkt, id="clockwise is as good as the other way"),
        pytest.param(
            {"type": "MultiPolygon", "coordinates": [[RING]]},
            shapely.MultiPolygon([shapely.Polygon(RING)]).wkt,
            id="several polygons stay several, even if it is one",
        ),
        pytest.param(
            {
                "type": "Polygon",
                "coordinates": [
                    RING,
                    [[9.9979, 53.551], [9.9981, 53.551], [9.9981, 53.5512], [9.9979, 53.551]],
                ],
            },
            shapely.Polygon(RING, [[[9.9979, 53.551], [9.9981, 53.551], [9.9981, 53.5512], [9.9979, 53.551]]]).wkt,
            id="holes count",
        ),
    ],
)
def test_shapes(geometry: Any, wkt: str) -> None:
    """A Polygon or MultiPolygon is taken as it is drawn, in lon/lat, without heights."""
    assert one(feature(geometry)).geometry.wkt == wkt


def test_a_circle_is_a_point_with_a_radius() -> None:
    """A Point with ``radius_m`` stays a point and keeps its radius."""
    fence = one(feature(POINT, radius_m=150))
    assert (fence.geometry, fence.radius_m) == (shapely.Point(STORE), 150.0)


@pytest.mark.parametrize(
    "geometry",
    [
        pytest.param(box(179.99, -17, -179.99, -16.99), id="the longitude jumps"),
        pytest.param(box(179.99, -17, 180.01, -16.99), id="the longitude goes on beyond 180"),
        pytest.param(box(-180.01, -17, -179.99, -16.99), id="the longitude goes on beyond -180"),
    ],
)
def test_what_crosses_the_antimeridian_is_split(geometry: Any) -> None:
    """A shape across 180° becomes two that meet there, however it was written, with the same area."""
    shape = one(feature(geometry, store_id=...)).geometry
    west, east = shapely.get_parts(shape)
    assert {west.bounds[0], east.bounds[0]} == {179.99, -180.0}
    assert {west.bounds[2], east.bounds[2]} == {180.0, -179.99}
    here = shapely.box(9.99, -17, 10.01, -16.99)
    assert areas_m2([shape])[0] == pytest.approx(areas_m2([here])[0])


def test_a_hole_across_the_antimeridian_is_split_too() -> None:
    """The hole of a split shape stays a hole on both sides."""
    outer = box(179.9, 0, -179.9, 0.2)["coordinates"][0]
    hole = box(-180.05, 0.05, -179.95, 0.15)["coordinates"][0]
    shape = one(feature({"type": "Polygon", "coordinates": [outer, hole]}, store_id=...)).geometry
    assert not shape.intersects(shapely.Point(180, 0.1))
    assert not shape.intersects(shapely.Point(-179.99, 0.1))
    assert shape.intersects(shapely.Point(-179.92, 0.1))


def test_a_polar_cap_is_a_box() -> None:
    """A cap drawn as a box from -180 to 180 degrees is no crossing and is taken."""
    shape = one(feature(box(-180, 89.9, 180, 90), store_id=...)).geometry
    assert shape.bounds == (-180, 89.9, 180, 90)


# Measures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lat", "expected_m2"),
    [(0, 1_230_907), (53.55, 737_680), (80, 216_550)],
)
def test_areas(lat: float, expected_m2: float) -> None:
    """Areas are those on the WGS 84 ellipsoid, at every latitude."""
    box = shapely.box(10, lat - 0.005, 10.01, lat + 0.005)
    assert areas_m2([box])[0] == pytest.approx(expected_m2, rel=1e-4)


# Round trip and differences ---------------------------------------------------------------------------------

numbers = st.integers(-(10**400), 10**400) | st.floats()
junk = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5) | st.sampled_from(["Polygon", "Point", "Feature"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["type", "id", "coordinates", "properties", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
lons, lats = st.floats(-181, 181), st.floats(-91, 91)
rings = st.lists(st.tuples(lons, lats).map(list), min_size=3, max_size=6).map(lambda ring: [*ring, ring[0]])
geometries = st.one_of(
    junk,
    st.fixed_dictionaries({"type": st.just("Point"), "coordinates": st.tuples(lons, lats).map(list) | junk}),
    st.fixed_dictionaries({"type": st.just("Polygon"), "coordinates": st.lists(rings, max_size=2) | junk}),
    st.fixed_dictionaries(
        {
            "type": st.just("MultiPolygon"),
            "coordinates": st.lists(st.lists(rings | junk, max_size=2), max_size=2),
        }
    ),
)
features = st.fixed_dictionaries(
    {"type": st.just("Feature"), "geometry": geometries},
    optional={
        "id": junk,
        "properties": st.dictionaries(
            st.sampled_from(sorted({"id", "store_id", "tags", "beacons", "x", *Geofence.__struct_fields__})),
            junk | st.sampled_from(["hh", "store", 50, "2026-11-27T00:00:00Z"]),
        ),
    },
)


@given(st.lists(features | junk, max_size=4) | junk)
def test_nothing_breaks_the_reader(items: Any) -> None:
    """Whatever JSON comes, the answer is geofences or errors; what is read can be given back unchanged."""
    parsed = check(read_geojson({"type": "FeatureCollection", "features": items}), STORES)
    if isinstance(items, list):
        assert len(parsed.fences) + len({error.path.split(".")[0] for error in parsed.errors}) == len(items)
    given_back = json.loads(json.dumps(collection(*map(to_feature, parsed.fences)), allow_nan=False))
    again = check(read_geojson(given_back), STORES)
    assert again.errors == []
    assert again.fences == parsed.fences


def test_unreadable_nesting_is_refused() -> None:
    """Metadata or coordinates nested a thousand deep are an error, not a crash."""
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    parsed = parse(feature(x=deep), feature({"type": "MultiPolygon", "coordinates": deep}, id="g"))
    assert [error.code for error in parsed.errors] == ["metadata_not_storable", "position_invalid"]


def test_what_an_upload_changes() -> None:
    """An upload is reported as created, changed, unchanged, and removed when it replaces everything."""
    old = parse(*[feature(id=name) for name in ("same", "turned", "renamed", "moved", "tagged", "gone")]).fences
    new = parse(
        feature(id="same"),
        feature(polygon(*RING[2:], *RING[1:3]), id="turned"),
        feature(id="renamed", name="New"),
        feature(box(9.9975, 53.5506, 9.9985, 53.55161), id="moved"),
        feature(id="tagged", note=1),
        feature(id="new"),
    ).fences
    changes = diff(old, new, replace=True)
    assert changes.created == ["new"]
    assert changes.changed == ["renamed", "moved", "tagged"]
    assert changes.unchanged == ["same", "turned"]
    assert changes.removed == ["gone"]
    assert diff(old, new, replace=False).removed == []
    assert diff([], [], replace=True).created == []
