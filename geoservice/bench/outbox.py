"""A service, its stand-in for FCM, one store and one customer to copy: where delivery is measured."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import orjson

from geoservice.api.auth import CustomerTokens
from geoservice.bench import crowd
from geoservice.bench.processes import Server, geoservice_server, stand_in_server
from geoservice.storage.embedded import attach

PROVIDER_DELAY_S: Final = 0.05
ORIGINAL: Final = "original"
LAT: Final = 50.0
LON: Final = 8.0
FAR: Final = 500 / 111_195
"""Degrees of latitude from the store to a place that is surely outside of its ring; 100 s on foot."""
_SECRET: Final = "benchmark-secret-of-at-least-32-bytes"  # noqa: S105 - of a throw-away service
_OPS_KEY: Final = "benchmark-ops-key-of-enough-length"
_LAG = re.compile(r'geoservice_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')
_STORE: Final = {"name": "The store", "lat": LAT, "lon": LON, "timezone": "Europe/Berlin"}
_FENCE: Final = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [LON, LAT]},
    "properties": {"id": "around", "name": "Around", "kind": "approach", "store_id": "store", "radius_m": 150},
}
_CAMPAIGN: Final = {
    "name": "The shoes",
    "topic": "sneakers",
    "trigger": {"on": "enter", "geofence_kind": "approach"},
    "limits": {"min_gap_s": 0, "cooldown_s": 0},
    "content": {"title": "The shoes are here", "body": "At {{ store.name }}, in your size."},
}


@dataclass
class Outbox:
    """What is running, and how to talk to it."""

    service: Server
    provider: Server
    credentials: Path
    database: asyncpg.Connection
    session: aiohttp.ClientSession
    tokens: CustomerTokens

    async def call(self, method: str, url: str, body: Any = None, *, who: str | None = None) -> Any:
        """Call the service as operations, or as a customer."""
        headers = {"Authorization": f"Bearer {_OPS_KEY if who is None else self.tokens.sign(who, 86_400)}"}
        headers["Content-Type"] = "application/json"
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            raw = await answer.read()
            answer.raise_for_status()
            return orjson.loads(raw) if raw and "json" in answer.content_type else raw.decode()

    async def ping(self, customer_id: str, *fixes: dict[str, Any]) -> None:
        """Post fixes of a customer's phone."""
        body = {"device_id": "phone", "pings": list(fixes)}
        await self.call("POST", f"{self.service.url}/v1/pings", body, who=customer_id)

    async def answer_with(self, *answers: dict[str, Any]) -> None:
        """Replace the script of the stand-in."""
        body = orjson.dumps({"answers": answers, "instead": True})
        async with self.session.post(f"{self.provider.url}/_script", data=body) as answer:
            answer.raise_for_status()

    async def provider_counts(self) -> dict[str, Any]:
        """What the stand-in counted so far."""
        async with self.session.get(f"{self.provider.url}/_counts") as answer:
            counts: dict[str, Any] = orjson.loads(await answer.read())
            return counts

    async def lag_buckets(self) -> dict[float, float]:
        """How many looks at the service's event loop came back within so many seconds, cumulative."""
        return await loop_lag(self.service)

    async def until(
        self, query: str, value: object, *, holds: Callable[[asyncpg.Record], bool], timeout_s: float
    ) -> asyncpg.Record:
        """Ask the database again and again until something holds for the row that it gives."""
        async with asyncio.timeout(timeout_s):
            while not holds(row := await self.database.fetchrow(query, value)):  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.25)
        return row

    async def people(self, names: Sequence[str]) -> None:
        """Make customers who allow messages."""
        await crowd.multiply(self.database, ORIGINAL, names)


def fix(at: datetime, *, inside: bool) -> dict[str, Any]:
    """One look at a phone: in front of the store, or 500 m away."""
    lat = LAT if inside else LAT + FAR
    return {"type": "location", "recorded_at": at, "lat": lat, "lon": LON, "accuracy_m": 10}


async def loop_lag(server: Server) -> dict[float, float]:
    """How many looks at a server's event loop came back within so many seconds, cumulative."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        return {float(le): float(count) for le, count in _LAG.findall(await answer.text())}


def quantile_ms(share: float, before: Mapping[float, float], after: Mapping[float, float]) -> float:
    """A quantile of what was observed in between, in milliseconds; linear within a bucket, as Prometheus has it."""
    counts = {le: after[le] - before.get(le, 0.0) for le in sorted(after)}
    wanted = share * max(counts.values())
    low, below = 0.0, 0.0
    for le, count in counts.items():
        if count >= wanted:
            if le == float("inf") or count == below:
                return low * 1000
            return (low + (le - low) * (wanted - below) / (count - below)) * 1000
        low, below = le, count
    return low * 1000


@asynccontextmanager
async def open_outbox(**settings: str) -> AsyncIterator[Outbox]:
    """Start everything, set up the store, let the original customer register; close and remove everything."""
    with tempfile.TemporaryDirectory(prefix="geoservice-bench-") as name:
        folder = Path(name)
        credentials = folder / "account.json"
        async with stand_in_server(credentials) as provider:
            environment = {
                "GEOSERVICE_DATA_DIR": str(folder / "data"),
                "GEOSERVICE_JWT_SECRET": _SECRET,
                "GEOSERVICE_OPS_KEY": _OPS_KEY,
                "GEOSERVICE_FCM_CREDENTIALS": str(credentials),
                "GEOSERVICE_FCM_ENDPOINT": provider.url,
                "GEOSERVICE_DEFAULT_QUIET_HOURS": "none",
                **settings,
            }
            async with geoservice_server(environment) as service, aiohttp.ClientSession() as session:
                dsn = await asyncio.to_thread(attach, folder / "data")
                database = await asyncpg.connect(dsn)
                outbox = Outbox(service, provider, credentials, database, session, CustomerTokens(_SECRET))
                try:
                    await _set_up(outbox)
                    yield outbox
                finally:
                    await database.close()


async def _set_up(outbox: Outbox) -> None:
    url = outbox.service.url
    await outbox.call("PUT", f"{url}/v1/stores/store", _STORE)
    await outbox.call("POST", f"{url}/v1/geofences/import", {"type": "FeatureCollection", "features": [_FENCE]})
    await outbox.call("PUT", f"{url}/v1/campaigns/shoes", _CAMPAIGN)
    device = {"platform": "android", "push_token": f"token-{ORIGINAL}"}
    await outbox.call("PUT", f"{url}/v1/devices/phone", device, who=ORIGINAL)
    for purpose in ("location", "marketing_push"):
        consent = {"granted": True, "notice_version": "1"}
        await outbox.call("PUT", f"{url}/v1/me/consents/{purpose}", consent, who=ORIGINAL)
    await outbox.call("PATCH", f"{url}/v1/me/preferences", {"topics": {"sneakers": True}}, who=ORIGINAL)
    await asyncio.sleep(1.5)  # the running matcher takes up the fence within a second


async def come(outbox: Outbox, customer_id: str) -> None:
    """Let one customer come to the store."""
    now = datetime.now(UTC)
    away = [fix(now - timedelta(seconds=before_s), inside=False) for before_s in (180, 140, 100)]
    await outbox.ping(customer_id, *away, fix(now, inside=True))


async def walk_in(outbox: Outbox, customer_id: str) -> None:
    """Let one customer come to the store, and wait until her message was accepted."""
    await come(outbox, customer_id)
    accepted = "select count(*) from messages where customer_id = $1 and state = 'accepted'"
    await outbox.until(accepted, customer_id, holds=lambda row: row["count"] > 0, timeout_s=30)
