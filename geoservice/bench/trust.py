"""What trust costs: verifying tokens and counting requests, as a share of a ping; an export of 100,000 events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from geoservice.api.auth import CustomerTokens
from geoservice.api.jwks import Published, PublishedKeys, VerifyingKey
from geoservice.api.rates import RateLimit
from geoservice.bench.load import run_load
from geoservice.bench.processes import Server
from geoservice.bench.town import Walkers, as_customer, gather, serving, token

SECRET: Final = "benchmark-secret-of-at-least-32-bytes"  # noqa: S105 - made up
CUSTOMERS: Final = 256
EVENTS: Final = 100_000
EVENTS_A_REQUEST: Final = 1_000
UNLIMITED: Final = 1_000_000


async def measure(*, pings: int = 10_000) -> dict[str, Any]:
    """Time each check by itself, then a ping as a whole on a service that counts, then the export."""
    checks = await _verifying()
    checks["rate_limit_us"] = _counting()
    walkers = Walkers()
    limits = {"GEOSERVICE_RATE_LIMIT_CUSTOMER": str(UNLIMITED), "GEOSERVICE_RATE_LIMIT_DEVICE": str(UNLIMITED)}
    async with serving(walkers, settings=limits) as server:
        before = server.cpu_seconds()["service"]
        await run_load(server.host, server.port, walkers.requests(pings, pings=1))
        ping_us = (server.cpu_seconds()["service"] - before) / pings * 1e6
        # Of a customer and of a phone; the consent check is the lock that a ping takes anyway.
        spent_us = checks["token_warm_us"] + 2 * checks["rate_limit_us"]
        exported = await _export(server)
    return {
        **checks,
        "single_ping_cpu_us": round(ping_us),
        "checks_share_of_a_ping_pct": round(100 * spent_us / ping_us, 2),
        **exported,
    }


async def _verifying() -> dict[str, float]:
    shared = CustomerTokens(SECRET)
    signed = [shared.sign(f"customer-{n}", 3_600) for n in range(CUSTOMERS)]
    figures = {"token_cold_hs256_us": _each_us(shared.customer, signed)}
    figures["token_warm_us"] = _each_us(shared.customer, signed * 100)
    for algorithm, key in (("RS256", rsa.generate_private_key(65_537, 2_048)), ("ES256", _curve())):
        published = CustomerTokens(await _keys_of(VerifyingKey(key.public_key(), algorithm)))
        claims = [{"sub": f"customer-{n}", "exp": time.time() + 3_600} for n in range(CUSTOMERS)]
        tokens = [jwt.encode(each, key, algorithm, headers={"kid": "k"}) for each in claims]
        figures[f"token_cold_{algorithm.lower()}_us"] = _each_us(published.customer, tokens)
    return figures


def _curve() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


async def _keys_of(key: VerifyingKey) -> PublishedKeys:
    async def fetch(_: str) -> Published:
        return Published({"k": key}, 3_600)

    keys = PublishedKeys("https://id.example/keys", fetch=fetch)
    with structlog.testing.capture_logs():
        await keys.look_again()
    return keys


def _counting() -> float:
    limit = RateLimit(UNLIMITED)
    return _each_us(limit.spend, [f"customer-{n}" for n in range(CUSTOMERS)] * 100)


def _each_us(check: Callable[[str], object], values: list[str]) -> float:
    began = time.process_time()  # as of a ping, the CPU's time: others may be at work here
    for value in values:
        check(value)
    return round((time.process_time() - began) / len(values) * 1e6, 2)


async def _export(server: Server) -> dict[str, Any]:
    """Take along a customer with many events; memory is looked at all the while."""
    who = token("traveller")
    at = datetime.now(UTC) - timedelta(days=30)
    bodies = [
        {
            "events": [
                {"type": "product_viewed", "id": f"e{n}", "occurred_at": at + timedelta(seconds=n), "product_id": "p1"}
                for n in range(first, first + EVENTS_A_REQUEST)
            ]
        }
        for first in range(0, EVENTS, EVENTS_A_REQUEST)
    ]
    await gather([as_customer(server, "POST", "/v1/events", who, body) for body in bodies])
    await asyncio.sleep(1)
    rss, most, size = server.rss_mb(), 0.0, 0
    began = time.perf_counter()
    async with (
        aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {who}"}) as session,
        session.get("/v1/me/export") as answer,
    ):
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            most = max(most, server.rss_mb())
    seconds = time.perf_counter() - began
    return {
        "export_events": EVENTS,
        "export_mb": round(size / 2**20, 1),
        "export_s": round(seconds, 2),
        "export_mb_per_s": round(size / 2**20 / seconds, 1),
        "export_rss_growth_mb": round(most - rss, 1),
    }
