"""Sensitive places: what may come from one is dropped before anything is stored. Pure.

A fix may come from everywhere in its disc. An event of the phone's operating system comes with a position or from the
circle that was registered; a beacon from that of the geofence in which it hangs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from geoservice.geofencing.beacons import fences_of
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.registered import registered_circle
from geoservice.vocabulary import Fix, Observation, OsTransition


class Disc(NamedTuple):
    """Degrees, metres."""

    lon: float
    lat: float
    radius_m: float


def whereabouts(catalogue: Catalogue, observation: Observation) -> Sequence[Disc]:
    """The discs in which the phone may have been; none of a beacon that nobody knows."""
    if isinstance(observation, Fix):
        return (Disc(observation.lon, observation.lat, observation.accuracy_m),)
    if not isinstance(observation, OsTransition):
        # The circle holds all of a long department, and the hall around a small one, in which its beacon is heard.
        return [Disc(*registered_circle(catalogue, fence)) for fence in fences_of(catalogue, observation)]
    if observation.lat is not None and observation.lon is not None and observation.accuracy_m is not None:
        return (Disc(observation.lon, observation.lat, observation.accuracy_m),)
    fence_of_event = catalogue.index_of.get(observation.geofence_id)
    return () if fence_of_event is None else (Disc(*registered_circle(catalogue, fence_of_event)),)


def touching_sensitive(catalogue: Catalogue, discs: Sequence[Sequence[Disc]]) -> list[int]:
    """Which observations, by their place in the list, have a disc that touches a sensitive place or its belt."""
    owner = np.repeat(np.arange(len(discs)), [len(of_one) for of_one in discs])
    if not owner.size:
        return []
    lon, lat, radius_m = np.array([disc for of_one in discs for disc in of_one]).T
    touching: list[int] = np.unique(owner[catalogue.near_sensitive(lon, lat, radius_m)]).tolist()
    return touching
