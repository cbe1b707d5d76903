"""Which fences a fix lies in, and how surely: against shapely, exact distances and sampled errors."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.geofencing.catalogue import ACCURACY_PER_SIGMA, Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.vocabulary import GeofenceKind

DEGREE_M = 111_195.0  # of latitude, on the mean sphere


def fence(geometry, radius_m=None, geofence_id="here"):
    return Geofence(geofence_id=geofence_id, name="x", kind=GeofenceKind.STORE, geometry=geometry, radius_m=radius_m)


def catalogue(*fences):
    return Catalogue.build(fences, version=1)


def circle(lon, lat, radius_m, geofence_id="here"):
    return fence(shapely.Point(lon, lat), radius_m, geofence_id)


def outline_m(points, holes=()):
    """A polygon given in metres around (0, 0), where a degree is as long both ways to within 0.7 %."""

    def ring(corners):
        return [(x / 111_319.5, y / 110_574.3) for x, y in corners]

    return shapely.Polygon(ring(points), [ring(hole) for hole in holes])


def evidence(of, lon, lat, accuracy_m):
    """(p, beyond_m) of one fix and the only fence."""
    p, beyond_m = of.evidence(np.array([lon]), np.array([lat]), np.array([accuracy_m]), np.array([0]), np.array([0]))
    return float(p[0]), float(beyond_m[0])


def matched(of, lon, lat):
    _, fences = of.match(np.array([lon]), np.array([lat]))
    return [of.fences[index].geofence_id for index in fences]


def sampled(geometry_m, x, y, accuracy_m, count=100_000):
    """The share inside of normal errors around (x, y); metres."""
    error = np.random.default_rng(7).normal(0, accuracy_m / ACCURACY_PER_SIGMA, (2, count))
    return float(shapely.contains_xy(geometry_m, x + error[0], y + error[1]).mean())


SQUARE = [(-100, -100), (100, -100), (100, 100), (-100, 100)]
HOLE = [(-60, -60), (60, -60), (60, 60), (-60, 60)]
SHAPES = {
    "a square": (SQUARE, ()),
    "a square drawn clockwise": (SQUARE[::-1], ()),
    "a ring around a yard": (SQUARE, (HOLE,)),
    "a corridor 10 m wide": ([(-300, -5), (300, -5), (300, 5), (-300, 5)], ()),
    "an L-shaped mall": ([(0, 0), (200, 0), (200, 40), (40, 40), (40, 200), (0, 200)], ()),
    "a needle": ([(0, 0), (200, 1), (200, -1)], ()),
}
PLACES = [(0, 0), (0, 100), (100, 100), (0, 80), (30, 30), (-80, 0), (0, 120), (200, 0), (0, 5), (110, 7)]


@pytest.mark.parametrize("name", SHAPES)
def test_the_share_inside_a_polygon_agrees_with_sampled_errors(name):
    """Rings, corridors and corners are judged as 100,000 sampled errors judge them."""
    points, holes = SHAPES[name]
    of = catalogue(fence(outline_m(points, holes)))
    shape = shapely.Polygon(points, holes)
    for x, y in PLACES:
        for accuracy_m in (5.0, 30.0, 150.0):
            p, _ = evidence(of, x / 111_319.5, y / 110_574.3, accuracy_m)
            assert p == pytest.approx(sampled(shape, x, y, accuracy_m), abs=0.01), (x, y, accuracy_m)


@pytest.mark.parametrize("radius_m", [15.0, 60.0, 5_000.0])
@pytest.mark.parametrize("lat", [0.0, 52.0, -89.9999])
def test_the_share_inside_a_circle_agrees_with_sampled_errors(radius_m, lat):
    """A circle is judged as a circle, small or large, at the equator or beside the pole."""
    of = catalogue(circle(10.0, lat, radius_m))
    error = np.random.default_rng(7).normal(0, 1, (2, 100_000))
    for off_m in (0.0, 0.5 * radius_m, radius_m, radius_m + 20):
        up = math.radians(lat) if lat > -89 else 0.0
        degree_m = 111_132.95 - 559.85 * math.cos(2 * up) + 1.2 * math.cos(4 * up)
        degree_m = degree_m if lat > -89 else 111_694.0
        for accuracy_m in (5.0, 40.0, 300.0):
            p, _ = evidence(of, 10.0, lat + off_m / degree_m, accuracy_m)
            sigma_m = accuracy_m / ACCURACY_PER_SIGMA
            share = np.mean(np.hypot(error[0] * sigma_m + off_m, error[1] * sigma_m) <= radius_m)
            assert p == pytest.approx(float(share), abs=0.03), (off_m, accuracy_m)


@given(x=st.floats(-150, 150), y=st.floats(-150, 150), accuracy_m=st.floats(3, 100), seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_any_polygon_is_judged_as_sampled_errors_judge_it(x, y, accuracy_m, seed):
    """Whatever the shape, the share inside is right to within the noise of the sample."""
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, 9))
    reach = random.uniform(10, 200, 9)
    shape = shapely.Polygon(np.column_stack((reach * np.cos(angle), reach * np.sin(angle))))
    if not shape.is_valid:
        return
    of = catalogue(fence(outline_m(shape.exterior.coords)))
    p, _ = evidence(of, x / 111_319.5, y / 110_574.3, accuracy_m)
    assert p == pytest.approx(sampled(shape, x, y, accuracy_m, 20_000), abs=0.03)


@pytest.mark.parametrize(
    ("x", "p"),
    [
        pytest.param(0.0, 1.0, id="In the middle of a large place everything is inside."),
        pytest.param(100.0, 0.5, id="On a straight edge half of the error is inside."),
        pytest.param(150.0, 0.0, id="More than three sigma out nothing is inside."),
    ],
)
def test_the_edge_halves_the_error_disc(x, p):
    """The nearer the edge, the less sure; on it, one half."""
    of = catalogue(fence(outline_m(SQUARE)))
    assert evidence(of, x / 111_319.5, 0.0, 10.0)[0] == pytest.approx(p, abs=0.002)


def test_the_boundary_is_inside():
    """A fix on the edge or a corner is not beyond the edge."""
    of = catalogue(fence(shapely.box(0, 0, 1, 1)))
    for lon, lat in ((0, 0.5), (1, 1), (0.5, 0)):
        assert matched(of, lon, lat) == ["here"]
        assert evidence(of, lon, lat, 5.0)[1] == 0.0


def test_a_hole_is_outside():
    """A fix in the yard of a ring is outside, and its edge is the yard's wall."""
    of = catalogue(fence(outline_m(SQUARE, (HOLE,))))
    p, beyond_m = evidence(of, 0.0, 0.0, 5.0)
    assert p == 0.0
    assert beyond_m == pytest.approx(60.0, abs=0.1)


def test_metres_beyond_the_edge_of_a_circle_are_geodesic():
    """Beyond a circle is the geodesic to its centre less the radius, to half a metre at 50 km."""
    lengths = {(4.3, 52.1): vincenty_m(4.0, 52.0, 4.3, 52.1), (4.0, 52.5): vincenty_m(4.0, 52.0, 4.0, 52.5)}
    of = catalogue(circle(4.0, 52.0, 1_000))
    for (lon, lat), length_m in lengths.items():
        assert evidence(of, lon, lat, 5.0)[1] == pytest.approx(length_m - 1_000, abs=0.5)


def vincenty_m(lon1, lat1, lon2, lat2):
    """The geodesic on WGS 84 (Vincenty 1975, inverse formula)."""
    a, f = 6_378_137.0, 1 / 298.257223563
    b = a * (1 - f)
    u1, u2 = (math.atan((1 - f) * math.tan(math.radians(lat))) for lat in (lat1, lat2))
    wide = lam = math.radians(lon2 - lon1)
    for _ in range(50):
        sin_s = math.hypot(
            math.cos(u2) * math.sin(lam),
            math.cos(u1) * math.sin(u2) - math.sin(u1) * math.cos(u2) * math.cos(lam),
        )
        cos_s = math.sin(u1) * math.sin(u2) + math.cos(u1) * math.cos(u2) * math.cos(lam)
        s = math.atan2(sin_s, cos_s)
        sin_a = math.cos(u1) * math.cos(u2) * math.sin(lam) / sin_s
        cos2_a = 1 - sin_a**2
        mid = cos_s - 2 * math.sin(u1) * math.sin(u2) / cos2_a
        c = f / 16 * cos2_a * (4 + f * (4 - 3 * cos2_a))
        lam = wide + (1 - c) * f * sin_a * (s + c * sin_s * (mid + c * cos_s * (2 * mid**2 - 1)))
    square = cos2_a * (a**2 - b**2) / b**2
    big_a = 1 + square / 16384 * (4096 + square * (-768 + square * (320 - 175 * square)))
    big_b = square / 1024 * (256 + square * (-128 + square * (74 - 47 * square)))
    inner = cos_s * (2 * mid**2 - 1) - big_b / 6 * mid * (4 * sin_s**2 - 3) * (4 * mid**2 - 3)
    return b * big_a * (s - big_b * sin_s * (mid + big_b / 4 * inner))


ACROSS = shapely.MultiPolygon([shapely.box(179.9, 10, 180, 10.2), shapely.box(-180, 10, -179.9, 10.2)])
NORTH_CAP = shapely.box(-180, 89.8, 180, 90)
SOUTH_CAP = shapely.box(-180, -90, 180, -89.8)


@pytest.mark.parametrize(
    ("of", "lon", "lat"),
    [
        pytest.param(fence(ACROSS), 179.95, 10.1, id="A fence across 180° holds what is west of it."),
        pytest.param(fence(ACROSS), -179.95, 10.1, id="A fence across 180° holds what is east of it."),
        pytest.param(fence(ACROSS), 180.0, 10.1, id="The seam at 180° is no edge."),
        pytest.param(fence(ACROSS), -180.0, 10.1, id="-180° is the same meridian."),
        pytest.param(fence(NORTH_CAP), 33.0, 89.95, id="A cap around the north pole holds every meridian."),
        pytest.param(fence(NORTH_CAP), -180.0, 89.95, id="The cap's seam is no edge."),
        pytest.param(fence(NORTH_CAP), 0.0, 90.0, id="The pole itself is no edge."),
        pytest.param(fence(SOUTH_CAP), -99.0, -89.99, id="The same at the south pole."),
        pytest.param(circle(179.999, -17, 500), -179.999, -17.0, id="A circle reaches across 180°."),
        pytest.param(circle(-179.999, -17, 500), 179.999, -17.0, id="... in either direction."),
        pytest.param(circle(20, 89.999, 500), -160.0, 89.999, id="A circle reaches across the pole."),
        pytest.param(circle(0, -90, 500), 123.0, -89.999, id="A circle around the south pole."),
    ],
)
def test_nothing_is_special_at_180_degrees_and_at_the_poles(of, lon, lat):
    """Places at the antimeridian and the poles hold their fixes like all others."""
    of = catalogue(of)
    assert matched(of, lon, lat) == ["here"]
    assert evidence(of, lon, lat, 30.0) == (pytest.approx(1.0, abs=0.01), 0.0)


def test_distances_reach_across_180_degrees_and_around_the_pole():
    """Metres beyond an edge take the short way round."""
    one_side = catalogue(fence(shapely.box(179.9, 0, 180, 0.1)))
    assert evidence(one_side, -179.999, 0.05, 5.0)[1] == pytest.approx(111.3, abs=0.5)
    cap = catalogue(fence(NORTH_CAP))
    assert evidence(cap, -45.0, 89.7, 5.0)[1] == pytest.approx(11_169, abs=20)


@pytest.mark.parametrize("east", [True, False])
def test_a_circle_beyond_180_degrees_is_passed_through(east):
    """Whoever crosses the date line passes through what stands right behind it, once."""
    m = 1 / DEGREE_M
    of = catalogue(circle(-180 + 60 * m, 0, 25.0))
    ends = np.array([180 - 400 * m]), np.array([-180 + 400 * m])
    start, end = ends if east else ends[::-1]
    line, _, share = of.chords(start, np.zeros(1), end, np.zeros(1))
    assert line.tolist() == [0]
    assert share[0] == pytest.approx(50 / 800, rel=0.01)


def test_an_absurd_accuracy_on_a_corner_gives_a_share():
    """A phone that claims to know its place to less than an atom is somewhere all the same."""
    p, _ = evidence(catalogue(fence(outline_m(SQUARE))), 100 / 111_319.5, 100 / 110_574.3, 5e-324)
    assert 0 <= p <= 1


def test_an_edge_without_length_holds_nothing():
    """Two points of an outline that are nearly the same are one."""
    of = catalogue(fence(shapely.Polygon([(0, 0), (0, 1e-22), (0.001, 0.001), (0.001, -0.001)])))
    p, _ = evidence(of, 0.0005, 0.0003, 50.0)
    assert 0 < p < 1


def test_the_effective_radius_is_that_of_a_circle_of_the_same_area():
    """A square of 200 m is as wide as a circle of 113 m; a ring counts without its hole."""
    of = catalogue(
        fence(outline_m(SQUARE), geofence_id="square"),
        fence(outline_m(SQUARE, (HOLE,)), geofence_id="ring"),
        circle(5, 50, 75.0, "circle"),
        fence(NORTH_CAP, geofence_id="cap"),
        fence(ACROSS, geofence_id="across"),
    )
    expected = [112.8, 90.3, 75.0, 22_339, math.sqrt(0.04 * 110_611 * 109_640 / math.pi)]
    assert of.effective_radius_m == pytest.approx(expected, rel=0.003)


def test_an_empty_catalogue_matches_nothing():
    """Before the first upload nothing is anywhere."""
    fixes, fences = catalogue().match(np.array([4.0]), np.array([52.0]))
    assert fixes.size == fences.size == 0


def clinic(lon, lat, radius_m=50.0, geofence_id="clinic"):
    return Geofence(
        geofence_id=geofence_id,
        name="x",
        kind=GeofenceKind.SENSITIVE,
        geometry=shapely.Point(lon, lat),
        radius_m=radius_m,
    )


def near_sensitive(of, *fixes):
    return of.near_sensitive(*np.array(fixes, dtype=np.float64).T).tolist()


SHOPS = [circle(4.0 + k / 1_000, 52.0, 50.0, f"shop-{k}") for k in range(20)]


@pytest.mark.parametrize(
    ("off_m", "accuracy_m", "near"),
    [
        pytest.param(0, 10, True, id="A fix in the place is near."),
        pytest.param(650, 10, True, id="So is one whose disc touches its buffer of 609.6 m."),
        pytest.param(680, 10, False, id="One beyond the buffer is not."),
        pytest.param(680, 30, True, id="The less exact a fix, the farther it reaches."),
        pytest.param(5_600, 5_000, True, id="A disc of 5 km is still measured."),
        pytest.param(5_700, 5_000, False, id="... to the metre."),
        pytest.param(30_000, 40_000, True, id="A disc of 40 km touches what it holds."),
        pytest.param(60_000, 40_000, False, id="It does not touch what is far beyond."),
        pytest.param(900_000, 1_000_000, True, id="A disc of 1,000 km is a large one."),
    ],
)
def test_fixes_near_sensitive_places_are_known(off_m, accuracy_m, near):
    """A disc that may touch a sensitive place or its buffer is named; other fences do not matter."""
    of = catalogue(*SHOPS, clinic(4.0, 52.0))
    north = 52.0 + off_m / 111_270.0
    assert near_sensitive(of, (4.0, north, accuracy_m), (40.0, 10.0, 5.0)) == [near, False]
    assert near_sensitive(catalogue(*SHOPS), (4.0, north, accuracy_m)) == [False]


def test_a_large_disc_is_taken_for_its_box():
    """Beyond 10 km, and among many places, the corners of the disc's box count as well; that errs for privacy."""
    corner = (4.0 + 0.9 * 50_000 / 68_500, 52.0 + 0.9 * 50_000 / 111_270)
    of = catalogue(clinic(*corner))
    assert near_sensitive(of, (4.0, 52.0, 50_000.0)) == [True]
    corner = (4.0 + 0.9 * 5_000 / 68_500, 52.0 + 0.9 * 5_000 / 111_270)
    assert near_sensitive(catalogue(clinic(*corner)), (4.0, 52.0, 4_300.0)) == [False]
    crowd = catalogue(*(clinic(*corner, geofence_id=str(k)) for k in range(17)))
    assert near_sensitive(crowd, (4.0, 52.0, 4_300.0)) == [True]


def test_sensitive_places_are_found_across_180_degrees_and_at_the_pole():
    """Small and large discs find what is on the other side."""
    of = catalogue(clinic(179.999, -17.0), clinic(20.0, 89.999, geofence_id="pole"), fence(ACROSS, geofence_id="z"))
    found = near_sensitive(of, (-179.999, -17.0, 5), (-179.9, -17.0, 20_000), (-160, 89.999, 5), (-160, 89, 150_000))
    assert found == [True] * 4


def test_many_large_discs_and_many_places_take_little_memory():
    """1,000 discs of 1,000 km over 3,000 sensitive places are answered without 3,000,000 pairs."""
    random = np.random.default_rng(5)
    places = [clinic(*random.uniform(0, 5, 2), geofence_id=str(k)) for k in range(3_000)]
    of = catalogue(*places)
    fixes = random.uniform(0, 5, (1_000, 2))
    for accuracy_m in (1_000_000.0, 9_000.0):
        tracemalloc.start()
        near = of.near_sensitive(*fixes.T, np.full(1_000, accuracy_m))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert near.mean() > 0.9
        assert peak < 30e6


def boxes_anywhere():
    corner = st.tuples(st.floats(-181, 181), st.floats(-89.99, 89.9), st.floats(0.001, 2), st.floats(0.001, 0.1))
    return st.lists(corner, min_size=1, max_size=8)


def split_box(west, south, wide, high):
    east = west + wide
    if west < -180 < east:
        return shapely.MultiPolygon(
            [shapely.box(west + 360, south, 180, south + high), shapely.box(-180, south, east, south + high)]
        )
    if west < 180 < east:
        return shapely.MultiPolygon(
            [shapely.box(west, south, 180, south + high), shapely.box(-180, south, east - 360, south + high)]
        )
    shift = 360 if east <= -180 else -360 if west >= 180 else 0
    return shapely.box(west + shift, south, east + shift, south + high)


@given(boxes=boxes_anywhere(), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_matching_finds_what_shapely_finds(boxes, seed):
    """Every polygon that holds a fix is matched, and sure fixes are inside exactly where shapely says so."""
    shapes = [split_box(*box) for box in boxes]
    of = catalogue(*(fence(shape, geofence_id=str(index)) for index, shape in enumerate(shapes)))
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(boxes), 40)
    lon = np.array([boxes[i][0] + random.uniform(-0.2, 1.2) * boxes[i][2] for i in chosen])
    lat = np.array([boxes[i][1] + random.uniform(-0.2, 1.2) * boxes[i][3] for i in chosen])
    lon, lat = (lon + 180) % 360 - 180, np.clip(lat, -90, 90)
    fix, which = of.match(lon, lat)
    assert len(set(zip(fix.tolist(), which.tolist(), strict=True))) == len(fix)
    _, beyond_m = of.evidence(lon, lat, np.full(40, 1.0), fix, which)
    found = {pair for pair, m in zip(zip(fix.tolist(), which.tolist(), strict=True), beyond_m, strict=True) if m == 0}
    truth = {
        (k, j) for k in range(40) for j, shape in enumerate(shapes) if shapely.intersects_xy(shape, lon[k], lat[k])
    }
    assert found == truth


@given(
    lon=st.floats(-180, 180),
    lat=st.one_of(st.floats(-90, 90), st.floats(89.9, 90), st.floats(-90, -89.9)),
    radius_m=st.floats(10, 40_000),
    turn=st.floats(0, 2 * math.pi),
    share=st.floats(0, 0.999),
)
@settings(max_examples=150, deadline=None)
def test_a_circle_is_matched_wherever_it_reaches(lon, lat, radius_m, turn, share):
    """Every point nearer than the radius is matched, at any latitude and across 180°."""
    up, around = math.radians(lat), share * radius_m / 6_399_593.6  # the largest radius of curvature
    there = math.asin(math.sin(up) * math.cos(around) + math.cos(up) * math.sin(around) * math.cos(turn))
    east = math.atan2(
        math.sin(turn) * math.sin(around) * math.cos(up), math.cos(around) - math.sin(up) * math.sin(there)
    )
    of = catalogue(circle(lon, lat, radius_m))
    fix_lon, fix_lat = (lon + math.degrees(east) + 180) % 360 - 180, math.degrees(there)
    assert matched(of, fix_lon, fix_lat) == ["here"]
    assert evidence(of, fix_lon, fix_lat, 1.0)[1] == 0.0
