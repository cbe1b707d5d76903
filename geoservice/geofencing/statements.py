"""Statements: what one observation says about one geofence; those of a batch of fixes as a table. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from enum import IntEnum
from typing import NamedTuple

from geoservice.vocabulary import Source


class Evidence(IntEnum):
    """What one observation says about one geofence; the rules are in `geoservice.geofencing.evidence`."""

    CROSSED = 0
    OUTSIDE = 1
    BEYOND = 2
    NOT_INSIDE = 3
    VAGUE = 4
    PERHAPS = 5
    INSIDE = 6
    PROVEN_INSIDE = 7
    FIRST_INSIDE = 8


class Statement(NamedTuple):
    """What one observation, whatever its source, says about one geofence; ``at`` is in epoch seconds.

    ``p`` is how surely the device is inside, 0 to 1; of a crossing, how surely it is outside again. ``before_at``
    is the fix before, and ``moving`` whether the device is on the move. ``beyond`` is how near a fix
    outside is to being beyond: 0 up to its accuracy from the edge, 1 from the whole margin on.
    """

    at: float
    said: Evidence
    p: float
    source: Source = Source.FIX
    speed_mps: float | None = None
    before_at: float = -math.inf
    moving: bool = True
    beyond: float = 0.0


class FixTable(NamedTuple):
    """What the fixes of a batch say: by fix, and by pair of a fix and a fence. Few of them are ever read one by one."""

    at: list[float]
    speed_mps: list[float]
    """NaN if unknown."""
    before_at: list[float]
    moving: list[bool]
    said: list[Evidence]
    p: list[float]
    beyond: list[float]
    stirs: list[int]
    """From each pair on, the next one that may move a device which is settled inside, before a dwell is due."""
    enters: list[int]
    """The next one that may move a device which is outside."""


class Stretch(NamedTuple):
    """What the fixes of one device say about one fence, in order of time: the pairs from ``begin`` to ``end``."""

    table: FixTable
    begin: int
    end: int
    shift: int
    """What to add to the place of a pair for that of its fix."""

    def statement(self, place: int) -> Statement:
        """What the fix of a pair says."""
        table, fix = self.table, place + self.shift
        mps = table.speed_mps[fix]
        return Statement(
            table.at[fix],
            table.said[place],
            table.p[place],
            Source.FIX,
            None if mps != mps else mps,  # noqa: PLR0124 - NaN
            table.before_at[fix],
            table.moving[fix],
            table.beyond[place],
        )

    def all(self) -> list[Statement]:
        """Every statement."""
        return [self.statement(place) for place in range(self.begin, self.end)]

    def next_stir(self, place: int, dwell_at: float | None) -> int:
        """The first pair from ``place`` on that may move who is settled inside, and has a dwell due at ``dwell_at``."""
        stir = self.table.stirs[place]
        if dwell_at is None:
            return stir
        begin, end = place + self.shift, min(stir, self.end) + self.shift
        return bisect_left(self.table.at, dwell_at, begin, end) - self.shift

    def next_enter(self, place: int) -> int:
        """The first pair from ``place`` on that may move who is outside."""
        return self.table.enters[place]


Said = Stretch | list[Statement]
"""What was said of one device and one fence, in order of time: by fixes alone, or by other sources, too."""

Statements = dict[int, dict[int, Said]]
"""Device -> fence -> what was said of the pair; both by their index in the batch."""
