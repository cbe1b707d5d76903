"""Stories of one phone and its fixes."""

from __future__ import annotations

import msgspec
import pytest
from phone_stories import IN, SHOP, START, circle, fix, story, told

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.track import PresenceState
from geoservice.vocabulary import GeofenceKind, TransitionKind


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
