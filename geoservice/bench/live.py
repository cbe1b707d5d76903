"""The live view while 100 decisions a second are taken: how late a viewer sees them, and whether she sees each once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from geoservice.bench.latency import CAMPAIGN, fixes, invite, quantile
from geoservice.bench.load import request, run_paced
from geoservice.bench.outbox import loop_lag, quantile_ms
from geoservice.bench.processes import Server
from geoservice.bench.town import CONNECTIONS, OPS_KEY, Walkers, as_ops, gather, serving, token

ARRIVALS_PER_S: Final = 12
CAMPAIGNS: Final = 10
"""Each is decided about at every arrival."""
VIEWERS: Final = 4
SETTLE_S: Final = 5.0
_HEADERS: Final = {"Authorization": f"Bearer {OPS_KEY}"}


async def measure(*, seconds: int = 20) -> dict[str, Any]:
    """Let guests arrive at a store that ten campaigns listen to, and watch; a decision's age is taken as it is read."""
    guests = [f"guest-{number}" for number in range(seconds * ARRIVALS_PER_S)]
    async with serving(Walkers(1), settings={"GEOSERVICE_DEFAULT_QUIET_HOURS": "none"}) as server:
        for number in range(CAMPAIGNS):
            await as_ops(server, "PUT", f"/v1/campaigns/welcome-{number}", CAMPAIGN)
        await gather([invite(server, guest) for guest in guests])
        seen: list[list[tuple[str, float]]] = [[] for _ in range(VIEWERS)]
        watching = [asyncio.create_task(_watch(server, each)) for each in seen]
        await asyncio.sleep(1)
        arrivals = [request("POST", "/v1/pings", token(g), orjson.dumps(fixes(g, away=False))) for g in guests]
        lag_before = await loop_lag(server)
        load = await run_paced(server.host, server.port, arrivals, per_s=ARRIVALS_PER_S, connections=CONNECTIONS)
        await asyncio.sleep(SETTLE_S)
        lag_after = await loop_lag(server)
        taken = await _taken(server)
        for each in watching:
            each.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    ages_ms = sorted(age_s * 1000 for one in seen for _, age_s in one)
    times = [Counter(decision_id for decision_id, _ in one) for one in seen]
    return {
        "decisions": taken,
        "decisions_per_s": round(taken / load.seconds),
        "viewers": VIEWERS,
        "missed": sum(taken - len(each) for each in times),
        "told_twice": sum(1 for each in times for count in each.values() if count > 1),
        "seen_after_p50_ms": quantile(ages_ms, 0.5),
        "seen_after_p99_ms": quantile(ages_ms, 0.99),
        "seen_after_max_ms": quantile(ages_ms, 1),
        "ping_answered_p99_ms": round(load.percentile_ms(0.99), 1),
        "loop_lag_p99_ms": round(quantile_ms(0.99, lag_before, lag_after), 1),
    }


async def _watch(server: Server, seen: list[tuple[str, float]]) -> None:
    """Note each decision, and how old it is when it comes."""
    forever = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(headers=_HEADERS, timeout=forever, read_bufsize=2**20) as session,
        session.get(f"{server.url}/v1/live") as stream,
    ):
        with suppress(aiohttp.ClientError):
            async for line in stream.content:
                if not line.startswith(b"data: "):
                    continue
                now = time.time()
                decided = (item for item in orjson.loads(line[6:])["items"] if item["type"] == "decision")
                seen += [(item["id"], now - datetime.fromisoformat(item["at"]).timestamp()) for item in decided]


async def _taken(server: Server) -> int:
    async with (
        aiohttp.ClientSession(headers=_HEADERS) as session,
        session.get(f"{server.url}/v1/decisions/counts") as answer,
    ):
        return sum(each["count"] for each in (await answer.json())["items"])
