"""Devices live through what is new about them: one batch, many devices. Pure.

    fixes ──► path ──► evidence ──► presence ──► transitions
              which    what each    the table
              count    fix says     of states
    beacons, OS events ─► evidence ┘

Fixes are looked at all at once, by numpy. What other sources say joins them pair by pair, in the order of time, and
goes through the same table.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice, pairwise
from operator import attrgetter
from typing import NamedTuple

import msgspec

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.evidence import Evidence, Statement, Statements, weigh
from geoservice.geofencing.path import follow, gather
from geoservice.geofencing.presence import PRESENCE, become, step
from geoservice.geofencing.track import DeviceTrack, KnownFix, Presence, PresenceState
from geoservice.vocabulary import Fix, Source, Transition, TransitionKind


class News(NamedTuple):
    """A device as it was, and what is new about it.

    ``fixes`` are in strictly increasing order of ``recorded_at``, newer than the track's ``newest_at``, and not mock.
    ``heard`` is what other sources say, as (geofence id, statement), in any order; what is older than the track counts
    as of the track's newest instant.

    ``cuts`` are, in any order, the instants (epoch seconds) of observations that were dropped because they touched a
    sensitive place. There every presence ends without a word, and the next fix is a first one. An observation of the
    same instant comes before its cut; a cut older than the track takes effect at once.
    """

    track: DeviceTrack
    fixes: Sequence[Fix] = ()
    heard: Sequence[tuple[str, Statement]] = ()
    cuts: Sequence[float] = ()


Lived = tuple[DeviceTrack, list[Transition]]
"""What came of it."""


def advance(catalogue: Catalogue, news: Sequence[News], late_before: float) -> list[Lived]:
    """Let many devices live through what is new; answers, in the order of ``news``, what changed.

    Transitions from before ``late_before`` (epoch seconds) are marked late. They are sorted by instant, exits first,
    then by geofence id. The tracks given are not changed.
    """
    if not any(device.cuts for device in news):
        return _advance(catalogue, news, late_before)
    # What follows a cut knows nothing of what was before, so that all pieces can be judged side by side.
    pieces: list[News] = []
    count = []
    for device in news:
        between = _pieces(device)
        pieces += between
        count.append(len(between))
    answers = iter(_advance(catalogue, pieces, late_before))
    return [_join(list(islice(answers, many))) for many in count]


def _pieces(device: News) -> list[News]:
    """What is new before, between and after the cuts; one piece more than there are cuts."""
    if not device.cuts:
        return [device]
    cuts = sorted(device.cuts)
    heard = sorted(device.heard, key=_heard_at)
    fix_bounds = _bounds([fix.recorded_at.timestamp() for fix in device.fixes], cuts)
    heard_bounds = _bounds([statement.at for _, statement in heard], cuts)
    tracks = (device.track, *(DeviceTrack() for _ in cuts))
    return [
        News(track, device.fixes[fix_low:fix_high], heard[low:high])
        for track, (fix_low, fix_high), (low, high) in zip(
            tracks, pairwise(fix_bounds), pairwise(heard_bounds), strict=True
        )
    ]


def _bounds(ats: Sequence[float], cuts: Sequence[float]) -> list[int]:
    return [0, *(bisect_right(ats, cut) for cut in cuts), len(ats)]


def _heard_at(heard: tuple[str, Statement]) -> float:
    return heard[1].at


def _join(pieces: Sequence[Lived]) -> Lived:
    """One device's answer: over a cut only its clock, and when it was fast, are remembered."""
    joined, _ = pieces[0]
    for track, _ in pieces[1:]:
        joined = msgspec.structs.replace(
            track,
            newest_at=joined.newest_at if track.newest_at is None else track.newest_at,
            fast_at=joined.fast_at if track.fast_at is None else track.fast_at,
        )
    return joined, [transition for _, transitions in pieces for transition in transitions]


def _advance(catalogue: Catalogue, news: Sequence[News], late_before: float) -> list[Lived]:
    """The same without cuts."""
    results: list[Lived] = [(device.track, []) for device in news]
    told: dict[int, dict[int, list[Statement]]] = {}
    moving = [place for place, device in enumerate(news) if device.fixes]
    if moving:
        told = _move(catalogue, news, moving, results)
    for place, device in enumerate(news):
        if device.heard:
            _hear(catalogue, device, told.setdefault(place, {}))
    for place, statements in told.items():
        track, transitions = results[place]
        now = _Now(catalogue, news[place], track.newest_at or 0.0, late_before)
        results[place] = (msgspec.structs.replace(track, presences=_live(now, statements, transitions)), transitions)
    return results


def _move(catalogue: Catalogue, news: Sequence[News], places: Sequence[int], results: list[Lived]) -> Statements:
    """Follow the fixes; answers what they say, by place in ``results``, where the tracks are brought up to date."""
    work = [(news[place].track, news[place].fixes) for place in places]
    rows = gather(work)
    path = follow(rows)
    heard = {
        (device, catalogue.index_of[geofence_id])
        for device, place in enumerate(places)
        for geofence_id, _ in news[place].heard
        if geofence_id in catalogue.index_of
    }
    statements = weigh(catalogue, rows, path, [track for track, _ in work], heard)
    last_rows, fast_at, finest_m = path.last_row.tolist(), path.fast_at.tolist(), path.finest_m.tolist()
    for device, (place, (track, _)) in enumerate(zip(places, work, strict=True)):
        last, held = last_rows[device], path.held.get(device)
        now = DeviceTrack(
            last=track.last if last < 0 else KnownFix(*rows.known[last]),
            held=None if held is None else KnownFix(*rows.known[held]),
            newest_at=rows.known[rows.end[device] - 1][0],
            fast_at=fast_at[device] if fast_at[device] > -math.inf else track.fast_at,
            presences=track.presences,
            finest_m=min(finest_m[device], track.finest_m),
        )
        results[place] = (now, [])
    return {places[device]: of_device for device, of_device in statements.items()}


def _hear(catalogue: Catalogue, device: News, statements: dict[int, list[Statement]]) -> None:
    """Add what other sources say to what the fixes of this device say."""
    newest_at = device.track.newest_at or 0.0
    for geofence_id, statement in device.heard:
        fence = catalogue.index_of.get(geofence_id)
        if fence is not None and not catalogue.sensitive[fence]:
            heard = statement if statement.at >= newest_at else statement._replace(at=newest_at)
            said = statements.setdefault(fence, [])
            said.append(heard)
            said.sort(key=_at)  # stable: at one instant the fix comes first


_at = attrgetter("at")


# Steps through the table ------------------------------------------------------------------------------------


class _Now(NamedTuple):
    """All that the steps of one device look up."""

    catalogue: Catalogue
    device: News
    newest_at: float
    late_before: float


def _live(now: _Now, said: Mapping[int, list[Statement]], transitions: list[Transition]) -> tuple[Presence, ...]:
    """Bring one device's presences up to date, and add to ``transitions`` what is to be told."""
    rest = dict(said)
    presences: list[Presence] = []
    for presence in now.device.track.presences:
        fence = now.catalogue.index_of.get(presence.geofence_id)
        if fence is None:
            _remove(now, presence, transitions)
        elif fence in rest:
            presences += _step(now, presence, rest.pop(fence), transitions)
        elif not now.catalogue.sensitive[fence]:
            presences.append(presence)
    for fence, statements in rest.items():
        outside = Presence(now.catalogue.fences[fence].geofence_id, PresenceState.OUTSIDE)
        presences += _step(now, outside, statements, transitions)
    presences.sort(key=_by_id)
    transitions.sort(key=_order)
    return tuple(presences)


def _step(
    now: _Now, presence: Presence, statements: Iterable[Statement], transitions: list[Transition]
) -> list[Presence]:
    """Lead one device and one fence through the table; answers nothing once it is outside."""
    last = now.device.track.last
    fix_before_at = 0.0 if last is None else last.at
    for statement in statements:
        if presence.state is not PresenceState.OUTSIDE or statement.said >= Evidence.INSIDE:
            presence, evidence = step(presence, statement, fix_before_at)
            then, told = PRESENCE[presence.state, evidence]
            if told is not None:
                transitions.append(_told(now, presence.geofence_id, told, evidence, statement))
            presence = become(presence, then, statement.at)
        if statement.source is Source.FIX:
            fix_before_at = statement.at
    return [] if presence.state is PresenceState.OUTSIDE else [presence]


def _told(now: _Now, geofence_id: str, kind: TransitionKind, evidence: Evidence, statement: Statement) -> Transition:
    """The transition that a statement decided."""
    return Transition(
        kind=kind,
        geofence_id=geofence_id,
        at=datetime.fromtimestamp(statement.at, UTC),
        confidence=statement.p if kind is TransitionKind.ENTER else 1.0 - statement.p,
        source=statement.source,
        late=statement.at < now.late_before,
        initial=evidence is Evidence.FIRST_INSIDE,
        speed_mps=statement.speed_mps,
    )


def _remove(now: _Now, presence: Presence, transitions: list[Transition]) -> None:
    """Presence ends with the first observation after its geofence is gone."""
    _, told = PRESENCE[presence.state, Evidence.REMOVED]
    if told is not None:
        at = _begins_at(now.device)
        instant = datetime.fromtimestamp(at, UTC)
        transitions.append(Transition(told, presence.geofence_id, instant, confidence=1.0, late=at < now.late_before))


def _begins_at(device: News) -> float:
    """The first new instant (epoch seconds)."""
    ats = [statement.at for _, statement in device.heard]
    if device.fixes:
        ats.append(device.fixes[0].recorded_at.timestamp())
    return max(min(ats), device.track.newest_at or 0.0)


def _by_id(presence: Presence) -> str:
    return presence.geofence_id


def _order(transition: Transition) -> tuple[datetime, bool, str]:
    """By instant; what ends comes before what begins; then by id, so that the order is always the same."""
    return transition.at, transition.kind is TransitionKind.ENTER, transition.geofence_id
