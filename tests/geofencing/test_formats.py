"""Files as people have them: lists of places, Radar's export, OpenStreetMap's, shapes at 180° and the poles."""

from __future__ import annotations

import codecs
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import shapely

from geoservice.geofence_files import read_files
from geoservice.geofencing.geofence import Geofence, to_feature
from geoservice.geofencing.uploads.checks import ParsedGeofences, check
from geoservice.geofencing.uploads.csv_files import read_csv
from geoservice.geofencing.uploads.documents import joined
from geoservice.geofencing.uploads.geojson import read_geojson
from geoservice.vocabulary import GeofenceKind

STORES = {"hh": (9.998, 53.5511)}

BOW_TIE = [[10, 53], [10.01, 53.01], [10.01, 53], [10, 53.01], [10, 53]]
OPEN = [[10, 53], [10.01, 53], [10.01, 53.01], [10, 53.01]]


def csv(text: str | bytes) -> ParsedGeofences:
    return check(read_csv(text if isinstance(text, bytes) else text.encode()), STORES)


def geojson(*features: Any, **options: Any) -> ParsedGeofences:
    return check(read_geojson({"type": "FeatureCollection", "features": list(features)}), {}, **options)


def outline(*ring: list[float], **properties: Any) -> dict[str, Any]:
    known = {"id": "f", "kind": "store"} | properties
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [list(ring)]}, "properties": known}


def fence(parsed: ParsedGeofences) -> Geofence:
    assert parsed.errors == []
    (one,) = parsed.fences
    return one


# A list of places -------------------------------------------------------------------------------------------


def test_a_list_of_places() -> None:
    """Each line of a table is a circle; columns that mean nothing here are kept."""
    parsed = csv(
        "id,name,lat,lon,radius,kind,store_id,tags,valid_from,manager\n"
        'a,"Jungfernstieg, north",53.5511,9.998,150,approach,hh,"city;flagship",2026-11-27T00:00:00+01:00,Kim\n'
        "b,,53.5512,9.9985,80.5,store,,,,\n"
    )
    first, second = parsed.fences
    assert parsed.errors == []
    assert (first.geometry.x, first.geometry.y, first.radius_m) == (9.998, 53.5511, 150)
    assert (first.name, first.kind, first.store_id) == ("Jungfernstieg, north", GeofenceKind.APPROACH, "hh")
    assert first.tags == ("city", "flagship")
    assert first.valid_from == datetime(2026, 11, 26, 23, tzinfo=UTC)
    assert first.metadata == {"manager": "Kim"}
    assert (second.name, second.radius_m, second.metadata) == ("b", 80.5, {})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xef\xbb\xbfid,lat,lon,radius,kind\na,53.5,10,100,store\n", id="a byte order mark"),
        pytest.param(b"ID;Latitude;Longitude;Radius;Kind\r\na;53,5;10;100;store\r\n", id="semicolons, decimal commas"),
        pytest.param(b"id\tlat\tlng\tradius_m\tkind\na\t53.5\t10\t100\tstore", id="tabs, no last line end"),
        pytest.param(b'"id","lat","lon","radius_meters","kind"\n\n"a","53.5","10","100","store"\n,,,,\n', id="quotes"),
        pytest.param(b"id|lat|long|radius|kind|\na| 53.5 |10|100|store|\n", id="bars, spaces, a last separator"),
        pytest.param(b"kind,radius,lon,lat,id\rstore,100,10,53.5,a\r", id="another order, old Macintosh line ends"),
    ],
)
def test_dialects(body: bytes) -> None:
    """What spreadsheets write is read, whatever its separators, quotes and marks."""
    one = fence(csv(body))
    assert (one.geofence_id, one.geometry.x, one.geometry.y, one.radius_m) == ("a", 10, 53.5, 100)
    assert one.metadata == {}


HEAD = "id,lat,lon,radius,kind\n"


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        (HEAD + "a,53.5,10,100,store\nb,53.5,10,wide,store", "line 3, column radius", "radius_out_of_range"),
        (HEAD + "a,53.5,10,,store", "line 2, column radius", "radius_missing"),
        (HEAD + "a,,10,100,store", "line 2, column lat and lon", "position_invalid"),
        (HEAD + "a,1_0,10,100,store", "line 2, column lat and lon", "position_invalid"),
        (HEAD + "a,120.5,53.5,100,store", "line 2, column lat and lon", "lat_lon_swapped"),
        (HEAD + "a,nan,10,100,store", "line 2, column lat and lon", "coordinate_not_finite"),
        (HEAD + "a,53.5,10,100,shop", "line 2, column kind", "kind_unknown"),
        (HEAD + "a b,53.5,10,100,store", "line 2, column id", "id_invalid"),
        (HEAD + ",53.5,10,100,store", "line 2, column id", "id_missing"),
        (HEAD + "a,53.5,10,100,store\n\na,53.5,10,100,store", "line 4, column id", "id_duplicate"),
        (HEAD + '"a","53.5",10,100,store\n"b\nc",53.5,10,100,store\nd,1,1', "line 3, column id", "id_invalid"),
        (HEAD + "a,53,5,10,100,store", "line 2", "csv_row"),
        (HEAD + 'a,53.5,10,100,"store\n', "line 2", "csv_malformed"),
        (HEAD + 'a,53.5,10,100,"store"x\n', "line 2", "csv_malformed"),
        (HEAD + "a" * 200_000, "line 2", "csv_malformed"),
        ("", "line 1", "csv_header"),
        ("\n \n", "line 1", "csv_header"),
        ("id,lat,lon,LAT\n", "line 1", "csv_header"),
        ("id,lat,radius\na,1,1", "line 1", "csv_header"),
        (",".join(map(str, range(500))), "line 1", "csv_header"),
        (b"id,lat,lon\n\xfcber,1,1", "line 2", "csv_encoding"),
        ("id,lat,lon\na,1,1".encode("utf-16"), "line 1", "csv_encoding"),
        (b"id,lat,lon\na,1,1\nb,\0,1", "line 3", "csv_malformed"),
        (HEAD, "line 1", "csv_row"),
        ((HEAD + "a,53.5,10,100,store").replace("\n", ""), "line 1", "csv_row"),
        ('\ufeff<?xml version="1.0"?>\n<kml/>', "line 1", "csv_malformed"),
        (b"PK\x03\x04\x14\0", "line 1", "csv_malformed"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(body: str | bytes, path: str, code: str) -> None:
    """An error names the line, as an editor counts them, the column as the file calls it, and the rule."""
    errors = csv(body).errors
    assert (path, code) in {(error.path, error.code) for error in errors}, errors


@pytest.mark.parametrize("end", ["\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_name_may_hold_what_ends_lines_elsewhere(end: str) -> None:
    """Only carriage returns and line feeds end a line of a file; what else Python takes for one is part of a cell."""
    one = fence(csv(HEAD.replace("kind", "kind,note") + f"a,53.5,10,100,store,north{end}gate\n"))
    assert one.metadata == {"note": f"north{end}gate"}


def test_formulas_are_text() -> None:
    """A cell that a spreadsheet would compute is kept as the text that it is."""
    assert fence(csv(HEAD.replace("kind", "kind,note") + "a,53.5,10,100,store,=1+2\n")).metadata == {"note": "=1+2"}


# Radar ------------------------------------------------------------------------------------------------------

RADAR = "description,type,tag,externalId,coordinates,radius,metadata,enabled\n"


def test_radars_circles_and_polygons() -> None:
    """Radar's tag and external id become the id, its description the name, its metadata properties."""
    parsed = csv(
        RADAR
        + 'Store #123,circle,store,123,"[9.998,53.5511]",150,"{""parking"": false}",true\n'
        + 'The yard,Polygon,big yard,7,"[[10,53],[10.01,53],[10.01,53.01],[10,53.01],[10,53]]",,,\n'
    )
    circle, polygon = parsed.fences
    assert parsed.errors == []
    assert (circle.geofence_id, circle.name, circle.radius_m) == ("store:123", "Store #123", 150)
    assert (circle.kind, circle.tags, circle.metadata) == (GeofenceKind.STORE, ("store",), {"parking": False})
    assert (polygon.geofence_id, polygon.tags, polygon.radius_m) == ("big-yard:7", ("big yard",), None)
    assert shapely.equals(polygon.geometry, shapely.box(10, 53, 10.01, 53.01))
    assert [warning.code for warning in parsed.warnings] == ["kind_assumed"]


@pytest.mark.parametrize(
    ("row", "path", "code"),
    [
        ('X,isochrone,store,1,"[10,53]",15,,', "line 2, column type", "geometry_type_not_allowed"),
        ('X,circle,store,1,"[10,53]",far,,', "line 2, column radius", "radius_out_of_range"),
        ("X,circle,store,1,[10;53],100,,", "line 2, column coordinates", "position_invalid"),
        ('X,circle,store,,"[10,53]",100,,', "line 2, column externalId", "id_missing"),
        ('X,polygon,store,1,"[[10,53],[10.01,53],[10.01,53.01],[10,53.01]]",,,', "line 2, column coordinates", None),
    ],
)
def test_what_is_wrong_in_radars_rows(row: str, path: str, code: str | None) -> None:
    """Errors name Radar's own columns."""
    (error,) = csv(RADAR + row).errors
    assert (error.path, error.code) == (path, code or "ring_not_closed")


def test_radars_switched_off_geofences_stay_out() -> None:
    """A geofence that is disabled there is not published here, and the report says so."""
    parsed = csv(RADAR + 'X,circle,store,1,"[10,53]",100,,false\n')
    assert (parsed.fences, [warning.code for warning in parsed.warnings]) == ((), ["disabled_left_out"])


# Coordinate systems ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crs", "refused"),
    [
        (None, False),
        ({"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}, False),
        ({"type": "name", "properties": {"name": "EPSG:4326"}}, False),
        ({"type": "name", "properties": {"name": "http://www.opengis.net/def/crs/EPSG/0/4258"}}, False),
        ({"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4314"}}, True),
        ({"type": "name", "properties": {"name": "EPSG:3857"}}, True),
        ({"type": "link", "properties": {"href": "some.prj"}}, True),
        ("EPSG:25832", True),
    ],
)
def test_degrees_of_another_system_are_refused(crs: Any, refused: bool) -> None:
    """A file that names another system than WGS 84 is refused as a whole: its degrees lie elsewhere."""
    ring = [[10, 53], [10.01, 53], [10.01, 53.01], [10, 53]]
    parsed = check(read_geojson({"type": "FeatureCollection", "crs": crs, "features": [outline(*ring)]}), {})
    assert [(error.path, error.code) for error in parsed.errors] == ([("crs", "crs_not_wgs84")] if refused else [])


# OpenStreetMap ----------------------------------------------------------------------------------------------


def test_overpass_exports_come_as_they_are() -> None:
    """A way, a relation and a node, as Overpass turbo exports them, are three geofences."""
    ring = [[9.99, 53.55], [9.991, 53.55], [9.991, 53.551], [9.99, 53.551], [9.99, 53.55]]
    hole = [[9.9902, 53.5502], [9.9902, 53.5508], [9.9908, 53.5508], [9.9908, 53.5502], [9.9902, 53.5502]]
    tags = {"shop": "shoes", "opening_hours": "Mo-Sa 10:00-20:00", "building": "yes"}
    way = {
        "type": "Feature",
        "id": "way/4321",
        "properties": {"@id": "way/4321", "name": "Schuhhaus", "floor": "2"} | tags,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    relation = {
        "type": "Feature",
        "properties": {"@id": "relation/9", "type": "multipolygon", "brand": "Laufladen", "@tainted": True},
        "geometry": {"type": "MultiPolygon", "coordinates": [[ring, hole]]},
    }
    node = {
        "type": "Feature",
        "properties": {"@id": "node/5", "@relations": [{"role": "label", "rel": 9, "reltags": {}}]},
        "geometry": {"type": "Point", "coordinates": [9.98, 53.55]},
    }
    parsed = geojson(way, relation, node)
    assert parsed.errors == []
    by_id = {one.geofence_id: one for one in parsed.fences}
    assert [(one.geofence_id, one.name) for one in parsed.fences] == [
        ("way:4321", "Schuhhaus"),
        ("relation:9", "Laufladen"),
        ("node:5", "node:5"),
    ]
    assert by_id["way:4321"].floor == 2
    assert tags.items() <= by_id["way:4321"].metadata.items()
    assert len(shapely.get_parts(by_id["relation:9"].geometry)[0].interiors) == 1
    assert by_id["node:5"].radius_m == 100
    codes = {(warning.feature, warning.code) for warning in parsed.warnings}
    assert {("node:5", "radius_assumed"), ("relation:9", "shape_incomplete")} <= codes


def test_a_footpath_is_no_area() -> None:
    """A line of an export is refused, by its place in the file."""
    line = {"type": "LineString", "coordinates": [[10, 53], [10.1, 53]]}
    (error,) = geojson({"type": "Feature", "properties": {"@id": "way/1"}, "geometry": line}).errors
    assert (error.feature, error.path, error.code) == (
        "way:1",
        "features[0].geometry.type",
        "geometry_type_not_allowed",
    )


# 180° and the poles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("start", [0, -170, 100])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_ring_around_a_pole_is_its_cap(sign: int, start: int, turn: int) -> None:
    """A ring that runs around a pole holds the pole, wherever it starts and whichever way it runs."""
    lons = [(start + turn * step * 45 + 180) % 360 - 180 for step in range(9)]
    one = fence(geojson(outline(*([lon, sign * 89.8] for lon in lons))))
    assert one.geometry.geom_type == "Polygon"
    assert one.geometry.bounds == pytest.approx((-180, min(sign * 89.8, sign * 90), 180, max(sign * 89.8, sign * 90)))
    assert fence(check(read_geojson(to_feature(one)), {})) == one


# Mending ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ring", "code"), [(BOW_TIE, "self_intersection"), (OPEN, "ring_not_closed")])
def test_shapes_are_mended_only_when_asked_for(ring: list[list[float]], code: str) -> None:
    """A broken outline is an error; with make_valid it becomes what it encloses, with a warning."""
    assert [error.code for error in geojson(outline(*ring)).errors] == [code]
    mended = geojson(outline(*ring), make_valid=True)
    assert fence(mended).geometry.is_valid
    assert fence(mended).geometry.area > 0
    assert [warning.code for warning in mended.warnings] == ["made_valid"]


def test_what_encloses_nothing_cannot_be_mended() -> None:
    """A line that is drawn as an outline stays an error."""
    assert geojson(outline([10, 53], [10.01, 53], [10.02, 53], [10, 53]), make_valid=True).errors


# Several files ----------------------------------------------------------------------------------------------


def test_places_in_several_files_name_their_file() -> None:
    """Of several files, an error begins with the file in which it is."""
    document = joined({
        "a.csv": read_csv((HEAD + "a,53.5,10,100,store\nb,53.5,10,0,store").encode()),
        "b.geojson": read_geojson(outline(*OPEN, id="a")),
    })  # fmt: skip
    assert [(error.path, error.code) for error in check(document, {}).errors] == [
        ("a.csv: line 3, column radius", "radius_out_of_range"),
        ("b.geojson: properties.id", "id_duplicate"),
        ("b.geojson: geometry.coordinates[0][3]", "ring_not_closed"),
    ]


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a"])
def test_a_byte_order_mark_is_no_part_of_json(tmp_path: Path, name: str) -> None:
    """GeoJSON that an editor of Windows has saved is read, whatever its file is called."""
    file = tmp_path / name
    file.write_bytes(codecs.BOM_UTF8 + orjson.dumps(outline(*OPEN, OPEN[0])))
    assert fence(check(read_files([file]), {})).geofence_id == "f"


def test_a_large_file_that_is_no_table_costs_no_time():
    """30 MB of short lines behind a quote that is never closed are refused within a moment, not line by line."""
    started = time.thread_time()
    read = read_csv(b'id,lat,lon\n"' + 15_000_000 * b"a\n")
    assert time.thread_time() - started < 1
    assert [(error.path, error.code) for error in read.errors] == [("line 2", "csv_malformed")]
