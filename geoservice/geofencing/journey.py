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
from collections.abc import Collection, Mapping, Sequence
from itertools import islice, pairwise
from operator import attrgetter
from typing import NamedTuple

import msgspec

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.crossing import Crossings, crossings
from geoservice.geofencing.evidence import P_FIRST, match, weigh
from geoservice.geofencing.path import Path, Rows, follow, gather
from geoservice.geofencing.presence import PRESENCE, Verdict, become, certainty, judge
from geoservice.geofencing.statements import Evidence, Said, Statement, Statements, Stretch
from geoservice.geofencing.telling import Teller
from geoservice.geofencing.track import (
    LOST_S,
    SEEN_WITHIN_S,
    DeviceTrack,
    KnownFix,
    Presence,
    PresenceState,
    is_settled,
)
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
    clock_offset_s: float = 0.0
    """What to add to the phone's clock; tracks stay on the phone's."""
    ended: Collection[str] = ()
    """Geofences that other sources have ended since the track's latest fix, before the first of ``fixes``."""


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
    ended = (device.ended, *(() for _ in cuts))
    return [
        News(track, device.fixes[fix_low:fix_high], heard[low:high], (), device.clock_offset_s, before)
        for track, before, (fix_low, fix_high), (low, high) in zip(
            tracks, ended, pairwise(fix_bounds), pairwise(heard_bounds), strict=True
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
    told: Statements = {}
    moving = [place for place, device in enumerate(news) if device.fixes]
    if moving:
        told = _move(catalogue, news, moving, results)
    for place, device in enumerate(news):
        if device.heard:
            _hear(catalogue, device, told.setdefault(place, {}))
    for place, statements in told.items():
        track, transitions = results[place]
        teller = Teller(transitions, news[place].clock_offset_s, late_before)
        presences = _live(catalogue, news[place], statements, teller)
        results[place] = (msgspec.structs.replace(track, presences=presences), teller.in_order())
    return results


def _move(catalogue: Catalogue, news: Sequence[News], places: Sequence[int], results: list[Lived]) -> Statements:
    """Follow the fixes; answers what they say, by place in ``results``, where the tracks are brought up to date."""
    work = [(news[place].track, news[place].fixes) for place in places]
    rows = gather(work)
    path = follow(rows)
    heard = _pairs(catalogue, [[geofence_id for geofence_id, _ in news[place].heard] for place in places])
    ended = _pairs(catalogue, [news[place].ended for place in places])
    matched = match(catalogue, rows, path)
    statements = weigh(catalogue, rows, path, matched, [track for track, _ in work], heard, ended)
    _add_crossings(crossings(catalogue, rows, path, matched), rows, path, statements)
    last_rows, fast_at, finest_m = path.last_row.tolist(), path.fast_at.tolist(), path.finest_m.tolist()
    for device, (place, (track, _)) in enumerate(zip(places, work, strict=True)):
        last, held = last_rows[device], path.held.get(device)
        now = msgspec.structs.replace(
            track,
            last=track.last if last < 0 else KnownFix(*rows.known[last]),
            held=None if held is None else KnownFix(*rows.known[held]),
            newest_at=rows.known[rows.end[device] - 1][0],
            fast_at=fast_at[device] if fast_at[device] > -math.inf else track.fast_at,
            finest_m=min(finest_m[device], track.finest_m),
            lately=path.lately[device],
        )
        results[place] = (now, [])
    return {places[device]: of_device for device, of_device in statements.items()}


def _pairs(catalogue: Catalogue, named: Sequence[Collection[str]]) -> set[tuple[int, int]]:
    """Devices and geofences by index; ``named`` are the geofences' ids of each device."""
    return {
        (device, catalogue.index_of[geofence_id])
        for device, ids in enumerate(named)
        for geofence_id in ids
        if geofence_id in catalogue.index_of
    }


def _add_crossings(found: Crossings, rows: Rows, path: Path, statements: Statements) -> None:
    """A device that passed through did so before the fix behind it says where it is now."""
    for row, fence, p in zip(found.row.tolist(), found.fence.tolist(), found.p.tolist(), strict=True):
        speed_mps = float(path.speed_mps[row])
        crossed = Statement(rows.known[row][0], Evidence.CROSSED, 1.0 - p, Source.FIX, speed_mps)
        said = _spoken(statements.setdefault(int(rows.device[row]), {}), fence)
        said.insert(0, crossed)
        said.sort(key=_at)


def _hear(catalogue: Catalogue, device: News, statements: dict[int, Said]) -> None:
    """Add what other sources say to what the fixes of this device say."""
    newest_at = device.track.newest_at or 0.0
    for geofence_id, statement in device.heard:
        fence = catalogue.index_of.get(geofence_id)
        if fence is not None and fence not in catalogue.sensitive_ones:
            heard = statement if statement.at >= newest_at else statement._replace(at=newest_at)
            said = _spoken(statements, fence)
            said.append(heard)
            said.sort(key=_at)  # stable: at one instant the fix comes first


def _spoken(statements: dict[int, Said], fence: int) -> list[Statement]:
    """What is said about a fence, as a list to which more can be added."""
    said = statements.get(fence, [])
    if isinstance(said, Stretch):
        said = said.all()
    statements[fence] = said
    return said


_at = attrgetter("at")


# Steps through the table ------------------------------------------------------------------------------------


def _live(catalogue: Catalogue, device: News, said: Mapping[int, Said], teller: Teller) -> tuple[Presence, ...]:
    """Bring one device's presences up to date, and tell what has changed."""
    rest = dict(said)
    presences: list[Presence] = []
    for presence in device.track.presences:
        fence = catalogue.index_of.get(presence.geofence_id)
        if fence is None:
            teller.end(presence, Verdict.REMOVED, _begins_at(device), 1.0, Source.FIX)
        elif fence in rest:
            presences += _step(catalogue, device.track, presence, fence, rest.pop(fence), teller)
        elif fence not in catalogue.sensitive_ones:
            presences.append(presence)
    for fence, statements in rest.items():
        outside = Presence(catalogue.fences[fence].geofence_id, PresenceState.OUTSIDE)
        presences += _step(catalogue, device.track, outside, fence, statements, teller)
    presences.sort(key=_by_id)
    return tuple(presences)


def _step(
    catalogue: Catalogue, track: DeviceTrack, presence: Presence, fence: int, said: Said, teller: Teller
) -> list[Presence]:
    """Lead one device and one fence through the table; answers nothing once it is outside."""
    fix_before_at = 0.0 if track.last is None else track.last.at
    dwell_s = catalogue.dwell_s(fence)
    if isinstance(said, Stretch):
        presence = _step_fixes(presence, said, fix_before_at, dwell_s, teller)
        return [] if presence.state is _OUTSIDE else [presence]
    for statement in said:
        kind, from_fix = statement.said, statement.source is Source.FIX
        if from_fix and kind is not _CROSSED and statement.before_at > 0:
            fix_before_at = statement.before_at
        if presence.state is not _OUTSIDE or kind >= _INSIDE or kind is _CROSSED:
            presence = _take(presence, statement, fix_before_at, dwell_s, teller)
        if from_fix:
            fix_before_at = statement.at
    return [] if presence.state is _OUTSIDE else [presence]


def _step_fixes(presence: Presence, said: Stretch, fix_before_at: float, dwell_s: float, teller: Teller) -> Presence:
    """The same, past everything that changes nothing."""
    place, end = said.begin, said.end
    while place < end:
        if presence.state is _OUTSIDE:
            place = said.next_enter(place)
        elif is_settled(presence):
            place = said.next_stir(place, presence.dwell_at)
        if place < end:
            statement = said.statement(place)
            before_at = statement.before_at if statement.before_at > 0 else fix_before_at
            presence = _take(presence, statement, before_at, dwell_s, teller)
        place += 1
    return presence


def _take(presence: Presence, statement: Statement, fix_before_at: float, dwell_s: float, teller: Teller) -> Presence:
    """Take one step."""
    presence, statement = _unless_lost(presence, statement, fix_before_at, teller)
    belief, verdict = judge(presence, statement)
    then, told = PRESENCE[presence.state, verdict]
    if told is not None:
        _tell(told, presence.geofence_id, verdict, statement, teller)
    presence = become(presence, then, belief, statement, fix_before_at, dwell_s)
    if presence.dwell_at is not None and presence.dwell_at <= statement.at:
        presence = _dwell(presence, statement, teller)
    return presence


_OUTSIDE, _INSIDE, _CROSSED = PresenceState.OUTSIDE, Evidence.INSIDE, Evidence.CROSSED


def _tell(kind: TransitionKind, geofence_id: str, verdict: Verdict, statement: Statement, teller: Teller) -> None:
    """Tell what a statement decided."""
    confidence = 1.0 - statement.p if kind is TransitionKind.EXIT else statement.p
    initial, speed_mps = verdict is Verdict.FIRST_INSIDE, statement.speed_mps
    teller.tell(kind, geofence_id, statement.at, confidence, statement.source, initial=initial, speed_mps=speed_mps)


def _dwell(presence: Presence, statement: Statement, teller: Teller) -> Presence:
    """Tell that the device has dwelt, if it was seen inside lately and is believed to be there."""
    inside_at = statement.at if presence.inside_at is None else presence.inside_at
    _, told = PRESENCE[presence.state, Verdict.DWELT]
    if told is None or statement.at - inside_at > SEEN_WITHIN_S:
        return presence
    _tell(told, presence.geofence_id, Verdict.DWELT, statement, teller)
    return msgspec.structs.replace(presence, dwell_at=None)


def _unless_lost(
    presence: Presence, statement: Statement, fix_before_at: float, teller: Teller
) -> tuple[Presence, Statement]:
    """End a presence of which nothing was heard for hours; who is inside then was there before."""
    heard_at = max(fix_before_at, presence.inside_at or 0.0)
    if presence.state is _OUTSIDE or statement.at - heard_at < LOST_S:
        return presence, statement
    teller.end(presence, Verdict.LOST, heard_at + LOST_S, 1.0 - certainty(presence), Source.TIMER)
    if presence.inside_at is None and statement.said is _INSIDE and statement.p >= P_FIRST:
        statement = statement._replace(said=Evidence.FIRST_INSIDE)
    return Presence(presence.geofence_id, _OUTSIDE), statement


def _begins_at(device: News) -> float:
    """The first new instant (epoch seconds)."""
    ats = [statement.at for _, statement in device.heard]
    if device.fixes:
        ats.append(device.fixes[0].recorded_at.timestamp())
    return max(min(ats), device.track.newest_at or 0.0)


def _by_id(presence: Presence) -> str:
    return presence.geofence_id
