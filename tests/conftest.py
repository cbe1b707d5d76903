"""Real parts for every test: a PostgreSQL from the wheel, a service over HTTP, the stand-in for FCM."""
# ruff: noqa: D102 - the names of helpers say what they do

import asyncio
import itertools
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import pytest_asyncio
import structlog

from geoservice.app import App
from geoservice.config import load_settings
from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.storage.embedded import EmbeddedPostgres
from geoservice.storage.migrate import migrate

OPS_KEY = "test-ops-key-of-enough-length"
JWT_SECRET = "test-secret-of-at-least-32-bytes!"
NOON = datetime(2026, 3, 4, 11, 0, tzinfo=UTC)
"""A Wednesday, 12:00 in Hamburg."""

STORE = {
    "name": "Harbour Street",
    "lat": 53.55,
    "lon": 10.0,
    "timezone": "Europe/Berlin",
    "opening_hours": "Mo-Sa 10:00-20:00",
}

_THIS = sys.modules[__name__]


def pytest_pycollect_makemodule() -> None:
    """Keep `from conftest import ...` meaning this file: a conftest.py below takes the name when it loads."""
    sys.modules["conftest"] = _THIS


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """For tests that configure the logs of this process: those after them find what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedPostgres:
    """The server behind ``postgres``, for tests that start it again."""
    return EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings={"fsync": "off", "full_page_writes": "off"})


@pytest.fixture(scope="session")
def postgres(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """One server for the whole run, with a migrated template database."""
    server = postgres_server

    async def start() -> str:
        dsn = await server.start()
        connection = await asyncpg.connect(dsn)
        await connection.execute("create database template_geoservice")
        await connection.close()
        await migrate(with_database(dsn, "template_geoservice"))
        return dsn

    yield asyncio.run(start())
    asyncio.run(server.stop())


def with_database(dsn: str, name: str) -> str:
    head, _, query = dsn.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}?{query}"


_numbers = itertools.count()


@asynccontextmanager
async def new_database(postgres: str, *, template: str = "template_geoservice") -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    # Copied as files: through the WAL, which PostgreSQL does otherwise, costs twice as much.
    await _once(postgres, f"create database {name} template {template} strategy file_copy")
    try:
        yield with_database(postgres, name)
    finally:
        await _once(postgres, f"drop database {name} with (force)")


async def _once(dsn: str, statement: str) -> None:
    """On a connection of its own: the server may be started again in between."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def database_url(postgres: str) -> AsyncIterator[str]:
    """A database of its own for one test."""
    async with new_database(postgres) as url:
        yield url


@pytest.fixture
async def fcm(tmp_path: Path) -> AsyncIterator[FcmStandIn]:
    """The stand-in for FCM, with its service-account file."""
    async with FcmStandIn() as stand_in:
        stand_in.credentials = stand_in.write_service_account(tmp_path / "service-account.json")
        yield stand_in


def environment(database_url: str, fcm: FcmStandIn | None, data_dir: Path, **more: str) -> dict[str, str]:
    """Settings of a service under test, as environment variables."""
    pushes = (
        {"GEOSERVICE_FCM_CREDENTIALS": str(fcm.credentials), "GEOSERVICE_FCM_ENDPOINT": fcm.base_url} if fcm else {}
    )
    return {
        "GEOSERVICE_DATABASE_URL": database_url,
        "GEOSERVICE_DATA_DIR": str(data_dir),
        "GEOSERVICE_PORT": "0",
        "GEOSERVICE_JWT_SECRET": JWT_SECRET,
        "GEOSERVICE_OPS_KEY": OPS_KEY,
        "GEOSERVICE_CLOCK": "steerable",
        **pushes,
        **more,
    }


class Client:
    """Calls a service over HTTP, as an app, as a server, as operations."""

    def __init__(self, app: App, session: aiohttp.ClientSession, fcm: FcmStandIn | None) -> None:
        self.app = app
        self.session = session
        self.fcm = fcm
        self.now = NOON

    def customer(self, customer_id: str) -> dict[str, str]:
        token = self.tokens.sign(customer_id, 3600)
        return {"Authorization": f"Bearer {token}"}

    @property
    def tokens(self) -> Any:
        from geoservice.api.auth import CustomerTokens

        return CustomerTokens(JWT_SECRET)

    async def call(
        self, method: str, path: str, body: Any = None, *, who: dict[str, str] | None = None, **kw: Any
    ) -> Any:
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body, option=orjson.OPT_UTC_Z)
        headers = {"Content-Type": "application/json", **(who or {}), **kw.pop("headers", {})}
        async with self.session.request(method, self.app.url + path, data=data, headers=headers, **kw) as response:
            endless = response.content_type == "text/event-stream"
            raw = await (response.content.readany() if endless else response.read())
            return SimpleNamespace(
                status=response.status,
                headers=response.headers,
                body=orjson.loads(raw) if raw and "json" in response.content_type else raw,
            )

    async def ok(self, method: str, path: str, body: Any = None, **kw: Any) -> Any:
        response = await self.call(method, path, body, **kw)
        assert response.status < 300, (method, path, response.status, response.body)
        return response.body

    @property
    def ops(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {OPS_KEY}"}

    async def set_clock(self, at: datetime) -> None:
        self.now = at
        await self.ok("PUT", "/v1/clock", {"now": at}, who=self.ops)

    async def pass_time(self, **delta: float) -> None:
        await self.set_clock(self.now + timedelta(**delta))

    async def set_up_store(
        self, store_id: str = "harbour", lat: float = 53.55, lon: float = 10.0, radius_m: float = 150
    ) -> None:
        """One store with an approach ring."""
        await self.ok("PUT", f"/v1/stores/{store_id}", {**STORE, "lat": lat, "lon": lon}, who=self.ops)
        await self.ok(
            "POST",
            "/v1/geofences/import",
            {"type": "FeatureCollection", "features": [ring(store_id, lat, lon, radius_m)]},
            who=self.ops,
        )
        await self.wait_until_matching(f"{store_id}-approach")

    async def wait_until_matching(self, geofence_id: str) -> None:
        async with asyncio.timeout(60):
            while self.app_directory.snapshot.fence(geofence_id) is None:
                await asyncio.sleep(0.01)

    @property
    def app_directory(self) -> Any:
        return self.app.directory

    async def set_up_campaign(self, campaign_id: str = "shoes", **changes: Any) -> dict[str, Any]:
        body = {**CAMPAIGN, **changes}
        answer = await self.ok("PUT", f"/v1/campaigns/{campaign_id}", body, who=self.ops)
        async with asyncio.timeout(60):
            while (known := self.app_directory.snapshot.campaigns.get(campaign_id)) is None or (
                known.version != answer["version"]
            ):
                await asyncio.sleep(0.01)
        return answer

    async def opt_in(
        self, customer_id: str, *, device_id: str = "phone", purposes: Any = None, topics: Any = None
    ) -> None:
        """Register a phone, give the consents, switch the topic on."""
        who = self.customer(customer_id)
        await self.ok(
            "PUT",
            f"/v1/devices/{device_id}",
            {"platform": "android", "push_token": f"token-{customer_id}-{device_id}"},
            who=who,
        )
        for purpose in purposes or ("location", "marketing_push", "personalisation"):
            await self.ok("PUT", f"/v1/me/consents/{purpose}", {"granted": True, "notice_version": "2026-01"}, who=who)
        await self.ok("PATCH", "/v1/me/preferences", {"topics": topics or {"sneakers": True}}, who=who)

    async def browse(self, customer_id: str, category: str = "running-shoes", times: int = 2) -> None:
        events = [
            {
                "type": "product_viewed",
                "occurred_at": self.now - timedelta(days=3, minutes=i),
                "category": category,
                "product_id": f"p{i}",
            }
            for i in range(times)
        ]
        await self.ok("POST", "/v1/events", {"events": events}, who=self.customer(customer_id))

    async def ping(self, customer_id: str, *fixes: Any, device_id: str = "phone") -> Any:
        """Post fixes; each is a dict over defaults, (lat, lon) first."""
        return await self.ok(
            "POST", "/v1/pings", {"device_id": device_id, "pings": list(fixes)}, who=self.customer(customer_id)
        )

    async def walk_in(self, customer_id: str, lat: float = 53.55, lon: float = 10.0, device_id: str = "phone") -> Any:
        """Come from 600 m away and stay for a minute in front of the store; the clock goes along.

        What waits to be sent is sent first: after these eight minutes it would have expired, on a busy machine.
        """
        await self.calm()
        path = walk(self.now, lat, lon)
        await self.set_clock(path[-1]["recorded_at"])
        return await self.ping(customer_id, *path, device_id=device_id)

    async def decisions(self, customer_id: str) -> list[dict[str, Any]]:
        return (await self.ok("GET", f"/v1/decisions?customer_id={customer_id}", who=self.ops))["items"]

    async def transitions(self, customer_id: str) -> list[dict[str, Any]]:
        return (await self.ok("GET", f"/v1/transitions?customer_id={customer_id}", who=self.ops))["items"]

    async def sql(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """Look into the service's database, or change it behind the service's back."""
        connection = await asyncpg.connect(self.app.settings.database_url)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    async def key(self, role: str) -> dict[str, str]:
        """Make an API key with one role."""
        from geoservice.storage.database import Database, open_pool
        from geoservice.vocabulary import Role
        from geoservice.workflows.operating import create_key

        dsn = self.app.settings.database_url
        async with await open_pool(dsn, size=1) as pool:
            _, key = await create_key(Database(pool, dsn), f"{role} of a test", Role(role), self.now)
        return {"Authorization": f"Bearer {key}"}

    async def settled(self, timeout_s: float = 60) -> None:
        """Wait until no transition is undecided and no message is on its way."""
        open_ = "select count(*) from messages where state in ('pending', 'claimed', 'sending')"
        undecided = "select count(*) from transitions where engaged_at is null"
        connection = await asyncpg.connect(self.app.settings.database_url)
        try:
            async with asyncio.timeout(timeout_s):
                while await connection.fetchval(f"select ({open_}) + ({undecided})"):
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()

    async def calm(self, at_most_s: float = 10) -> None:
        """Let what can be sent now begin to be sent; what cannot, because of a stop, is not waited for."""
        waits = """select from messages
                   where state in ('pending', 'claimed') and not_before <= $1
                     and not exists (select from stops)
                   union all select from transitions where engaged_at is null"""
        connection = await asyncpg.connect(self.app.settings.database_url)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(at_most_s):
                    while await connection.fetch(waits, self.now):
                        await asyncio.sleep(0.02)
        finally:
            await connection.close()

    async def delivered(self, count: int, timeout_s: float = 60) -> list[Any]:
        """Wait until the stand-in has accepted so many pushes."""
        async with asyncio.timeout(timeout_s):
            while len(self.fcm.accepted) < count:
                await asyncio.sleep(0.01)
        return self.fcm.accepted


def fix(at: datetime, lat: float, lon: float, accuracy_m: float = 10, **more: Any) -> dict[str, Any]:
    return {"type": "location", "recorded_at": at, "lat": lat, "lon": lon, "accuracy_m": accuracy_m, **more}


def walk(start: datetime, lat: float, lon: float) -> list[dict[str, Any]]:
    """A walk of 600 m from the north in 7 minutes, then a minute on the spot; about 1.4 m/s."""
    metres = [600, 480, 360, 250, 200, 100, 30, 0, 0, 0]
    return [
        fix(start + timedelta(seconds=60 + 60 * i if i < 7 else 420 + 20 * (i - 6)), lat + m / 111_200, lon)
        for i, m in enumerate(metres)
    ]


def ring(store_id: str, lat: float, lon: float, radius_m: float = 150) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": {
            "id": f"{store_id}-approach",
            "name": f"Around {store_id}",
            "kind": "approach",
            "store_id": store_id,
            "radius_m": radius_m,
        },
    }


CAMPAIGN: dict[str, Any] = {
    "name": "The shoes you looked at",
    "topic": "sneakers",
    "trigger": {"on": "enter", "geofence_kind": "approach"},
    "uses": ["browse"],
    "context": {
        "interest": {
            "category": "running-shoes",
            "events": ["product_viewed", "wishlisted"],
            "min_count": 2,
            "within_days": 14,
            "not_purchased": True,
        }
    },
    "content": {"title": "The shoes are here", "body": "At {{ store.name }}, in your size."},
}


@asynccontextmanager
async def running(settings: dict[str, str], fcm: FcmStandIn | None) -> AsyncIterator[Client]:
    async with App(load_settings(settings)) as app, aiohttp.ClientSession() as session:
        client = Client(app, session, fcm)
        if app.settings.clock == "steerable":
            await client.set_clock(NOON)
        yield client


@pytest.fixture
async def service(database_url: str, fcm: FcmStandIn, tmp_path: Path) -> AsyncIterator[Client]:
    """A running service with a steerable clock that pushes to the stand-in; it is noon in Hamburg."""
    async with running(environment(database_url, fcm, tmp_path), fcm) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One running service for all tests of a module, which keep to customers and places of their own.

    Such a module says `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
    """
    folder = tmp_path_factory.mktemp("shared")
    async with new_database(postgres) as url, FcmStandIn() as stand_in:
        stand_in.credentials = stand_in.write_service_account(folder / "service-account.json")
        async with running(environment(url, stand_in, folder), stand_in) as client:
            yield client


class ServiceProcess:
    """The service as a process of its own, which can be killed and started again on the same port."""

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = load_settings({**settings, "GEOSERVICE_PORT": str(self.port)})
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GEOSERVICE_")}
        self._environment = {**inherited, **settings, "GEOSERVICE_PORT": str(self.port)}
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "geoservice", "serve"], env=self._environment, stdout=log, stderr=log
            )
        if wait:
            await self.until_ready()

    async def until_ready(self, timeout_s: float = 120) -> None:
        async with aiohttp.ClientSession() as session, asyncio.timeout(timeout_s):
            while True:
                assert self._process.poll() is None, self.log.read_text()
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.02)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill -9: nothing in the process gets a chance to tidy up."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop the process where it is, as a machine that swaps or a frozen container does."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: it drains, and ends by itself."""
        self._process.terminate()

    def wait(self) -> int:
        return self._process.wait(30)

    def stop(self) -> None:
        if self.is_running:
            self.terminate()
            assert self.wait() == 0, self.log.read_text()


def free_port() -> int:
    """A port that nobody is given by chance: below those that the kernel hands out to whoever asks for any."""
    while True:
        port = secrets.choice(range(10_000, 32_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@asynccontextmanager
async def running_process(settings: dict[str, str], log: Path) -> AsyncIterator[Client]:
    """A service in a process of its own; ``client.app`` is the :class:`ServiceProcess`."""
    process = ServiceProcess(settings, log)
    try:
        await process.start()
        async with aiohttp.ClientSession() as session:
            yield Client(process, session, None)
        # In a thread: proxies that the process talks through may live in this loop.
        await asyncio.to_thread(process.stop)
    finally:
        with suppress(ProcessLookupError, AttributeError):
            process.kill()
