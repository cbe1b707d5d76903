"""Which circles a phone should register with its operating system. Pure.

iOS watches 20 regions, Android 100. So the nearest circles are given, and one outer circle around the phone: as long as
it has not left that one, none of the circles that were left out can be reached, so that its exit means "ask again".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from geoservice.geofencing.arrays import Floats, Indexes
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.ground import arc_m, earth_centred
from geoservice.geofencing.registered import LEAST_RADIUS_M, Circle, registered_circles

MOST_OUTER_M: Final = 10_000.0
"""Also where there is nothing around: geofences come and go."""
_FIRST_REACH_M: Final = 1_000.0
_LOOKED_AT_ONCE: Final = 256
_LAST_REACH_M: Final = 100_000.0
"""Far more than a phone can go without leaving the outer circle; whoever is farther from everything is asked again."""


class Nearby(NamedTuple):
    """Circles with their geofences' ids, nearest first, and the one around them."""

    circles: Sequence[tuple[str, Circle]]
    outer: Circle


def nearby(catalogue: Catalogue, lon: float, lat: float, accuracy_m: float, limit: int) -> Nearby:
    """The ``limit - 1`` nearest circles and the outer one; never one of a sensitive place, nor one in its belt."""
    fences, circles, away_m = _nearest(catalogue, lon, lat, limit)
    reach_m = float(away_m[limit - 1]) - accuracy_m if len(fences) >= limit else MOST_OUTER_M
    given = zip(fences[: limit - 1].tolist(), circles[: limit - 1].tolist(), strict=True)
    return Nearby(
        tuple((catalogue.fences[fence].geofence_id, Circle(*circle)) for fence, circle in given),
        Circle(lon, lat, min(max(reach_m, LEAST_RADIUS_M), MOST_OUTER_M)),
    )


def _nearest(catalogue: Catalogue, lon: float, lat: float, count: int) -> tuple[Indexes, Floats, Floats]:
    """The nearest geofences that may be told, with their circles, and the metres to each circle's edge.

    They are looked for in ever wider boxes, until so many are found that all nearer ones are among them.
    """
    reach_m = _FIRST_REACH_M
    while True:
        found = catalogue.watched_within(lon, lat, reach_m)
        circles = registered_circles(catalogue, found)
        away_m = np.maximum(_from(lon, lat, circles[:, 0], circles[:, 1]) - circles[:, 2], 0.0)
        order = np.argsort(away_m, kind="stable")
        nearest = order[_in_the_light(catalogue, circles[order], count)]
        if np.count_nonzero(away_m[nearest] <= reach_m) >= count or reach_m >= _LAST_REACH_M:
            return found[nearest], circles[nearest], away_m[nearest]
        reach_m *= 3


def _in_the_light(catalogue: Catalogue, circles: Floats, count: int) -> list[int]:
    """The first circles, by their place, that touch neither a sensitive place nor a belt; any number may lie before."""
    places: list[int] = []
    for first in range(0, len(circles), _LOOKED_AT_ONCE):
        dark = catalogue.near_sensitive(*circles[first : first + _LOOKED_AT_ONCE].T)
        places += (first + np.flatnonzero(~dark)).tolist()
        if len(places) >= count:
            break
    return places[:count]


def _from(lon: float, lat: float, lons: Floats, lats: Floats) -> Floats:
    """Metres from a position to others."""
    return arc_m(earth_centred(lons, lats), earth_centred(np.array([lon]), np.array([lat])))
