"""How people move in the story, as the fixes that their phones report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from geoservice.demo.city import Place

METRES_PER_DEGREE: Final = 111_320
"""Along a meridian, near enough for a walk."""

WALK_MPS: Final = 1.4
DRIVE_MPS: Final = 13.9
"""50 km/h."""


def walk_past(place: Place, start: datetime) -> Iterator[dict[str, Any]]:
    """A stroll of 900 m from north to south that passes 80 m beside the middle of the store; a fix each 50 s."""
    step_m = WALK_MPS * 50
    for i in range(14):
        yield _fix(place, start + timedelta(seconds=50 * i), north_m=455 - step_m * i, east_m=80, speed_mps=WALK_MPS)


def drive_by(place: Place, start: datetime) -> Iterator[dict[str, Any]]:
    """A drive at 50 km/h that waits at the lights beside the store for a minute and a half, then goes on."""
    at, north_m = start, 695.0
    while north_m > 0:
        yield _fix(place, at, north_m=north_m, east_m=60, speed_mps=DRIVE_MPS)
        at, north_m = at + timedelta(seconds=10), north_m - DRIVE_MPS * 10
    for _ in range(5):
        yield _fix(place, at, north_m=0, east_m=60, speed_mps=0)
        at += timedelta(seconds=20)
    for i in range(1, 6):
        yield _fix(place, at, north_m=-DRIVE_MPS * 10 * i, east_m=60, speed_mps=DRIVE_MPS)
        at += timedelta(seconds=10)


def _fix(place: Place, at: datetime, *, north_m: float, east_m: float, speed_mps: float) -> dict[str, Any]:
    per_degree_east_m = METRES_PER_DEGREE * math.cos(math.radians(place.lat))
    return {
        "type": "location",
        "recorded_at": at,
        "lat": round(place.lat + north_m / METRES_PER_DEGREE, 6),
        "lon": round(place.lon + east_m / per_degree_east_m, 6),
        "accuracy_m": 9,
        "speed_mps": speed_mps,
    }
