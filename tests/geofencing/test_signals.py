"""Beacons and the operating system's events: what they prove, when they end, and that batching changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.geofencing import waking
from geoservice.geofencing.beacons import distance_m, due_at
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.jurisdictions import BUFFERS_M, DEFAULT_BUFFER_M
from geoservice.geofencing.registered import registered_circle
from geoservice.geofencing.sensitive import touching_sensitive, whereabouts
from geoservice.geofencing.signals import hear
from geoservice.geofencing.track import DeviceTrack, Proximity
from geoservice.vocabulary import (
    BeaconSightings,
    EddystoneSighting,
    Fix,
    GeofenceKind,
    IBeaconSighting,
    Observation,
    OsEvent,
    OsTransition,
    Source,
    TransitionKind,
)

NOON = datetime(2026, 3, 4, 11, tzinfo=UTC)
LON, LAT = 10.0, 53.55
METRE = 1 / 111_300
UUID = "5b1c6b1e-3f0a-4c57-9d3e-2a7c1f4e8b60"


def beacon(minor: int) -> dict[str, Any]:
    # As the database gives it back: in another order of keys.
    return {"uuid": UUID, "major": 1, "minor": minor, "protocol": "ibeacon"}


def fence(id_: str, radius_m: float = 150, east_m: float = 0, **more: Any) -> Geofence:
    kind = more.pop("kind", GeofenceKind.APPROACH)
    point = shapely.Point(LON + east_m * METRE / np.cos(np.radians(LAT)), LAT)
    return Geofence(id_, id_, kind, point, radius_m=radius_m, **more)


SHOES = fence("shoes", 10, kind=GeofenceKind.DEPARTMENT, beacons=(beacon(1), beacon(2)))
SOCKS = fence(
    "socks",
    10,
    east_m=30,
    kind=GeofenceKind.DEPARTMENT,
    beacons=({"protocol": "eddystone-uid", "namespace": "0" * 20, "instance": "1" * 12},),
)
CATALOGUE = Catalogue.build([SHOES, SOCKS, fence("ring", 150), fence("small", 60), fence("far", 150, 3_000)], 1)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def heard(seconds: float, *minors: int, rssi: int = -60, power: int | None = -59) -> BeaconSightings:
    sightings = [IBeaconSighting(UUID.upper(), 1, minor, rssi, power) for minor in minors]
    return BeaconSightings(at(seconds), sightings or [IBeaconSighting(UUID, 9, 9, -80)])


def fix(seconds: float, north_m: float = 0, accuracy_m: float = 10) -> Fix:
    return Fix(at(seconds), LAT + north_m * METRE, LON, accuracy_m)


def event(seconds: float, geofence_id: str, kind: OsEvent, **more: Any) -> OsTransition:
    return OsTransition(at(seconds), geofence_id, kind, **more)


def live(
    track: DeviceTrack, *observations: Observation, cuts: Any = (), catalogue: Catalogue = CATALOGUE
) -> tuple[DeviceTrack, list[Any]]:
    other = hear(catalogue, track, observations, cuts)
    fixes = [each for each in observations if isinstance(each, Fix)]
    ((after, told),) = advance(catalogue, [News(track, fixes, other.said, cuts, ended=other.ended)], 0.0)
    return msgspec.structs.replace(after, signals=other.signals), told


def story(*observations: Observation, cuts: Any = (), catalogue: Catalogue = CATALOGUE) -> list[tuple[float, str, str]]:
    """What is told, as (seconds, kind, geofence)."""
    _, told = live(DeviceTrack(), *observations, cuts=cuts, catalogue=catalogue)
    return [((each.at - NOON).total_seconds(), each.kind.value, each.geofence_id) for each in told]


# Beacons ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observations", "told"),
    [
        pytest.param([heard(0, 1)], [], id="one sighting may be a passer-by"),
        pytest.param([heard(0, 1), heard(5, 1)], [(5, "enter", "shoes")], id="two sightings enter"),
        pytest.param([heard(0, 1), heard(5, 2)], [(5, "enter", "shoes")], id="also of two beacons of one department"),
        pytest.param([heard(0, 1), heard(31, 1)], [], id="two that are too far apart are two passers-by"),
        pytest.param([heard(0, 1, 1, 1)], [], id="three echoes in one scan are one sighting"),
        pytest.param([heard(0, 1, rssi=127), heard(5, 1, rssi=127)], [], id="without a strength it was not heard"),
        pytest.param([heard(0, 1, rssi=0), heard(5, 1, rssi=0)], [], id="iOS writes 0 for that"),
        pytest.param([heard(0), heard(5), heard(9)], [], id="a stranger's beacon means nothing"),
        pytest.param(
            [heard(0, 1), heard(5, 1), heard(10), heard(36)],
            [(5, "enter", "shoes"), (35, "exit", "shoes")],
            id="30 s of silence are an exit, as of then",
        ),
        pytest.param(
            [heard(0, 1), heard(5, 1), heard(34, 2), heard(60, 1)],
            [(5, "enter", "shoes")],
            id="a second beacon keeps the department",
        ),
        pytest.param(
            [heard(0, 1), heard(20, 1), heard(40, 1), heard(60), heard(99), heard(100)],
            [(20, "enter", "shoes"), (100, "exit", "shoes")],
            id="who scans every 20 s is waited for 60 s",
        ),
        pytest.param(
            [heard(0, 1), heard(5, 1), fix(40, 500)],
            [(5, "enter", "shoes"), (35, "exit", "shoes")],
            id="a later fix shows that the time is over",
        ),
        pytest.param(
            [fix(0, 2_000), heard(5, 1), heard(10, 1)], [], id="2 km from its department it is a copy of the beacon"
        ),
        pytest.param(
            [fix(0, 900), heard(5, 1), heard(10, 1)], [(10, "enter", "shoes")], id="900 m may be a poor position"
        ),
    ],
)
def test_beacons(observations: list[Any], told: list[Any]) -> None:
    """Departments are entered and left by what a phone hears of their beacons."""
    assert [each for each in story(*observations) if each[2] == "shoes"] == told


def test_a_pause_is_at_most_15_minutes() -> None:
    """A phone that scans once in ten minutes is waited for 15 minutes, not 30."""
    track, told = live(DeviceTrack(), *(heard(600 * n, *([1] if n > 3 else [])) for n in range(6)))
    assert [each.kind.value for each in told] == ["enter"]
    assert due_at(track.signals) == at(3_000 + 900).timestamp()


def test_a_copy_is_counted() -> None:
    """Each sighting of a beacon that cannot be where its department is counts as one."""
    assert hear(CATALOGUE, DeviceTrack(), [fix(0, 2_000), heard(5, 1), heard(10, 2)], ()).elsewhere == 2


def test_silence_is_noticed_by_a_timer_too() -> None:
    """The instant at which silence ends a presence is known, and what then ends is the same as with a later scan."""
    track, _ = live(DeviceTrack(), heard(0, 1), heard(5, 1))
    due = at(305).timestamp()  # until then its scans may be waiting on the phone
    assert waking.due_at(track) == due
    assert waking.wake(CATALOGUE, track, due - 0.001, 0.0) == (track, [])
    woken, (gone,) = waking.wake(CATALOGUE, track, due, 0.0)
    assert (gone.kind, gone.geofence_id, gone.at) == (TransitionKind.EXIT, "shoes", at(35))
    assert (woken.presences, waking.due_at(woken)) == ((), None)


@pytest.mark.parametrize(
    ("rssi", "power", "expected_m"), [(-59, -59, 0.97), (-50, -59, 0.19), (-72, -59, 2.23), (-85, -59, 5.87)]
)
def test_distance(rssi: int, power: int, expected_m: float) -> None:
    """A weaker signal comes from farther away, along the published curve."""
    assert distance_m(rssi, power) == pytest.approx(expected_m, abs=0.01)


def test_eddystones_power_is_given_at_0_m() -> None:
    """An Eddystone of -18 dBm at 0 m is an iBeacon of -59 dBm at 1 m."""
    sighting = EddystoneSighting("0" * 20, "1" * 12, -72, -18)
    track, _ = live(DeviceTrack(), BeaconSightings(at(0), [sighting]))
    (one,) = track.signals.fences
    assert one.geofence_id == "socks"
    assert one.samples[0][2:] == (-72, -59)
    assert one.proximity is Proximity.NEAR


def proximities(*strengths: int) -> list[str]:
    track, seen = DeviceTrack(), []
    for n, rssi in enumerate(strengths):
        track, _ = live(track, heard(25.0 * n, 1, rssi=rssi))
        seen.append(track.signals.fences[0].proximity.value)
    return seen


def test_proximity_has_hysteresis() -> None:
    """A phone at the border between near and far stays what it was; one well beyond it changes."""
    assert proximities(-72, -77, -72, -77) == ["near", "near", "near", "near"]  # 2.2 m and 3.3 m
    assert proximities(-72, -85, -77, -75) == ["near", "far", "far", "far"]
    assert proximities(-85, -65) == ["far", "near"]
    assert proximities(-50, -85) == ["immediate", "far"]


def test_one_echo_does_not_make_a_distance() -> None:
    """The mean of the last 20 s leaves out the strongest and the weakest."""
    track, _ = live(DeviceTrack(), *(heard(n, 1, rssi=-30 if n == 7 else -72) for n in range(15)))
    assert track.signals.fences[0].proximity is Proximity.NEAR


# The operating system ---------------------------------------------------------------------------------------

ENTER, EXIT, DWELL = OsEvent.ENTER, OsEvent.EXIT, OsEvent.DWELL


@pytest.mark.parametrize(
    ("observations", "told"),
    [
        pytest.param([event(0, "ring", ENTER)], [(0, "enter", "ring")], id="an event is proof of its circle"),
        pytest.param([event(0, "ring", DWELL)], [(0, "enter", "ring")], id="who dwells is there"),
        pytest.param(
            [event(0, "ring", ENTER), event(300, "ring", EXIT)],
            [(0, "enter", "ring"), (300, "exit", "ring")],
            id="and has left at the exit",
        ),
        pytest.param([event(0, "ring", EXIT)], [], id="nothing exits that did not enter"),
        pytest.param([event(0, "ring", ENTER), event(9, "ring", ENTER)], [(0, "enter", "ring")], id="or enters twice"),
        pytest.param(
            [event(0, "small", ENTER)], [], id="100 m are registered for 60 m: the event proves a third of that"
        ),
        pytest.param([event(0, "nowhere", ENTER)], [], id="a circle that was removed means nothing"),
        pytest.param([fix(0, 400), event(8, "ring", ENTER)], [], id="a good fix of 8 s before says no"),
        pytest.param([fix(0, 400), event(12, "ring", ENTER)], [(12, "enter", "ring")], id="one of 12 s before is old"),
        pytest.param([fix(0, 400, 500), event(8, "ring", ENTER)], [(8, "enter", "ring")], id="a poor one says nothing"),
        pytest.param(
            [event(0, "ring", ENTER), fix(20, 90), event(25, "ring", EXIT)],
            [(0, "enter", "ring")],
            id="nor is there an exit while one shows it inside",
        ),
    ],
)
def test_operating_system_events(observations: list[Any], told: list[Any]) -> None:
    """Events count for the circle that was registered, unless a fresh good fix knows better."""
    assert [each for each in story(*observations) if each[2] in ("ring", "small")] == told


def test_events_carry_their_source_and_confidence() -> None:
    """A transition that an event decided says so, with 90 %."""
    _, (enter, leave) = live(DeviceTrack(), event(0, "ring", ENTER), event(300, "ring", EXIT))
    assert {enter.source, leave.source} == {Source.OS}
    assert (enter.confidence, leave.confidence) == (pytest.approx(0.9), pytest.approx(0.9))


def test_registered_circles_hold_their_geofence() -> None:
    """The circle around a shape holds all of it, and is never below 100 m; also across 180°."""
    shapes = {
        "circle": (shapely.Point(10, 53), 120.0),
        "small": (shapely.Point(10, 53), 30.0),
        "box": (shapely.box(10, 53, 10.01, 53.01), None),
        "seam": (
            shapely.MultiPolygon([shapely.box(179.99, 10, 180, 10.01), shapely.box(-180, 10, -179.99, 10.01)]),
            None,
        ),
    }
    fences = [
        Geofence(id_, id_, GeofenceKind.STORE, shape, radius_m=radius_m) for id_, (shape, radius_m) in shapes.items()
    ]
    catalogue = Catalogue.build(fences, 1)
    circle, small, box, seam = (registered_circle(catalogue, n) for n in range(4))
    assert (circle.radius_m, small.radius_m) == (120, 100)
    assert (box.lon, box.lat, box.radius_m) == (pytest.approx(10.005), pytest.approx(53.005), pytest.approx(650, abs=5))
    assert (abs(seam.lon), seam.radius_m) == (pytest.approx(180), pytest.approx(1_227, abs=5))


# Batching ---------------------------------------------------------------------------------------------------

SCAN = st.tuples(st.just("scan"), st.sets(st.sampled_from([1, 2, 9])), st.integers(-90, -40))
FIX = st.tuples(st.just("fix"), st.sampled_from([0, 60, 200, 500]), st.sampled_from([5, 15, 40]))
EVENT = st.tuples(st.just("event"), st.sampled_from(["ring", "small"]), st.sampled_from(list(OsEvent)))
NEWS = st.one_of(SCAN, FIX, EVENT, st.tuples(st.just("cut")))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), items=st.lists(st.tuples(st.sampled_from([3, 11, 29, 31, 70, 400]), NEWS), max_size=14))
def test_any_batching_gives_the_same(data: Any, items: list[Any]) -> None:
    """However a sequence of fixes, scans and events is cut into requests, the same is told and remembered."""
    seconds, stream = 0, []
    for gap_s, (kind, *values) in items:
        seconds += gap_s
        match kind:
            case "scan":
                stream.append(heard(seconds, *values[0], rssi=values[1]))
            case "fix":
                stream.append(fix(seconds, *values))
            case "event":
                stream.append(event(seconds, *values))
            case "cut":
                stream.append(at(seconds).timestamp())
    splits = sorted(data.draw(st.sets(st.integers(1, max(len(stream) - 1, 1)), max_size=6)))

    def lived(bounds: list[int]) -> tuple[DeviceTrack, list[Any]]:
        track, told = DeviceTrack(), []
        for low, high in pairwise([0, *bounds, len(stream)]):
            batch = stream[low:high]
            observations = [each for each in batch if not isinstance(each, float)]
            track, now = live(track, *observations, cuts=[each for each in batch if isinstance(each, float)])
            # Through the form in which it is stored.
            track = msgspec.msgpack.decode(msgspec.msgpack.encode(track), type=DeviceTrack)
            told += now
        return track, told

    whole, parts = lived([]), lived(splits)
    assert parts[1] == whole[1]
    assert parts[0].presences == whole[0].presences
    assert parts[0].signals == whole[0].signals
    inside: set[str] = set()
    for transition in whole[1] if all(kind != "cut" for _, (kind, *_) in items) else []:
        if transition.kind in (TransitionKind.ENTER, TransitionKind.EXIT):
            assert (transition.kind is TransitionKind.ENTER) != (transition.geofence_id in inside)
            inside ^= {transition.geofence_id}


# Sensitive places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jurisdiction", "dark_m"), [(None, 609.6), ("US-WA", 609.6), ("US-NY", 563.9), ("US-CA", 563.9), ("US-CT", 533.4)]
)
def test_belts_are_those_of_the_law(jurisdiction: str | None, dark_m: float) -> None:
    """A position is dark up to the edge of the place's own belt, and not beyond it."""
    assert BUFFERS_M.get(jurisdiction or "", DEFAULT_BUFFER_M) == pytest.approx(dark_m, abs=0.1)
    clinic = fence("clinic", 50, kind=GeofenceKind.SENSITIVE)
    catalogues = [
        Catalogue.build([msgspec.structs.replace(clinic, jurisdiction=jurisdiction)], 1),
        Catalogue.build([clinic], 1, jurisdiction),  # what the settings say of places that name none
    ]
    for beyond_m, dark in ((-3, True), (3, False)):
        north_m = 50 + dark_m + 10 + beyond_m
        observation = fix(0, north_m * 111_300 / 111_290, 10)
        for catalogue in catalogues:
            assert bool(touching_sensitive(catalogue, [whereabouts(catalogue, observation)])) is dark


def test_a_place_that_names_its_law_keeps_it() -> None:
    """The jurisdiction of the settings is only for places that name none."""
    named = fence("clinic", 50, kind=GeofenceKind.SENSITIVE, jurisdiction="US-NV")
    assert Catalogue.build([named], 1, "US-WA").buffer_m.tolist() == [BUFFERS_M["US-NV"]]


def test_a_long_department_is_dark_as_far_as_it_reaches() -> None:
    """A beacon hangs anywhere in its department: one whose end lies in a belt is dark, though its middle does not."""
    east_m = METRE / np.cos(np.radians(LAT))
    arcade = shapely.box(LON + 700 * east_m, LAT, LON + 1_100 * east_m, LAT + 10 * METRE)
    long = Geofence("arcade", "arcade", GeofenceKind.DEPARTMENT, arcade, beacons=(beacon(1),))
    catalogue = Catalogue.build([fence("clinic", 100, kind=GeofenceKind.SENSITIVE), long], 1)
    assert touching_sensitive(catalogue, [whereabouts(catalogue, heard(0, 1))]) == [0]


DARK = Catalogue.build(
    [
        fence("clinic", 50, kind=GeofenceKind.SENSITIVE, beacons=(beacon(7),)),
        fence("next door", 120, 500, beacons=(beacon(1),)),
        fence("far away", 120, 3_000, beacons=(beacon(2),)),
    ],
    1,
)


@pytest.mark.parametrize(
    ("observation", "dark"),
    [
        (fix(0), True),
        (heard(0, 7), True),
        (heard(0, 1), True),
        (heard(0, 2), False),
        (heard(0, 1, 2), True),
        (heard(0), False),
        (event(0, "clinic", ENTER), True),
        (event(0, "next door", EXIT), True),
        (event(0, "far away", ENTER), False),
        (event(0, "far away", ENTER, lat=LAT, lon=LON, accuracy_m=20.0), True),
        (event(0, "gone", ENTER), False),
    ],
)
def test_whatever_comes_from_a_sensitive_place_is_dark(observation: Any, dark: bool) -> None:
    """A fix, a beacon or an event that may come from a sensitive place or its belt is known as such."""
    assert touching_sensitive(DARK, [(), whereabouts(DARK, observation)]) == ([1] if dark else [])


def test_a_sensitive_place_is_forgotten_without_a_word() -> None:
    """At a cut presence by beacon ends silently, and what was heard before it counts no more."""
    told = story(heard(0, 1), heard(5, 1), heard(20, 1), heard(24, 1), cuts=[at(10).timestamp()])
    assert told == [(5, "enter", "shoes"), (24, "enter", "shoes")]
