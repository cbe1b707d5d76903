"""The service as the benchmarks find it: a city of fences, customers who allow it to know where they are."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import orjson

from geoservice.api.auth import CustomerTokens
from geoservice.bench.city import Phone, fences
from geoservice.bench.load import Load, request
from geoservice.bench.processes import Server, geoservice_server

CONNECTIONS: Final = 64
FENCES: Final = 20_000
PHONES: Final = 256
_SECRET: Final = "benchmark-secret-of-at-least-32-bytes"  # noqa: S105 - of a throw-away service
OPS_KEY: Final = "benchmark-ops-key-of-enough-length"
_AT_ONCE: Final = 16

_tokens = CustomerTokens(_SECRET)


def token(customer_id: str) -> str:
    """Sign a customer's token for the service that is measured."""
    return _tokens.sign(customer_id, 86_400)


class Walkers:
    """Customers who walk through the city, each with a phone that reports every 15 seconds since yesterday."""

    def __init__(self, count: int = PHONES) -> None:
        start = datetime.now(UTC) - timedelta(hours=22)
        self.phones = [Phone(number, FENCES, start) for number in range(count)]
        self.tokens = [token(f"customer-{number}") for number in range(count)]

    def requests(self, count: int, *, pings: int) -> list[list[bytes]]:
        """Spread requests over connections; a phone stays on one, as a real one would."""
        work: list[list[bytes]] = [[] for _ in range(CONNECTIONS)]
        for i in range(count):
            number = i % len(self.phones)
            work[number % CONNECTIONS].append(self._request(number, pings))
        return work

    def endless(self) -> list[Iterator[bytes]]:
        """Give each connection its phones, again and again, one ping a request, until their last fix is now."""
        return [
            (self._request(number, 1) for number in itertools.cycle(range(first, len(self.phones), CONNECTIONS)))
            for first in range(CONNECTIONS)
        ]

    def _request(self, number: int, pings: int) -> bytes:
        return request("POST", "/v1/pings", self.tokens[number], self.phones[number].body(pings))


@asynccontextmanager
async def serving(
    walkers: Walkers,
    *,
    processes: int = 1,
    settings: Mapping[str, str] | None = None,
    geofences: Mapping[str, Any] | None = None,
) -> AsyncIterator[Server]:
    """Run a service on an embedded database of its own, with the city published and the walkers registered.

    ``geofences`` is a FeatureCollection that takes the place of the city's.
    """
    with tempfile.TemporaryDirectory(prefix="geoservice-bench-") as folder:
        environment = {
            "GEOSERVICE_DATA_DIR": folder,
            "GEOSERVICE_JWT_SECRET": _SECRET,
            "GEOSERVICE_OPS_KEY": OPS_KEY,
            **(settings or {}),
        }
        async with geoservice_server(environment, processes=processes) as server:
            await as_ops(server, "POST", "/v1/geofences/import", geofences or fences(FENCES))
            await gather(
                [
                    opt_in(server, walkers.tokens[number], phone.device_id, ("location",))
                    for number, phone in enumerate(walkers.phones)
                ]
            )
            await asyncio.sleep(1.5)  # the running matcher takes up the fences within a second
            yield server


async def gather(work: list[Any]) -> None:
    """Do it a few at a time."""
    for first in range(0, len(work), _AT_ONCE):
        await asyncio.gather(*work[first : first + _AT_ONCE])


async def as_ops(server: Server, method: str, path: str, body: Any) -> None:
    """Make one call of store operations."""
    await _call(server, method, path, OPS_KEY, body)


async def opt_in(server: Server, who: str, device_id: str, purposes: tuple[str, ...]) -> None:
    """Register a phone, and consent."""
    device = {"platform": "android", "push_token": f"token-{device_id}"}
    await _call(server, "PUT", f"/v1/devices/{device_id}", who, device)
    for purpose in purposes:
        await _call(server, "PUT", f"/v1/me/consents/{purpose}", who, {"granted": True, "notice_version": "1"})


async def as_customer(server: Server, method: str, path: str, who: str, body: Any) -> None:
    """Make one call of a customer's app."""
    await _call(server, method, path, who, body)


async def _call(server: Server, method: str, path: str, credentials: str, body: Any) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {credentials}"}
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as session,
        session.request(method, path, data=orjson.dumps(body)) as answer,
    ):
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")


def rate(load: Load) -> int:
    """Answers a second."""
    return round(len(load.latencies_s) / load.seconds)
