"""Positions and distances on the ground, on the WGS 84 ellipsoid. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from geoservice.geofencing.arrays import Floats, Indexes, true_at

# WGS 84: equatorial radius, flattening, eccentricity squared; and the mean radius (IUGG) for chords and arcs.
_EQUATOR_M: Final = 6_378_137.0
_FLATTENING: Final = 1 / 298.257223563
_E2: Final = _FLATTENING * (2 - _FLATTENING)
_MEAN_RADIUS_M: Final = 6_371_008.8


def earth_centred(lon: Floats, lat: Floats) -> Floats:
    """(n, 3): degrees to metres from the Earth's centre, on the WGS 84 ellipsoid (ECEF)."""
    phi, lam = np.radians(lat), np.radians(lon)
    sin, cos = np.sin(phi), np.cos(phi)
    normal = _EQUATOR_M / np.sqrt(1 - _E2 * sin * sin)
    return np.stack((normal * cos * np.cos(lam), normal * cos * np.sin(lam), normal * (1 - _E2) * sin), axis=1)


def arc_m(a: Floats, b: Floats) -> Floats:
    """Metres along the ground between earth-centred points, shape (n, 3) each.

    The chord, bent to an arc of the mean radius; against the geodesic 1 mm at 10 km, 1 m at 100 km.
    """
    apart = a - b
    chord = np.sqrt(apart[:, 0] ** 2 + apart[:, 1] ** 2 + apart[:, 2] ** 2)
    half = np.minimum(chord / (2 * _MEAN_RADIUS_M), 1.0)
    return 2 * _MEAN_RADIUS_M * np.arcsin(half)


def share_in_spheres(start: Floats, end: Floats, line: Indexes, centre: Floats, radius_m: Floats) -> Floats:
    """Which share of each pair's line, start to end, lies within the radius of its centre; 0 if either end does."""
    share = np.zeros(len(line))
    outside = true_at(
        (_distance_squared(start[line], centre) > radius_m**2) & (_distance_squared(end[line], centre) > radius_m**2)
    )
    if outside.size:
        line = line[outside]
        along, away = (end - start)[line], start[line] - centre[outside]
        a = np.maximum((along * along).sum(axis=1), 1e-12)
        b = (along * away).sum(axis=1)
        c = (away * away).sum(axis=1) - radius_m[outside] ** 2
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        share[outside] = np.clip((-b + root) / a, 0.0, 1.0) - np.clip((-b - root) / a, 0.0, 1.0)
    return share


def _distance_squared(one: Floats, other: Floats) -> Floats:
    apart = one - other
    return np.asarray(np.einsum("ij,ij->i", apart, apart))


def metres_per_degree(lat: Floats) -> tuple[Floats, Floats]:
    """Of longitude and of latitude, at these latitudes, on the WGS 84 ellipsoid."""
    sin, cos = np.sin(np.radians(lat)), np.cos(np.radians(lat))
    bend = 1 - _E2 * sin * sin
    degree = np.pi / 180 * _EQUATOR_M
    return degree * cos / np.sqrt(bend), degree * (1 - _E2) / bend**1.5


def wrapped(lon: Floats) -> Floats:
    """A difference of longitudes, brought to -180 (inclusive) … 180."""
    return (lon + 180.0) % 360.0 - 180.0
