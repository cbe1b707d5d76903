"""Kill -9 at any moment: nothing that was answered is lost, nothing is said twice."""
# ruff: noqa: S311 - the names of helpers say what they do; chance is seeded on purpose

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from conftest import CAMPAIGN, Client, environment, fix, ring, running, running_process, with_database
from fault_house import Provider, post, provider_process

pytestmark = pytest.mark.faults

PINGS = 10_000
STORES = {f"store-{n}": (53.50 + 0.02 * n, 10.0) for n in range(5)}
"""2.2 km apart."""
SETTINGS = {"GEOSERVICE_CLOCK": "system", "GEOSERVICE_DEFAULT_QUIET_HOURS": "none"}
OPEN_CAMPAIGN = CAMPAIGN | {"context": {}, "uses": [], "limits": {"min_gap_s": 0, "cooldown_s": 0}}


async def set_up(client: Client) -> None:
    for store_id, (lat, lon) in STORES.items():
        body = {"name": store_id, "lat": lat, "lon": lon, "timezone": "Europe/Berlin"}
        await client.ok("PUT", f"/v1/stores/{store_id}", body, who=client.ops)
    fences = [ring(store_id, lat, lon) for store_id, (lat, lon) in STORES.items()]
    await client.ok("POST", "/v1/geofences/import", {"type": "FeatureCollection", "features": fences}, who=client.ops)
    await client.ok("PUT", "/v1/campaigns/shoes", OPEN_CAMPAIGN, who=client.ops)


# Ingest -------------------------------------------------------------------------------------------------------------


@dataclass
class Replay:
    """What one device recorded, cut into requests."""

    customer_id: str
    device_id: str
    batches: list[list[dict[str, Any]]]
    answered: list[dict[str, Any]] = field(default_factory=list)


def wander(rng: random.Random, start: datetime, count: int) -> list[dict[str, Any]]:
    """Go in and out of stores; one fix every 40 to 200 s, most with an id."""
    fixes: list[dict[str, Any]] = []
    at = start
    while len(fixes) < count:
        lat, lon = STORES[rng.choice(list(STORES))]
        metres = rng.choice([[600, 0, 0], [600, 100, 20, 0, 500], [900, 160, 140, 90, 0], [400, 20], [800]])
        for m in metres:
            at += timedelta(seconds=rng.randint(40, 200))
            known_as = {"id": f"ping-{len(fixes)}"} if rng.random() < 0.7 else {}
            fixes.append(fix(at, lat + m / 111_200, lon, rng.choice([5, 10, 30]), **known_as))
    return fixes[:count]


def make_replays(start: datetime) -> list[Replay]:
    rng = random.Random(20260304)
    replays = []
    for number in range(100):
        fixes = wander(rng, start, PINGS // 100)
        batches = []
        while fixes:
            size = rng.choice([1, 1, 2, 5, 13, 40])
            batches.append(fixes[:size])
            fixes = fixes[size:]
        replays.append(Replay(f"customer-{number // 10 * 10 + number % 7}", f"phone-{number}", batches))
    return replays


async def play(client: Client, replay: Replay) -> None:
    for batch in replay.batches:
        replay.answered.append(await post(client, replay.customer_id, {"device_id": replay.device_id, "pings": batch}))


async def story_of(database_url: str) -> tuple[Counter[Any], Counter[Any]]:
    connection = await asyncpg.connect(database_url)
    transitions = await connection.fetch(
        "select customer_id, device_id, geofence_id, kind, at, initial from transitions"
    )
    decisions = await connection.fetch(
        """select t.customer_id, t.device_id, t.geofence_id, t.at, d.campaign_id, d.outcome
           from decisions d join transitions t using (customer_id, transition_id)"""
    )
    await connection.close()
    return Counter(map(tuple, transitions)), Counter(map(tuple, decisions))


@asynccontextmanager
async def copy_of(database_url: str) -> AsyncIterator[str]:
    name = urlsplit(database_url).path.lstrip("/")
    connection = await asyncpg.connect(with_database(database_url, "postgres"))
    await connection.execute(f"create database {name}_copy template {name}")
    yield with_database(database_url, f"{name}_copy")
    await connection.execute(f"drop database {name}_copy with (force)")
    await connection.close()


async def test_a_killed_service_loses_no_answered_ping(database_url, tmp_path):
    """10,000 pings replayed against a service that is killed again and again: each is there once, as if undisturbed."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    replays, undisturbed = make_replays(start), make_replays(start)
    customers = {replay.customer_id for replay in replays}
    async with running(environment(database_url, None, tmp_path, **SETTINGS), None) as client:
        await set_up(client)
        consent = {"granted": True, "notice_version": "1"}
        for customer_id in customers:
            await client.ok("PUT", "/v1/me/consents/location", consent, who=client.customer(customer_id))

    async with copy_of(database_url) as copy_url:
        async with running(environment(copy_url, None, tmp_path, **SETTINGS), None) as client:
            await asyncio.gather(*(play(client, replay) for replay in undisturbed))
            await client.settled()
        expected_transitions, expected_decisions = await story_of(copy_url)

    rng = random.Random(9)
    settings = environment(database_url, None, tmp_path, **SETTINGS)
    async with running_process(settings, tmp_path / "service.log") as client:
        total = sum(len(replay.batches) for replay in replays)
        kills = 0
        work = asyncio.gather(*(play(client, replay) for replay in replays))
        for share in (0.1, 0.4, 0.7):
            while sum(len(r.answered) for r in replays) < share * total and not work.done():
                await asyncio.sleep(0.001)
            await asyncio.sleep(rng.uniform(0, 0.03))
            if not work.done():
                client.app.kill()
                kills += 1
                await client.app.start(wait=False)
        await work
        assert kills == 3

        for replay in replays:
            for batch, answer in zip(replay.batches, replay.answered, strict=True):
                counted = answer["accepted"] + answer["duplicates"]
                assert counted == len(batch), answer
        again = [Replay(r.customer_id, r.device_id, r.batches) for r in replays]
        await asyncio.gather(*(play(client, replay) for replay in again))
        for replay in again:
            for batch, answer in zip(replay.batches, replay.answered, strict=True):
                assert answer == {"accepted": 0, "duplicates": len(batch), "ignored": [], "rejected": []}
        await client.settled()

    transitions, decisions = await story_of(database_url)
    assert len(transitions) > 1_000
    assert transitions == expected_transitions
    assert decisions == expected_decisions


# Delivery -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def stand_in(tmp_path: Path) -> AsyncIterator[Provider]:
    async with provider_process(tmp_path) as provider:
        yield provider


async def test_a_killed_sender_sends_nothing_twice(database_url, stand_in, tmp_path):
    """Killed in the midst of sending, again and again: no push is accepted twice, every message is in one state."""
    count = 150
    settings = environment(database_url, stand_in, tmp_path, **SETTINGS)
    customers = [f"customer-{number}" for number in range(count)]
    async with running(settings, None) as client:
        await set_up(client)
        for first in range(0, count, 25):
            consents = ("location", "marketing_push")
            await asyncio.gather(*(client.opt_in(c, purposes=consents) for c in customers[first : first + 25]))

    async def accepted() -> list[str]:
        return [push["message_id"] for push in await stand_in.accepted()]

    rng = random.Random(4)
    async with running_process(settings, tmp_path / "service.log") as client:
        # Slow enough to be killed in between, on either side of the moment in which the push is taken.
        answers = [{"kind": "accept", "delay_s": 0.15}, {"kind": "unavailable", "delay_s": 0.05, "retry_after": "0"}]
        await stand_in.script(*(answers[rng.random() < 0.2] for _ in range(10 * count)))
        now = datetime.now(UTC)
        lat, lon = STORES["store-0"]
        arrive = [
            fix(now - timedelta(seconds=180), lat + 500 / 111_200, lon),
            fix(now - timedelta(seconds=5), lat, lon),
        ]
        pings = asyncio.gather(*(post(client, c, {"device_id": "phone", "pings": arrive}) for c in customers))
        kills = 0
        for share in (0.05, 0.3, 0.6):
            async with asyncio.timeout(60):
                while len(await accepted()) < share * count:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(rng.uniform(0, 0.1))
            client.app.kill()
            kills += 1
            # Leases outlast every call; here they end with the process.
            await client.sql("update messages set lease_until = clock_timestamp() where lease_until is not null")
            await client.app.start()
        await pings
        await client.settled()
        # A push that was waiting for its next try is tried again, and may be told to wait once more.
        under_way = "select 1 from messages where state in ('pending', 'claimed', 'sending', 'retry_wait') limit 1"
        async with asyncio.timeout(60):
            while await client.sql(under_way):
                await asyncio.sleep(0.05)

        taken = await accepted()
        rows = await client.sql("select message_id, state, lease_until from messages")
    assert len(taken) == len(set(taken)), "a push was accepted twice"
    assert len(rows) == count
    states = {row["message_id"]: row["state"] for row in rows}
    assert set(states.values()) == {"accepted", "unknown"}, Counter(states.values())
    assert {m for m, state in states.items() if state == "accepted"} <= set(taken) <= set(states)
    assert all(row["lease_until"] is None for row in rows)
    assert kills == 3
