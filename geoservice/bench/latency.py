"""From a ping to its push: how long it takes while 500 pings a second come in, and how late the event loop is then."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from geoservice.bench import city
from geoservice.bench.load import request, run_paced
from geoservice.bench.outbox import loop_lag, quantile_ms
from geoservice.bench.processes import Server, stand_in_server
from geoservice.bench.town import CONNECTIONS, Walkers, as_customer, as_ops, gather, opt_in, serving, token

PINGS_PER_S: Final = 500
SENDING_SHARE: Final = 0.02
"""Of the pings, so many are of somebody who arrives at a store and is sent a message."""
SETTLE_S: Final = 15.0
CAMPAIGN: Final = {
    "name": "Welcome",
    "topic": "offers",
    "trigger": {"on": "enter", "geofence_ids": ["f0"]},
    "uses": [],
    "context": {},
    "content": {"title": "Around the corner", "body": "Come in, we kept it for you."},
}


async def measure(*, seconds: int = 20) -> dict[str, Any]:
    """Let guests arrive among walkers, at a steady pace; time from when a ping was due to its push at the provider."""
    walkers = Walkers()
    guests = [f"guest-{number}" for number in range(round(seconds * PINGS_PER_S * SENDING_SHARE))]
    with tempfile.TemporaryDirectory(prefix="geoservice-bench-") as folder:
        account = Path(folder) / "account.json"
        async with stand_in_server(account) as fcm:
            settings = {
                "GEOSERVICE_FCM_CREDENTIALS": str(account),
                "GEOSERVICE_FCM_ENDPOINT": fcm.url,
                "GEOSERVICE_DEFAULT_QUIET_HOURS": "none",
            }
            async with serving(walkers, settings=settings) as server:
                await as_ops(server, "PUT", "/v1/campaigns/welcome", CAMPAIGN)
                await gather([invite(server, guest) for guest in guests])
                requests, arrivals = _mix(walkers, guests, seconds)
                lag_before = await loop_lag(server)
                began = time.time()
                load = await run_paced(server.host, server.port, requests, per_s=PINGS_PER_S, connections=CONNECTIONS)
                pushes = await _pushes(fcm, len(guests))
                lag_after = await loop_lag(server)
    due = {guest: began + index / PINGS_PER_S for guest, index in arrivals.items()}
    waits_ms = sorted((at - due[guest]) * 1000 for guest, at in pushes.items())
    return {
        "pings_per_s": round(len(requests) / load.seconds),
        "refused": sum(count for status, count in load.statuses.items() if status != 202),
        "arrivals": len(guests),
        "pushes": len(waits_ms),
        "ping_to_push_p50_ms": quantile(waits_ms, 0.5),
        "ping_to_push_p99_ms": quantile(waits_ms, 0.99),
        "ping_answered_p99_ms": round(load.percentile_ms(0.99), 1),
        "loop_lag_p99_ms": round(quantile_ms(0.99, lag_before, lag_after), 1),
    }


async def invite(server: Server, guest: str) -> None:
    """Let a guest agree to everything, and be seen on the way."""
    who = token(guest)
    await opt_in(server, who, guest, ("location", "marketing_push"))
    await as_customer(server, "PATCH", "/v1/me/preferences", who, {"topics": {"offers": True}})
    await as_customer(server, "POST", "/v1/pings", who, fixes(guest, away=True))


def fixes(guest: str, *, away: bool) -> dict[str, Any]:
    """Two minutes ago 300 m from the store; now in front of it."""
    at = datetime.now(UTC) - timedelta(seconds=120 if away else 0)
    lat = city.LAT - (300 / city.METRES_A_DEGREE if away else 0)
    fix = {"type": "location", "recorded_at": at, "lat": lat, "lon": city.LON, "accuracy_m": 8.0}
    return {"device_id": guest, "pings": [fix]}


def _mix(walkers: Walkers, guests: list[str], seconds: int) -> tuple[list[bytes], dict[str, int]]:
    """Put the arrivals evenly among the walkers' pings; tell the place of each."""
    walking = itertools.chain.from_iterable(zip(*walkers.endless(), strict=False))
    every = round(1 / SENDING_SHARE)
    requests, arrivals = [], {}
    waiting = iter(guests)
    for index in range(seconds * PINGS_PER_S):
        guest = next(waiting, None) if index % every == every - 1 else None
        if guest is None:
            requests.append(next(walking))
        else:
            arrivals[guest] = index
            body = orjson.dumps(fixes(guest, away=False))
            requests.append(request("POST", "/v1/pings", token(guest), body))
    return requests, arrivals


async def _pushes(fcm: Server, wanted: int) -> dict[str, float]:
    """Wait for the last push; when each arrived at the provider, in seconds since 1970."""
    give_up_at = time.monotonic() + SETTLE_S
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{fcm.url}/_accepted") as answer:
                accepted = (await answer.json())["accepted"]
            if len(accepted) >= wanted or time.monotonic() > give_up_at:
                return {
                    push["token"].removeprefix("token-"): datetime.fromisoformat(push["received_at"]).timestamp()
                    for push in accepted
                }
            await asyncio.sleep(0.5)


def quantile(ordered: list[float], share: float) -> float:
    """The value that this share of the others does not exceed."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else float("nan")
