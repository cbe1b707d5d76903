"""What holds for every phone, and the table that makes it so."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from phone_stories import circle, fix, square, told

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.presence import PRESENCE, Verdict, presence_diagram
from geoservice.geofencing.track import DeviceTrack, PresenceState
from geoservice.vocabulary import GeofenceKind, TransitionKind

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
    for (state, verdict), (then, tells) in PRESENCE.items():
        if then is not state or tells is not None:
            arrows = [line for line in diagram.splitlines() if f"{state} --> {then}: " in line]
            assert any(verdict.value in line for line in arrows), (state, verdict)
