"""Simulated phones around a round store: where they truly are, and what they report. Seeded, all phones at once.

A fix every 15 s. The reported accuracy lies between 5 and 30 m and drifts within minutes, as between a square and an
arcade. The true error is 1.2 times as large as reported, and correlated over 60 s: it wanders rather than jumps. One
fix in 200 is plainly wrong, by 50 to 300 m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EVERY_S: Final = 15.0
CORRELATION_S: Final = 60.0
QUALITY_S: Final = 300.0
ACCURACY_M: Final = (5.0, 30.0)
UNDERSTATED: Final = 1.2
ACCURACY_PER_SIGMA: Final = 1.51
OUTLIERS: Final = 0.005
OUTLIER_M: Final = (50.0, 300.0)
WALK_MPS: Final = 1.4
START_M: Final = 250.0
"""So far from the edge walks begin and end."""
STAY_S: Final = 1_200.0


@dataclass(frozen=True, slots=True)
class Scene:
    """n phones with t fixes each, in metres around the store's centre; fixes come at multiples of ``EVERY_S``."""

    radius_m: float
    east_m: Floats
    north_m: Floats
    accuracy_m: Floats
    enters_s: Floats
    """When each phone truly crosses the edge inwards, and outwards; NaN where it does not."""
    leaves_s: Floats


def standing(radius_m: float, phones: int, seed: int) -> Scene:
    """An hour on the spot, 25 m outside."""
    rng = np.random.default_rng(seed)
    steps = round(3_600 / EVERY_S) + 1
    never = np.full(phones, np.nan)
    return _reported(rng, radius_m, np.full((phones, steps), radius_m + 25.0), np.zeros((phones, steps)), never, never)


def passing(radius_m: float, phones: int, seed: int) -> Scene:
    """A walk through the store at 1.4 m/s, at most half the radius beside its centre."""
    rng = np.random.default_rng(seed)
    steps = round(2 * (radius_m + START_M) / WALK_MPS / EVERY_S) + 8
    at_s = np.arange(steps) * EVERY_S + rng.uniform(0, EVERY_S, (phones, 1))
    beside = rng.uniform(-0.5, 0.5, phones) * radius_m
    half_chord = np.sqrt(radius_m**2 - beside**2)
    enters = (radius_m + START_M - half_chord) / WALK_MPS - at_s[:, 0]
    leaves = enters + 2 * half_chord / WALK_MPS
    north = np.repeat(beside[:, None], steps, axis=1)
    return _reported(rng, radius_m, -(radius_m + START_M) + WALK_MPS * at_s, north, enters, leaves)


def visiting(radius_m: float, phones: int, seed: int) -> Scene:
    """A walk in, twenty minutes somewhere inside (not in the outermost tenth), and the same way out."""
    rng = np.random.default_rng(seed)
    spot = _somewhere(rng, phones, radius_m * np.sqrt(rng.uniform(0, 0.8, phones)))
    door = _somewhere(rng, phones, np.full(phones, radius_m + START_M))
    way = spot - door
    walk_s = np.hypot(*way) / WALK_MPS
    steps = round((2 * walk_s.max() + STAY_S) / EVERY_S) + 20
    at_s = np.arange(steps) * EVERY_S + rng.uniform(0, EVERY_S, (phones, 1))
    walked = np.clip(at_s / walk_s[:, None], 0, 1) - np.clip((at_s - walk_s[:, None] - STAY_S) / walk_s[:, None], 0, 1)
    a, b, c = (way**2).sum(axis=0), 2 * (way * door).sum(axis=0), (door**2).sum(axis=0) - radius_m**2
    share = (-b - np.sqrt(b * b - 4 * a * c)) / (2 * a)
    enters = share * walk_s - at_s[:, 0]
    leaves = walk_s + STAY_S + (1 - share) * walk_s - at_s[:, 0]
    east, north = (door[:, :, None] + way[:, :, None] * walked)[:]
    return _reported(rng, radius_m, east, north, enters, leaves)


def _somewhere(rng: np.random.Generator, phones: int, distance_m: Floats) -> Floats:
    angle = rng.uniform(0, 2 * math.pi, phones)
    return np.stack((distance_m * np.cos(angle), distance_m * np.sin(angle)))


def _reported(
    rng: np.random.Generator, radius_m: float, east: Floats, north: Floats, enters: Floats, leaves: Floats
) -> Scene:
    """Add what phones cannot know."""
    shape = east.shape
    low, high = ACCURACY_M
    ranks = _wandering(rng, shape, QUALITY_S)
    accuracy = low + (high - low) * 0.5 * (1 + np.tanh(0.8 * ranks))  # close to evenly spread
    sigma = UNDERSTATED * accuracy / ACCURACY_PER_SIGMA
    error_east = sigma * _wandering(rng, shape, CORRELATION_S)
    error_north = sigma * _wandering(rng, shape, CORRELATION_S)
    wrong = rng.random(shape) < OUTLIERS
    angle, by = rng.uniform(0, 2 * math.pi, shape), rng.uniform(*OUTLIER_M, shape)
    error_east = np.where(wrong, by * np.cos(angle), error_east)
    error_north = np.where(wrong, by * np.sin(angle), error_north)
    return Scene(radius_m, east + error_east, north + error_north, accuracy, enters, leaves)


def _wandering(rng: np.random.Generator, shape: tuple[int, ...], memory_s: float) -> Floats:
    """Normal noise of variance 1 that forgets exponentially (an AR(1) process)."""
    keep = math.exp(-EVERY_S / memory_s)
    noise = rng.normal(size=shape)
    for step in range(1, shape[1]):
        noise[:, step] = keep * noise[:, step - 1] + math.sqrt(1 - keep * keep) * noise[:, step]
    return noise
