"""Stories of one phone and its fixes, and what holds for all of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.evidence import Evidence, Statement
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.presence import PRESENCE, Verdict, presence_diagram
from geoservice.geofencing.track import DeviceTrack, PresenceState
from geoservice.vocabulary import Fix, GeofenceKind, Source, TransitionKind

START = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
METRE = 1 / 111_195.0  # degrees of latitude, and of longitude at the equator, to within 0.5 %


def circle(geofence_id, east_m=0.0, radius_m=100.0, kind=GeofenceKind.STORE):
    centre = shapely.Point(east_m * METRE, 0)
    return Geofence(geofence_id=geofence_id, name="x", kind=kind, geometry=centre, radius_m=radius_m)


def square(geofence_id, half_m):
    box = shapely.box(*(half_m * METRE * side for side in (-1, -1, 1, 1)))
    return Geofence(geofence_id=geofence_id, name="x", kind=GeofenceKind.STORE, geometry=box)


SHOP = Catalogue.build([circle("shop")], version=1)


def fix(at_s, east_m, accuracy_m=10.0, speed_mps=None):
    return Fix(
        recorded_at=START + timedelta(seconds=at_s),
        lat=0.0,
        lon=east_m * METRE,
        accuracy_m=accuracy_m,
        speed_mps=speed_mps,
    )


def told(fixes, catalogue=SHOP, track=None, late_before_s=-1e6):
    """The transitions of one phone, and its track."""
    late_before = START.timestamp() + late_before_s
    ((track, transitions),) = advance(catalogue, [News(track or DeviceTrack(), fixes)], late_before)
    return transitions, track


def story(fixes, catalogue=SHOP):
    """(second, kind) of every transition, after a first fix far away."""
    transitions, _ = told([fix(-1_000, 5_000), *(fix(*each) for each in fixes)], catalogue)
    return [((t.at - START).total_seconds(), str(t.kind)) for t in transitions]


IN = [(0, 0), (30, 0)]  # inside from 0 s on: a sure fix after a long silence


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        pytest.param([(0, 90)], [], id="One fix that is likely inside is only a witness."),
        pytest.param([(0, 90), (3, 90)], [], id="Another one 3 s later shares its error."),
        pytest.param([(0, 90), (15, 90)], [(15, "enter")], id="15 s later it is a second witness."),
        pytest.param([(0, 90), (15, 97)], [], id="A fix on the edge is hardly one."),
        pytest.param([(0, 90), (15, 97), (30, 90)], [(30, "enter")], id="Nor does it take one back."),
        pytest.param([(0, 90), (15, 110), (30, 90)], [], id="A fix outside between the two does."),
        pytest.param([(0, 0)], [(0, "enter")], id="A sure fix after a long silence needs no second one."),
        pytest.param([(0, 500), (44, 0)], [], id="After a short silence it does."),
        pytest.param([(0, 500), (45, 0)], [(45, "enter")], id="A silence of 45 s is long."),
        pytest.param([(0, 300), (15, 80), (30, 300)], [], id="A stray fix inside is no visit."),
        pytest.param(
            [(0, 300), (20, 150), (40, 90), (60, 30), (80, 0)],
            [(60, "enter")],
            id="Walking in enters once.",
        ),
        pytest.param(
            [*((15 * k, 125, 20) for k in range(-40, 20)), (300, 97, 20), (315, 85, 20), (330, 97, 20)],
            [],
            id="Whoever has stood outside for minutes is not inside because a few fixes stray.",
        ),
        pytest.param(
            [*((15 * k, 125, 20) for k in range(-40, 20)), (300, 85, 20), (315, 65, 20), (330, 45, 20)],
            [(330, "enter")],
            id="He is when he walks in.",
        ),
        pytest.param(
            [*((15 * k, 125, 20) for k in range(-40, 20)), *((300 + 15 * k, 85, 20) for k in range(20))],
            [(420, "enter")],
            id="Or when he stands inside for a while.",
        ),
    ],
)
def test_entering(fixes, expected):
    """A phone enters when independent fixes, or one sure fix after a silence, make it likely."""
    assert story(fixes) == expected


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        pytest.param([(60, 125)], [], id="Just beyond the edge is jitter."),
        pytest.param([(60, 140)], [], id="One fix clearly beyond is only a witness."),
        pytest.param([(60, 140), (63, 140)], [], id="Another one 3 s later shares its error."),
        pytest.param([(60, 140), (90, 140)], [(90, "exit")], id="30 s later it is a second witness: an exit."),
        pytest.param([(60, 140), (75, 125), (90, 140)], [(90, "exit")], id="Jitter between takes nothing back."),
        pytest.param([(60, 140), (75, 0), (90, 125)], [], id="A fix inside between does."),
        pytest.param([(60, 385)], [(60, "exit")], id="More than 250 m further out is an exit at once."),
        pytest.param([(60, 375)], [], id="A little less is not."),
        pytest.param([(60 + 15 * k, 108) for k in range(20)], [], id="Around the edge nothing happens for minutes."),
        pytest.param(
            [(60 + 15 * k, 108) for k in range(40)],
            [(390, "exit")],
            id="Outside of it for long is an exit all the same.",
        ),
        pytest.param(
            [(60 + 15 * k, 108 if k % 4 else 95) for k in range(15)],
            [],
            id="Unless there is a fix inside now and then.",
        ),
        pytest.param(
            [(60, 140), (90, 140), (120, 140), (150, 500)],
            [(90, "exit")],
            id="Whoever is outside does not exit again.",
        ),
        pytest.param(
            [(60, 200), (90, 200), (120, 0), (150, 0)],
            [(90, "exit"), (150, "enter")],
            id="Coming back enters again.",
        ),
    ],
)
def test_leaving(fixes, expected):
    """A phone leaves when fixes beyond the edge make it unlikely to be inside, or one far beyond proves it."""
    assert story([*IN, *fixes]) == [(0, "enter"), *expected]


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        pytest.param([(0, 0, 250), (60, 0, 250)], [], id="A poor fix never enters."),
        pytest.param([(0, 0, 199)], [], id="A fix just good enough that spreads over the fence is not sure."),
        pytest.param([*IN, (60, 600, 5_000), (90, 600, 5_000)], [(0, "enter")], id="A poor fix that touches stays."),
        pytest.param(
            [*IN, *((60 + 100 * k, 600, 5_000) for k in range(9))],
            [(0, "enter")],
            id="Poor fixes that touch keep presence alive, however long.",
        ),
        pytest.param(
            [*IN, (60, 1_000, 500), (90, 1_000, 500)],
            [(0, "enter"), (90, "exit")],
            id="Poor fixes that do not touch count towards the exit.",
        ),
        pytest.param([*IN, (60, 5_000, 500)], [(0, "enter")], id="A poor fix alone never makes one, however far."),
        pytest.param(
            [*IN, (60, 140), (75, 0, 5_000), (105, 140)],
            [(0, "enter"), (105, "exit")],
            id="A poor fix takes no witness back.",
        ),
    ],
)
def test_poor_fixes(fixes, expected):
    """A fix whose disc is far larger than the fence proves neither that a phone came nor that it stayed."""
    assert story(fixes) == expected


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        pytest.param([(60, 20_000)], [(0, "enter")], id="A leap of 20 km in 30 s is not believed."),
        pytest.param([(60, 20_000), (70, 20_000)], [(0, "enter")], id="Nor with a witness after 10 s."),
        pytest.param(
            [(60, 20_000), (70, 20_000), (90, 20_000)],
            [(0, "enter"), (90, "exit")],
            id="It is with a witness after 30 s.",
        ),
        pytest.param(
            [(60, 20_000), (90, 40_000), (120, 60_000)],
            [(0, "enter")],
            id="Leaps that do not agree are no witnesses for each other.",
        ),
        pytest.param(
            [(60, 20_000), (75, 0), (90, 20_000), (105, 0)],
            [(0, "enter")],
            id="Leaps out and back leave presence as it is.",
        ),
    ],
)
def test_jumps(fixes, expected):
    """A fix that nobody could have travelled to waits for a witness."""
    assert story([*IN, *fixes]) == expected


def test_a_leap_into_a_fence_does_not_enter():
    """An outlier that lands in a shop is no visit; the next honest fix drops it."""
    transitions, track = told([fix(0, 20_000), fix(60, 0), fix(75, 20_000), fix(90, 0)])
    assert transitions == []
    assert track.held is not None
    assert track.last.at == START.timestamp() + 75
    assert track.newest_at == START.timestamp() + 90


def test_a_phone_first_seen_inside_enters_as_initial():
    """Nobody knows how long it has been there, so the enter is marked, and comes at once."""
    (enter,), _ = told([fix(0, 90)])
    assert (enter.kind, enter.initial, enter.speed_mps) == (TransitionKind.ENTER, True, None)
    (enter,), _ = told([fix(0, 5_000), fix(100, 0)])
    assert not enter.initial


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        pytest.param([(0, 0, 900), (60, 90)], [(60, True)], id="A poor first fix is no first one."),
        pytest.param([(0, 0, 900), (60, 50, 300), (70, 90)], [(70, True)], id="However many there are."),
        pytest.param([(0, 5_000, 900), (60, 5_000, 900), (600, 0)], [(600, False)], id="Far away they say enough."),
        pytest.param(
            [(0, 5_000), (600, 0, 900), (610, 90)], [], id="After a good fix elsewhere a poor one proves nothing."
        ),
        pytest.param(
            [(0, 5_000), (600, 0, 900), (610, 90), (640, 90)],
            [(640, False)],
            id="Such a phone has come just now.",
        ),
    ],
)
def test_poor_fixes_before_the_first_good_one(fixes, expected):
    """A phone that could never say whether it was inside may have been there for hours."""
    transitions, _ = told([fix(*each) for each in fixes])
    assert [((t.at - START).total_seconds(), t.initial) for t in transitions] == expected


ELSEWHERE = Catalogue.build([circle("shop", 50_000)], version=0)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param([(0, 0)], [(15, 0)], [(15, True)], id="Who stands in a new fence enters it as initial."),
        pytest.param([(0, 90)], [(15, 90)], [(15, True)], id="One fix is enough, since two say so."),
        pytest.param([(0, 0)], [(600, 0)], [(600, True)], id="After a silence, too."),
        pytest.param([(0, 0)], [(15, 0), (45, 0), (75, 0)], [(15, True)], id="It enters once."),
        pytest.param([(0, 500)], [(60, 0)], [(60, False)], id="Who was outside its shape has come just now."),
        pytest.param([(0, 110)], [(15, 90), (45, 90)], [(45, False)], id="Around the edge it takes two witnesses."),
        pytest.param([(0, 0)], [(15, 500), (100, 0)], [(100, False)], id="Who has left since comes back."),
        pytest.param([(0, 0)], [(15, 50, 900), (30, 90), (60, 90)], [(60, False)], id="A poor fix between hides it."),
        pytest.param([(0, 0)], [(15, 20_000), (45, 20_000)], [], id="Who has gone far is not there."),
    ],
)
def test_a_fence_published_around_a_phone(before, after, expected):
    """A fence that is new, or has a new shape, does not make those who stand in it arrive."""
    for earlier in (ELSEWHERE, Catalogue.build([], version=0)):
        _, track = told([fix(-1_000, 5_000), *(fix(*each) for each in before)], earlier)
        transitions, _ = told([fix(*each) for each in after], track=track)
        assert [((t.at - START).total_seconds(), t.initial) for t in transitions] == expected


def test_who_leaps_into_a_shop_did_not_arrive():
    """A phone that leaps into a shop, and is believed 30 s later, enters as initial; who leaps beside it walks in."""
    _, track = told([fix(0, 50_000), fix(15, 0)])
    assert track.held is not None
    (enter,), _ = told([fix(60, 0)], track=track)
    assert enter.initial
    _, track = told([fix(0, 50_000), fix(15, 300), fix(60, 300)])
    (enter,), _ = told([fix(120, 0)], track=track)
    assert not enter.initial


def cut_story(fixes, cuts, track=None):
    """(second, kind, initial) of every transition of a phone with sensitive places in between, and its track."""
    device = News(track or DeviceTrack(), [fix(*each) for each in fixes], (), [START.timestamp() + cut for cut in cuts])
    ((track, transitions),) = advance(SHOP, [device], 0.0)
    return [((t.at - START).total_seconds(), str(t.kind), t.initial) for t in transitions], track


@pytest.mark.parametrize(
    ("fixes", "cuts", "expected"),
    [
        pytest.param([(0, 0)], [-60], [(0, "enter", True)], id="A cut before the first fix changes nothing."),
        pytest.param(
            [(0, 0), (60, 0)],
            [30],
            [(0, "enter", True), (60, "enter", True)],
            id="Presence ends without a word; the next fix is a first one.",
        ),
        pytest.param([(0, 0), (60, 500)], [30], [(0, "enter", True)], id="There is nothing to exit from."),
        pytest.param(
            [(0, 500), (60, 0)], [30], [(60, "enter", True)], id="Who comes from a sensitive place is initial."
        ),
        pytest.param(
            [(0, 50_000), (60, 0)],
            [50, 20, 30],
            [(60, "enter", True)],
            id="Leaps over a cut are not judged, in whatever order cuts are given.",
        ),
        pytest.param([(0, 0), (60, 0)], [60], [(0, "enter", True)], id="A fix comes before its own instant's cut."),
        pytest.param(
            [(0, 0), (60, 0), (120, 0)],
            [90, 30],
            [(0, "enter", True), (60, "enter", True), (120, "enter", True)],
            id="Cuts may come in any order.",
        ),
        pytest.param([], [30], [], id="A cut needs no fixes."),
    ],
)
def test_sensitive_places_cut_the_story(fixes, cuts, expected):
    """Where a fix was dropped because of a sensitive place, all is forgotten."""
    happened, _ = cut_story(fixes, cuts)
    assert happened == expected


def test_after_a_cut_only_the_clock_is_left():
    """A cut after the last fix, or alone, leaves the time of the newest fix and of the last fast movement."""
    at = START.timestamp()
    nothing = DeviceTrack(newest_at=at + 60, fast_at=at)
    happened, track = cut_story([(0, 0, 10, 20.0), (60, 0)], [90])
    assert ([kind for _, kind, _ in happened], track) == (["enter"], nothing)
    _, inside = told([fix(0, 0, speed_mps=20.0), fix(60, 0), fix(61, 9_000)])
    assert inside.presences
    assert inside.held is not None
    assert cut_story([], [90], inside) == ([], msgspec.structs.replace(nothing, newest_at=at + 61))
    assert cut_story([], [30], DeviceTrack()) == ([], DeviceTrack())


def test_no_speed_is_implied_across_a_cut():
    """What lies between two fixes around a sensitive place stays unknown."""
    whole = News(DeviceTrack(), [fix(0, 5_000), fix(600, 0)])
    parted = whole._replace(cuts=[START.timestamp() + 300])
    (cut_track, (cut,)), (track, (enter,)) = advance(SHOP, [parted, whole], 0.0)
    assert (cut.speed_mps, cut_track.fast_at) == (None, None)
    assert (enter.speed_mps, track.fast_at) == (pytest.approx(8.3, abs=0.1), START.timestamp() + 600)


def test_transitions_say_how_sure_they_are():
    """The confidence is the share inside for an enter, and the share outside for an exit."""
    transitions, _ = told([fix(0, 100, 30), fix(60, 0), fix(120, 145), fix(150, 145)])
    enter, exit_ = transitions
    assert enter.confidence == pytest.approx(1.0, abs=0.001)
    assert exit_.confidence == 1.0
    (enter,), _ = told([fix(0, 90)])
    assert 0.85 < enter.confidence < 0.95


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        pytest.param(3.5, 3.5, id="The phone's own speed counts."),
        pytest.param(None, 5_000 / 1_000, id="Without one, it is distance over time."),
        pytest.param(-1.0, 5_000 / 1_000, id="-1 means that the phone does not know."),
    ],
)
def test_transitions_say_how_fast(reported, expected):
    """Speed is the reported one, else that between the last two fixes."""
    (enter,), _ = told([fix(-1_000, 5_000), fix(0, 0, speed_mps=reported)])
    assert enter.speed_mps == pytest.approx(expected, rel=0.01)


def test_jitter_is_no_speed():
    """Two fixes whose discs overlap imply that the phone stands still."""
    transitions, _ = told([fix(0, 0), fix(60, 190, 40), fix(90, 220, 40)])
    assert [(str(t.kind), t.speed_mps) for t in transitions] == [("enter", None), ("exit", 0.0)]


def test_fast_movement_is_remembered():
    """The track knows when the phone last moved faster than 7 m/s, reported or implied."""
    _, track = told([fix(0, 0), fix(60, 6_00), fix(120, 600, speed_mps=1.0)])
    assert track.fast_at == START.timestamp() + 60
    _, track = told([fix(180, 600, speed_mps=9.0), fix(240, 600, speed_mps=0.0)], track=track)
    assert track.fast_at == START.timestamp() + 180
    _, track = told([fix(300, 600)], track=track)
    assert track.fast_at == START.timestamp() + 180


def test_old_transitions_are_late():
    """What was reported too long after it happened is marked."""
    transitions, _ = told([fix(-1_000, 5_000), fix(0, 0), fix(60, 385), fix(100, 385)], late_before_s=30)
    assert [(str(t.kind), t.late) for t in transitions] == [("enter", True), ("exit", False)]


def test_presence_in_a_removed_geofence_ends_as_removed():
    """When a geofence is gone, whoever was inside is told so once; a mere witness is forgotten."""
    empty = Catalogue.build([], version=2)
    _, inside = told([fix(0, 0)])
    transitions, track = told([fix(60, 0)], empty, inside)
    assert [t.kind for t in transitions] == [TransitionKind.REMOVED]
    assert track.presences == ()
    _, entering = told([fix(-1_000, 5_000), fix(0, 90)])
    assert [p.state for p in entering.presences] == [PresenceState.ENTERING]
    assert told([fix(60, 90)], empty, entering)[0] == []


def test_sensitive_places_are_never_told():
    """Nobody enters a sensitive place, and presence in one that becomes sensitive ends in silence."""
    clinic = Catalogue.build([circle("shop", kind=GeofenceKind.SENSITIVE)], version=2)
    assert told([fix(0, 0), fix(60, 0)], clinic)[0] == []
    _, inside = told([fix(0, 0)])
    transitions, track = told([fix(60, 0)], clinic, inside)
    assert (transitions, track.presences) == ([], ())


def test_nested_and_neighbouring_fences():
    """Nested fences are independent, and at one instant exits come before enters."""
    both = Catalogue.build([circle("a-shop", 1_000), circle("z-shop"), circle("mall", 500, 2_000)], version=1)
    fixes = [fix(-1_000, 9_000), fix(0, 0), fix(60, 1_000)]
    transitions, _ = told(fixes, both)
    assert [(str(t.kind), t.geofence_id) for t in transitions] == [
        ("enter", "mall"),
        ("enter", "z-shop"),
        ("exit", "z-shop"),
        ("enter", "a-shop"),
    ]


def test_the_given_tracks_are_not_changed():
    """A batch that is tried again after a failure gives the same answer."""
    _, track = told([fix(-1_000, 5_000), fix(0, 90)])
    before = msgspec.msgpack.encode(track)
    first, second = (told([fix(30, 90), fix(60, 500)], track=track) for _ in range(2))
    assert first == second
    assert msgspec.msgpack.encode(track) == before


def test_no_fixes_change_nothing():
    """A device without new fixes keeps its track, and an empty batch is no work."""
    _, track = told([fix(0, 0)])
    assert advance(SHOP, [News(track)], 0.0) == [(track, [])]
    assert advance(SHOP, [], 0.0) == []


def test_the_latest_fix_inside_is_known():
    """Dwell asks when the phone was last surely there."""
    _, track = told([fix(0, 0), fix(60, 0)])
    assert track.inside_at(track.presences[0]) == START.timestamp() + 60
    _, track = told([fix(90, 125), fix(100, 125)], track=track)
    assert track.inside_at(track.presences[0]) == START.timestamp() + 60


def heard(at_s, said, geofence_id="shop", p=0.9):
    return geofence_id, Statement(START.timestamp() + at_s, said, p, Source.OS)


@pytest.mark.parametrize(
    ("fixes", "heard_", "expected"),
    [
        pytest.param([], [(0, Evidence.PROVEN_INSIDE)], [(0, "enter", "os")], id="It needs no fix."),
        pytest.param(
            [(0, 0), (60, 500)],
            [(30, Evidence.PROVEN_INSIDE)],
            [(0, "enter", "fix"), (60, "exit", "fix")],
            id="Whoever is inside does not enter again.",
        ),
        pytest.param(
            [(0, 0), (60, 0), (90, 0), (120, 0), (150, 0), (180, 0)],
            [(30, Evidence.OUTSIDE)],
            [(0, "enter", "fix"), (30, "exit", "os"), (180, "enter", "fix")],
            id="It takes its place among the fixes, in whatever order it comes.",
        ),
        pytest.param([], [(0, Evidence.PROVEN_INSIDE, "gone")], [], id="Of an unknown fence nothing is told."),
        pytest.param([], [(0, Evidence.PROVEN_INSIDE, "clinic")], [], id="Nor of a sensitive one."),
    ],
)
def test_other_sources_go_through_the_same_table(fixes, heard_, expected):
    """What a beacon or the operating system says counts like what a fix says, in the order of time."""
    fences = Catalogue.build([circle("shop"), circle("clinic", 9_000, kind=GeofenceKind.SENSITIVE)], version=1)
    device = News(DeviceTrack(), [fix(*each) for each in fixes], [heard(*each) for each in heard_])
    ((_, transitions),) = advance(fences, [device], 0.0)
    assert [((t.at - START).total_seconds(), str(t.kind), str(t.source)) for t in transitions] == expected


def test_fixes_of_whoever_stays_count_beside_other_sources():
    """A phone that its system reports as gone, and that a later fix finds inside, comes back, in one batch or two."""
    _, track = told([fix(0, 0), fix(60, 0)])
    fixes, gone = [fix(120, 0), fix(180, 0)], [heard(90, Evidence.OUTSIDE)]
    ((at_once, transitions),) = advance(SHOP, [News(track, fixes, gone)], 0.0)
    assert [((t.at - START).total_seconds(), str(t.kind)) for t in transitions] == [(90, "exit"), (180, "enter")]
    ((then, first),) = advance(SHOP, [News(track, fixes[:1], gone)], 0.0)
    ((then, second),) = advance(SHOP, [News(then, fixes[1:])], 0.0)
    assert (then, [*first, *second]) == (at_once, transitions)


def test_what_is_heard_late_counts_as_of_the_newest_fix():
    """A region event that was delivered behind newer fixes cannot end a presence before it began."""
    _, track = told([fix(0, 0), fix(60, 0)])
    ((_, (exit_,)),) = advance(SHOP, [News(track, heard=[heard(-30, Evidence.OUTSIDE)])], 0.0)
    assert exit_.at == START + timedelta(seconds=60)


def test_a_sensitive_place_cuts_what_other_sources_say():
    """Presence that a region event began ends at a sensitive place without a word."""
    inside = heard(0, Evidence.PROVEN_INSIDE)
    device = News(DeviceTrack(), heard=[heard(60, Evidence.PROVEN_INSIDE), inside], cuts=[START.timestamp() + 30])
    ((_, transitions),) = advance(SHOP, [device], 0.0)
    assert [(t.at - START).total_seconds() for t in transitions] == [0, 60]
    ((track, transitions),) = advance(SHOP, [device._replace(heard=[inside])], 0.0)
    assert (len(transitions), track.presences) == (1, ())


# What holds for all -----------------------------------------------------------------------------------------

MALL = Catalogue.build(
    [
        circle("cafe", 60, 25),
        circle("shop"),
        square("hall", 180),
        circle("mall", 100, 600),
        circle("region", 0, 5_000),
        circle("clinic", -150, 80, GeofenceKind.SENSITIVE),
    ],
    version=3,
)


@st.composite
def journeys(draw):
    """Fixes of one phone: walks, silences, poor fixes and leaps."""
    at_s, east_m, fixes = 0.0, draw(st.sampled_from([0.0, 90.0, 800.0, 20_000.0])), []
    for _ in range(draw(st.integers(1, 25))):
        at_s += draw(st.sampled_from([1.0, 5.0, 15.0, 30.0, 31.5, 46.0, 200.0, 30_000.0]))
        east_m += draw(st.sampled_from([0.0, 3.0, -8.0, 40.0, -60.0, 150.0, -400.0, 20_000.0, -20_000.0]))
        accuracy_m = draw(st.sampled_from([4.0, 12.0, 35.0, 150.0, 900.0, 5_000.0]))
        speed_mps = draw(st.sampled_from([None, None, -1.0, 0.5, 12.0]))
        fixes.append(fix(at_s, east_m, accuracy_m, speed_mps))
    return fixes


CHANGED = Catalogue.build(
    [
        circle("shop", -400),
        square("hall", 90),
        circle("mall", 100, 900),
        circle("kiosk", 0, 70),
        circle("region", 0, 5_000),
        circle("clinic", -150, 80),
        circle("school", 800, 80, GeofenceKind.SENSITIVE),
    ],
    version=4,
)


def in_pieces(phones, cuts, dark=None, published=25):
    """Advance all phones, cutting each one's fixes into batches; tracks pass through bytes between them.

    ``dark`` are the indexes of the fixes of each phone that touch a sensitive place. From the fix with the
    index ``published`` on, the geofences are others.
    """
    dark = dark or [set() for _ in phones]
    tracks = [DeviceTrack() for _ in phones]
    happened = [[] for _ in phones]
    for low, high in pairwise(sorted({*cuts, published})):
        news = []
        for track, fixes, hidden in zip(tracks, phones, dark, strict=True):
            indexes = range(low, min(high, len(fixes)))
            kept = [fixes[k] for k in indexes if k not in hidden]
            cuts = [fixes[k].recorded_at.timestamp() for k in indexes if k in hidden]
            news.append(News(track, kept, (), cuts))
        for k, (track, transitions) in enumerate(advance(MALL if low < published else CHANGED, news, 0.0)):
            tracks[k] = msgspec.msgpack.decode(msgspec.msgpack.encode(track), type=DeviceTrack)
            happened[k] += transitions
    return tracks, happened


def rounded(happened):
    """Vector arithmetic may differ in the last bit with the length of the vector."""
    return [
        [
            msgspec.structs.replace(
                t,
                confidence=round(t.confidence, 9),
                speed_mps=None if t.speed_mps is None else round(t.speed_mps, 6),
            )
            for t in each
        ]
        for each in happened
    ]


@given(
    phones=st.lists(journeys(), min_size=1, max_size=4),
    cuts=st.sets(st.integers(1, 24)),
    dark=st.lists(st.sets(st.integers(0, 24), max_size=4), min_size=4, max_size=4),
    published=st.integers(1, 25),
)
@settings(max_examples=200, deadline=None)
def test_any_batching_gives_the_same_transitions(phones, cuts, dark, published):
    """One by one, all at once, alone or among others, through a restart and a new version: the same story."""
    dark = dark[: len(phones)]
    tracks, happened = in_pieces(phones, [0, 25], dark, published)
    cut_tracks, cut_happened = in_pieces(phones, [0, *cuts, 25], dark, published)
    assert rounded(cut_happened) == rounded(happened)
    assert cut_tracks == tracks
    alone_tracks, alone_happened = in_pieces(phones[:1], range(26), dark[:1], published)
    assert rounded(alone_happened) == rounded(happened[:1])
    assert alone_tracks == tracks[:1]


@given(fixes=journeys())
@settings(max_examples=120, deadline=None)
def test_enters_and_exits_alternate(fixes):
    """Nothing exits that did not enter, nothing enters twice, and the track knows who is inside."""
    ((track,), (happened,)) = in_pieces([fixes], [0, 25])
    inside, dwelt = Counter(), Counter()
    for transition in happened:
        kind, which = transition.kind, transition.geofence_id
        if kind is TransitionKind.DWELL:
            dwelt[which] += 1
            assert (inside[which], dwelt[which]) == (1, 1), "whoever dwells is inside, and dwells once a stay"
        elif kind is TransitionKind.CROSSED:
            assert inside[which] == 0, "whoever passes through was outside"
        else:
            inside[which] += 1 if kind is TransitionKind.ENTER else -1
            dwelt[which] = 0
            assert inside[which] in (0, 1)
    present = {p.geofence_id for p in track.presences if p.state in (PresenceState.INSIDE, PresenceState.LEAVING)}
    assert present == {geofence_id for geofence_id, count in inside.items() if count}
    assert "clinic" not in inside
    ends = {TransitionKind.EXIT, TransitionKind.REMOVED, TransitionKind.LOST}
    keys = [(t.at, t.kind not in ends) for t in happened]
    assert keys == sorted(keys)


def test_a_fence_far_away_changes_nothing():
    """What happens here does not depend on which other fences there are."""
    random = np.random.default_rng(3)
    fixes = [fix(15 * k, float(east_m)) for k, east_m in enumerate(np.cumsum(random.normal(0, 60, 200)))]
    crowd = [circle(f"far-{k}", 30_000 + 500 * k) for k in range(50)]
    more = Catalogue.build([*crowd, circle("shop")], version=2)
    assert rounded([told(fixes, more)[0]]) == rounded([told(fixes)[0]])


# The table --------------------------------------------------------------------------------------------------


def test_the_table_answers_every_question():
    """Each state has an answer to each verdict."""
    assert set(PRESENCE) == {(state, verdict) for state in PresenceState for verdict in Verdict}


def test_the_table_tells_of_an_enter_before_an_exit():
    """Only those who are inside or leaving exit; only those who are not enter, or pass through."""
    there = {PresenceState.INSIDE, PresenceState.LEAVING}
    ends = {TransitionKind.EXIT, TransitionKind.REMOVED, TransitionKind.LOST}
    for (state, _), (then, kind) in PRESENCE.items():
        expected = {
            (False, False): {None, TransitionKind.CROSSED},
            (False, True): {TransitionKind.ENTER},
            (True, True): {None, TransitionKind.DWELL},
            (True, False): ends,
        }
        assert kind in expected[state in there, then in there]


def test_the_diagram_shows_the_table():
    """Every change of state in the table is an arrow in the diagram, and so is every transition."""
    diagram = presence_diagram()
    assert diagram.startswith("stateDiagram-v2\n")
    for (state, verdict), (then, told) in PRESENCE.items():
        if then is not state or told is not None:
            arrows = [line for line in diagram.splitlines() if f"{state} --> {then}: " in line]
            assert any(verdict.value in line for line in arrows), (state, verdict)
