"""What cuts the story of a phone, and what other sources than its fixes add to it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from phone_stories import SHOP, START, circle, fix, told

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.statements import Evidence, Statement
from geoservice.geofencing.track import DeviceTrack
from geoservice.vocabulary import GeofenceKind, Source


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
