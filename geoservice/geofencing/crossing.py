"""Pass-throughs: who was in a geofence between two fixes, and in neither of them. Pure.

A device crossed a fence when the straight line between two fixes, at most 120 s apart, runs inside the fence for at
least the larger accuracy, and both ends have p < 0.1. Such a line is believable only as far as the path is: fixes that
jump are no ends of it (`geoservice.geofencing.path`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geoservice.geofencing.arrays import Floats, Indexes, among, true_at
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.evidence import Matched
from geoservice.geofencing.path import Path, Rows

APART_S: Final = 120.0
P_OUTSIDE: Final = 0.1
LEAST_ACCURACIES: Final = 1.5
"""Whoever moved less, in accuracies, has crossed nothing and is outside of it on both sides."""


class Crossings(NamedTuple):
    """Which rows end a line through which fences, and the larger p of both ends."""

    row: Indexes
    fence: Indexes
    p: Floats


def crossings(catalogue: Catalogue, rows: Rows, path: Path, matched: Matched) -> Crossings:
    """Find who passed through which geofences, sensitive ones left out.

    ``matched`` tells which fixes are inside of what already.
    """
    larger_m = np.maximum(rows.accuracy_m, rows.accuracy_m[path.before])
    moved = path.counts & (path.silence_s <= APART_S) & (path.gap_m >= LEAST_ACCURACIES * larger_m)
    ends = true_at(moved)
    starts = path.before[ends]
    line, fence, share = catalogue.chords(rows.lon[starts], rows.lat[starts], rows.lon[ends], rows.lat[ends])
    row = ends[line]
    long = (share * path.gap_m[row] >= larger_m[row]) & ~catalogue.sensitive[fence]
    inside = matched.p >= P_OUTSIDE
    arrived = np.sort(matched.row[inside] * len(catalogue.fences) + matched.fence[inside])
    some = true_at(long & ~among(row * len(catalogue.fences) + fence, arrived))
    row, fence = row[some], fence[some]
    p = np.zeros(len(row))
    for end in (row, path.before[row]):
        near = true_at(p < P_OUTSIDE)
        if near.size:
            p_end, _ = catalogue.evidence(rows.lon, rows.lat, rows.accuracy_m, end[near], fence[near])
            p[near] = np.maximum(p[near], p_end)
    outside = p < P_OUTSIDE
    return Crossings(row[outside], fence[outside], p[outside])
