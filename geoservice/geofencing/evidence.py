"""Evidence: what one observation says about one geofence. Pure.

    first inside  p ≥ 0.6, and nobody knows since when: it is the first fix known of the device, or the first after a
                  jump that was held and then believed; or all before it
                  were poor for this fence, the latest with a disc that touches it; or the device is outside,
                  although the fix before, too, was good and had p ≥ 0.6: the fence is new, or was changed.
    proven inside Another source says so: a beacon, the phone's operating system.
    inside        p ≥ 0.5, p being the share of the fix's error disc inside the fence.
    perhaps       p ≥ 0.5 from a poor fix: a sign of life that proves nothing.
    vague         p < 0.5 from a poor fix whose disc touches the fence: says nothing.
    not inside    p < 0.5, but not clearly beyond the edge.
    beyond        Beyond the edge by more than the accuracy + max(10 % of the effective radius, 20 m); or a poor
                  fix whose disc is disjoint from the fence.
    outside       By 250 m more than that; or another source says so.
    crossed       Passed through between two fixes (`geoservice.geofencing.crossing`).

A fix is poor when its accuracy is worse than 2 x the effective radius, that limit held between 100 and
1,000 m. Poor fixes never enter. "The fix before" is the latest that counted, not a jump that was held.

Fixes are judged here, all of a batch at once. What other sources say (a beacon, the phone's operating system)
comes as a statement already, and joins the fixes' statements in the order of time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np

from geoservice.geofencing.arrays import Bools, Floats, Indexes, among, true_at
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.path import Path, Rows
from geoservice.geofencing.statements import Evidence, FixTable, Statements, Stretch
from geoservice.geofencing.track import LOST_S, DeviceTrack, is_settled

LONG_S: Final = 3_600.0
"""Fixes further apart are always looked at one by one."""
P_FIRST: Final = 0.6
P_INSIDE: Final = 0.5
MARGIN_SHARE: Final = 0.1
MARGIN_M: Final = 20.0
FAR_M: Final = 250.0
POOR_RADII: Final = 2.0
POOR_LEAST_M: Final = 100.0
POOR_MOST_M: Final = 1_000.0


class Matched(NamedTuple):
    """The pairs of a fix that counts and a fence in whose box it is, sensitive ones left out; by fix."""

    row: Indexes
    fence: Indexes
    p: Floats
    beyond_m: Floats


def match(catalogue: Catalogue, rows: Rows, path: Path) -> Matched:
    """Look where the fixes are: a fence that is not named has p < 0.5."""
    counting = true_at(path.counts)
    fix, fence = catalogue.match(rows.lon[counting], rows.lat[counting])
    if catalogue.has_sensitive:
        open_to_all = ~catalogue.sensitive[fence]
        fix, fence = fix[open_to_all], fence[open_to_all]
    row = counting[fix]
    return Matched(row, fence, *_evidence(catalogue, rows, row, fence))


def weigh(
    catalogue: Catalogue,
    rows: Rows,
    path: Path,
    matched: Matched,
    tracks: Sequence[DeviceTrack],
    heard: Collection[tuple[int, int]] = (),
    ended: Collection[tuple[int, int]] = (),
) -> Statements:
    """Judge each fix against the fences that it may enter and those that its device is in.

    Who is inside and stays there is left out; who has lost a fence is not. Of the pairs (device, fence) that are
    ``heard`` from other sources nothing is left out. Of those that another source has ``ended`` since the device's
    latest fix, it is known why the device is outside although that fix was not.
    """
    row, fence, p, _ = matched
    present = _present(catalogue, tracks, rows)
    nothing: Statements = {device: {} for device in present.lost}
    if not row.size and not present.key and not heard:
        return nothing
    key = rows.device[row] * len(catalogue.fences) + fence
    may_enter = (p >= P_INSIDE) & (rows.accuracy_m[row] <= poor_m(catalogue.effective_radius_m[fence]))
    spoken_of, parted = (
        np.sort(np.array([device * len(catalogue.fences) + which for device, which in pairs], dtype=np.intp))
        for pairs in (heard, ended)
    )
    wanted = np.unique(np.concatenate((key[may_enter], np.array(present.key, dtype=np.intp), spoken_of)))
    if not wanted.size:
        return nothing
    return _complete(
        catalogue,
        rows,
        path,
        wanted=wanted,
        matched=matched,
        matched_key=key,
        present=present,
        spoken_of=spoken_of,
        parted=parted,
    )


def _evidence(catalogue: Catalogue, rows: Rows, row: Indexes, fence: Indexes) -> tuple[Floats, Floats]:
    """As the catalogue's; rounded, since vectors may differ in the last bit with their length, and beliefs are kept."""
    p, beyond_m = catalogue.evidence(rows.lon, rows.lat, rows.accuracy_m, row, fence)
    return np.round(p, 9), beyond_m


class _Present(NamedTuple):
    """Presences as they were: device * number of fences + fence, and which of them are settled inside."""

    key: list[int]
    inside: list[bool]
    lost: list[int]
    """Devices with a presence in a fence that was removed or became sensitive."""


def _present(catalogue: Catalogue, tracks: Sequence[DeviceTrack], rows: Rows) -> _Present:
    present = _Present([], [], [])
    index_of, sensitive, fences = catalogue.index_of, catalogue.sensitive_ones, len(catalogue.fences)
    for device, track in enumerate(tracks):
        newest_at = rows.known[rows.end[device] - 1][0] if track.presences else 0.0
        for presence in track.presences:
            fence = index_of.get(presence.geofence_id)
            if fence is None or fence in sensitive:
                present.lost.append(device)
            else:
                present.key.append(device * fences + fence)
                idle = presence.dwell_at is None or presence.dwell_at > newest_at
                present.inside.append(idle and is_settled(presence))
    return present


def _complete(
    catalogue: Catalogue,
    rows: Rows,
    path: Path,
    *,
    wanted: Indexes,
    matched: Matched,
    matched_key: Indexes,
    present: _Present,
    spoken_of: Indexes,
    parted: Indexes,
) -> Statements:
    """Every fix of a device against each wanted fence: leaving shows in fixes that do not match."""
    device, fence = np.divmod(wanted, len(catalogue.fences))
    counting = true_at(path.counts)
    per_device = np.bincount(rows.device[counting], minlength=len(rows.start))
    begins = np.cumsum(per_device) - per_device
    size = per_device[device]
    offset = np.cumsum(size) - size
    counted = np.arange(size.sum()) + np.repeat(begins[device] - offset, size)
    row, fence_of = counting[counted], np.repeat(fence, size)

    group = np.minimum(wanted.searchsorted(matched_key), len(wanted) - 1)
    useful = true_at(wanted[group] == matched_key)
    group = group[useful]
    at = offset[group] + counting.searchsorted(matched.row[useful]) - begins[device[group]]
    p, beyond_m = np.full(len(row), np.nan), np.zeros(len(row))
    p[at], beyond_m[at] = matched.p[useful], matched.beyond_m[useful]
    rest = true_at(np.isnan(p))
    if rest.size:
        p[rest], beyond_m[rest] = _evidence(catalogue, rows, row[rest], fence_of[rest])
        # Without a match it is below 0.5; rounding must not make that depend on who else is in the batch.
        p[rest] = np.minimum(p[rest], np.nextafter(P_INSIDE, 0))
    there = wanted.searchsorted(np.array(present.key, dtype=np.intp))
    arriving = (size > 0) & ~among(wanted, parted)
    arriving[there] = False
    new_here = np.zeros(len(row), dtype=np.bool_)
    new_here[offset[arriving]] = True
    first = _first(catalogue, rows, path, row=row, fence=fence_of, p=p, new_here=new_here)
    radius_m = catalogue.effective_radius_m[fence_of]
    said = _say(rows, row, p=p, beyond_m=beyond_m, effective_radius_m=radius_m, first=first)
    inside = there[np.array(present.inside, dtype=np.bool_)]
    begin = _first_that_matters(path, row, offset=offset, size=size, said=said, settled=inside, arriving=arriving)
    begin = np.where(among(wanted, spoken_of), offset, begin)
    left = offset + size - begin
    pairs = true_at(np.arange(len(row)) >= np.repeat(begin, size))
    told = true_at(left > 0)
    ends = np.cumsum(left[told])
    starts = ends - left[told]
    shifts = begins[device[told]] + begin[told] - offset[told] - starts
    table = _table(
        rows,
        path,
        counting,
        row[pairs],
        said=said[pairs],
        p=p[pairs],
        beyond=_beyond(beyond_m[pairs], rows.accuracy_m[row[pairs]], radius_m[pairs]),
    )
    groups: Statements = {device: {} for device in present.lost}
    stretches = zip(
        device[told].tolist(), fence[told].tolist(), starts.tolist(), ends.tolist(), shifts.tolist(), strict=True
    )
    for who, which, *stretch in stretches:
        groups.setdefault(who, {})[which] = Stretch(table, *stretch)
    return groups


def _table(
    rows: Rows, path: Path, counting: Indexes, row: Indexes, *, said: Indexes, p: Floats, beyond: Floats
) -> FixTable:
    """Write down what is left to be read one by one; ``row`` and what follows are by pair."""
    before = path.before[counting]
    quiet = (said == Evidence.INSIDE) & (path.silence_s[row] < LOST_S)
    return FixTable(
        at=rows.at[counting].tolist(),
        speed_mps=path.speed_mps[counting].tolist(),
        before_at=np.where(before >= 0, rows.at[before], -np.inf).tolist(),
        moving=path.moving[counting].tolist(),
        said=_EVIDENCE[said].tolist(),
        p=p.tolist(),
        beyond=beyond.tolist(),
        stirs=_next(~quiet),
        enters=_next(said >= Evidence.INSIDE),
    )


def _next(wanted: Bools) -> list[int]:
    """For each place the first one from it on that is wanted; one past the end if there is none."""
    places = np.where(wanted, np.arange(len(wanted)), len(wanted))
    following: list[int] = np.minimum.accumulate(places[::-1])[::-1].tolist()
    return following


_EVIDENCE: Final = np.array(tuple(Evidence), dtype=object)


def _first_that_matters(
    path: Path, row: Indexes, *, offset: Indexes, size: Indexes, said: Indexes, settled: Indexes, arriving: Bools
) -> Indexes:
    """Per group, its first pair that can change anything, or one past its end.

    Who is settled inside stays so while seen inside; who arrives has not come before the first fix inside.
    """
    is_settled = np.zeros(len(size), dtype=np.bool_)
    is_settled[settled] = True
    stays = (said >= Evidence.PERHAPS) & (path.silence_s[row] < LONG_S)
    idle = np.where(np.repeat(is_settled, size), stays, np.repeat(arriving, size) & (said < Evidence.INSIDE))
    begin = offset + size
    some = true_at(size)
    if some.size:
        places = np.where(idle, len(row), np.arange(len(row)))
        begin[some] = np.minimum(np.minimum.reduceat(places, offset[some]), begin[some])
    return begin


def _beyond(beyond_m: Floats, accuracy_m: Floats, effective_radius_m: Floats) -> Floats:
    """How near these fixes are to being beyond: 0 up to their accuracy from the edge, 1 from the margin on."""
    return np.clip((beyond_m - accuracy_m) / _margin_m(effective_radius_m), 0.0, 1.0).round(9)


def poor_m(effective_radius_m: Floats) -> Floats:
    """A fix of a worse accuracy (metres) is poor for such a fence."""
    return np.clip(POOR_RADII * effective_radius_m, POOR_LEAST_M, POOR_MOST_M)


def _margin_m(effective_radius_m: Floats) -> Floats:
    """Metres behind the accuracy from which on a fix is beyond such a fence."""
    return np.maximum(MARGIN_SHARE * effective_radius_m, MARGIN_M)


def _first(
    catalogue: Catalogue, rows: Rows, path: Path, *, row: Indexes, fence: Indexes, p: Floats, new_here: Bools
) -> Bools:
    """Pairs of which, if the fix is inside, nobody knows since when.

    ``new_here`` marks the first pairs of those who are outside. Further ones cannot be inside already.
    """
    before = path.before[row]
    gave_evidence = path.counts.copy()
    gave_evidence[rows.last] = True
    first = (before < 0) | ~gave_evidence[before]
    limit_m = poor_m(catalogue.effective_radius_m[fence])
    enters = (p >= P_FIRST) & (rows.accuracy_m[row] <= limit_m) & ~first
    if not enters.any():
        return first
    unseen = _finest_before_m(rows, path)[row] > limit_m
    asked = true_at(enters & (new_here | unseen))
    if asked.size:
        earlier, pairs = before[asked], np.arange(asked.size)
        accuracy_m = rows.accuracy_m[earlier]
        p_before, beyond_m = catalogue.evidence(rows.lon[earlier], rows.lat[earlier], accuracy_m, pairs, fence[asked])
        inside_already = new_here[asked] & (accuracy_m <= limit_m[asked]) & (p_before >= P_FIRST)
        first[asked] = inside_already | (unseen[asked] & (beyond_m <= accuracy_m))
    return first


def _finest_before_m(rows: Rows, path: Path) -> Floats:
    """Per new row that has one before it: the best accuracy of all earlier fixes that counted (metres)."""
    finest_m = np.where(path.counts, rows.accuracy_m, np.inf)
    finest_m[rows.last] = rows.finest_m
    # A running minimum that begins anew with every device: ranks, so that no rounding creeps in.
    levels, level = np.unique(finest_m, return_inverse=True)
    running = np.maximum.accumulate(rows.device * len(levels) + len(levels) - 1 - level)
    return np.roll(levels[len(levels) - 1 - running % len(levels)], 1)


def _say(rows: Rows, row: Indexes, *, p: Floats, beyond_m: Floats, effective_radius_m: Floats, first: Bools) -> Indexes:
    """The `Evidence` of each pair, as far as the fix itself shows."""
    accuracy_m = rows.accuracy_m[row]
    poor = accuracy_m > poor_m(effective_radius_m)
    clear_m = accuracy_m + _margin_m(effective_radius_m)
    rules = (  # the first that holds
        (poor & (p >= P_INSIDE), Evidence.PERHAPS),
        (poor & (beyond_m > accuracy_m), Evidence.BEYOND),
        (poor, Evidence.VAGUE),
        ((p >= P_FIRST) & first, Evidence.FIRST_INSIDE),
        (p >= P_INSIDE, Evidence.INSIDE),
        (beyond_m > clear_m + FAR_M, Evidence.OUTSIDE),
        (beyond_m > clear_m, Evidence.BEYOND),
    )
    said = np.full(len(row), Evidence.NOT_INSIDE, dtype=np.intp)
    for holds, evidence in reversed(rules):
        said[holds] = evidence
    return said
