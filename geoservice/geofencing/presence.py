"""Who is where: fixes become evidence, evidence becomes transitions. Pure.

Between a device and a geofence there is one of four states. A fix says one thing about it (`Evidence`), and
the table ``PRESENCE`` says what follows. What a fix says:

first inside  p ≥ 0.6, and nobody knows since when: it is the first fix known of the device; or all before it
              were poor for this fence, the latest with a disc that touches it; or the device is outside,
              although the fix before, too, was good and had p ≥ 0.6: the fence is new, or was changed.
inside        p ≥ 0.6, p being the share of the fix's error disc inside the fence.
proven inside p ≥ 0.6, at least 30 s after the fix inside that is held as a witness, with no p < 0.5 between:
              the errors of fixes a few seconds apart are the same error. Or p ≥ 0.95 when the fix before is
              at least 45 s old: whoever reports seldom cannot bring two witnesses.
perhaps       0.5 ≤ p < 0.6, or p ≥ 0.5 from a poor fix: keeps what is, proves nothing.
vague         p < 0.5 from a poor fix whose disc touches the fence: says nothing, and presence stays alive.
not inside    p < 0.5, but not clearly beyond the edge.
beyond        Beyond the edge by more than the accuracy + max(10 % of the effective radius, 20 m); or a poor
              fix whose disc is disjoint from the fence.
outside       Proven: beyond, at least 30 s after the fix beyond that is held as a witness; or once by 250 m
              more than that; or 5 min and at least 3 fixes in a row with p < 0.5 (vague ones not counted).
removed       The geofence is in the catalogue no more.

A fix is poor when its accuracy is worse than 2 x the effective radius, that limit held between 100 and
1,000 m. Poor fixes never enter. "The fix before" is the latest that counted, not a jump that was held.

Jumps: a fix that implies more than 85 m/s, both accuracies subtracted, is held and gives no evidence. If a
fix at least 30 s later agrees with it, the track goes on from there; a fix that agrees with the track drops
it.

Fences are independent of each other. At one instant exits come before enters. Presence in a fence that turned
`sensitive` ends without a word, and such fences are never entered. All that later fixes depend on is in
`DeviceTrack`, so that any batching of the same fixes gives the same transitions.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from itertools import islice, pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np

from geoservice.geofencing.catalogue import Bools, Catalogue, Floats, Indexes, arc_m, earth_centred
from geoservice.vocabulary import Fix, Transition, TransitionKind

P_ENTER: Final = 0.6
P_ALONE: Final = 0.95
P_INSIDE: Final = 0.5
WITNESS_S: Final = 30.0
SILENCE_S: Final = 45.0
MARGIN_SHARE: Final = 0.1
MARGIN_M: Final = 20.0
FAR_M: Final = 250.0
ABSENT_S: Final = 300.0
ABSENT_FIXES: Final = 3
POOR_RADII: Final = 2.0
POOR_LEAST_M: Final = 100.0
POOR_MOST_M: Final = 1_000.0
JUMP_MPS: Final = 85.0
FAST_MPS: Final = 7.0


class PresenceState(StrEnum):
    """Between one device and one geofence."""

    OUTSIDE = "outside"
    ENTERING = "entering"
    INSIDE = "inside"
    LEAVING = "leaving"


class Evidence(IntEnum):
    """What one fix says about one geofence; the rules are in the module's docstring."""

    REMOVED = 0
    OUTSIDE = 1
    BEYOND = 2
    NOT_INSIDE = 3
    VAGUE = 4
    PERHAPS = 5
    INSIDE = 6
    PROVEN_INSIDE = 7
    FIRST_INSIDE = 8

    @property
    def words(self) -> str:
        """As the docstring and the diagram write it."""
        return "proven outside" if self is Evidence.OUTSIDE else self.name.lower().replace("_", " ")


_S, _E, _T = PresenceState, Evidence, TransitionKind

PRESENCE: Final[dict[tuple[PresenceState, Evidence], tuple[PresenceState, TransitionKind | None]]] = {
    # Nothing is remembered of a place where the device is not.
    (_S.OUTSIDE, _E.REMOVED): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.OUTSIDE): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.BEYOND): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.NOT_INSIDE): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.VAGUE): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.PERHAPS): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.INSIDE): (_S.ENTERING, None),
    (_S.OUTSIDE, _E.PROVEN_INSIDE): (_S.INSIDE, _T.ENTER),
    (_S.OUTSIDE, _E.FIRST_INSIDE): (_S.INSIDE, _T.ENTER),
    # One witness is held until a second confirms it, or any fix denies it.
    (_S.ENTERING, _E.REMOVED): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.OUTSIDE): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.BEYOND): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.NOT_INSIDE): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.VAGUE): (_S.ENTERING, None),
    (_S.ENTERING, _E.PERHAPS): (_S.ENTERING, None),
    (_S.ENTERING, _E.INSIDE): (_S.ENTERING, None),
    (_S.ENTERING, _E.PROVEN_INSIDE): (_S.INSIDE, _T.ENTER),
    (_S.ENTERING, _E.FIRST_INSIDE): (_S.INSIDE, _T.ENTER),
    # Jitter around the edge is no exit.
    (_S.INSIDE, _E.REMOVED): (_S.OUTSIDE, _T.REMOVED),
    (_S.INSIDE, _E.OUTSIDE): (_S.OUTSIDE, _T.EXIT),
    (_S.INSIDE, _E.BEYOND): (_S.LEAVING, None),
    (_S.INSIDE, _E.NOT_INSIDE): (_S.INSIDE, None),
    (_S.INSIDE, _E.VAGUE): (_S.INSIDE, None),
    (_S.INSIDE, _E.PERHAPS): (_S.INSIDE, None),
    (_S.INSIDE, _E.INSIDE): (_S.INSIDE, None),
    (_S.INSIDE, _E.PROVEN_INSIDE): (_S.INSIDE, None),
    (_S.INSIDE, _E.FIRST_INSIDE): (_S.INSIDE, None),
    # The first fix beyond is held as a witness; only a fix that may be inside takes it back.
    (_S.LEAVING, _E.REMOVED): (_S.OUTSIDE, _T.REMOVED),
    (_S.LEAVING, _E.OUTSIDE): (_S.OUTSIDE, _T.EXIT),
    (_S.LEAVING, _E.BEYOND): (_S.LEAVING, None),
    (_S.LEAVING, _E.NOT_INSIDE): (_S.LEAVING, None),
    (_S.LEAVING, _E.VAGUE): (_S.LEAVING, None),
    (_S.LEAVING, _E.PERHAPS): (_S.INSIDE, None),
    (_S.LEAVING, _E.INSIDE): (_S.INSIDE, None),
    (_S.LEAVING, _E.PROVEN_INSIDE): (_S.INSIDE, None),
    (_S.LEAVING, _E.FIRST_INSIDE): (_S.INSIDE, None),
}
"""(state, evidence) -> (next state, what to tell)."""


class KnownFix(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of a fix: epoch seconds, degrees, metres; ``speed_mps`` as reported, if it was."""

    at: float
    lon: float
    lat: float
    accuracy_m: float
    speed_mps: float | None = None


class Presence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A device in, or about to enter, a geofence; outside, there is none. Instants are epoch seconds.

    ``witness_at`` is the fix that waits for a second one (entering: inside; leaving: beyond). ``inside_at``
    is the latest fix with p ≥ 0.5, and None while that is the device's latest fix (see
    `DeviceTrack.inside_at`), so that standing still changes nothing here. ``missing_since`` is the first fix
    after it without, ``missing`` their number.
    """

    geofence_id: str
    state: PresenceState
    entered_at: float | None = None
    inside_at: float | None = None
    witness_at: float | None = None
    missing_since: float | None = None
    missing: int = 0


class DeviceTrack(msgspec.Struct, frozen=True, array_like=True):
    """All that is remembered of one device. A new device has ``DeviceTrack()``.

    ``last`` is the latest fix that counted; ``held`` a jump that waits for a witness. Fixes up to
    ``newest_at`` have been seen. ``fast_at`` is when the device last moved faster than 7 m/s. ``presences``
    are sorted by geofence id. ``finest_m`` is the best accuracy of all fixes that counted, infinite before the
    first: whether it is poor for a fence tells whether all of them were. Instants are epoch seconds.
    """

    last: KnownFix | None = None
    held: KnownFix | None = None
    newest_at: float | None = None
    fast_at: float | None = None
    presences: tuple[Presence, ...] = ()
    finest_m: float = math.inf

    def inside_at(self, presence: Presence) -> float | None:
        """The latest fix (epoch seconds) that had p ≥ 0.5 in this geofence."""
        if presence.inside_at is not None or self.last is None:
            return presence.inside_at
        return self.last.at


Work = Sequence[tuple[DeviceTrack, Sequence[Fix]]]


def advance(
    catalogue: Catalogue, work: Work, late_before: float, cuts: Sequence[Sequence[float]] | None = None
) -> list[tuple[DeviceTrack, list[Transition]]]:
    """Let many devices live through their new fixes; answers, in the order of ``work``, what changed.

    The fixes of one device are in strictly increasing order of ``recorded_at``, newer than its ``newest_at``,
    and not mock. Transitions from before ``late_before`` (epoch seconds) are marked late. They are sorted by
    instant, exits first, then by geofence id. The tracks given are not changed.

    ``cuts`` are, for each device and in any order, the instants (epoch seconds) of fixes that were dropped
    because they touched a sensitive place. There every presence ends without a word, and the next fix is a
    first one. A fix of the same instant comes before its cut; a cut older than the track takes effect at once.
    """
    if cuts is None or not any(cuts):
        return _advance(catalogue, work, late_before)
    # What follows a cut knows nothing of what was before, so that all pieces can be judged side by side.
    pieces: list[tuple[DeviceTrack, Sequence[Fix]]] = []
    count = []
    for (track, fixes), cut_ats in zip(work, cuts, strict=True):
        before, *after = _pieces(fixes, cut_ats)
        pieces += [(track, before), *((DeviceTrack(), piece) for piece in after)]
        count.append(1 + len(after))
    answers = iter(_advance(catalogue, pieces, late_before))
    return [_join(list(islice(answers, many))) for many in count]


def _pieces(fixes: Sequence[Fix], cuts: Sequence[float]) -> list[Sequence[Fix]]:
    """The fixes before, between and after the cuts (epoch seconds); one piece more than there are cuts."""
    ats = [fix.recorded_at.timestamp() for fix in fixes] if cuts else []
    bounds = [0, *(bisect_right(ats, cut) for cut in sorted(cuts)), len(fixes)]
    return [fixes[low:high] for low, high in pairwise(bounds)]


def _join(pieces: Sequence[tuple[DeviceTrack, list[Transition]]]) -> tuple[DeviceTrack, list[Transition]]:
    """One device's answer: over a cut only its clock, and when it was fast, are remembered."""
    joined, _ = pieces[0]
    for track, _ in pieces[1:]:
        joined = msgspec.structs.replace(
            track,
            newest_at=joined.newest_at if track.newest_at is None else track.newest_at,
            fast_at=joined.fast_at if track.fast_at is None else track.fast_at,
        )
    return joined, [transition for _, transitions in pieces for transition in transitions]


def _advance(catalogue: Catalogue, work: Work, late_before: float) -> list[tuple[DeviceTrack, list[Transition]]]:
    """The same without cuts."""
    results: list[tuple[DeviceTrack, list[Transition]]] = [(track, []) for track, _ in work]
    places = [place for place, (_, fixes) in enumerate(work) if fixes]
    if not places:
        return results
    rows = _gather(work, places)
    path = _follow(rows)
    tracks = [work[place][0] for place in places]
    batch = _Batch(catalogue, rows, path, _weigh(catalogue, rows, path, tracks), late_before)
    last_rows, fast_at, finest_m = path.last_row.tolist(), path.fast_at.tolist(), path.finest_m.tolist()
    for device, (place, track) in enumerate(zip(places, tracks, strict=True)):
        presences, transitions = track.presences, results[place][1]
        if device in batch.weighed.groups:
            presences = _live(batch, device, presences, transitions)
        last, held = last_rows[device], path.held.get(device)
        now = DeviceTrack(
            last=track.last if last < 0 else KnownFix(*rows.known[last]),
            held=None if held is None else KnownFix(*rows.known[held]),
            newest_at=rows.known[rows.end[device] - 1][0],
            fast_at=fast_at[device] if fast_at[device] > -math.inf else track.fast_at,
            presences=presences,
            finest_m=min(finest_m[device], track.finest_m),
        )
        results[place] = (now, transitions)
    return results


def presence_diagram() -> str:
    """The table as a Mermaid state diagram; what changes nothing is left out."""
    arrows: dict[tuple[PresenceState, PresenceState, TransitionKind | None], list[str]] = {}
    for (state, evidence), (then, told) in PRESENCE.items():
        if then is not state:
            arrows.setdefault((state, then, told), []).append(evidence.words)
    lines = ["stateDiagram-v2", f"    [*] --> {PresenceState.OUTSIDE}"]
    for (state, then, told), said in arrows.items():
        label = ", ".join(said) + (f" / {told.upper()}" if told else "")
        lines.append(f"    {state} --> {then}: {label}")
    return "\n".join(lines) + "\n"


# All fixes of the batch in one table ------------------------------------------------------------------------


class _Rows(NamedTuple):
    """For each device, counted from 0: its held fix, its last fix (where known), then its new fixes."""

    known: list[tuple[float, float, float, float, float | None]]
    """What `KnownFix` holds, for every row."""
    at: Floats
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    reported_mps: Floats
    """NaN or negative where the phone said nothing."""
    device: Indexes
    new: Bools
    start: list[int]
    """The first row of each device; ``first`` its first new fix; ``end`` one past its last."""
    first: list[int]
    end: list[int]
    holding: list[int]
    """Devices that hold a jump; it is their first row."""
    last: list[int]
    """The rows of the last fixes; ``finest_m``: the best accuracy up to each of them."""
    finest_m: list[float]


def _gather(work: Work, places: Sequence[int]) -> _Rows:
    known: list[tuple[float, float, float, float, float | None]] = []
    start, first, end, holding, last, finest_m = [], [], [], [], [], []
    for device, place in enumerate(places):
        track, fixes = work[place]
        start.append(len(known))
        if track.held is not None:
            holding.append(device)
            known.append(msgspec.structs.astuple(track.held))
        if track.last is not None:
            last.append(len(known))
            finest_m.append(min(track.finest_m, track.last.accuracy_m))
            known.append(msgspec.structs.astuple(track.last))
        first.append(len(known))
        known += [(f.recorded_at.timestamp(), f.lon, f.lat, f.accuracy_m, f.speed_mps) for f in fixes]
        end.append(len(known))
    table = np.ascontiguousarray(np.array(known, dtype=np.float64).T)  # None becomes NaN
    device_of = np.repeat(np.arange(len(places)), np.subtract(end, start))
    new = np.arange(len(known)) >= np.array(first)[device_of]
    at, lon, lat, accuracy_m, reported_mps = table
    positions = (known, at, lon, lat, accuracy_m, reported_mps)
    return _Rows(*positions, device_of, new, start, first, end, holding, last, finest_m)


# The path: which fixes count, and how fast it went ----------------------------------------------------------


class _Path(NamedTuple):
    """Per row: does it count, which row came before it (-1: none), how fast; per device: where it leads."""

    counts: Bools
    before: Indexes
    silence_s: Floats
    speed_mps: Floats
    """Reported, else implied by the fix before; NaN if unknown."""
    last_row: Indexes
    """The latest row that counts; -1 if no new one does."""
    fast_at: Floats
    finest_m: Floats
    """The best accuracy of the new rows that count; infinite if none does."""
    held: dict[int, int]
    """The row of the jump that each device holds now."""


def _follow(rows: _Rows) -> _Path:
    count = len(rows.at)
    before = np.arange(count) - 1
    before[rows.start] = -1
    counts = rows.new.copy()
    position = earth_centred(rows.lon, rows.lat)
    gap_m = arc_m(position, position[before])
    jump = rows.new & (before >= 0) & _implausible(rows, gap_m, before)
    unsettled = sorted({*rows.device[jump].tolist(), *rows.holding})
    held = {}
    for device in unsettled:
        row = _settle_jumps(rows, position, device, counts, before)
        if row >= 0:
            held[device] = row
    if unsettled:
        gap_m = arc_m(position, position[before])
    silence_s = np.where(before >= 0, rows.at - rows.at[before], np.inf)
    speed_mps = np.where(rows.reported_mps >= 0, rows.reported_mps, _implied_mps(rows, gap_m, before))
    fast = counts & (speed_mps > FAST_MPS)
    return _Path(
        counts,
        before,
        silence_s,
        speed_mps,
        np.maximum.reduceat(np.where(counts, np.arange(count), -1), rows.start),
        np.maximum.reduceat(np.where(fast, rows.at, -np.inf), rows.start),
        np.minimum.reduceat(np.where(counts, rows.accuracy_m, np.inf), rows.start),
        held,
    )


def _implausible(rows: _Rows, gap_m: Floats, before: Indexes) -> Bools:
    surplus_m = gap_m - rows.accuracy_m - rows.accuracy_m[before]
    return np.asarray(surplus_m > JUMP_MPS * (rows.at - rows.at[before]))


def _implied_mps(rows: _Rows, gap_m: Floats, before: Indexes) -> Floats:
    """Distance over time; 0 where the two discs overlap, since that is no movement but their error."""
    moved = gap_m > rows.accuracy_m + rows.accuracy_m[before]
    elapsed_s = np.where(before >= 0, rows.at - rows.at[before], np.nan)
    return np.where(moved, gap_m, 0.0) / elapsed_s


def _settle_jumps(rows: _Rows, position: Floats, device: int, counts: Bools, before: Indexes) -> int:
    """Decide fix by fix which ones count; answers the row that is held in the end, or -1."""
    start, first, end = rows.start[device], rows.first[device], rows.end[device]
    held = start if device in rows.holding else -1
    last = first - 1 if first > start else -1
    where = position[start:end].tolist()

    def agree(one: int, other: int) -> bool:
        surplus_m = math.dist(where[one - start], where[other - start])
        surplus_m -= rows.known[one][3] + rows.known[other][3]
        return surplus_m <= JUMP_MPS * (rows.known[other][0] - rows.known[one][0])

    for row in range(first, end):
        if last < 0 or agree(last, row):
            before[row] = last
            last, held = row, -1
        elif held < 0 or not agree(held, row):
            counts[row] = False
            held = row
        elif rows.known[row][0] - rows.known[held][0] >= WITNESS_S:
            before[row] = held
            last, held = row, -1
        else:
            counts[row] = False
    return held


# Evidence ---------------------------------------------------------------------------------------------------


class _Weighed(NamedTuple):
    """Pairs of a fix and a fence that may matter, in groups of one device and one fence, in order of time."""

    row: list[int]
    said: list[int]
    p: list[float]
    groups: dict[int, dict[int, range]]
    """Device -> fence -> its pairs. Who is inside and stays there is left out; who lost a fence is not."""


def _weigh(catalogue: Catalogue, rows: _Rows, path: _Path, tracks: Sequence[DeviceTrack]) -> _Weighed:
    """Judge each fix against the fences that it may enter and those that its device is in."""
    counting = np.flatnonzero(path.counts)
    fix, fence = catalogue.match(rows.lon[counting], rows.lat[counting])
    open_to_all = ~catalogue.sensitive[fence]
    fix, fence = fix[open_to_all], fence[open_to_all]
    present = _present(catalogue, tracks)
    weighed = _Weighed([], [], [], {device: {} for device in present.lost})
    if not fix.size and not present.key:
        return weighed
    row = counting[fix]
    p, beyond_m = catalogue.evidence(rows.lon, rows.lat, rows.accuracy_m, row, fence)
    key = rows.device[row] * len(catalogue.fences) + fence
    may_enter = (p >= P_ENTER) & (rows.accuracy_m[row] <= _poor_m(catalogue.effective_radius_m[fence]))
    wanted = np.unique(np.concatenate((key[may_enter], np.array(present.key, dtype=np.intp))))
    if not wanted.size:
        return weighed
    matched = _Matched(key, fix, p, beyond_m)
    return _complete(catalogue, rows, path, counting=counting, wanted=wanted, matched=matched, present=present)


class _Present(NamedTuple):
    """Presences as they were: device * number of fences + fence, and which of them are plainly inside."""

    key: list[int]
    inside: list[bool]
    lost: list[int]
    """Devices with a presence in a fence that was removed or became sensitive."""


def _present(catalogue: Catalogue, tracks: Sequence[DeviceTrack]) -> _Present:
    present = _Present([], [], [])
    index_of, fences = catalogue.index_of, len(catalogue.fences)
    sensitive = set(np.flatnonzero(catalogue.sensitive).tolist())  # a look into the array is ten times slower
    inside = PresenceState.INSIDE
    for device, track in enumerate(tracks):
        for presence in track.presences:
            fence = index_of.get(presence.geofence_id)
            if fence is None or fence in sensitive:
                present.lost.append(device)
            else:
                present.key.append(device * fences + fence)
                present.inside.append(presence.state is inside and presence.inside_at is None)
    return present


class _Matched(NamedTuple):
    """What is known already: pairs by device and fence, and the fix's place among the rows that count."""

    key: Indexes
    counted: Indexes
    p: Floats
    beyond_m: Floats


def _complete(
    catalogue: Catalogue,
    rows: _Rows,
    path: _Path,
    *,
    counting: Indexes,
    wanted: Indexes,
    matched: _Matched,
    present: _Present,
) -> _Weighed:
    """Every fix of a device against each wanted fence: leaving shows in fixes that do not match."""
    device, fence = wanted // len(catalogue.fences), wanted % len(catalogue.fences)
    per_device = np.bincount(rows.device[counting], minlength=len(rows.start))
    begins = np.cumsum(per_device) - per_device
    size = per_device[device]
    offset = np.cumsum(size) - size
    counted = np.arange(size.sum()) + np.repeat(begins[device] - offset, size)
    row, fence_of = counting[counted], np.repeat(fence, size)

    group = np.minimum(np.searchsorted(wanted, matched.key), len(wanted) - 1)
    useful = np.flatnonzero(wanted[group] == matched.key)
    group = group[useful]
    at = offset[group] + matched.counted[useful] - begins[device[group]]
    p, beyond_m = np.full(len(row), np.nan), np.zeros(len(row))
    p[at], beyond_m[at] = matched.p[useful], matched.beyond_m[useful]
    rest = np.flatnonzero(np.isnan(p))
    if rest.size:
        p[rest], beyond_m[rest] = catalogue.evidence(rows.lon, rows.lat, rows.accuracy_m, row[rest], fence_of[rest])
        # Without a match it is below 0.5; rounding must not make that depend on who else is in the batch.
        p[rest] = np.minimum(p[rest], np.nextafter(P_INSIDE, 0))
    there = np.searchsorted(wanted, np.array(present.key, dtype=np.intp))
    arriving = size > 0
    arriving[there] = False
    new_here = np.zeros(len(row), dtype=np.bool_)
    new_here[offset[arriving]] = True
    first = _first(catalogue, rows, path, row=row, fence=fence_of, p=p, new_here=new_here)
    radius_m = catalogue.effective_radius_m[fence_of]
    said = _say(rows, path, row, p=p, beyond_m=beyond_m, effective_radius_m=radius_m, first=first)
    groups: dict[int, dict[int, range]] = {device: {} for device in present.lost}
    inside = there[np.array(present.inside, dtype=np.bool_)]
    open_ = np.flatnonzero((size > 0) & ~_unchanged(inside, offset, size, said))
    columns = (device[open_], fence[open_], offset[open_], (offset + size)[open_])
    for who, which, low, high in zip(*(column.tolist() for column in columns), strict=True):
        groups.setdefault(who, {})[which] = range(low, high)
    return _Weighed(row.tolist(), said.tolist(), p.tolist(), groups)


def _unchanged(inside: Indexes, offset: Indexes, size: Indexes, said: Indexes) -> Bools:
    """The groups that were ``inside`` and say nothing else; they need no step through the table."""
    unchanged = np.zeros(len(size), dtype=np.bool_)
    unchanged[inside] = True
    some = np.flatnonzero(size)
    least = np.zeros(len(size), dtype=np.intp)
    if some.size:
        least[some] = np.minimum.reduceat(said, offset[some])
    return unchanged & (least >= Evidence.PERHAPS)


def _poor_m(effective_radius_m: Floats) -> Floats:
    """A fix of a worse accuracy (metres) is poor for such a fence."""
    return np.clip(POOR_RADII * effective_radius_m, POOR_LEAST_M, POOR_MOST_M)


def _first(
    catalogue: Catalogue, rows: _Rows, path: _Path, *, row: Indexes, fence: Indexes, p: Floats, new_here: Bools
) -> Bools:
    """Pairs of which, if the fix is inside, nobody knows since when.

    ``new_here`` marks the first pairs of those who are outside. Further ones cannot be inside already.
    """
    before = path.before[row]
    first = before < 0
    poor_m = _poor_m(catalogue.effective_radius_m[fence])
    unseen = _finest_before_m(rows, path)[row] > poor_m
    gave_evidence = path.counts.copy()
    gave_evidence[rows.last] = True
    enters = (p >= P_ENTER) & (rows.accuracy_m[row] <= poor_m)
    asked = np.flatnonzero(enters & (new_here | unseen) & ~first & gave_evidence[before])
    if asked.size:
        earlier, pairs = before[asked], np.arange(asked.size)
        accuracy_m = rows.accuracy_m[earlier]
        p_before, beyond_m = catalogue.evidence(rows.lon[earlier], rows.lat[earlier], accuracy_m, pairs, fence[asked])
        inside_already = new_here[asked] & (accuracy_m <= poor_m[asked]) & (p_before >= P_ENTER)
        first[asked] = inside_already | (unseen[asked] & (beyond_m <= accuracy_m))
    return first


def _finest_before_m(rows: _Rows, path: _Path) -> Floats:
    """Per new row that has one before it: the best accuracy of all earlier fixes that counted (metres)."""
    finest_m = np.where(path.counts, rows.accuracy_m, np.inf)
    finest_m[rows.last] = rows.finest_m
    # A running minimum that begins anew with every device: ranks, so that no rounding creeps in.
    levels, level = np.unique(finest_m, return_inverse=True)
    running = np.maximum.accumulate(rows.device * len(levels) + len(levels) - 1 - level)
    return np.roll(levels[len(levels) - 1 - running % len(levels)], 1)


def _say(
    rows: _Rows, path: _Path, row: Indexes, *, p: Floats, beyond_m: Floats, effective_radius_m: Floats, first: Bools
) -> Indexes:
    """The `Evidence` of each pair, as far as a fix and the one before it show."""
    accuracy_m = rows.accuracy_m[row]
    poor = accuracy_m > _poor_m(effective_radius_m)
    clear_m = accuracy_m + np.maximum(MARGIN_SHARE * effective_radius_m, MARGIN_M)
    rules = (  # the first that holds
        (poor & (p >= P_INSIDE), Evidence.PERHAPS),
        (poor & (beyond_m > accuracy_m), Evidence.BEYOND),
        (poor, Evidence.VAGUE),
        ((p >= P_ENTER) & first, Evidence.FIRST_INSIDE),
        ((p >= P_ALONE) & (path.silence_s[row] >= SILENCE_S), Evidence.PROVEN_INSIDE),
        (p >= P_ENTER, Evidence.INSIDE),
        (p >= P_INSIDE, Evidence.PERHAPS),
        (beyond_m > clear_m + FAR_M, Evidence.OUTSIDE),
        (beyond_m > clear_m, Evidence.BEYOND),
    )
    conditions, kinds = zip(*rules, strict=True)
    return np.asarray(np.select(conditions, kinds, default=Evidence.NOT_INSIDE), dtype=np.intp)


# Steps through the table ------------------------------------------------------------------------------------


class _Batch(NamedTuple):
    """All that the steps look up."""

    catalogue: Catalogue
    rows: _Rows
    path: _Path
    weighed: _Weighed
    late_before: float


def _live(
    batch: _Batch, device: int, before: tuple[Presence, ...], transitions: list[Transition]
) -> tuple[Presence, ...]:
    """Bring one device's presences up to date, and add to ``transitions`` what is to be told."""
    groups = dict(batch.weighed.groups[device])
    presences: list[Presence] = []
    for presence in before:
        fence = batch.catalogue.index_of.get(presence.geofence_id)
        if fence is None:
            _remove(batch, device, presence, transitions)
        elif fence in groups:
            now = _step(batch, device, presence, groups.pop(fence), transitions)
            if now is not None:
                presences.append(now)
        elif not batch.catalogue.sensitive[fence]:
            presences.append(presence)
    for fence, pairs in groups.items():
        outside = Presence(batch.catalogue.fences[fence].geofence_id, PresenceState.OUTSIDE)
        now = _step(batch, device, outside, pairs, transitions)
        if now is not None:
            presences.append(now)
    presences.sort(key=_by_id)
    transitions.sort(key=_order)
    return tuple(presences)


def _step(
    batch: _Batch, device: int, presence: Presence, pairs: range, transitions: list[Transition]
) -> Presence | None:
    """Lead one device and one fence through the table; answers None once it is outside."""
    known, row_of = batch.rows.known, batch.weighed.row
    for pair in pairs:
        said = batch.weighed.said[pair]
        if presence.state is PresenceState.OUTSIDE and said < Evidence.INSIDE:
            continue
        row = row_of[pair]
        at = known[row][0]
        earlier = row_of[pair - 1] if pair > pairs.start else batch.rows.first[device] - 1
        presence = _count(presence, said, at, known[earlier][0])
        evidence = _confirm(presence, said, at)
        then, told = PRESENCE[presence.state, evidence]
        if told is not None:
            transitions.append(_told(batch, presence.geofence_id, told, evidence, pair))
        presence = _become(presence, then, at)
    return None if presence.state is PresenceState.OUTSIDE else presence


def _count(presence: Presence, said: int, at: float, earlier_at: float) -> Presence:
    """Remember when the device was last inside, and how often it has been missing since."""
    if said >= Evidence.PERHAPS:
        if presence.inside_at is None:
            return presence
        return Presence(presence.geofence_id, presence.state, presence.entered_at, witness_at=presence.witness_at)
    missing = said != Evidence.VAGUE
    return Presence(
        presence.geofence_id,
        presence.state,
        presence.entered_at,
        earlier_at if presence.inside_at is None else presence.inside_at,
        presence.witness_at,
        at if missing and presence.missing_since is None else presence.missing_since,
        presence.missing + missing,
    )


def _confirm(presence: Presence, said: int, at: float) -> Evidence:
    """What a fix says together with those before it."""
    witnessed = presence.witness_at is not None and at - presence.witness_at >= WITNESS_S
    if said == Evidence.INSIDE and presence.state is PresenceState.ENTERING and witnessed:
        return Evidence.PROVEN_INSIDE
    if said == Evidence.BEYOND and presence.state is PresenceState.LEAVING and witnessed:
        return Evidence.OUTSIDE
    if presence.missing >= ABSENT_FIXES and at - (presence.missing_since or at) >= ABSENT_S:
        # A vague fix proves nothing, not even when it comes after this long.
        return Evidence(said) if said == Evidence.VAGUE else Evidence.OUTSIDE
    return Evidence(said)


def _become(presence: Presence, state: PresenceState, at: float) -> Presence:
    """The presence in its new state; the first fix in a waiting state becomes its witness."""
    if state is presence.state:
        return presence
    if state is PresenceState.OUTSIDE:
        return Presence(presence.geofence_id, state)
    waiting = state in (PresenceState.ENTERING, PresenceState.LEAVING)
    entering_now = state is PresenceState.INSIDE and presence.entered_at is None
    return Presence(
        presence.geofence_id,
        state,
        at if entering_now else presence.entered_at,
        presence.inside_at,
        at if waiting else None,
        presence.missing_since,
        presence.missing,
    )


def _told(batch: _Batch, geofence_id: str, kind: TransitionKind, evidence: Evidence, pair: int) -> Transition:
    """The transition that a fix decided."""
    row, p = batch.weighed.row[pair], batch.weighed.p[pair]
    at, speed_mps = batch.rows.known[row][0], float(batch.path.speed_mps[row])
    return Transition(
        kind=kind,
        geofence_id=geofence_id,
        at=datetime.fromtimestamp(at, UTC),
        confidence=p if kind is TransitionKind.ENTER else 1.0 - p,
        late=at < batch.late_before,
        initial=evidence is Evidence.FIRST_INSIDE,
        speed_mps=None if math.isnan(speed_mps) else speed_mps,
    )


def _remove(batch: _Batch, device: int, presence: Presence, transitions: list[Transition]) -> None:
    """Presence ends with the first fix after its geofence is gone."""
    _, told = PRESENCE[presence.state, Evidence.REMOVED]
    if told is not None:
        at = batch.rows.known[batch.rows.first[device]][0]
        instant, late = datetime.fromtimestamp(at, UTC), at < batch.late_before
        transitions.append(Transition(told, presence.geofence_id, instant, confidence=1.0, late=late))


def _by_id(presence: Presence) -> str:
    return presence.geofence_id


def _order(transition: Transition) -> tuple[datetime, bool, str]:
    """By instant; what ends comes before what begins; then by id, so that the order is always the same."""
    return transition.at, transition.kind is TransitionKind.ENTER, transition.geofence_id
