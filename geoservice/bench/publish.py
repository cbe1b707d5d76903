"""A changed geofence on its way into a running matcher with 100,000 of them, and whom that holds up.

One phone after the other sends a ping every few milliseconds. At first nothing happens beside that; then a geofence is
published again and again. The matcher has it when ``POST /v1/geofences/nearby`` names it. On a machine that is busy
with other things the quiet part shows how much of a slow request is the machine's doing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson

from geoservice.bench.city import fences
from geoservice.bench.processes import Server
from geoservice.bench.town import Walkers, as_ops, serving, token

FENCES: Final = 100_000
PUBLICATIONS: Final = 12
QUIET_S: Final = 10.0
PAUSE_S: Final = 0.004
BETWEEN_S: Final = 0.5
_FAR: Final = {"lat": -48.9, "lon": -123.4}
"""Where the published geofences are, and nothing else."""


async def measure() -> dict[str, Any]:
    """Publish one geofence at a time into 100,000; see the keys for units."""
    walkers = Walkers()
    async with serving(walkers, geofences=fences(FENCES)) as server, aiohttp.ClientSession(server.url) as session:
        await asyncio.sleep(FENCES / 20_000)  # until the matcher has taken up so many at once
        quiet_ms: list[float] = []
        busy_ms: list[float] = []
        async with _pinging(session, walkers, quiet_ms):
            await asyncio.sleep(QUIET_S)
        async with _pinging(session, walkers, busy_ms):
            seen_ms = []
            for number in range(PUBLICATIONS):
                seen_ms.append(await _publish(server, session, f"new-{number}"))
                await asyncio.sleep(BETWEEN_S)
        rss_mb = server.rss_mb()
    return {
        "fences": FENCES,
        "published_to_matched_p50_ms": _percentile(seen_ms, 0.5),
        "published_to_matched_max_ms": _percentile(seen_ms, 1),
        "pings_p99_ms": _percentile(busy_ms, 0.99),
        "pings_slowest_ms": _percentile(busy_ms, 1),
        "pings_slower_than_50_ms": sum(each > 50 for each in busy_ms),
        "pings": len(busy_ms),
        "quiet_p99_ms": _percentile(quiet_ms, 0.99),
        "quiet_slowest_ms": _percentile(quiet_ms, 1),
        "rss_mb": round(rss_mb),
    }


async def _publish(server: Server, session: aiohttp.ClientSession, geofence_id: str) -> float:
    """Milliseconds from the answer to the upload until a phone is told of the geofence."""
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [_FAR["lon"], _FAR["lat"]]},
        "properties": {"id": geofence_id, "kind": "approach", "radius_m": 150},
    }
    await as_ops(server, "PUT", f"/v1/geofences/{geofence_id}", feature)
    answered = time.perf_counter()
    ask = orjson.dumps({**_FAR, "limit": 100})
    headers = {"Authorization": f"Bearer {token('customer-0')}", "Content-Type": "application/json"}
    async with asyncio.timeout(30):
        while True:
            async with session.post("/v1/geofences/nearby", data=ask, headers=headers) as answer:
                named = {item["geofence_id"] for item in orjson.loads(await answer.read())["items"]}
            if geofence_id in named:
                return (time.perf_counter() - answered) * 1e3
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _pinging(session: aiohttp.ClientSession, walkers: Walkers, into_ms: list[float]) -> AsyncIterator[None]:
    """Send single pings all the while, and note how long each took."""

    async def ping() -> None:
        number = 0
        while True:
            who = number % len(walkers.phones)
            headers = {"Authorization": f"Bearer {walkers.tokens[who]}", "Content-Type": "application/json"}
            began = time.perf_counter()
            async with session.post("/v1/pings", data=walkers.phones[who].body(1), headers=headers) as answer:
                await answer.read()
            into_ms.append((time.perf_counter() - began) * 1e3)
            number += 1
            await asyncio.sleep(PAUSE_S)

    task = asyncio.create_task(ping())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 1)
