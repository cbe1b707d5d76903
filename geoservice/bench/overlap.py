"""The hard case: 23,000 stores with circles of 5 km in 60 cities, so that a fix lies in about two dozen of them.

Measured with one process, and with two, which is what a machine of two cores is best served with.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson

from geoservice.bench.city import METRES_A_DEGREE, PING_EVERY_S, WALK_MPS
from geoservice.bench.load import Load, request, run_load
from geoservice.bench.town import CONNECTIONS, Walkers, rate, serving

STORES: Final = 23_000
CITIES: Final = 60
SPREAD_DEGREES: Final = 0.1
RADIUS_M: Final = 5_000
BATCH: Final = 50
REQUESTS: Final = 1_536


async def measure(*, requests: int = REQUESTS) -> dict[str, Any]:
    """Post batches of 50 fixes of walking phones; every one is durable when answered."""
    rng = np.random.default_rng(1)
    cities = np.stack((rng.uniform(-10, 20, CITIES), rng.uniform(40, 55, CITIES)), axis=1)
    stores = cities[rng.integers(0, CITIES, STORES)] + rng.normal(0, SPREAD_DEGREES, (STORES, 2))
    walkers = Walkers()
    homes = cities[rng.integers(0, CITIES, len(walkers.phones))]
    homes = homes + rng.normal(0, SPREAD_DEGREES, homes.shape)
    overlap = _overlap(stores, homes)
    work: list[list[bytes]] = [[] for _ in range(CONNECTIONS)]
    rounds = requests // len(walkers.phones)
    for number, bodies in enumerate(_bodies(walkers, homes, rounds, rng)):
        made = [request("POST", "/v1/pings", walkers.tokens[number], body) for body in bodies]
        work[number % CONNECTIONS] += made
    geofences = _collection(stores)
    first, alone, cpu_s = await _post(walkers, geofences, work, rounds, processes=1)
    _, two, _ = await _post(walkers, geofences, work, rounds, processes=2)
    fixes = len(alone.latencies_s) * BATCH
    return {
        "stores": STORES,
        "stores_a_fix": round(overlap, 1),
        "arriving_fixes_per_s": rate(first) * BATCH,
        "one_process_fixes_per_s": rate(alone) * BATCH,
        "one_process_fix_cpu_us": {name: round(seconds / fixes * 1e6, 1) for name, seconds in cpu_s.items()},
        "fixes_per_s": rate(two) * BATCH,
    }


async def _post(
    walkers: Walkers, geofences: dict[str, Any], work: list[list[bytes]], rounds: int, *, processes: int
) -> tuple[Load, Load, dict[str, float]]:
    """Let everybody arrive, then walk on; the CPU seconds are those of the walk."""
    async with serving(walkers, geofences=geofences, processes=processes) as server:
        first = await run_load(server.host, server.port, [one[: len(one) // rounds] for one in work])
        cpu = server.cpu_seconds()
        load = await run_load(server.host, server.port, [one[len(one) // rounds :] for one in work])
        cpu_now = server.cpu_seconds()
    refused = {s: n for each in (first, load) for s, n in each.statuses.items() if s != 202}
    if refused:
        raise RuntimeError(f"requests were refused: {refused}")
    return first, load, {name: cpu_now[name] - cpu[name] for name in cpu_now}


def _overlap(stores: Any, homes: Any) -> float:
    """In how many circles a phone is, on average."""
    inside = 0
    for lon, lat in homes.tolist():
        east = (stores[:, 0] - lon) * math.cos(math.radians(lat))
        inside += int((np.hypot(east, stores[:, 1] - lat) * METRES_A_DEGREE <= RADIUS_M).sum())
    return inside / len(homes)


def _collection(stores: Any) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [round(lon, 6), round(lat, 6)]},
                "properties": {"id": f"s{number}", "name": f"Store {number}", "kind": "approach", "radius_m": RADIUS_M},
            }
            for number, (lon, lat) in enumerate(stores.tolist())
        ],
    }


def _bodies(walkers: Walkers, homes: Any, rounds: int, rng: np.random.Generator) -> list[list[bytes]]:
    """For each phone its requests: it walks, and turns a little at every step."""
    steps = rounds * BATCH
    start = datetime.now(UTC) - timedelta(hours=22)
    at = [start + timedelta(seconds=PING_EVERY_S * step) for step in range(steps)]
    bodies = []
    for phone, (lon, lat) in zip(walkers.phones, homes.tolist(), strict=True):
        heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.2, steps))
        east = np.cumsum(WALK_MPS * PING_EVERY_S * np.cos(heading)) + rng.normal(0, 6, steps)
        north = np.cumsum(WALK_MPS * PING_EVERY_S * np.sin(heading)) + rng.normal(0, 6, steps)
        lons = (lon + east / METRES_A_DEGREE / math.cos(math.radians(lat))).round(7).tolist()
        lats = (lat + north / METRES_A_DEGREE).round(7).tolist()
        fixes = [
            {"type": "location", "recorded_at": t, "lon": x, "lat": y, "accuracy_m": 10.0}
            for t, x, y in zip(at, lons, lats, strict=True)
        ]
        bodies.append(
            [
                orjson.dumps({"device_id": phone.device_id, "pings": fixes[n : n + BATCH]})
                for n in range(0, steps, BATCH)
            ]
        )
    return bodies
