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
from geoservice.geofencing.registered import LEAST_RADIUS_M, Circle, registered_circle

MOST_OUTER_M: Final = 10_000.0
"""Also where there is nothing around: geofences come and go."""
_FIRST_REACH_M: Final = 1_000.0
_LAST_REACH_M: Final = 100_000.0
"""Far more than a phone can go without leaving the outer circle; whoever is farther from everything is asked again."""
_SPARE: Final = 12  # the middle of a shape is not quite where its circle begins


class Nearby(NamedTuple):
    """Circles with their geofences' ids, nearest first, and the one around them."""

    circles: Sequence[tuple[str, Circle]]
    outer: Circle


def nearby(catalogue: Catalogue, lon: float, lat: float, accuracy_m: float, limit: int) -> Nearby:
    """The ``limit - 1`` nearest circles and the outer one; never one of a sensitive place, nor one in its belt."""
    candidates = _candidates(catalogue, lon, lat, limit + _SPARE)
    circles = [registered_circle(catalogue, fence) for fence in candidates.tolist()]
    if not circles:
        return Nearby((), Circle(lon, lat, MOST_OUTER_M))
    lons, lats, radii_m = np.array(circles).T
    away_m = np.maximum(_from(lon, lat, lons, lats) - radii_m, 0.0)
    watched = ~catalogue.near_sensitive(lons, lats, radii_m)
    order = [place for place in np.argsort(away_m, kind="stable").tolist() if watched[place]]
    given, left_out = order[: limit - 1], order[limit - 1 :]
    reach_m = away_m[left_out[0]] - accuracy_m if left_out else MOST_OUTER_M
    return Nearby(
        [(catalogue.fences[candidates[place]].geofence_id, circles[place]) for place in given],
        Circle(lon, lat, float(min(max(reach_m, LEAST_RADIUS_M), MOST_OUTER_M))),
    )


def _candidates(catalogue: Catalogue, lon: float, lat: float, count: int) -> Indexes:
    """About the nearest geofences: what is found in ever wider boxes around the position, sorted by their middles."""
    reach_m = _FIRST_REACH_M
    while True:
        found = catalogue.within(lon, lat, reach_m)
        found = found[catalogue.watched[found]]
        middles_m = _from(lon, lat, *catalogue.middles(found)) - catalogue.effective_radius_m[found]
        if np.count_nonzero(middles_m <= reach_m) >= count or reach_m >= _LAST_REACH_M:
            nearest: Indexes = found[np.argsort(middles_m, kind="stable")[:count]]
            return nearest
        reach_m *= 3


def _from(lon: float, lat: float, lons: Floats, lats: Floats) -> Floats:
    """Metres from a position to others."""
    return arc_m(earth_centred(lons, lats), earth_centred(np.array([lon]), np.array([lat])))
