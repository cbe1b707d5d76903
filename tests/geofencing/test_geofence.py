"""Geofences: what an upload may hold, what it is told when it may not, and what it changes."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoservice.geofencing.geofence import Geofence, to_feature
from geoservice.geofencing.uploads.changes import diff
from geoservice.geofencing.uploads.checks import ParsedGeofences, check
from geoservice.geofencing.uploads.drafts import MAX_LISTED
from geoservice.geofencing.uploads.geojson import read_geojson
from geoservice.geofencing.uploads.shapes import areas_m2
from geoservice.vocabulary import GeofenceKind

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


# What is read -----------------------------------------------------------------------------------------------


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
