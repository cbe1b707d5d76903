"""Durable pings a second: single ones as a share of what an empty aiohttp handler does, and batches of 50."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from geoservice.bench.load import run_load
from geoservice.bench.processes import Server, empty_server
from geoservice.bench.town import CONNECTIONS, FENCES, Walkers, rate, serving

BATCH: Final = 50
_STAGE = re.compile(r'geoservice_ingest_(?:stage_seconds_sum\{stage="(\w+)"\}|batch_seconds_(count|sum)) (\S+)')


async def measure(*, singles: int = 30_000, batches: int = 6_000) -> dict[str, Any]:
    """Run both loads against the empty handler and the service, one after the other; see the keys for units."""
    walkers = Walkers()
    single = walkers.requests(singles, pings=1)
    batched = walkers.requests(batches, pings=BATCH)

    async with empty_server() as server:
        await run_load(server.host, server.port, [work[: len(work) // 10] for work in single])
        cpu_before = server.cpu_seconds()["service"]
        empty = await run_load(server.host, server.port, single)
        empty_cpu_s = server.cpu_seconds()["service"] - cpu_before
    async with serving(walkers) as server:
        async with _watched(server) as singles_by:
            ours = await run_load(server.host, server.port, single)
        async with _watched(server) as batches_by:
            bulk = await run_load(server.host, server.port, batched)
    async with serving(walkers, processes=2) as server:
        bulk_of_two = await run_load(server.host, server.port, batched)
    refused = {s: n for load in (ours, bulk, bulk_of_two) for s, n in load.statuses.items() if s != 202}
    if refused:
        raise RuntimeError(f"requests were refused: {refused}")
    return {
        "fences": FENCES,
        "connections": CONNECTIONS,
        "empty_handler_per_s": rate(empty),
        "single_pings_per_s": rate(ours),
        "single_pings_share_of_empty": round(rate(ours) / rate(empty), 3),
        "single_pings_cpu_us": round(singles_by["cpu_s"]["service"] / singles * 1e6),
        "empty_handler_cpu_us": round(empty_cpu_s / singles * 1e6),
        "single_pings_p50_ms": round(ours.percentile_ms(0.5), 1),
        "single_pings_p99_ms": round(ours.percentile_ms(0.99), 1),
        "batched_pings_per_s": rate(bulk) * BATCH,
        "batched_pings_of_two_processes_per_s": rate(bulk_of_two) * BATCH,
        "batched_pings_cpu_us": round(batches_by["cpu_s"]["service"] / batches / BATCH * 1e6, 1),
        "batched_pings_per_empty_request": round(rate(bulk) * BATCH / rate(empty), 2),
        "single_pings_time": singles_by,
        "batched_pings_time": batches_by,
    }


@asynccontextmanager
async def _watched(server: Server) -> AsyncIterator[dict[str, Any]]:
    """Tell where the time went: CPU seconds of the service and of PostgreSQL, wall seconds of each stage."""
    found: dict[str, Any] = {}
    cpu, stages = server.cpu_seconds(), await _stages(server)
    yield found
    cpu_now, stages_now = server.cpu_seconds(), await _stages(server)
    found["cpu_s"] = {name: round(cpu_now[name] - cpu.get(name, 0.0), 2) for name in cpu_now}
    found["stage_wall_s"] = {name: round(stages_now[name] - stages.get(name, 0.0), 2) for name in stages_now}


async def _stages(server: Server) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        return {stage or f"batch_{total}": float(value) for stage, total, value in _STAGE.findall(await answer.text())}
