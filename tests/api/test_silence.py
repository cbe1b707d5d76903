"""What time does, in a running service: dwells, silence, phones whose clock is wrong, and buffers of offline phones."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from conftest import NOON, fix, ring

from geoservice.storage.database import Database, open_pool
from geoservice.workflows.waking import wake_devices

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAT, LON = 53.70, 10.20


@pytest_asyncio.fixture(loop_scope="module")
async def customer(shared, request) -> str:
    """A customer of her own, and a store."""
    await shared.set_clock(NOON)
    await shared.set_up_store("waking", LAT, LON)
    customer_id = f"waking-{abs(hash(request.node.name))}"
    await shared.opt_in(customer_id)
    return customer_id


@asynccontextmanager
async def another_process(client):
    """Run the tick once, as another process would."""
    dsn = client.app.settings.database_url
    async with await open_pool(dsn, size=2) as pool:
        database = Database(pool, dsn)

        async def tick() -> None:
            await wake_devices(database, client.app.directory, client.app.clock, asyncio.Event())

        yield tick


def timed(transitions, start=NOON):
    return [
        ((datetime.fromisoformat(t["at"]) - start).total_seconds(), t["kind"], t["source"], t["assumed"])
        for t in transitions
    ]


async def test_a_dwell_comes_without_a_fix(shared, customer):
    """Five minutes after she came, a silent phone is assumed to have stayed; however many processes look, once."""
    await shared.walk_in(customer, LAT, LON)
    (enter,) = await shared.transitions(customer)
    entered_at = datetime.fromisoformat(enter["at"])
    async with another_process(shared) as tick:
        await tick()
        assert len(await shared.transitions(customer)) == 1
        await shared.set_clock(entered_at + timedelta(seconds=301))
        await asyncio.gather(*(tick() for _ in range(4)))
    _, dwell = await shared.transitions(customer)
    assert timed([dwell], entered_at) == [(300, "dwell", "timer", True)]
    assert dwell["visit_id"] == enter["visit_id"]


async def test_nothing_is_told_of_who_stays_where_a_clinic_opens(shared, customer):
    """A clinic is published beside the store in which she is: no dwell is told, the visit ends, her place is erased."""
    await shared.walk_in(customer, LAT, LON)
    clinic = ring("clinic-beside", LAT + 0.002, LON, 50)
    clinic["properties"] |= {"kind": "sensitive", "store_id": None}
    geofence_id = clinic["properties"]["id"]
    await shared.ok("PUT", f"/v1/geofences/{geofence_id}", clinic, who=shared.ops)
    await shared.wait_until_matching(geofence_id)
    await shared.pass_time(seconds=301)
    async with another_process(shared) as tick:
        await tick()
    await shared.ok("DELETE", f"/v1/geofences/{geofence_id}", who=shared.ops)
    async with asyncio.timeout(60):
        while shared.app_directory.snapshot.fence(geofence_id) is not None:
            await asyncio.sleep(0.01)
    assert [t["kind"] for t in await shared.transitions(customer)] == ["enter"]
    (visit,) = await shared.sql("select ended_at from visits where customer_id = $1", customer)
    assert visit["ended_at"] is not None
    assert (await shared.ok("GET", "/v1/me/presence", who=shared.customer(customer)))["items"] == []


async def test_silence_ends_a_visit(shared, customer):
    """Six hours after its last fix a phone is lost, and the visit is over."""
    await shared.walk_in(customer, LAT, LON)
    last = shared.now
    await shared.set_clock(last + timedelta(hours=6, seconds=1))
    async with another_process(shared) as tick:
        await tick()
    told = await shared.transitions(customer)
    assert [t["kind"] for t in told] == ["enter", "dwell", "lost"]
    assert timed(told[2:], last) == [(6 * 3_600, "lost", "timer", False)]
    (visit,) = await shared.sql("select ended_at, present from visits where customer_id = $1", customer)
    assert visit["ended_at"] is not None
    assert visit["present"] == []
    (device,) = await shared.sql("select due_at from devices where customer_id = $1", customer)
    assert device["due_at"] is None


async def post_at(client, customer_id, sent_at, *fixes):
    body = {"device_id": "phone", "sent_at": sent_at, "pings": list(fixes)}
    return await client.ok("POST", "/v1/pings", body, who=client.customer(customer_id))


@pytest.mark.parametrize("slow_s", [3_600, -1_200], ids=["an hour slow", "20 minutes fast"])
async def test_a_wrong_clock_is_corrected(shared, customer, slow_s):
    """What a phone with a wrong clock reports has happened when it happened, and is neither late nor in the future."""
    phone = NOON - timedelta(seconds=slow_s)
    answer = await post_at(
        shared,
        customer,
        phone + timedelta(seconds=2),
        fix(phone - timedelta(seconds=900), LAT + 0.03, LON),
        fix(phone, LAT, LON),
    )
    assert answer["accepted"] == 2
    (enter,) = await shared.transitions(customer)
    assert enter["late"] is False
    # The server's clock stands still here, so that the request seems to come 2 s before it was sent.
    assert datetime.fromisoformat(enter["at"]) == NOON - timedelta(seconds=2)


async def test_latency_corrects_no_clock(shared, customer):
    """A request that took 50 s on its way moves nothing."""
    sent_at = NOON - timedelta(seconds=50)
    far, near = fix(sent_at - timedelta(seconds=900), LAT + 0.03, LON), fix(sent_at, LAT, LON)
    await post_at(shared, customer, sent_at, far, near)
    (enter,) = await shared.transitions(customer)
    assert datetime.fromisoformat(enter["at"]) == sent_at


async def test_an_offline_buffer_is_no_storm(shared, customer):
    """5,000 fixes of a day without network become its visits, all of them late, and not one message."""
    campaign = {"trigger": {"on": "enter", "geofence_kind": "approach"}, "uses": [], "context": {}}
    await shared.set_up_campaign("storm", **campaign)
    day = [NOON - timedelta(hours=22) + timedelta(seconds=15 * k) for k in range(5_000)]
    away = [abs((k % 500) - 250) * 8 - 400 for k in range(5_000)]  # metres north: in and out, ten times
    body = [fix(at, LAT + max(m, 0) / 111_200, LON) for at, m in zip(day, away, strict=True)]
    answer = await shared.ping(customer, *body)
    assert answer["accepted"] == 5_000
    told = await shared.transitions(customer)
    assert [t["kind"] for t in told] == ["enter", "dwell", "exit"] * 10
    assert {t["late"] for t in told} == {True}
    await shared.settled()
    assert {d["outcome"] for d in await shared.decisions(customer)} == {"suppress"}


async def test_a_fence_that_becomes_sensitive_ends_visits_without_a_word(shared, customer):
    """When a silent phone's geofence turns out to be a clinic, its visit is over, and nothing is told."""
    await shared.set_up_store("doctor", LAT + 0.1, LON)
    await shared.walk_in(customer, LAT + 0.1, LON)
    (enter,) = await shared.transitions(customer)
    clinic = ring("doctor", LAT + 0.1, LON)
    clinic["properties"]["kind"] = "sensitive"
    await shared.ok("POST", "/v1/geofences/import", {"type": "FeatureCollection", "features": [clinic]}, who=shared.ops)
    async with asyncio.timeout(60):
        while not shared.app_directory.snapshot.catalogue.sensitive.any():
            await asyncio.sleep(0.01)
    await shared.set_clock(datetime.fromisoformat(enter["at"]) + timedelta(seconds=301))
    async with another_process(shared) as tick:
        await tick()
    assert await shared.transitions(customer) == [enter]
    (visit,) = await shared.sql("select ended_at, present from visits where customer_id = $1", customer)
    assert (visit["ended_at"] is None, visit["present"]) == (False, [])


async def test_a_past_uploaded_in_pieces_is_no_silence(shared, customer):
    """Between two pieces of last night's buffer no timer fires: whether she stayed stands in the next piece."""
    night = NOON - timedelta(hours=12)
    arrival = [fix(night + timedelta(seconds=s), LAT + away, LON) for s, away in ((-600, 0.03), (0, 0), (60, 0))]
    stay = [fix(night + timedelta(minutes=m), LAT, LON) for m in range(2, 90)]
    leaving = [fix(night + timedelta(minutes=90, seconds=s), LAT + 0.03, LON) for s in (0, 60)]
    async with another_process(shared) as tick:
        await shared.ping(customer, *arrival)
        await shared.set_clock(NOON + timedelta(minutes=1))
        await tick()
        await shared.ping(customer, *stay, *leaving)
        await shared.set_clock(NOON + timedelta(minutes=12))
        await tick()
    told = await shared.transitions(customer)
    assert [(t["kind"], t["source"]) for t in told] == [("enter", "fix"), ("dwell", "fix"), ("exit", "fix")]
