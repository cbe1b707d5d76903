"""What a second process gives: single pings with one and with two, in one run."""

from __future__ import annotations

from typing import Any

from geoservice.bench.load import Load, run_load
from geoservice.bench.town import Walkers, rate, serving


async def measure(*, singles: int = 20_000) -> dict[str, Any]:
    """Post the same load to `geoservice serve --processes 1` and `--processes 2`, one after the other."""
    one, two = await _load(1, singles), await _load(2, singles)
    return {
        "one_process_per_s": rate(one),
        "two_processes_per_s": rate(two),
        "two_over_one": round(rate(two) / rate(one), 2),
        "one_process_p99_ms": round(one.percentile_ms(0.99), 1),
        "two_processes_p99_ms": round(two.percentile_ms(0.99), 1),
    }


async def _load(processes: int, singles: int) -> Load:
    walkers = Walkers()
    async with serving(walkers, processes=processes) as server:
        return await run_load(server.host, server.port, walkers.requests(singles, pings=1))
