"""The mass of a circular normal distribution, the error of a fix, within outlines. Pure.

Seen from the fix in polar coordinates, the mass inside an outline is a sum over the outline's edges (the inner
integral, over the distance, has a closed form; what is left is Owen's T function):

    p = 1/2π · Σ ∫ (1 - exp(-d² / (2 σ² cos² θ))) dθ

with d an edge's signed distance, θ the angle from its perpendicular. Holes, corners and narrow shapes need no special
care, as they would with the straight-edge formula, and there are no samples, so no noise.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geoservice.geofencing.arrays import Floats, true_at

_EDGE_NODES, _EDGE_WEIGHTS = np.polynomial.legendre.leggauss(16)
_CIRCLE_NODES, _CIRCLE_WEIGHTS = np.polynomial.legendre.leggauss(24)
_TINY: Final = np.finfo(np.float64).tiny
_NEGLIGIBLE_SIGMAS: Final = 5.0  # beyond it lies less than 0.000004 of the mass


def mass_towards_edges(edges: Floats) -> Floats:
    """The mass in the triangle fix, start, end of each edge; below 0 where the fix is on the edge's right.

    ``edges`` are x1, y1, x2, y2 in sigmas around the fix, shape (n, 4).
    """
    x1, y1, x2, y2 = edges.T
    along_x, along_y = x2 - x1, y2 - y1
    length = np.maximum(np.hypot(along_x, along_y), _TINY)  # an edge may collapse when it is scaled
    distance = (x1 * along_y - y1 * along_x) / length
    start, end = (x1 * along_x + y1 * along_y) / length, (x2 * along_x + y2 * along_y) / length
    away = np.abs(distance)
    first, last = np.arctan2(start, away), np.arctan2(end, away)
    swept = last - first
    # Where the edge is far, all of the mass in its direction lies before it.
    nearest = np.hypot(away, np.maximum(np.maximum(start, -end), 0.0))
    near = true_at(nearest < _NEGLIGIBLE_SIGMAS)
    half, middle = swept[near, None] / 2, (first[near, None] + last[near, None]) / 2
    cosine = np.cos(middle + half * _EDGE_NODES)
    reached = -np.expm1(-((away[near, None] / cosine) ** 2) / 2)
    swept[near] = (half * _EDGE_WEIGHTS * reached).sum(axis=1)
    return np.asarray(np.copysign(swept, distance) / (2 * np.pi))


def mass_in_circle(distance: Floats, radius: Floats) -> Floats:
    """The mass within ``radius`` of a point at ``distance`` from the fix, both in sigmas, shape (n,).

    Slices across the line through both centres: each slice's mass is an error function.
    """
    low = np.maximum(-radius, distance - _NEGLIGIBLE_SIGMAS)[:, None]
    high = np.minimum(radius, distance + _NEGLIGIBLE_SIGMAS)[:, None]
    x = (low + high) / 2 + (high - low) / 2 * _CIRCLE_NODES
    radius = radius[:, None]
    half_chord = np.sqrt(np.maximum((radius - x) * (radius + x), 0.0))
    density = np.exp(-((x - distance[:, None]) ** 2) / 2) / np.sqrt(2 * np.pi)
    slices = density * _erf(half_chord / np.sqrt(2)) * _CIRCLE_WEIGHTS
    return np.asarray(np.clip(slices.sum(axis=1) * (high - low)[:, 0] / 2, 0.0, 1.0))


def _erf(x: Floats) -> Floats:
    """The error function for x ≥ 0, within 1.5e-7 (Abramowitz and Stegun 7.1.26); numpy has none."""
    t = 1 / (1 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(1 - series * np.exp(-x * x))
