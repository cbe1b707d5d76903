"""Memory under load: minutes of single pings, and what grew meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from geoservice.bench.load import run_load
from geoservice.bench.processes import Server
from geoservice.bench.town import PHONES, Walkers, rate, serving

WARM_UP_SHARE: Final = 0.3
"""Pools, caches and arenas fill first; growth is measured from then on."""
EVERY_S: Final = 1.0
PHONES_A_MINUTE: Final = 60
"""A phone has a day of pings behind it; so many of them last for a minute of load."""


async def measure(*, minutes: float = 5.0) -> dict[str, Any]:
    """Post single pings as fast as they are answered, and look at the service's memory once a second."""
    walkers = Walkers(max(PHONES, round(minutes * PHONES_A_MINUTE)))
    async with serving(walkers) as server:
        over = asyncio.Event()
        loading = asyncio.create_task(
            run_load(server.host, server.port, [_until(over, requests) for requests in walkers.endless()])
        )
        samples = await _watch(server, minutes * 60, loading)
        over.set()
        load = await loading
    warm = samples[int(len(samples) * WARM_UP_SHARE) :]
    seconds = np.arange(len(warm)) * EVERY_S
    slope_mb_per_s = float(np.polyfit(seconds, warm, 1)[0])
    return {
        "minutes": minutes,
        "pings": len(load.latencies_s),
        "pings_per_s": rate(load),
        "rss_first_mb": round(samples[0], 1),
        "rss_warm_mb": round(warm[0], 1),
        "rss_last_mb": round(warm[-1], 1),
        "rss_slope_mb_per_minute": round(slope_mb_per_s * 60, 3),
        "rss_bytes_a_ping": round(slope_mb_per_s * 2**20 / rate(load), 2),
    }


def _until(over: asyncio.Event, requests: Iterable[bytes]) -> Iterable[bytes]:
    for each in requests:
        if over.is_set():
            return
        yield each


async def _watch(server: Server, seconds: float, loading: asyncio.Task[Any]) -> list[float]:
    samples = [server.rss_mb()]
    for _ in range(max(10, round(seconds / EVERY_S))):
        await asyncio.wait({loading}, timeout=EVERY_S)
        if loading.done():
            await loading  # its error says more than a missing sample
            raise RuntimeError("the load ended early")
        samples.append(server.rss_mb())
    return samples
