"""Everything at once: caps, consents, phones that change hands, rows that somebody holds, two services."""
# ruff: noqa: D102, S311 - the names of helpers say what they do; chance is seeded on purpose

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from conftest import CAMPAIGN, NOON, Client, environment, fix, ring, running

from geoservice.demo.fcm_stand_in import Answer, FcmStandIn
from geoservice.storage.database import LOCK_TIMEOUT_MS

pytestmark = pytest.mark.faults
FREED = ("failed", "expired", "cancelled")
OPEN_CAMPAIGN = CAMPAIGN | {"context": {}, "uses": [], "limits": {"min_gap_s": 0, "cooldown_s": 0}}
LOCATION_AND_PUSH = ("location", "marketing_push")
FAR = 500 / 111_200
"""Degrees of latitude from a store to a place that is surely outside of its ring; 100 s on foot."""


@asynccontextmanager
async def two_services(
    database_url: str, fcm: FcmStandIn, data_dir: Path, **settings: str
) -> AsyncIterator[tuple[Client, Client]]:
    """Two services on one database, as behind a load balancer."""
    values = environment(database_url, fcm, data_dir, **settings)
    async with running(values, fcm) as one, running(values, fcm) as two:
        yield one, two


async def set_up(*clients: Client, stores: int = 1, campaigns: int = 1, **changes: Any) -> list[tuple[float, float]]:
    """Stores 2 km apart and campaigns for all of them; every service has loaded them."""
    client = clients[0]
    places = [(53.0 + 0.02 * (n % 32), 10.0 + 0.1 * (n // 32)) for n in range(stores)]
    for n, (lat, lon) in enumerate(places):
        body = {"name": f"Store {n}", "lat": lat, "lon": lon, "timezone": "Europe/Berlin"}
        await client.ok("PUT", f"/v1/stores/store-{n}", body, who=client.ops)
    fences = [ring(f"store-{n}", lat, lon) for n, (lat, lon) in enumerate(places)]
    await client.ok("POST", "/v1/geofences/import", {"type": "FeatureCollection", "features": fences}, who=client.ops)
    for n in range(campaigns):
        await client.ok("PUT", f"/v1/campaigns/campaign-{n}", OPEN_CAMPAIGN | changes, who=client.ops)
    async with asyncio.timeout(60):
        for each in clients:
            while len((seen := each.app.directory.snapshot).campaigns) < campaigns or len(seen.stores) < stores:
                await asyncio.sleep(0.01)
            await each.wait_until_matching(f"store-{stores - 1}-approach")
    return places


async def put_clocks(at: Any, *clients: Client) -> None:
    for client in clients:
        await client.set_clock(at)


def arrival(at: Any, lat: float, lon: float) -> list[dict[str, Any]]:
    """Come from 500 m away within 100 s: one ENTER, at ``at``."""
    return [fix(at - timedelta(seconds=100), lat + FAR, lon), fix(at, lat, lon)]


@asynccontextmanager
async def held(database_url: str, query: str, *values: Any) -> AsyncIterator[asyncpg.Connection]:
    """Hold a row lock from outside, as a long transaction of an administrator would."""
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch(query, *values)
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


# Caps ---------------------------------------------------------------------------------------------------------------


async def test_64_triggers_at_once_end_with_the_daily_cap(database_url, fcm, tmp_path):
    """One customer, 64 phones arriving at 64 stores in the same moment, on two services: exactly the cap goes out."""
    cap = 3
    async with two_services(database_url, fcm, tmp_path, GEOSERVICE_DEFAULT_DAILY_CAP=str(cap)) as clients:
        places = await set_up(*clients, stores=64, campaigns=3)
        client = clients[0]
        await client.opt_in("ada", purposes=LOCATION_AND_PUSH)
        who = client.customer("ada")
        phone = {"platform": "android", "push_token": "token-"}
        for n in range(64):
            await client.ok("PUT", f"/v1/devices/phone-{n}", phone | {"push_token": f"token-{n}"}, who=who)
        receipts = await asyncio.gather(
            *(
                clients[n % 2].ping("ada", *arrival(NOON, *places[n]), device_id=f"phone-{n}")
                for n in random.Random(1).sample(range(64), 64)
            )
        )
        assert all(receipt["accepted"] == 2 for receipt in receipts)
        await client.settled()
        states = Counter(row["state"] for row in await client.sql("select state from messages"))
        assert states == {"accepted": cap}
        assert len(fcm.accepted) == cap
        triggers = await client.sql("select count(*) from transitions where kind = 'enter'")
        assert triggers[0]["count"] == 64


async def test_one_visit_never_gets_the_same_campaign_twice(service):
    """Two fences of one store and a campaign that allows three messages a visit: still one message of it."""
    await service.set_up_store(lat=53.55, lon=10.0)
    inner = ring("harbour", 53.55, 10.0, 60)
    inner["properties"] |= {"id": "harbour-inside", "kind": "store"}
    await service.ok("PUT", "/v1/geofences/harbour-inside", inner, who=service.ops)
    await service.wait_until_matching("harbour-inside")
    limits = {"min_gap_s": 0, "cooldown_s": 0, "per_visit": 3}
    await service.set_up_campaign("any", context={}, uses=[], trigger={"on": "enter", "after_s": 0}, limits=limits)
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    receipt = await service.walk_in("ada")
    assert receipt["accepted"] == 10
    await service.settled()
    entered = {t["geofence_id"] for t in await service.transitions("ada") if t["kind"] == "enter"}
    assert entered == {"harbour-approach", "harbour-inside"}
    assert len(service.fcm.accepted) == 1
    refused = [d for d in await service.decisions("ada") if d["outcome"] != "send"]
    assert [d["reason"] for d in refused] == ["visit_already_served"]


async def test_a_visit_of_weeks_gets_its_campaign_once(service):
    """Her tablet stays in the store for eleven days, so it is one visit: the phone that comes again stays silent."""
    ((lat, lon),) = await set_up(service)
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    await service.set_clock(NOON + timedelta(minutes=5))
    await service.ping("ada", *arrival(service.now, lat, lon), device_id="tablet")
    await service.ping("ada", *arrival(service.now, lat, lon))
    await service.delivered(1)
    for _ in range(53):
        await service.pass_time(hours=5)  # six hours without a word would end its presence
        await service.ping("ada", fix(service.now, lat, lon), device_id="tablet")
        assert (await service.ping("ada", fix(service.now, lat + FAR, lon)))["accepted"] == 1
    await service.set_clock(service.now + timedelta(minutes=5))
    assert (await service.ping("ada", *arrival(service.now, lat, lon)))["accepted"] == 2
    await service.settled()
    assert len(service.fcm.accepted) == 1
    assert len(await service.sql("select from visits where customer_id = 'ada'")) == 1
    assert (await service.decisions("ada"))[-1]["reason"] == "visit_already_served"


async def test_a_buffer_may_hold_two_visits(service):
    """A phone that was offline sends the end of one visit and the whole of the next in one request: two visits."""
    ((lat, lon),) = await set_up(service)
    await service.opt_in("ada", purposes=("location",))
    await service.set_clock(NOON)
    await service.ping("ada", *arrival(NOON, lat, lon))
    hours = [NOON + timedelta(hours=n) for n in range(1, 4)]
    away = [fix(hours[0] + timedelta(seconds=s), lat + FAR, lon) for s in (0, 60)]
    back = [*arrival(hours[1], lat, lon), *(fix(hours[2] + timedelta(seconds=s), lat + FAR, lon) for s in (0, 60))]
    await service.set_clock(hours[2] + timedelta(minutes=5))
    receipt = await service.ping("ada", *away, *back)
    assert receipt == {"accepted": 6, "duplicates": 0, "ignored": [], "rejected": []}
    await service.settled()
    visits = await service.sql("select started_at, ended_at from visits where customer_id = 'ada' order by 1")
    assert [tuple(visit) for visit in visits] == [(NOON, hours[0]), (hours[1], hours[2])]


async def test_a_second_phone_may_upload_its_past(service):
    """While one phone is in the store, another uploads its morning there: nothing is refused, one visit is open."""
    ((lat, lon),) = await set_up(service)
    await service.opt_in("ada", purposes=("location",))
    await service.set_clock(NOON)
    await service.ping("ada", *arrival(NOON, lat, lon))
    morning = [NOON - timedelta(hours=5), NOON - timedelta(hours=3)]
    for n, at in enumerate(morning):
        out = [fix(at + timedelta(minutes=30, seconds=s), lat + FAR, lon) for s in (0, 60)]
        receipt = await service.ping("ada", *arrival(at, lat, lon), *out, device_id=f"tablet-{n}")
        assert receipt["accepted"] == 4
    await service.ping("ada", fix(NOON + timedelta(minutes=1), lat + 2 * FAR, lon))
    await service.settled()
    visits = await service.sql("select started_at, ended_at from visits where customer_id = 'ada'")
    assert all(visit["ended_at"] >= visit["started_at"] for visit in visits)


# Everything against everything --------------------------------------------------------------------------------------


class Adversary:
    """Customers who do everything at once, on phones that they pass around."""

    def __init__(self, clients: tuple[Client, Client], places: list[tuple[float, float]]) -> None:
        self.clients = clients
        self.places = places
        self.rng = random.Random(7)
        self.customers = [f"customer-{n}" for n in range(5)]
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.running = True

    async def call(self, method: str, path: str, customer_id: str, body: Any = None) -> Any:
        client = self.rng.choice(self.clients)
        answer = await client.call(method, path, body, who=client.customer(customer_id))
        what = answer.body["detail"] if answer.status >= 500 else f"{method} {path.split('/')[2]}"
        self.statuses[what, answer.status] += 1
        return answer

    async def time_passes(self) -> None:
        """Fast, but on a busy machine not so fast that every message has expired before anybody could send it."""
        for tick in itertools.count(1):
            if not self.running:
                return
            at = self.clients[0].now + timedelta(seconds=100)
            await put_clocks(at, *self.clients)
            await asyncio.sleep(0.03)
            if tick % 4 == 0:
                await self.clients[0].calm(at_most_s=2)

    async def walk(self, customer_id: str) -> None:
        """In and out with one phone that stays hers, while others of hers come and go."""
        inside = False
        while self.running:
            lat, lon = self.places[0]
            inside = not inside
            at = self.clients[0].now
            for device_id in ("phone-0", f"phone-{self.rng.randrange(1, 3)}"):
                pings = [fix(at, lat + (0 if inside else FAR), lon)]
                await self.call("POST", "/v1/pings", customer_id, {"device_id": device_id, "pings": pings})
            while self.running and self.clients[0].now < at + timedelta(seconds=100):
                await asyncio.sleep(0.01)

    async def change_mind(self, customer_id: str) -> None:
        while self.running:
            purpose = self.rng.choice(LOCATION_AND_PUSH)
            for granted in (False, True):
                body = {"granted": granted, "notice_version": "1"}
                await self.call("PUT", f"/v1/me/consents/{purpose}", customer_id, body)
            await self.call("PATCH", "/v1/me/preferences", customer_id, {"topics": {"sneakers": True}})
            await asyncio.sleep(self.rng.uniform(0, 0.6))

    async def pass_phones_around(self, customer_id: str) -> None:
        """Sign in with tokens and ids that somebody else has at this moment."""
        while self.running:
            body = {"platform": "android", "push_token": f"token-{self.rng.randrange(10)}"}
            if self.rng.random() < 0.3:
                body["fid"] = f"fid-{self.rng.randrange(10)}"
            await self.call("PUT", f"/v1/devices/phone-{self.rng.randrange(3)}", customer_id, body)
            await asyncio.sleep(self.rng.uniform(0, 0.05))

    async def sign_out(self, customer_id: str) -> None:
        while self.running:
            await asyncio.sleep(self.rng.uniform(0.1, 0.5))
            await self.call("DELETE", f"/v1/devices/phone-{self.rng.randrange(1, 3)}", customer_id)

    async def run(self, answers: int) -> None:
        """Go on until so many requests were answered, however slow the machine."""
        deeds = (self.walk, self.change_mind, self.pass_phones_around, self.sign_out)
        work = asyncio.gather(self.time_passes(), *(deed(c) for c in self.customers for deed in deeds))
        async with asyncio.timeout(240):
            while self.statuses.total() < answers and not work.done():
                await asyncio.sleep(0.05)
        self.running = False
        await work


async def test_no_pair_of_deeds_deadlocks(database_url, fcm, tmp_path):
    """Pings, withdrawals, sign-ins on each other's phones, sign-outs and sending at once: no client hears of it."""
    settings = {"GEOSERVICE_DEFAULT_DAILY_CAP": "5", "GEOSERVICE_DEFAULT_QUIET_HOURS": "none"}
    # Below the lock timeout, which would otherwise end a deadlock before PostgreSQL counts it.
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"alter database {urlsplit(database_url).path[1:]} set deadlock_timeout = '10ms'")
    await connection.close()
    async with two_services(database_url, fcm, tmp_path, **settings) as clients:
        places = await set_up(*clients, campaigns=2)
        adversary = Adversary(clients, places)
        for customer_id in adversary.customers:
            await clients[0].opt_in(customer_id, purposes=LOCATION_AND_PUSH)
        await adversary.run(600)
        statuses = adversary.statuses
        assert not [key for key in statuses if key[1] >= 500 and key[1] != 503], statuses
        # On a machine that is busy with other things a row may be held for longer than a request waits for it.
        busy = sum(count for key, count in statuses.items() if key[1] == 503)
        assert busy <= statuses.total() / 50, statuses
        refused = [key for key in statuses if 400 <= key[1] < 500 and key != ("DELETE devices", 404)]
        assert not refused, statuses
        client = clients[0]
        await put_clocks(client.now + timedelta(minutes=30), *clients)
        await client.settled()
        states = {row["state"] for row in await client.sql("select distinct state from messages")}
        assert states <= {"accepted", *FREED}
        taken = Counter(push.message_id for push in fcm.accepted)
        accepted = await client.sql("select message_id from messages where state = 'accepted'")
        assert {row["message_id"]: 1 for row in accepted} == taken
        twice = "select customer_id, campaign_id, visit_id from messages where state = 'accepted' group by 1, 2, 3"
        assert not await client.sql(f"{twice} having count(*) > 1")
        per_customer = await client.sql("select count(*) from messages where state = 'accepted' group by customer_id")
        assert per_customer
        assert all(row["count"] <= 5 for row in per_customer)
        for column in ("push_token", "fid"):
            shared = f"select {column} from devices where {column} is not null group by 1 having count(*) > 1"
            assert not await client.sql(shared)
    # Connections report what they counted when they close.
    connection = await asyncpg.connect(database_url)
    deadlocks = await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()")
    await connection.close()
    assert deadlocks == 0


# Rows that somebody holds -------------------------------------------------------------------------------------------


async def ping_for(client: Client, customers: list[str], seconds: float, at: Any, device_id: str) -> list[float]:
    """Let customers ping one after another for a while; answers the latencies in seconds."""
    latencies: list[float] = []
    until = time.monotonic() + seconds
    tick = 0
    while time.monotonic() < until:
        tick += 1
        for customer_id in customers:
            started = time.monotonic()
            receipt = await client.ping(
                customer_id, fix(at + timedelta(milliseconds=tick), 40.0, 10.0), device_id=device_id
            )
            latencies.append(time.monotonic() - started)
            assert receipt["accepted"] == 1
    return latencies


@pytest.mark.parametrize("new_phone", [False, True], ids=["known phone", "new phone"])
async def test_a_held_customer_delays_nobody_else(service, database_url, new_phone):
    """While somebody holds her row, others' pings go on; hers is answered, and decided once the row is free."""
    ((lat, lon),) = await set_up(service)
    await service.opt_in("held", purposes=LOCATION_AND_PUSH)
    others = [f"other-{n}" for n in range(3)]
    for customer_id in others:
        await service.opt_in(customer_id, purposes=("location",))
    lock = "select from customers where customer_id = 'held' for update"
    async with held(database_url, lock):
        hers = asyncio.create_task(service.ping("held", *arrival(NOON, lat, lon)))
        noise = None
        if new_phone:
            noise = asyncio.create_task(service.ping("held", fix(NOON, 40.0, 10.0), device_id="new"))
        await asyncio.sleep(0.02)
        latencies = await ping_for(service, others, 2.0, NOON, "phone")
        assert statistics.median(latencies) < LOCK_TIMEOUT_MS / 1000, statistics.quantiles(latencies, n=10)
        assert hers.done()
        assert (await hers)["accepted"] == 2
        (waiting,) = await service.sql("select engaged_at, kind from transitions where customer_id = 'held'")
        assert waiting["kind"] == "enter"
        assert waiting["engaged_at"] is None
        assert not service.fcm.accepted
    await service.delivered(1)
    if noise is not None:
        assert (await noise)["accepted"] == 1
    await service.settled()
    assert len(service.fcm.accepted) == 1
    (decision,) = await service.decisions("held")
    assert decision["outcome"] == "send"


async def test_a_held_phone_delays_only_itself(service, database_url):
    """While somebody holds one phone's row, its pings wait; those of everybody else do not."""
    others = [f"other-{n}" for n in range(3)]
    for customer_id in ("held", *others):
        await service.opt_in(customer_id, purposes=("location",))
    await service.ok(
        "PUT", "/v1/devices/tablet", {"platform": "android", "push_token": "t"}, who=service.customer("held")
    )
    lock = "select from devices where customer_id = 'held' and device_id = 'phone' for update"
    async with held(database_url, lock):
        waiting = asyncio.create_task(service.ping("held", fix(NOON, 40.0, 10.0)))
        await asyncio.sleep(0.02)
        latencies = await ping_for(service, others, 1.0, NOON, "phone")
        latencies += await ping_for(service, ["held"], 0.2, NOON, "tablet")
        assert statistics.median(latencies) < LOCK_TIMEOUT_MS / 1000, statistics.quantiles(latencies, n=10)
        assert not waiting.done()
    async with asyncio.timeout(60):
        assert (await waiting)["accepted"] == 1


# Opt-out ------------------------------------------------------------------------------------------------------------


async def test_opt_out_wins_against_the_sender(service):
    """240 opt-outs race the sender: after the answer nothing of hers begins to be sent, unless it is named there."""
    ((lat, lon),) = await set_up(service)
    rng = random.Random(3)
    # Slow, and now and then "not now": those come back for another try, and must not.
    answers = [Answer("accept", delay_s=0.04), Answer("unavailable", delay_s=0.01, retry_after="0")]
    service.fcm.script(*(answers[rng.random() < 0.4] for _ in range(2_000)))
    await service.ok("PUT", "/v1/clock", {"now": NOON, "flows": True}, who=service.ops)
    customers = [f"customer-{n}" for n in range(240)]
    for first in range(0, len(customers), 40):
        group = customers[first : first + 40]
        await asyncio.gather(*(service.opt_in(c, purposes=LOCATION_AND_PUSH) for c in group))
    connections = await asyncpg.create_pool(service.app.settings.database_url, min_size=4, max_size=4)
    what = "select message_id, state, attempts, sending_at from messages where customer_id = $1"

    async def race(customer_id: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        who = service.customer(customer_id)
        ping = asyncio.create_task(service.ping(customer_id, *arrival(NOON, lat, lon)))
        await asyncio.sleep(rng.uniform(0, 0.4))
        body = {"granted": False, "notice_version": "1"}
        answer = await service.ok("PUT", "/v1/me/consents/marketing_push", body, who=who)
        rows = {row["message_id"]: dict(row) for row in await connections.fetch(what, customer_id)}
        await ping
        return customer_id, answer, rows

    async with connections:
        results = []
        for first in range(0, len(customers), 24):
            results += await asyncio.gather(*(race(c) for c in customers[first : first + 24]))
        await service.settled()
        outcomes: Counter[str] = Counter()
        for customer_id, answer, before in results:
            for message_id, row in before.items():
                if row["state"] == "sending":
                    assert message_id in answer["in_flight"]
                assert row["state"] not in {"pending", "claimed"}
            for row in await connections.fetch(what, customer_id):
                message_id = row["message_id"]
                was = before.get(message_id)
                assert was is not None, "a message was made after the opt-out"
                assert (row["attempts"], row["sending_at"]) == (was["attempts"], was["sending_at"])
                outcomes["named" if message_id in answer["in_flight"] else row["state"]] += 1
    # The race was one: some were stopped, and some were on their way.
    assert outcomes["cancelled"], outcomes
    assert outcomes["named"], outcomes


# Two services -------------------------------------------------------------------------------------------------------


async def test_two_services_share_the_work(database_url, fcm, tmp_path):
    """Two services on one database ingest, tick and send: each message goes out once, each phone's steps in order."""
    async with two_services(database_url, fcm, tmp_path) as clients:
        places = await set_up(*clients, stores=4)
        customers = [f"customer-{n}" for n in range(30)]
        client = clients[0]
        await asyncio.gather(*(client.opt_in(c, purposes=LOCATION_AND_PUSH) for c in customers))
        starts = [NOON + timedelta(minutes=15 * n) for n in range(len(places))]

        async def stroll(number: int, leg: int) -> None:
            lat, lon = places[leg]
            at = starts[leg]
            for n, step in enumerate(arrival(at, lat, lon)):
                receipt = await clients[(number + n) % 2].ping(customers[number], step)
                assert receipt["accepted"] == 1

        async def leave(number: int, leg: int) -> None:
            lat, lon = places[leg]
            step = fix(starts[leg] + timedelta(seconds=100), lat + FAR, lon)
            assert (await clients[number % 2].ping(customers[number], step))["accepted"] == 1

        for leg, at in enumerate(starts):
            await put_clocks(at + timedelta(seconds=100), *clients)
            await asyncio.gather(*(stroll(number, leg) for number in range(len(customers))))
            await client.settled()  # leaving cancels what still waits
            await asyncio.gather(*(leave(number, leg) for number in range(len(customers))))
        await client.settled()
        for customer_id in customers:
            seen = [(t["kind"], t["geofence_id"]) for t in await client.transitions(customer_id)]
            expected = [(kind, f"store-{leg}-approach") for leg in range(len(places)) for kind in ("enter", "exit")]
            assert seen == expected
        taken = Counter(push.message_id for push in fcm.accepted)
        rows = await client.sql("select message_id, state from messages")
        assert {row["state"] for row in rows} == {"accepted"}
        assert taken == {row["message_id"]: 1 for row in rows}
        assert len(rows) == 2 * len(customers)  # the default cap
        ticks = await client.sql("select name, last_slot from timers")
        assert {"settle_messages", "forget_locations"} <= {tick["name"] for tick in ticks}
