"""Circles for the phone's operating system: the nearest, all of them within reach, and never a sensitive place."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.ground import arc_m, earth_centred
from geoservice.geofencing.nearby import MOST_OUTER_M, nearby
from geoservice.vocabulary import GeofenceKind

BEACON = {"protocol": "eddystone-uid", "namespace": "0" * 20, "instance": "1" * 12}


def circle(id_: str, lon: float, lat: float, radius_m: float = 150, **more) -> Geofence:
    kind = more.pop("kind", GeofenceKind.APPROACH)
    return Geofence(id_, id_, kind, shapely.Point(lon, lat), radius_m=radius_m, **more)


def distance_m(lon: float, lat: float, to_lon: float, to_lat: float) -> float:
    ends = earth_centred(np.array([lon, to_lon]), np.array([lat, to_lat]))
    return float(arc_m(ends[:1], ends[1:])[0])


def test_the_nearest_come_first_and_none_is_below_100_m() -> None:
    """Circles are sorted by the way to their edge, and a small geofence gets 100 m."""
    fences = [circle("big", 10.05, 53, 2_500), circle("small", 10.01, 53, 20), circle("far", 10.2, 53)]
    found = nearby(Catalogue.build(fences, 1), 10, 53, 10, 20)
    assert [(id_, each.radius_m) for id_, each in found.circles] == [("small", 100), ("big", 2_500), ("far", 150)]
    assert found.outer == (10, 53, MOST_OUTER_M)


def test_what_is_not_watched() -> None:
    """Sensitive places, what lies in their belt, and departments that beacons find are never named."""
    fences = [
        circle("clinic", 10, 53, kind=GeofenceKind.SENSITIVE),
        circle("beside", 10.005, 53),
        circle("shoes", 10.1, 53, kind=GeofenceKind.DEPARTMENT, beacons=(BEACON,)),
        circle("yard", 10.1, 53, kind=GeofenceKind.DEPARTMENT),
    ]
    assert [id_ for id_, _ in nearby(Catalogue.build(fences, 1), 10, 53, 10, 20).circles] == ["yard"]


def test_nothing_around() -> None:
    """Without geofences there is still a circle that tells when to ask again."""
    assert nearby(Catalogue.build([], 1), 10, 53, 10, 20) == ((), (10, 53, MOST_OUTER_M))


def test_20_regions_are_19_and_one() -> None:
    """Of 40 circles, 19 are given; the outer one ends before the twentieth begins."""
    fences = [circle(f"c{n:02}", 10 + 0.01 * n, 53) for n in range(1, 41)]
    found = nearby(Catalogue.build(fences, 1), 10, 53, 10, 20)
    assert [id_ for id_, _ in found.circles] == [f"c{n:02}" for n in range(1, 20)]
    assert found.outer.radius_m == min(distance_m(10, 53, 10.2, 53) - 160, MOST_OUTER_M)
    near = nearby(Catalogue.build(fences, 1), 10, 53, 10, 3)
    assert near.outer.radius_m == pytest.approx(distance_m(10, 53, 10.03, 53) - 160)


def test_many_in_the_dark_hide_none_in_the_light() -> None:
    """Forty circles in the belts of clinics, and three beyond them: those three are told, and leaving asks for more."""
    dark = [circle(f"dark{n}", 10 + 0.001 * n, 53) for n in range(-20, 20)]
    clinics = [circle(f"clinic{n}", 10 + 0.005 * n, 53, 10, kind=GeofenceKind.SENSITIVE) for n in range(-5, 6)]
    light = [circle(f"light{n}", 10 + 0.02 * n, 53.02) for n in range(1, 4)]
    found = nearby(Catalogue.build([*dark, *clinics, *light], 1), 10, 53, 10, 20)
    assert ([id_ for id_, _ in found.circles], found.outer.radius_m) == (["light1", "light2", "light3"], MOST_OUTER_M)
    near = nearby(Catalogue.build([*dark, *clinics, *light], 1), 10, 53, 10, 3)
    assert near.outer.radius_m == pytest.approx(distance_m(10, 53, 10.06, 53.02) - 160)


def test_a_long_shape_is_as_near_as_its_circle() -> None:
    """A street whose circle holds the phone comes before twenty shops that are nearer to it than its middle."""
    street = Geofence("street", "street", GeofenceKind.STORE, shapely.box(10.001, 53, 10.101, 53.0001))
    shops = [circle(f"shop{n:02}", 10 - 0.01 - 0.001 * n, 53) for n in range(40)]
    found = nearby(Catalogue.build([street, *shops], 1), 10, 53, 10, 20)
    assert [id_ for id_, _ in found.circles][:2] == ["street", "shop00"]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), limit=st.integers(2, 8))
def test_no_circle_is_reached_without_leaving_the_outer_one(data, limit: int) -> None:
    """Against all circles one by one, also around 180° and the poles: what is left out is out of reach."""
    lon = data.draw(st.sampled_from([10.0, 179.99, -180.0]))
    lat = data.draw(st.sampled_from([53.0, 0.0, -89.99, 89.9]))
    spread = st.floats(-0.05, 0.05)
    places = data.draw(st.lists(st.tuples(spread, spread, st.integers(10, 3_000)), max_size=20))
    fences = []
    for n, (east, north, radius_m) in enumerate(places):
        at = (lon + east + 180) % 360 - 180, max(min(lat + north, 90.0), -90.0)
        if n % 4:
            fences.append(circle(f"f{n}", *at, radius_m))
        else:
            west, south = min(at[0], 179.9), min(at[1], 89.9)
            box = shapely.box(west, south, west + 0.01, south + 0.01)
            fences.append(Geofence(f"f{n}", f"f{n}", GeofenceKind.STORE, box))
    catalogue = Catalogue.build(fences, 1)
    found = nearby(catalogue, lon, lat, 0.0, limit)
    given_ids = [id_ for id_, _ in found.circles]
    assert len(given_ids) == min(limit - 1, len(fences))
    away = {id_: distance_m(lon, lat, each.lon, each.lat) - each.radius_m for id_, each in found.circles}
    assert [max(away[id_], 0) for id_ in given_ids] == sorted(max(away[id_], 0) for id_ in given_ids)
    for fence in fences:
        if fence.geofence_id not in given_ids and fence.radius_m is not None:
            edge_m = distance_m(lon, lat, fence.geometry.x, fence.geometry.y) - max(fence.radius_m, 100)
            assert edge_m >= found.outer.radius_m - 1 or found.outer.radius_m == 100
