"""Dwell, silence and pass-through: what time and the way between two fixes bring."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
import shapely

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.statements import Evidence, Statement
from geoservice.geofencing.track import TRUST, DeviceTrack, PresenceState, read_track, write_track
from geoservice.geofencing.waking import dark_by_now, due_at, forgotten, wake
from geoservice.vocabulary import Fix, GeofenceKind, Source

START = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
AT = START.timestamp()
METRE = 1 / 111_195.0


def fence(geofence_id="shop", geometry=None, radius_m=100.0, dwell_s=180, kind=GeofenceKind.STORE):
    shape = geometry if geometry is not None else shapely.Point(0, 0)
    radius = None if geometry is not None else radius_m
    return Geofence(geofence_id=geofence_id, name="x", kind=kind, geometry=shape, radius_m=radius, dwell_s=dwell_s)


SHOP = Catalogue.build([fence()], version=1)


def fix(at_s, east_m, accuracy_m=10.0, north_m=0.0):
    at = START + timedelta(seconds=at_s)
    return Fix(recorded_at=at, lat=north_m * METRE, lon=east_m * METRE, accuracy_m=accuracy_m)


def lived(fixes, catalogue=SHOP, track=None, **more):
    """(second, kind) of each transition, and the track."""
    ((track, transitions),) = advance(catalogue, [News(track or DeviceTrack(), fixes, **more)], 0.0)
    return told(transitions), track


def told(transitions):
    return [((t.at - START).total_seconds(), str(t.kind)) for t in transitions]


ARRIVING = [fix(-600, 5_000), fix(0, 0)]


# Dwell ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        pytest.param([fix(90, 0), fix(179, 0)], [], id="Before its time there is no dwell."),
        pytest.param([fix(90, 0), fix(180, 0), fix(200, 0)], [(180, "dwell")], id="It is told once, when seen inside."),
        pytest.param([fix(90, 0), fix(190, 0)], [(190, "dwell")], id="By the first fix from then on."),
        pytest.param([fix(100, 0), fix(185, 112)], [(185, "dwell")], id="Evidence of the last 90 s is enough."),
        pytest.param([fix(60, 0), fix(185, 112)], [], id="Older evidence is not."),
        pytest.param([fix(60, 0), fix(185, 112), fix(240, 0)], [(240, "dwell")], id="Then it is told when seen again."),
        pytest.param(
            [fix(60, 300), fix(90, 300), fix(120, 0), fix(150, 0), fix(200, 0)],
            [(90, "exit"), (150, "enter")],
            id="Who leaves and comes back begins anew.",
        ),
    ],
)
def test_dwell_by_evidence(fixes, expected):
    """A phone has dwelt when the fence's time is over and it was seen inside in the last 90 s."""
    happened, _ = lived([*ARRIVING, *fixes])
    assert happened == [(0, "enter"), *expected]


def test_dwell_comes_after_five_minutes_unless_the_fence_says_otherwise():
    """A fence without a dwell time has one all the same."""
    plain = Catalogue.build([fence(dwell_s=None)], version=1)
    happened, _ = lived([*ARRIVING, *(fix(at, 0) for at in range(60, 600, 60))], plain)
    assert happened == [(0, "enter"), (300, "dwell")]


@pytest.mark.parametrize(
    ("fixes", "at_s", "expected"),
    [
        pytest.param([fix(100, 0)], 179, [], id="The timer does not come early."),
        pytest.param([fix(100, 0)], 180, [(180, "dwell", False)], id="Seen inside 80 s ago, it is a plain dwell."),
        pytest.param([fix(30, 0)], 500, [(180, "dwell", True)], id="Of a phone that fell silent it is assumed."),
        pytest.param([fix(30, 0), fix(170, 112)], 180, [], id="While the phone reports, its own fixes say so."),
        pytest.param([fix(30, 0), fix(170, 112)], 260, [(260, "dwell", True)], id="When it falls silent, the timer."),
        pytest.param([fix(100, 0), fix(200, 0)], 260, [], id="What a fix has told the timer does not repeat."),
        pytest.param([fix(30, 400), fix(60, 400)], 260, [], id="Who has left does not dwell."),
    ],
)
def test_dwell_by_timer(fixes, at_s, expected):
    """When no fix comes, the clock tells of the dwell."""
    _, track = lived([*ARRIVING, *fixes])
    woken, transitions = wake(SHOP, track, AT + at_s, 0.0)
    assert [((t.at - START).total_seconds(), str(t.kind), t.assumed) for t in transitions] == expected
    assert all(t.source is Source.TIMER and t.confidence > 0.5 for t in transitions)
    assert wake(SHOP, woken, AT + at_s, 0.0) == (woken, [])


def test_an_assumed_dwell_on_old_evidence_is_late():
    """Whoever was last seen inside more than five minutes ago may be gone: it is told, and nothing is said."""
    for dwell_s, late in ((300, False), (301, True)):
        catalogue = Catalogue.build([fence(dwell_s=dwell_s)], version=1)
        _, track = lived(ARRIVING, catalogue)
        _, (dwell,) = wake(catalogue, track, AT + dwell_s, 0.0)
        assert (dwell.assumed, dwell.late) == (True, late)


def test_a_place_that_the_system_watches_keeps_its_dwell():
    """Whoever has entered by the word of the phone's system is still there: it would have told of an exit."""
    catalogue = Catalogue.build([fence(dwell_s=3_000)], version=1)
    said = [("shop", Statement(AT + at_s, Evidence.PROVEN_INSIDE, 0.9, Source.OS)) for at_s in (0, 10)]
    for heard, late in ((said[:1], False), ([], True)):
        ((track, _),) = advance(catalogue, [News(DeviceTrack(), ARRIVING, heard)], 0.0)
        track = read_track(write_track(track))
        _, (dwell,) = wake(catalogue, track, AT + 3_000, 0.0)
        assert (dwell.assumed, dwell.late) == (True, late)
    left = [("shop", Statement(AT + 20, Evidence.OUTSIDE, 0.1, Source.OS))]
    ((track, _),) = advance(catalogue, [News(DeviceTrack(), ARRIVING, [*said, *left])], 0.0)
    ((track, _),) = advance(catalogue, [News(track, [fix(60, 0), fix(90, 0), fix(120, 0)])], 0.0)
    _, (dwell,) = wake(catalogue, track, AT + 3_090, 0.0)
    assert dwell.late, "what the system said of an earlier stay"


def test_who_is_woken_in_time_misses_nothing():
    """The instant that a track names is the one at which something is due, and not before."""
    _, track = lived(ARRIVING)
    assert due_at(track) == AT + 180
    assert wake(SHOP, track, AT + 179, 0.0)[1] == []
    track, (dwell,) = wake(SHOP, track, AT + 180, 0.0)
    assert str(dwell.kind) == "dwell"
    assert due_at(track) == AT + 6 * 3_600
    track, (lost,) = wake(SHOP, track, AT + 6 * 3_600, 0.0)
    assert (str(lost.kind), due_at(track)) == ("lost", None)


# Silence ----------------------------------------------------------------------------------------------------


def test_six_hours_of_silence_lose_a_phone():
    """Presence ends as lost, six hours after the last fix; the timer and the next fix agree on it."""
    six_h = 6 * 3_600
    _, track = lived([*ARRIVING, fix(200, 0)])
    woken, transitions = wake(SHOP, track, AT + 30_000, 0.0)
    assert told(transitions) == [(200 + six_h, "lost")]
    assert transitions[0].confidence < 0.5
    assert woken.presences == ()
    happened, _ = lived([fix(200 + six_h, 9_000)], track=track)
    assert happened == [(200 + six_h, "lost")]
    happened, _ = lived([fix(200 + six_h - 1, 0)], track=track)
    assert happened == []


def test_who_is_still_there_after_the_silence_is_initial():
    """Nobody arrives by waking up where he fell asleep."""
    _, track = lived([*ARRIVING, fix(200, 0)])
    ((_, (lost, enter)),) = advance(SHOP, [News(track, [fix(40_000, 0)])], 0.0)
    assert (str(lost.kind), str(enter.kind), enter.initial) == ("lost", "enter", True)
    ((_, (enter,)),) = advance(SHOP, [News(wake(SHOP, track, AT + 30_000, 0.0)[0], [fix(40_000, 0)])], 0.0)
    assert (str(enter.kind), enter.initial) == ("enter", True)


def test_waking_ends_presence_in_fences_that_are_gone():
    """A removed fence is told of, a sensitive one is not."""
    _, track = lived(ARRIVING)
    empty = Catalogue.build([], version=2)
    woken, transitions = wake(empty, track, AT + 60, 0.0)
    assert (told(transitions), woken.presences) == ([(60, "removed")], ())
    dark = Catalogue.build([fence(kind=GeofenceKind.SENSITIVE)], version=2)
    woken, transitions = wake(dark, track, AT + 60, 0.0)
    assert (transitions, woken.presences) == ([], ())


def test_where_a_phone_was_is_dark_once_a_clinic_opens_there():
    """Of phones that fell asleep, those beside a new clinic are known, and keep nothing but their order of time."""
    _, track = lived(ARRIVING)
    _, leapt = lived([fix(0, 20_000), fix(1, 0)])
    _, away = lived([fix(0, 20_000)])
    clinic = fence("clinic", shapely.Point(650 * METRE, 0).buffer(50 * METRE), kind=GeofenceKind.SENSITIVE)
    both = Catalogue.build([fence(), clinic], version=2)
    assert dark_by_now(both, [away, track, DeviceTrack(), leapt]) == {1, 3}
    assert dark_by_now(SHOP, [track]) == set()
    assert forgotten(track) == DeviceTrack(newest_at=track.newest_at, fast_at=track.fast_at)


# The phone's clock ------------------------------------------------------------------------------------------


def test_transitions_are_on_the_servers_clock():
    """A phone whose clock is an hour slow is corrected alike in all that is told, and late is judged by that."""
    ((_, (enter, dwell)),) = advance(
        SHOP, [News(DeviceTrack(), [*ARRIVING, fix(200, 0)], clock_offset_s=3_600.0)], AT + 3_700
    )
    assert told([enter, dwell]) == [(3_600, "enter"), (3_800, "dwell")]
    assert (enter.late, dwell.late) == (True, False)


# Pass-through -----------------------------------------------------------------------------------------------

SQUARE = shapely.box(*(60 * METRE * side for side in (-1, -1, 1, 1)))
RING = shapely.Polygon(
    shapely.box(*(200 * METRE * s for s in (-1, -1, 1, 1))).exterior,
    [shapely.box(*(150 * METRE * s for s in (-1, -1, 1, 1))).exterior],
)


@pytest.mark.parametrize(
    ("shape", "fixes", "expected"),
    [
        pytest.param(None, [fix(0, -200), fix(20, 200)], [(20, "crossed")], id="A line through a circle."),
        pytest.param(SQUARE, [fix(0, -200), fix(20, 200)], [(20, "crossed")], id="Or through a polygon."),
        pytest.param(SQUARE, [fix(0, -200), fix(121, 200)], [], id="Not when nobody looked for two minutes."),
        pytest.param(SQUARE, [fix(0, -200), fix(20, 55)], [], id="Not when it ends inside."),
        pytest.param(SQUARE, [fix(0, -200), fix(20, 62)], [], id="Nor at the edge."),
        pytest.param(SQUARE, [fix(0, -200, 10, 70), fix(20, 200, 10, 70)], [], id="Nor when it passes beside."),
        pytest.param(
            SQUARE,
            [fix(0, 50, 10, 100), fix(20, 100, 10, 40)],
            [],
            id="Nor when it only cuts a corner.",
        ),
        pytest.param(
            RING, [fix(0, -100), fix(20, 0)], [], id="A hole is outside, and whoever stays in it crosses nothing."
        ),
        pytest.param(RING, [fix(0, 100), fix(20, 300)], [(20, "crossed")], id="Out of a hole one passes the ring."),
        pytest.param(
            SQUARE,
            [fix(0, -200), fix(15, 200), fix(30, 600)],
            [(15, "crossed")],
            id="It is told once.",
        ),
    ],
)
def test_passing_through(shape, fixes, expected):
    """Who was inside only between two fixes has crossed, and has neither entered nor left."""
    catalogue = Catalogue.build([fence(geometry=shape)], version=1)
    happened, track = lived([fix(-600, -900), *fixes], catalogue)
    assert happened == expected
    assert all(p.state is PresenceState.ENTERING for p in track.presences)


def test_crossings_know_the_seam_of_the_world():
    """Across 180° a line is as short as anywhere else, through circles and split polygons alike."""
    halves = shapely.MultiPolygon(
        [shapely.box(179.999, -0.001, 180, 0.001), shapely.box(-180, -0.001, -179.999, 0.001)]
    )
    round_one = Geofence(
        geofence_id="round", name="x", kind=GeofenceKind.STORE, geometry=shapely.Point(180, 0), radius_m=100.0
    )
    catalogue = Catalogue.build([fence("box", halves), round_one], version=1)
    for start, end in ((179.997, -179.997), (-179.997, 179.997)):
        line, which, share = catalogue.chords(*(np.array([each]) for each in (start, 0.0, end, 0.0)))
        assert (line.tolist(), which.tolist()) == ([0, 0], [0, 1])
        assert share == pytest.approx([0.002 / 0.006, 200 * METRE / 0.006], rel=0.01)


# Tracks of older code ---------------------------------------------------------------------------------------


def test_tracks_of_older_code_are_read():
    """Who was inside stays inside through an upgrade, and leaves as others do."""
    last = [AT, 0.0, 0.0, 10.0, None]
    inside = ["shop", "inside", AT - 600, None, None, None, 0]
    leaving = ["other", "leaving", AT - 600, AT - 50, AT - 40, AT - 40, 1]
    entering = ["third", "entering", None, None, AT - 40, None, 0]
    track = read_track(msgspec.msgpack.encode([last, None, AT, None, [inside, leaving, entering], 10.0]))
    assert [(p.geofence_id, p.state, p.belief) for p in track.presences] == [
        ("shop", PresenceState.INSIDE, TRUST),
        ("other", PresenceState.LEAVING, TRUST),
    ]
    assert read_track(write_track(track)) == track
    happened, _ = lived([fix(60, 300), fix(90, 300)], track=track)
    assert happened == [(60, "removed"), (90, "exit")]
    assert read_track(None) == DeviceTrack()
