"""Circles that an app registers with the phone's operating system, and what the system's events prove. Pure.

iOS and Android watch circles in the background, of 100 m at least. So the registered circle of a geofence is the
smallest one around its middle that holds all of it, and not below 100 m. An event proves that circle only:

enter, dwell  The phone is in the circle with p = 0.9. Of a geofence that fills only a part of its circle this proves
              that part: below p = 0.6 it keeps a presence alive, and enters nothing.
exit          The phone is outside the circle with p = 0.9, so outside the geofence.
contradicted  A good fix of the last 10 s knows better: an enter while it shows the phone outside, an exit while it
              shows it inside, say nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import shapely

from geoservice.geofencing.arrays import Floats, Indexes
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.evidence import P_INSIDE
from geoservice.geofencing.ground import arc_m, earth_centred
from geoservice.geofencing.statements import Evidence, Statement
from geoservice.geofencing.track import KnownFix
from geoservice.vocabulary import OsEvent, OsTransition, Source

LEAST_RADIUS_M: Final = 100.0
P_EVENT: Final = 0.9
P_PROVEN: Final = 0.6
FRESH_S: Final = 10.0
GOOD_M: Final = 100.0
"""A fix that is worse cannot contradict: the system had better ones."""


class Circle(NamedTuple):
    """Degrees, metres."""

    lon: float
    lat: float
    radius_m: float


def registered_circle(catalogue: Catalogue, fence: int) -> Circle:
    """The circle that stands for a geofence in the phone's operating system."""
    radius_m = catalogue.fences[fence].radius_m
    if radius_m is None:
        (radius_m,) = _farthest_m(catalogue, np.array([fence])).tolist()
    return Circle(*catalogue.middle(fence), max(radius_m, LEAST_RADIUS_M))


def registered_circles(catalogue: Catalogue, fences: Indexes) -> Floats:
    """The circles of many geofences at once, (n, 3): degrees and metres."""
    radius_m = np.array([catalogue.fences[fence].radius_m or 0.0 for fence in fences.tolist()])
    shapes = np.flatnonzero(radius_m == 0)
    radius_m[shapes] = _farthest_m(catalogue, fences[shapes])
    return np.column_stack((*catalogue.middles(fences), np.maximum(radius_m, LEAST_RADIUS_M)))


def _farthest_m(catalogue: Catalogue, fences: Indexes) -> Floats:
    """From the middles of shapes to their farthest corners, in whole metres."""
    geometries = [catalogue.fences[fence].geometry for fence in fences.tolist()]
    corners, owner = shapely.get_coordinates(geometries, return_index=True)
    middles = earth_centred(*catalogue.middles(fences))
    farthest_m = np.zeros(len(fences))
    np.maximum.at(farthest_m, owner, arc_m(earth_centred(corners[:, 0], corners[:, 1]), middles[owner]))
    return np.ceil(farthest_m)


def share_filled(catalogue: Catalogue, fence: int) -> float:
    """Which part of its registered circle a geofence fills, 0 to 1."""
    radius_m = registered_circle(catalogue, fence).radius_m
    return min(float(catalogue.effective_radius_m[fence] / radius_m) ** 2, 1.0)


def os_statement(catalogue: Catalogue, event: OsTransition, fix: KnownFix | None) -> Statement | None:
    """What an event says about its geofence, given the phone's latest fix; None if a fix knows better."""
    fence = catalogue.index_of[event.geofence_id]
    at = event.recorded_at.timestamp()
    seen_inside = _seen_inside(catalogue, fence, fix, at)
    if event.event is OsEvent.EXIT:
        return None if seen_inside else Statement(at, Evidence.OUTSIDE, 1 - P_EVENT, Source.OS)
    if seen_inside is False:
        return None
    p = P_EVENT * share_filled(catalogue, fence)
    said = Evidence.PROVEN_INSIDE if p >= P_PROVEN else Evidence.PERHAPS if p >= P_INSIDE else Evidence.VAGUE
    return Statement(at, said, p, Source.OS)


def _seen_inside(catalogue: Catalogue, fence: int, fix: KnownFix | None, at: float) -> bool | None:
    """Whether a good fix of the last seconds shows the phone inside the geofence; None if there is none."""
    if fix is None or not 0 <= at - fix.at <= FRESH_S or fix.accuracy_m > GOOD_M:
        return None
    one: Indexes = np.zeros(1, dtype=np.intp)
    p, beyond_m = catalogue.evidence(
        np.array([fix.lon]), np.array([fix.lat]), np.array([fix.accuracy_m]), one, np.array([fence])
    )
    if p[0] >= P_INSIDE:
        return True
    # Beside a small geofence, but within its circle, a phone is where the event says.
    circle = registered_circle(catalogue, fence)
    radius_m = float(catalogue.effective_radius_m[fence])
    return None if beyond_m[0] <= max(circle.radius_m - radius_m, 0.0) + fix.accuracy_m else False
