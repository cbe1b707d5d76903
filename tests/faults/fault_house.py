"""What the fault tests live in: service, stand-in and database as processes, and a proxy on each way between them.

The service is only ever talked to from outside: over HTTP, by signals, through its database and its ways there.
"""

# ruff: noqa: D102 - the names of helpers say what they do

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import aiohttp
import asyncpg
import orjson
from conftest import CAMPAIGN, Client, environment, fix, new_database, ring, running_process, with_database
from tcp_proxy import TcpProxy, Way
from verdict import LoopLag, loop_lag

from geoservice.bench.crowd import address, multiply

FURNISHED = "template_faults"
TEMPLATE = "template"
"""The customer of whom all others are copies."""
SYSTEM_CLOCK = {"GEOSERVICE_CLOCK": "system", "GEOSERVICE_DEFAULT_QUIET_HOURS": "none"}
STORES = 64
KINDS = ("plain", "insistent", "patient")
"""One campaign each: says nothing twice, resends when in doubt, waits for three seconds first."""
FAR = 500 / 111_200
"""Degrees of latitude from a store to a place that is surely outside of its ring; 100 s on foot."""
Place = tuple[float, float]


def place_of(number: int, kind: str = "plain") -> Place:
    """Where a store is: 2 km from the next."""
    return 50.0 + 0.02 * (number % 32) + 3.0 * KINDS.index(kind), 10.0 + 0.1 * (number // 32)


def arrival(at: datetime, place: Place) -> list[dict[str, Any]]:
    """Come from 500 m away within 100 s: one ENTER, at ``at``."""
    lat, lon = place
    return [fix(at - timedelta(seconds=100), lat + FAR, lon), fix(at, lat, lon)]


# The stand-in -------------------------------------------------------------------------------------------------------


@dataclass
class Provider:
    """The stand-in for FCM, as a process of its own."""

    process: subprocess.Popen[bytes]
    base_url: str
    credentials: Path
    session: aiohttp.ClientSession

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, self.base_url + path, json=body) as response:
            assert response.status < 300, await response.text()
            return None if response.status == 204 else orjson.loads(await response.read())

    async def script(self, *answers: dict[str, Any], **where: Any) -> None:
        """Say how to answer next; ``times=None`` is from now on. ``where``: token, endpoint, instead."""
        await self._call("POST", "/_script", {"answers": list(answers), **where})

    async def recover(self) -> None:
        """Forget all scripts: accept again."""
        for endpoint in ("send", "token"):
            await self.script(endpoint=endpoint, instead=True)

    async def accepted(self, since: int = 0) -> list[dict[str, Any]]:
        return (await self._call("GET", f"/_accepted?since={since}"))["accepted"]

    async def counts(self) -> dict[str, Any]:
        return await self._call("GET", "/_counts")

    async def revoke_access_tokens(self) -> None:
        await self._call("POST", "/_revoke")

    async def until(self, timeout_s: float = 120, **least: int) -> dict[str, Any]:
        """Wait until counts are at least so high."""
        counts: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while not counts or any(counts[name] < value for name, value in least.items()):
                    counts = await self.counts()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the stand-in never saw {least}: {counts}") from None
        return counts


@asynccontextmanager
async def provider_process(folder: Path) -> AsyncIterator[Provider]:
    credentials = folder / "service-account.json"
    command = [sys.executable, "-m", "geoservice.demo.fcm_stand_in", "--credentials", str(credentials)]
    async with AsyncExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(process.kill)
        said = orjson.loads(await asyncio.to_thread(process.stdout.readline))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Provider(process, said["base_url"], credentials, session)


# The house ----------------------------------------------------------------------------------------------------------


@dataclass
class House:
    """One or more services on one database, and the stand-in that they push to."""

    database_url: str
    provider: Provider
    database_way: TcpProxy
    provider_way: TcpProxy
    folder: Path
    settings: Mapping[str, str]
    stack: AsyncExitStack
    services: list[Client] = field(default_factory=list)
    crowds: int = 0
    lag_at_start: dict[int, LoopLag] = field(default_factory=dict)
    """By process id: while it starts, nobody waits for its event loop."""

    # What a service's environment asks of a stand-in.
    @property
    def credentials(self) -> Path:
        return self.provider.credentials

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.provider_way.port}"

    @property
    def steerable(self) -> bool:
        return self.settings.get("GEOSERVICE_CLOCK") == "steerable"

    async def start(self, **settings: str) -> Client:
        """Start a service more."""
        values = environment(
            over(self.database_url, self.database_way), self, self.folder, **{**self.settings, **settings}
        )
        log = self.folder / f"service-{len(self.services)}.log"
        client = await self.stack.enter_async_context(running_process(values, log))
        self.services.append(client)
        self.lag_at_start[client.app.pid] = await loop_lag(client)
        return client

    @property
    def service(self) -> Client:
        return self.services[0]

    async def sql(self, query: str, *values: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    async def set_clocks(self, at: datetime, *, flows: bool = False) -> None:
        for client in self.services:
            client.now = at
            await client.ok("PUT", "/v1/clock", {"now": at, "flows": flows}, who=client.ops)

    async def now(self, service: Client | None = None) -> datetime:
        """Business time, as a service has it: the first, unless told."""
        if not self.steerable:
            return datetime.now(UTC)
        service = service or self.service
        answer = await service.ok("GET", "/v1/clock", who=service.ops)
        return datetime.fromisoformat(answer["now"])

    # People ----------------------------------------------------------------------------------------------------

    async def crowd(self, count: int) -> list[str]:
        """Make customers at once: copies of one who registered and consented over HTTP."""
        self.crowds += 1
        names = [f"crowd-{self.crowds}-{number}" for number in range(count)]
        connection = await asyncpg.connect(self.database_url)
        try:
            await multiply(connection, TEMPLATE, names)
        finally:
            await connection.close()
        return names

    async def arrive(
        self, customers: Iterable[str], place: Place | None = None, *, through: Client | None = None, at_once: int = 64
    ) -> None:
        """Let each walk into a store, and post until answered, as an app with a buffer does."""
        slots = asyncio.Semaphore(at_once)

        async def come(number: int, customer_id: str) -> None:
            client = through or self.services[number % len(self.services)]
            async with slots:
                pings = arrival(await self.now(client), place or place_of(0))
                await post(client, customer_id, {"device_id": "phone", "pings": pings})

        await asyncio.gather(*(come(number, customer_id) for number, customer_id in enumerate(customers)))

    @asynccontextmanager
    async def arriving(
        self, customers: Iterable[str], place: Place | None = None, *, at_once: int = 64
    ) -> AsyncIterator[None]:
        """Let them arrive while something else happens; all have when this ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.arrive(customers, place, at_once=at_once))
            yield

    # Messages --------------------------------------------------------------------------------------------------

    async def outbox_of(self, count: int, *kinds: str) -> list[list[str]]:
        """Let so many messages of each kind wait for an hour, as if just decided; give their customers."""
        walkers = await self.crowd(len(kinds))
        for walker, kind in zip(walkers, kinds, strict=True):
            await self.arrive([walker], place_of(0, kind))
        await self.in_state("accepted", walkers)
        crowds = [await self.crowd(count) for _ in kinds]
        connection = await asyncpg.connect(self.database_url)
        try:
            async with connection.transaction():
                for walker, names in zip(walkers, crowds, strict=True):
                    await address(connection, walker, names)
                    later = "update messages set expires_at = now() + interval '1 hour' where customer_id = any($1)"
                    await connection.execute(later, names)
        finally:
            await connection.close()
        return crowds

    async def call_off(self, customers: list[str]) -> None:
        """Let the moment of what still waits for them be over, and wait until nothing of theirs is under way."""
        over = (
            "update messages set expires_at = now() where customer_id = any($1) and state in ('pending', 'retry_wait')"
        )
        await self.sql(over, customers)
        await self.at_rest()

    async def in_state(
        self, state: str, customers: list[str], count: int | None = None, *, timeout_s: float = 120
    ) -> list[str]:
        """Wait until so many messages of these customers are in a state (all, unless told); give their ids."""
        query = "select message_id from messages where state = $1 and customer_id = any($2)"
        least = len(customers) if count is None else count
        try:
            async with asyncio.timeout(timeout_s):
                while len(rows := await self.sql(query, state, customers)) < least:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            states = "select state, count(*) from messages where customer_id = any($1) group by 1"
            raise AssertionError(
                f"never {least} {state}: {dict(map(tuple, await self.sql(states, customers)))}"
            ) from None
        return [row["message_id"] for row in rows]

    async def waiting(self, customer_id: str, count: int) -> None:
        """Wait until so many messages of hers have been tried or may not be, and are not at an end."""
        query = "select count(*) from messages where customer_id = $1 and state in ('pending', 'retry_wait')"
        async with asyncio.timeout(120):
            while (await self.sql(query, customer_id))[0]["count"] < count:
                await asyncio.sleep(0.02)

    async def mend(self) -> None:
        """Undo what a test broke; what a spoilt way held back is lost."""
        for way in (self.provider_way, self.database_way):
            if way.way is not Way.PASS:
                await way.cut()
                way.set(Way.PASS)
        await self.provider.recover()
        for client in self.services:
            if not client.app.is_running:
                await self.end_leases()
                await client.app.start()
                self.lag_at_start[client.app.pid] = await loop_lag(client)

    async def kill_and_start_again(self) -> None:
        """Kill -9 of the first service; what it broke is mended before it comes back."""
        self.service.app.kill()
        await self.end_leases()
        await self.mend()

    async def end_leases(self) -> None:
        """Leases outlast every call; a test cannot wait that long for those of the dead."""
        await self.sql("update messages set lease_until = clock_timestamp() where lease_until is not null")

    async def at_rest(self, timeout_s: float = 120) -> None:
        """Wait until everything is decided, no message is under way and none waits for its resend."""
        under_way = """select state, count(*) from messages
                       where state = any($1) or (state = 'unknown' and resend and expires_at > now()) group by 1"""
        undecided = "select count(*) from transitions where engaged_at is null"
        left: Any = None
        connection = await asyncpg.connect(self.database_url)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    left = dict(await connection.fetch(under_way, UNDER_WAY))
                    if not left and not await connection.fetchval(undecided):
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"still under way: {left}") from None
        finally:
            await connection.close()

    async def left_to_leases(self, timeout_s: float = 30) -> None:
        """Wait until nothing goes on but leases: nothing waits, no call is open, and what is held stays the same."""
        since_s, held = time.monotonic(), None
        until_s = since_s + timeout_s
        while time.monotonic() < min(until_s, since_s + 2):
            now = await self._held()
            if now is None or now != held:
                since_s, held = time.monotonic(), now
            await asyncio.sleep(0.1)

    async def _held(self) -> list[Any] | None:
        """Which messages a sender holds; None when some wait, transitions are undecided, or a call is open."""
        goes_on = """select from messages where state in ('pending', 'retry_wait')
                     union all select from transitions where engaged_at is null"""
        if await self.sql(goes_on) or (await self.provider.counts())["in_flight"]:
            return None
        return await self.sql("select message_id, claim_id from messages where claim_id is not null order by 1")

    @asynccontextmanager
    async def held(self, to_state: str) -> AsyncIterator[None]:
        """Let no message enter a state, as long as this lasts: whoever tries waits for a lock."""
        keeper = await asyncpg.connect(self.database_url)
        try:
            await keeper.execute(_HOLD.format(to_state=to_state))
            await keeper.execute("select pg_advisory_lock(4)")
            yield
        finally:
            await keeper.execute("select pg_advisory_unlock_all()")
            await keeper.execute(f"drop trigger hold_{to_state} on messages")
            await keeper.close()


UNDER_WAY = ["pending", "claimed", "sending", "retry_wait"]

_HOLD = """
create or replace function wait_for_the_keeper() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(4);
    return new;
end $$;
create trigger hold_{to_state} before update of state on messages
    for each row when (new.state = '{to_state}' and old.state <> new.state) execute function wait_for_the_keeper();
"""


async def post(client: Client, customer_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post pings until they are answered for good."""
    who = client.customer(customer_id)
    while True:
        with suppress(aiohttp.ClientError, ConnectionError):
            answer = await client.call("POST", "/v1/pings", body, who=who)
            if answer.status == 202:
                return answer.body
            assert answer.status == 503, answer.body
        await asyncio.sleep(0.1)


def over(database_url: str, way: TcpProxy) -> str:
    """The same database, through the proxy."""
    parts = urlsplit(database_url)
    user = parts.username or parse_qs(parts.query).get("user", ["postgres"])[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{way.port}", query=""))


def target_of(database_url: str) -> tuple[str, int] | Path:
    """Where a database listens: a UNIX socket, or host and port."""
    parts = urlsplit(database_url)
    folder = parse_qs(parts.query).get("host")
    if folder:
        return Path(folder[0]) / f".s.PGSQL.{parts.port or 5432}"
    return parts.hostname or "127.0.0.1", parts.port or 5432


@asynccontextmanager
async def house(
    postgres: str, furnished: str, folder: Path, *, services: int = 1, **settings: str
) -> AsyncIterator[House]:
    """Move in: a copy of the furnished database, the stand-in, both ways, and the services."""
    async with AsyncExitStack() as stack:
        database_url = await stack.enter_async_context(new_database(postgres, template=furnished))
        provider = await stack.enter_async_context(provider_process(folder))
        database_way = await stack.enter_async_context(TcpProxy(target_of(database_url)))
        parts = urlsplit(provider.base_url)
        provider_way = await stack.enter_async_context(TcpProxy((parts.hostname, parts.port)))
        ours = House(database_url, provider, database_way, provider_way, folder, {**SYSTEM_CLOCK, **settings}, stack)
        for _ in range(services):
            await ours.start()
        yield ours


async def furnish(postgres: str, folder: Path) -> None:
    """Set a service up over HTTP as a retailer would, and keep what that left in the database."""
    connection = await asyncpg.connect(postgres)
    await connection.execute(f"create database {FURNISHED} template template_geoservice")
    url = with_database(postgres, FURNISHED)
    async with TcpProxy(target_of(url)) as way:
        values = environment(over(url, way), None, folder, **SYSTEM_CLOCK)
        async with running_process(values, folder / "service.log") as client:
            await _set_up_shops(client)
            await client.opt_in(TEMPLATE, purposes=("location", "marketing_push"))
    await connection.close()


async def _set_up_shops(client: Client) -> None:
    fences = []
    for kind in KINDS:
        for number in range(STORES if kind == "plain" else 1):
            store_id = f"{kind}-{number}"
            lat, lon = place_of(number, kind)
            body = {"name": store_id, "lat": lat, "lon": lon, "timezone": "Europe/Berlin"}
            await client.ok("PUT", f"/v1/stores/{store_id}", body, who=client.ops)
            fence = ring(store_id, lat, lon)
            fence["properties"]["tags"] = [kind]
            fences.append(fence)
    await client.ok("POST", "/v1/geofences/import", {"type": "FeatureCollection", "features": fences}, who=client.ops)
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "insistent": {"ambiguous": "resend"},
        "patient": {"trigger": {"on": "enter", "tags": ["patient"], "after_s": 3}},
    }
    for kind in KINDS:
        body = {
            **CAMPAIGN,
            "context": {},
            "uses": [],
            "limits": {"min_gap_s": 0, "cooldown_s": 0},
            "trigger": {"on": "enter", "tags": [kind]},
            **changes[kind],
        }
        await client.ok("PUT", f"/v1/campaigns/{kind}", body, who=client.ops)
