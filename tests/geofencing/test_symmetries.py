"""What must not matter does not: where on Earth it is, who else is in the batch, how a shape is cut into parts."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import shapely
import shapely.affinity
import shapely.ops
from hypothesis import given, settings
from hypothesis import strategies as st
from phone_stories import circle, fix, square

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.jurisdictions import DEFAULT_BUFFER_M
from geoservice.geofencing.track import DeviceTrack
from geoservice.geofencing.uploads.checks import check
from geoservice.geofencing.uploads.geojson import read_geojson
from geoservice.vocabulary import GeofenceKind

HERE = [circle("cafe", 60, 25), circle("shop"), square("hall", 184), circle("mall", 100, 600)]
CLINIC = circle("clinic", 2_000, 80, GeofenceKind.SENSITIVE)


@st.composite
def walks(draw):
    """Fixes of one phone around the mall."""
    at_s, east_m, fixes = 0.0, draw(st.sampled_from([0.0, 90.0, 800.0])), []
    for _ in range(draw(st.integers(1, 12))):
        at_s += draw(st.sampled_from([5.0, 15.0, 31.0, 60.0, 400.0]))
        east_m += draw(st.sampled_from([0.0, 3.0, -60.0, 150.0, -400.0, 900.0]))
        fixes.append(fix(at_s, east_m, draw(st.sampled_from([5.0, 35.0, 150.0, 900.0]))))
    return fixes


def told(catalogue, *phones):
    """(instant, kind, geofence, initial, how sure) of everything that is told of each phone."""
    lived = advance(catalogue, [News(DeviceTrack(), fixes) for fixes in phones], 0.0)
    return [
        [(t.at, t.kind, t.geofence_id, t.initial, pytest.approx(t.confidence, abs=1e-6)) for t in each]
        for _, each in lived
    ]


def turned(lon, by_deg):
    return (lon + by_deg + 180.0) % 360.0 - 180.0


def moved(fence, by_deg):
    """The same geofence elsewhere on its parallel, as an upload makes it: cut where it crosses 180°."""
    if fence.radius_m is not None:
        return msgspec.structs.replace(fence, geometry=shapely.Point(turned(fence.geometry.x, by_deg), 0))
    ring = [[turned(lon, by_deg), lat] for lon, lat in fence.geometry.exterior.coords]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    parsed = check(read_geojson(feature | {"properties": {"id": fence.geofence_id, "kind": "store"}}), {})
    assert not parsed.errors
    return parsed.fences[0]


PLACES = {by_deg: Catalogue.build([moved(fence, by_deg) for fence in HERE], 1) for by_deg in (0, 180, -179.9995, 97.3)}


@given(fixes=walks(), by_deg=st.sampled_from([180, -179.9995, 97.3]))
@settings(max_examples=8, deadline=None)
def test_it_does_not_matter_on_which_meridian(fixes, by_deg):
    """A walk through a mall that lies across 180°, or anywhere else on its parallel, is told the same."""
    elsewhere = [msgspec.structs.replace(each, lon=turned(each.lon, by_deg)) for each in fixes]
    assert told(PLACES[by_deg], elsewhere) == told(PLACES[0], fixes)


@given(phones=st.lists(walks(), min_size=2, max_size=4), data=st.data())
@settings(max_examples=5, deadline=None)
def test_it_does_not_matter_who_else_is_in_the_batch_or_how_the_fences_are_sorted(phones, data):
    """Phones in another order, fences in another order, and a crowd of fences far away: each phone is told the same."""
    order = data.draw(st.permutations(range(len(phones))))
    far = [circle(f"far-{k}", 40_000 + 300 * k, 200) for k in range(data.draw(st.integers(0, 30)))]
    other = Catalogue.build(data.draw(st.permutations([*HERE, *far])), 1)
    expected = told(PLACES[0], *phones)
    assert told(other, *(phones[k] for k in order)) == [expected[k] for k in order]


# How surely inside -------------------------------------------------------------------------------------------


def p_of(catalogue, x_m, y_m, accuracy_m):
    """How surely a fix is in each geofence, and the metres beyond the edge."""
    count = len(catalogue.fences)
    position = np.array([x_m / 111_319.5]), np.array([y_m / 110_574.3]), np.array([accuracy_m])
    return catalogue.evidence(*position, np.zeros(count, dtype=np.intp), np.arange(count))


def outline(shape, geofence_id="x", kind=GeofenceKind.STORE):
    return Geofence(geofence_id, "x", kind, shapely.transform(shape, lambda xy: xy.round(6) / (111_319.5, 110_574.3)))


@st.composite
def stars(draw):
    """A star-shaped outline around (0, 0), in metres."""
    reach_m = np.array(draw(st.lists(st.floats(20, 400), min_size=5, max_size=12)))
    angle = np.linspace(0, 2 * np.pi, len(reach_m), endpoint=False)
    return shapely.Polygon(np.column_stack((reach_m * np.cos(angle), reach_m * np.sin(angle))))


@given(
    star=stars(), x_m=st.floats(-500, 500), y_m=st.floats(-500, 500), accuracy_m=st.floats(3, 500), cut=st.floats(0, 3)
)
@settings(max_examples=12, deadline=None)
def test_the_parts_of_a_place_add_up_to_it(star, x_m, y_m, accuracy_m, cut):
    """Cut in two, or with a yard cut out: a fix is in the whole as surely as in its parts together."""
    line = shapely.LineString([(-900 * np.cos(cut), -900 * np.sin(cut)), (900 * np.cos(cut), 900 * np.sin(cut))])
    halves = shapely.get_parts(shapely.ops.split(star, line))
    yard = shapely.affinity.scale(star, 0.5, 0.5, origin=(0, 0))
    shapes = [star, yard, star.difference(yard), *halves]
    p, _ = p_of(Catalogue.build([outline(shape, str(n)) for n, shape in enumerate(shapes)], 1), x_m, y_m, accuracy_m)
    whole, hollow, around = p[:3]
    # Each is cut off at 3 sigma from its own edges.
    assert hollow + around == pytest.approx(whole, abs=0.012)
    assert p[3:].sum() == pytest.approx(whole, abs=0.012)


@given(star=stars(), better_m=st.floats(1, 400), times=st.floats(1, 20))
@settings(max_examples=12, deadline=None)
def test_a_worse_fix_inside_is_never_surer(star, better_m, times):
    """Around one position, the wider the errors the less of them lies in a place all of which is seen from there."""
    of = Catalogue.build([outline(star), circle("round", 0, 80)], 1)
    better, _ = p_of(of, 0, 0, better_m)
    worse, _ = p_of(of, 0, 0, better_m * times)
    assert (worse <= better + 0.012).all()


@given(
    star=stars(),
    east_m=st.floats(-3_000, 3_000),
    north_m=st.floats(-3_000, 3_000),
    accuracy_m=st.floats(1, 30_000),
    times=st.floats(1, 10),
    crowd=st.integers(0, 20),
)
@settings(max_examples=12, deadline=None)
def test_a_worse_fix_is_never_less_dark(star, east_m, north_m, accuracy_m, times, crowd):
    """A wider disc around the same position touches a sensitive place or its belt if a narrower one does."""
    shapes = [shapely.affinity.translate(star, 40 * n, 0) for n in range(crowd + 1)]
    of = Catalogue.build([outline(shape, str(n), GeofenceKind.SENSITIVE) for n, shape in enumerate(shapes)], 1)
    lon, lat = np.full(3, east_m / 111_319.5), np.full(3, north_m / 110_574.3)
    dark = of.near_sensitive(lon, lat, np.array([0.0, accuracy_m, accuracy_m * times])).tolist()
    assert dark == sorted(dark)
    edge_m = shapely.distance(shapes, shapely.Point(east_m, north_m)).min()
    assert dark[1] or edge_m > DEFAULT_BUFFER_M + accuracy_m - 0.01 * edge_m
