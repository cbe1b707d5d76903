"""The path of each device: which fixes count, what came before each, how fast it went, and whether it moves. Pure.

Jumps: a fix that implies more than 85 m/s, both accuracies subtracted, is held and gives no evidence. If a fix at least
30 s later agrees with it, the track goes on from there; a fix that agrees with the track drops it.

Moving: a device is on the move when its fix is further than 2.5 x the accuracy from where it has been of late, the
running mean of its fixes; so is one of which nothing else is known. Whoever stands still is somewhere around that mean,
however much the single fixes stray.

The fixes of a whole batch stand in one table, device after device, so that numpy looks at all of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from geoservice.geofencing.arrays import Bools, Floats, Indexes
from geoservice.geofencing.ground import arc_m, earth_centred
from geoservice.geofencing.track import DeviceTrack, Lately
from geoservice.vocabulary import Fix

WITNESS_S: Final = 30.0
"""Two fixes that are closer in time are one witness."""
JUMP_MPS: Final = 85.0
FAST_MPS: Final = 7.0
MOVED_ACCURACIES: Final = 2.5
LATELY_S: Final = 60.0
"""The running mean's memory, as long as the errors of fixes are alike."""
LATELY_SHARE: Final = 0.22
"""What a single fix adds to it at most, however long the one before is ago."""
_METRES_PER_DEGREE: Final = 111_195.0


class Rows(NamedTuple):
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
    lately: list[Lately | None]
    """Where each device was of late, before its new fixes."""
    holding: list[int]
    """Devices that hold a jump; it is their first row."""
    last: list[int]
    """The rows of the last fixes; ``finest_m``: the best accuracy up to each of them."""
    finest_m: list[float]


def gather(work: Sequence[tuple[DeviceTrack, Sequence[Fix]]]) -> Rows:
    """Lay out devices as they were, each with its new fixes (at least one) in order of time."""
    known: list[tuple[float, float, float, float, float | None]] = []
    start, first, end, holding, last, finest_m = [], [], [], [], [], []
    for device, (track, fixes) in enumerate(work):
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
    lately = [track.lately for track, _ in work]
    device_of = np.repeat(np.arange(len(work)), np.subtract(end, start))
    new = np.arange(len(known)) >= np.array(first)[device_of]
    at, lon, lat, accuracy_m, reported_mps = table
    positions = (known, at, lon, lat, accuracy_m, reported_mps)
    return Rows(*positions, device_of, new, start, first, end, lately, holding, last, finest_m)


class Path(NamedTuple):
    """Per row: does it count, which row came before it (-1: none), how fast; per device: where it leads."""

    counts: Bools
    before: Indexes
    silence_s: Floats
    gap_m: Floats
    """From there to here."""
    speed_mps: Floats
    """Reported, else implied by the fix before; NaN if unknown."""
    last_row: Indexes
    """The latest row that counts; -1 if no new one does."""
    fast_at: Floats
    finest_m: Floats
    """The best accuracy of the new rows that count; infinite if none does."""
    held: dict[int, int]
    """The row of the jump that each device holds now."""
    moving: Bools
    lately: list[Lately | None]
    """Per device: where it has been of late, now."""


def follow(rows: Rows) -> Path:
    """Tell which fixes count, and how the devices moved."""
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
    moving, lately = _wander(rows, counts, before)
    return Path(
        counts,
        before,
        silence_s,
        gap_m,
        speed_mps,
        np.maximum.reduceat(np.where(counts, np.arange(count), -1), rows.start),
        np.maximum.reduceat(np.where(fast, rows.at, -np.inf), rows.start),
        np.minimum.reduceat(np.where(counts, rows.accuracy_m, np.inf), rows.start),
        held,
        moving,
        lately,
    )


def _implausible(rows: Rows, gap_m: Floats, before: Indexes) -> Bools:
    surplus_m = gap_m - rows.accuracy_m - rows.accuracy_m[before]
    return np.asarray(surplus_m > JUMP_MPS * (rows.at - rows.at[before]))


def _implied_mps(rows: Rows, gap_m: Floats, before: Indexes) -> Floats:
    """Distance over time; 0 where the two discs overlap, since that is no movement but their error."""
    moved = gap_m > rows.accuracy_m + rows.accuracy_m[before]
    elapsed_s = np.where(before >= 0, rows.at - rows.at[before], np.nan)
    return np.where(moved, gap_m, 0.0) / elapsed_s


def _settle_jumps(rows: Rows, position: Floats, device: int, counts: Bools, before: Indexes) -> int:
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


def _wander(rows: Rows, counts: Bools, before: Indexes) -> tuple[Bools, list[Lately | None]]:
    """Follow the running mean of each device; tell per row whether it is on the move, and where the mean is now.

    A loop, because each mean depends on the one before; and because vectors would round differently with their length.
    """
    moving = [True] * len(rows.at)
    lately: list[Lately | None] = []
    counted, came_after = counts.tolist(), before.tolist()
    for known, first, end in zip(rows.lately, rows.first, rows.end, strict=True):
        mean = None if known is None else (known.lon, known.lat, known.accuracy_m)
        for row in range(first, end):
            if not counted[row]:
                continue
            at, lon, lat, accuracy_m, _ = rows.known[row]
            if mean is None:
                mean = lon, lat, accuracy_m
                continue
            mean_lon, mean_lat, mean_m = mean
            east, north = lon - mean_lon, lat - mean_lat
            if not -180.0 <= east <= 180.0:
                east -= math.copysign(360.0, east)
            away_m = math.hypot(east * math.cos(math.radians(lat)), north) * _METRES_PER_DEGREE
            moving[row] = away_m > MOVED_ACCURACIES * max(accuracy_m, mean_m)
            share = min(1.0 - math.exp((rows.known[came_after[row]][0] - at) / LATELY_S), LATELY_SHARE)
            mean_lon += share * east
            if not -180.0 <= mean_lon <= 180.0:
                mean_lon -= math.copysign(360.0, mean_lon)
            mean = mean_lon, mean_lat + share * north, mean_m + share * (accuracy_m - mean_m)
        lately.append(None if mean is None else Lately(*mean))
    return np.array(moving), lately
