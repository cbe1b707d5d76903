"""Durable pings a second: single ones as a share of what an empty aiohttp handler does, and batches of 50."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import orjson

from geoservice.api.auth import CustomerTokens
from geoservice.bench.city import Phone, fences
from geoservice.bench.load import Load, request, run_load
from geoservice.bench.processes import Server, empty_server, geoservice_server

CONNECTIONS: Final = 64
FENCES: Final = 20_000
PHONES: Final = 256
BATCH: Final = 50
_SECRET: Final = "benchmark-secret-of-at-least-32-bytes"  # noqa: S105 - of a throw-away service
_OPS_KEY: Final = "benchmark-ops-key-of-enough-length"
_STAGE = re.compile(r'geoservice_ingest_(?:stage_seconds_sum\{stage="(\w+)"\}|batch_seconds_(count|sum)) (\S+)')


async def measure(*, singles: int = 30_000, batches: int = 6_000) -> dict[str, Any]:
    """Run both loads against the empty handler and the service, one after the other; see the keys for units."""
    start = datetime.now(UTC) - timedelta(hours=22)
    tokens = CustomerTokens(_SECRET)
    phones = [Phone(number, FENCES, start) for number in range(PHONES)]
    signed = [tokens.sign(f"customer-{number}", 86_400) for number in range(PHONES)]
    single = _requests(phones, signed, singles, pings=1)
    batched = _requests(phones, signed, batches, pings=BATCH)

    async with empty_server() as server:
        await run_load(server.host, server.port, [work[: len(work) // 10] for work in single])
        cpu_before = server.cpu_seconds()["service"]
        empty = await run_load(server.host, server.port, single)
        empty_cpu_s = server.cpu_seconds()["service"] - cpu_before
    async with _service() as server:
        await _set_up(server, signed)
        async with _watched(server) as singles_by:
            ours = await run_load(server.host, server.port, single)
        async with _watched(server) as batches_by:
            bulk = await run_load(server.host, server.port, batched)
    refused = {s: n for load in (ours, bulk) for s, n in load.statuses.items() if s != 202}
    if refused:
        raise RuntimeError(f"requests were refused: {refused}")
    return {
        "fences": FENCES,
        "connections": CONNECTIONS,
        "empty_handler_per_s": _rate(empty),
        "single_pings_per_s": _rate(ours),
        "single_pings_share_of_empty": round(_rate(ours) / _rate(empty), 3),
        "single_pings_cpu_us": round(singles_by["cpu_s"]["service"] / singles * 1e6),
        "empty_handler_cpu_us": round(empty_cpu_s / singles * 1e6),
        "single_pings_p50_ms": round(ours.percentile_ms(0.5), 1),
        "single_pings_p99_ms": round(ours.percentile_ms(0.99), 1),
        "batched_pings_per_s": _rate(bulk) * BATCH,
        "batched_pings_cpu_us": round(batches_by["cpu_s"]["service"] / batches / BATCH * 1e6, 1),
        "batched_pings_per_empty_request": round(_rate(bulk) * BATCH / _rate(empty), 2),
        "single_pings_time": singles_by,
        "batched_pings_time": batches_by,
    }


def _rate(load: Load) -> int:
    return round(len(load.latencies_s) / load.seconds)


def _requests(phones: list[Phone], tokens: list[str], count: int, *, pings: int) -> list[list[bytes]]:
    """Spread requests over connections; a phone stays on one, as a real one would."""
    work: list[list[bytes]] = [[] for _ in range(CONNECTIONS)]
    for i in range(count):
        number = i % len(phones)
        body = phones[number].body(pings)
        work[number % CONNECTIONS].append(request("POST", "/v1/pings", tokens[number], body))
    return work


@asynccontextmanager
async def _service() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="geoservice-bench-") as folder:
        environment = {
            "GEOSERVICE_DATA_DIR": folder,
            "GEOSERVICE_JWT_SECRET": _SECRET,
            "GEOSERVICE_OPS_KEY": _OPS_KEY,
        }
        async with geoservice_server(environment) as server:
            yield server


async def _set_up(server: Server, tokens: list[str]) -> None:
    """Publish the fences; let every customer consent and register her phone."""
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        ops = {"Authorization": f"Bearer {_OPS_KEY}"}
        body = orjson.dumps(fences(FENCES))
        async with session.post("/v1/geofences/import", data=body, headers=ops) as answer:
            answer.raise_for_status()
        for number, token in enumerate(tokens):
            who = {"Authorization": f"Bearer {token}"}
            device = {"platform": "android", "push_token": f"token-{number}"}
            consent = {"granted": True, "notice_version": "1"}
            for path, content in ((f"/v1/devices/phone-{number}", device), ("/v1/me/consents/location", consent)):
                async with session.put(path, data=orjson.dumps(content), headers=who) as answer:
                    answer.raise_for_status()
    await asyncio.sleep(1.5)  # the running matcher takes up the fences within a second


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
