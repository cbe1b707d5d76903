"""A catalogue that was changed answers as one that was built anew."""

from __future__ import annotations

import msgspec
import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.vocabulary import GeofenceKind

BEACON = {"protocol": "ibeacon", "uuid": "5b1c6b1e-3f0a-4c57-9d3e-2a7c1f4e8b60", "major": 1}
KINDS = (GeofenceKind.STORE, GeofenceKind.DEPARTMENT, GeofenceKind.SENSITIVE)


def fence(number: int, draw: np.random.Generator) -> Geofence:
    """A circle or a box, on a small map around 180°."""
    lon, lat = draw.uniform(-0.05, 0.05, 2)
    lon = (lon + 360.0) % 360.0 - 180.0
    kind = KINDS[draw.integers(0, 3)]
    beacons = ({**BEACON, "minor": int(draw.integers(0, 4))},) if kind is GeofenceKind.DEPARTMENT else ()
    half = 0.005 * draw.uniform(0.1, 1)
    whole = shapely.box(lon - half, lat - half, lon + half, lat + half)
    inside = shapely.intersection(whole, shapely.box(-180, -90, 180, 90))
    is_circle = draw.random() < 0.5
    return Geofence(
        geofence_id=f"g{number}",
        name="x",
        kind=kind,
        geometry=shapely.Point(lon, lat) if is_circle else inside,
        radius_m=float(draw.uniform(20, 900)) if is_circle else None,
        beacons=beacons,
    )


def answers(catalogue: Catalogue) -> dict[str, object]:
    """Whatever can be asked, with ids for indexes."""
    rng = np.random.default_rng(5)
    lon, lat = (rng.uniform(-0.06, 0.06, 200) + 360) % 360 - 180, rng.uniform(-0.06, 0.06, 200)
    accuracy_m = rng.uniform(5, 60, 200)

    def named(indexes):
        return [catalogue.fences[index].geofence_id for index in indexes.tolist()]

    fix, which = catalogue.match(lon, lat)
    p, beyond_m = catalogue.evidence(lon, lat, accuracy_m, fix, which)
    line, crossed, share = catalogue.chords(lon, lat, np.roll(lon, 1), np.roll(lat, 1))
    return {
        "match": sorted(zip(fix.tolist(), named(which), p.round(9).tolist(), beyond_m.round(6).tolist(), strict=True)),
        "order": np.all(np.diff(fix) >= 0) and np.all(np.diff(line) >= 0),
        "chords": sorted(zip(line.tolist(), named(crossed), share.round(9).tolist(), strict=True)),
        "sensitive": catalogue.near_sensitive(lon, lat, accuracy_m).tolist(),
        "any sensitive": bool(catalogue.sensitive.any()),
        "watched within": sorted(named(catalogue.watched_within(179.99, 0.0, 3_000))),
        "watched": {key: bool(catalogue.watched[index]) for key, index in catalogue.index_of.items()},
        "beacons": {key: sorted(named(np.array(there))) for key, there in catalogue.by_beacon.items()},
        "there": sorted(each.geofence_id for each in catalogue.present),
    }


@given(seed=st.integers(0, 100_000), steps=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_changes_lead_to_the_same_answers_as_a_new_catalogue(seed, steps):
    """Whatever comes, goes or changes, one by one or many at once: nothing tells the catalogue from one built anew."""
    draw = np.random.default_rng(seed)
    there = {f"g{number}": fence(number, draw) for number in range(draw.integers(0, 30))}
    catalogue = Catalogue.build(list(there.values()), 1)
    for version in range(2, 2 + steps):
        before = answers(catalogue)
        numbers = set(draw.integers(0, 40, draw.integers(1, 12)).tolist())
        gone = [f"g{number}" for number in numbers if f"g{number}" in there]
        come = [fence(number, draw) for number in numbers if draw.random() < 0.7]
        there = {key: each for key, each in there.items() if key not in gone} | {
            each.geofence_id: each for each in come
        }
        changed = catalogue.with_changes(gone, come, version)
        assert answers(catalogue) == before, "what it was made from"
        assert answers(changed) == answers(Catalogue.build(list(there.values()), version))
        assert changed.version == version
        catalogue = changed


def test_what_was_learnt_of_outlines_is_kept():
    """The outlines in metres of what did not change need not be worked out again; those of what changed are."""
    square = Geofence(geofence_id="a", name="x", kind=GeofenceKind.STORE, geometry=shapely.box(0, 0, 0.001, 0.001))
    at = np.array([0.0005]), np.array([0.0011]), np.array([10.0])
    pair = np.zeros(1, dtype=np.intp)
    catalogue = Catalogue.build([square], 1)
    _, before_m = catalogue.evidence(*at, pair, pair)
    other = msgspec.structs.replace(square, geofence_id="b")
    assert catalogue.with_changes([], [other], 2).evidence(*at, pair, pair)[1] == before_m
    wider = msgspec.structs.replace(square, geometry=shapely.box(0, 0, 0.001, 0.002))
    changed = catalogue.with_changes(["a"], [wider], 3)
    assert changed.evidence(*at, pair, np.array([changed.index_of["a"]]))[1] == 0 < before_m
    assert (catalogue.worn, changed.worn) == (0, 2)
