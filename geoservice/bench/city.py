"""A made-up city for benchmarks: a grid of store fences, and phones that walk through it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson

LAT: Final = 50.0
LON: Final = 8.0
METRES_A_DEGREE: Final = 111_195.0
PING_EVERY_S: Final = 15
WALK_MPS: Final = 1.4
SPACING_M: Final = 600.0
"""Between stores: walking phones then give about two transitions in a hundred pings."""


def _degrees(east_m: Any, north_m: Any) -> tuple[Any, Any]:
    return (
        LON + east_m / (METRES_A_DEGREE * math.cos(math.radians(LAT))),
        LAT + north_m / METRES_A_DEGREE,
    )


def fences(count: int, *, spacing_m: float = SPACING_M, radius_m: float = 60.0) -> dict[str, Any]:
    """A square grid of hexagons."""
    side = math.ceil(math.sqrt(count))
    angles = np.radians(np.arange(7) * 60.0)
    features = []
    for i in range(count):
        east, north = (i % side) * spacing_m, (i // side) * spacing_m
        lon, lat = _degrees(east + radius_m * np.cos(angles), north + radius_m * np.sin(angles))
        ring = [[round(float(x), 7), round(float(y), 7)] for x, y in zip(lon, lat, strict=True)]
        ring[-1] = ring[0]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"id": f"f{i}", "name": f"Fence {i}", "kind": "approach"},
            }
        )
    return {"type": "FeatureCollection", "features": features}


class Phone:
    """A phone that walks in a straight line, turns now and then, and reports a fix every 15 seconds."""

    def __init__(self, number: int, fence_count: int, start: datetime) -> None:
        self._rng = np.random.default_rng(number)
        self._side_m = math.ceil(math.sqrt(fence_count)) * SPACING_M
        self._east, self._north = self._rng.uniform(0, self._side_m, 2)
        self._heading = self._rng.uniform(0, 2 * math.pi)
        self._at = start.astimezone(UTC)
        self._number = 0
        self.device_id = f"phone-{number}"

    def body(self, pings: int) -> bytes:
        """Write the body of ``POST /v1/pings`` with the next fixes."""
        return orjson.dumps({"device_id": self.device_id, "pings": list(self._fixes(pings))})

    def _fixes(self, count: int) -> Iterator[dict[str, Any]]:
        for noise in self._rng.normal(0, 6, (count, 2)):
            if self._rng.random() < 0.05:
                self._heading = self._rng.uniform(0, 2 * math.pi)
            step = WALK_MPS * PING_EVERY_S
            self._east = (self._east + step * math.cos(self._heading)) % self._side_m
            self._north = (self._north + step * math.sin(self._heading)) % self._side_m
            self._at += timedelta(seconds=PING_EVERY_S)
            self._number += 1
            lon, lat = _degrees(self._east + noise[0], self._north + noise[1])
            yield {
                "type": "location",
                "id": f"{self.device_id}-{self._number}",
                "recorded_at": self._at,
                "lat": round(float(lat), 7),
                "lon": round(float(lon), 7),
                "accuracy_m": 10.0,
            }
