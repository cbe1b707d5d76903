"""Durable pings a second: single ones as a share of what an empty aiohttp handler does, and batches of 50."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import aiohttp

from geoservice.bench.load import Load, run_load
from geoservice.bench.processes import Server, empty_server
from geoservice.bench.town import CONNECTIONS, FENCES, Walkers, rate, serving

BATCH: Final = 50
ROUNDS: Final = 7
_STAGE = re.compile(r'geoservice_ingest_(?:stage_seconds_sum\{stage="(\w+)"\}|batch_seconds_(count|sum)) (\S+)')


async def measure(*, singles: int = 6_000, batches: int = 6_000) -> dict[str, Any]:
    """Post ``singles`` to the empty handler, one process and two, in turns, then ``batches``; units are in the keys.

    In turns, since cores that are shared with strangers change their speed within seconds: a share is the median of
    what each turn gives.
    """
    async with (
        empty_server() as handler,
        serving(alone := Walkers()) as server,
        serving(shared := Walkers(), processes=2) as fleet,
    ):
        empty, one, two = _Side(handler, Walkers()), _Side(server, alone), _Side(fleet, shared)
        sides = (empty, one, two)
        for side in sides:
            await side.post(singles // 5)
            side.forget()
        for _ in range(ROUNDS):
            for side in sides:
                await side.post(singles)
        async with _watched(server) as batches_by:
            bulk = await run_load(server.host, server.port, alone.requests(batches, pings=BATCH))
        bulk_of_two = await run_load(fleet.host, fleet.port, shared.requests(batches, pings=BATCH))
    answers = Counter[int]()
    for load in (bulk, bulk_of_two, *one.loads, *two.loads):
        answers.update(load.statuses)
    if refused := answers.keys() - {202}:
        raise RuntimeError(f"requests were refused: {refused}")
    return {
        "fences": FENCES,
        "connections": CONNECTIONS,
        "empty_handler_per_s": empty.per_s,
        "empty_handler_cpu_us": empty.cpu_us,
        "single_pings_per_s": one.per_s,
        "single_pings_share_of_empty": one.share_of(empty),
        "single_pings_cpu_us": one.cpu_us,
        "single_pings_p50_ms": one.percentile_ms(0.5),
        "single_pings_p99_ms": one.percentile_ms(0.99),
        "two_processes_per_s": two.per_s,
        "two_processes_share_of_empty": two.share_of(empty),
        "two_processes_over_one": two.share_of(one),
        "two_processes_p99_ms": two.percentile_ms(0.99),
        "batched_pings_per_s": rate(bulk) * BATCH,
        "batched_pings_of_two_processes_per_s": rate(bulk_of_two) * BATCH,
        "batched_pings_cpu_us": round(batches_by["cpu_s"]["service"] / batches / BATCH * 1e6, 1),
        "batched_pings_per_empty_request": round(rate(bulk) * BATCH / empty.per_s, 2),
        "single_pings_time": {part: _rounded(seconds) for part, seconds in one.time_s.items()},
        "batched_pings_time": {part: _rounded(seconds) for part, seconds in batches_by.items()},
    }


@dataclass(slots=True)
class _Side:
    """One of those that take turns, and what its turns gave."""

    server: Server
    walkers: Walkers
    loads: list[Load] = field(default_factory=list)
    time_s: dict[str, Counter[str]] = field(default_factory=dict)

    async def post(self, singles: int) -> None:
        """Take a turn."""
        work = self.walkers.requests(singles, pings=1)
        async with _watched(self.server) as spent:
            self.loads.append(await run_load(self.server.host, self.server.port, work))
        for part, seconds in spent.items():
            self.time_s.setdefault(part, Counter()).update(seconds)

    def forget(self) -> None:
        """Let the turns so far not count: they were for caches to fill."""
        self.loads.clear()
        self.time_s.clear()

    @property
    def per_s(self) -> int:
        """Requests a second, the median."""
        return round(median(map(rate, self.loads)))

    @property
    def cpu_us(self) -> int:
        """CPU of the service for a request."""
        return round(self.time_s["cpu_s"]["service"] / sum(len(load.latencies_s) for load in self.loads) * 1e6)

    def share_of(self, other: _Side) -> float:
        """What it does of what another does, the median of the turns."""
        return round(median(rate(ours) / rate(theirs) for ours, theirs in zip(self.loads, other.loads, strict=True)), 3)

    def percentile_ms(self, share: float) -> float:
        """Latency below which that share of all its requests stayed."""
        every = Load(latencies_s=[each for load in self.loads for each in load.latencies_s])
        return round(every.percentile_ms(share), 1)


def _rounded(seconds: Counter[str]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in seconds.items()}


@asynccontextmanager
async def _watched(server: Server) -> AsyncIterator[dict[str, Counter[str]]]:
    """Tell where the time went: CPU seconds of the service and of PostgreSQL, wall seconds of each stage."""
    found: dict[str, Counter[str]] = {}
    cpu, stages = server.cpu_seconds(), await _stages(server)
    yield found
    cpu_now, stages_now = server.cpu_seconds(), await _stages(server)
    found["cpu_s"] = Counter({name: cpu_now[name] - cpu.get(name, 0.0) for name in cpu_now})
    found["stage_wall_s"] = Counter({name: stages_now[name] - stages.get(name, 0.0) for name in stages_now})


async def _stages(server: Server) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        return {stage or f"batch_{total}": float(value) for stage, total, value in _STAGE.findall(await answer.text())}
