"""What is too old goes, what is still needed stays, and everybody can see that it is so."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta

import pytest
from conftest import NOON, Client, environment, fix, running

from geoservice.storage.database import Database, open_pool
from geoservice.workflows import retention, upkeep
from geoservice.workflows.records import RECORDS

OLD = {
    "GEOSERVICE_KEEP_VISITS_DAYS": "30", "GEOSERVICE_KEEP_EVENTS_DAYS": "60", "GEOSERVICE_KEEP_DECISIONS_DAYS": "30",
    "GEOSERVICE_KEEP_MESSAGES_DAYS": "40", "GEOSERVICE_KEEP_EVIDENCE_DAYS": "100",
}  # fmt: skip


TIMES = ("transitions", "visits", "decisions", "messages", "events", "audit_log", "erasures")


async def counts(client: Client) -> dict[str, int]:
    return {
        table: (await client.sql(f"select count(*) as n from {table}"))[0]["n"]
        for table, kept in RECORDS.items()
        if kept.days
    }


async def tick(client: Client) -> None:
    app = client.app
    async with await open_pool(app.settings.database_url, size=1) as pool:
        database = Database(pool, app.settings.database_url)
        await retention.retain(database, app.directory, app.settings, app.clock)


async def live_once(client: Client) -> None:
    await client.set_up_store()
    await client.set_up_campaign()
    await client.opt_in("ada")
    await client.browse("ada")
    await client.walk_in("ada")
    await client.delivered(1)
    await client.settled()


@pytest.fixture
async def shop(database_url, fcm, tmp_path):
    """A service that keeps little."""
    async with running(environment(database_url, fcm, tmp_path, **OLD), fcm) as client:
        yield client


async def test_everything_goes_in_its_time(shop):
    """Visits and decisions after 30 days, messages after 40, events after 60, evidence after 100; nothing before."""
    await live_once(shop)
    withdrawn = {"granted": False, "notice_version": "1"}  # her visit is over, and no time that passes wakes her phone
    await shop.ok("PUT", "/v1/me/consents/location", withdrawn, who=shop.customer("ada"))
    await shop.ok("DELETE", "/v1/me", who=shop.customer("gone"))
    await tick(shop)
    there = await counts(shop)
    assert all(there[table] for table in ("transitions", "visits", "events", "decisions", "messages", "audit_log"))
    gone: dict[int, set[str]] = {}
    for day in (29, 31, 39, 41, 56, 61, 99, 101):
        await shop.set_clock(NOON + timedelta(days=day))
        await tick(shop)
        now = await counts(shop)
        gone[day] = {table for table in TIMES if there[table] and not now[table]}
    assert gone[29] == set()
    assert gone[31] == {"transitions", "visits", "decisions"}
    assert gone[39] == gone[31]
    assert gone[41] == gone[56] == gone[31] | {"messages"}
    assert gone[61] == gone[99] == gone[41] | {"events"}
    assert gone[101] == set(TIMES)


async def test_what_is_needed_stays(shop):
    """A visit that goes on, a transition that waits, and a message that limits count stay, however old they are."""
    await live_once(shop)
    await shop.set_up_campaign("slow", limits={"cooldown_s": 300 * 86_400})
    (row,) = await shop.sql("select transition_id from transitions limit 1")
    await shop.sql(
        "insert into deferred values ('ada', $1, 'shoes', $2)", row["transition_id"], NOON + timedelta(days=2_000)
    )
    await shop.sql("update visits set ended_at = null")
    await shop.set_clock(NOON + timedelta(days=90))
    await tick(shop)
    now = await counts(shop)
    assert (now["transitions"], now["visits"], now["messages"], now["decisions"]) == (1, 1, 1, 0)


async def test_a_shorter_time_holds_from_the_next_tick(database_url, fcm, tmp_path):
    """A service that is started again with a shorter time deletes by it, and tells the times in its metrics."""
    async with running(environment(database_url, fcm, tmp_path), fcm) as client:
        await live_once(client)
        await client.set_clock(NOON + timedelta(days=50))
        await tick(client)
        assert (await counts(client))["decisions"]
    shorter = environment(database_url, fcm, tmp_path, GEOSERVICE_KEEP_DECISIONS_DAYS="49")
    async with running(shorter, fcm) as client:
        await client.set_clock(NOON + timedelta(days=50))
        await client.sql("delete from timers")  # the next slot, at once
        await tick(client)
        assert not (await counts(client))["decisions"]
        metrics = (await client.call("GET", "/metrics")).body.decode()
        assert 'geoservice_retention_days{table="decisions"} 49.0' in metrics
        assert 'geoservice_retention_deleted_rows_total{table="decisions"}' in metrics
        assert "geoservice_retention_run_timestamp_seconds 1" in metrics


async def test_old_versions_go_and_the_kept_ones_can_be_restored(database_url, fcm, tmp_path):
    """Of the geofences that version is kept which was in force so many days ago, and all since; never less than one."""
    async with running(environment(database_url, fcm, tmp_path, GEOSERVICE_KEEP_VERSIONS_DAYS="10"), fcm) as client:

        async def versions() -> list[int]:
            listed = await client.ok("GET", "/v1/geofences/versions", who=client.ops)
            return [each["version"] for each in listed["items"]]

        async def radius_m() -> float:
            (feature,) = (await client.ok("GET", "/v1/geofences", who=client.ops))["features"]
            return feature["properties"]["radius_m"]

        for day in (0, 4, 8, 12):
            await client.set_clock(NOON + timedelta(days=day))
            shape = {"type": "Point", "coordinates": [10.0, 53.55]}
            properties = {"id": "a", "kind": "approach", "radius_m": 100 + day}
            feature = {"type": "Feature", "geometry": shape, "properties": properties}
            await client.ok("PUT", "/v1/geofences/a", feature, who=client.ops)
        await client.set_clock(NOON + timedelta(days=14, hours=1))
        await tick(client)
        assert await versions() == [4, 3, 2], "the second was in force ten days ago"
        changes = await client.sql("select version from catalogue_changes order by version")
        assert [row["version"] for row in changes] == [2, 3, 4]
        assert (await client.call("POST", "/v1/geofences/versions/1/restore", who=client.ops)).status == 404
        await client.ok("POST", "/v1/geofences/versions/2/restore", who=client.ops)
        assert await radius_m() == 104
        await client.set_clock(NOON + timedelta(days=400))
        await tick(client)
        assert await versions() == [5], "the one in force"
        assert await radius_m() == 104


async def test_every_time_is_in_the_metrics(shop):
    """Whatever is kept for a number of days is in the metrics by its table, and so is that it went."""
    await live_once(shop)
    await tick(shop)
    finite = {table for table, kept in RECORDS.items() if kept.days or kept.fixed_days}
    in_days = {table for table, kept in RECORDS.items() if re.search(r"\{days\}|\d+ (?:days|hours)", kept.until)}
    assert in_days - {"deferred"} == finite  # what waits ends when it is due; 90 days is as long as a campaign may ask
    metrics = (await shop.call("GET", "/metrics")).body.decode()
    told = dict(re.findall(r'geoservice_retention_days\{table="(\w+)"\} (\S+)', metrics))
    assert set(told) == finite
    assert (told["transitions"], told["messages"], told["devices"], told["campaign_hours"]) == (
        "30.0", "40.0", "1.0", "2.0",
    )  # fmt: skip
    await shop.pass_time(days=2)
    async with await open_pool(shop.app.settings.database_url, size=1) as pool:
        await upkeep.forget_locations(Database(pool, shop.app.settings.database_url), shop.app.clock)
    metrics = (await shop.call("GET", "/metrics")).body.decode()
    for table in ("devices", "ping_receipts"):
        assert re.search(rf'geoservice_retention_deleted_rows_total\{{table="{table}"\}} [1-9]', metrics)


async def test_a_clock_that_was_ahead_keeps_nothing_for_longer(shop):
    """What a phone said whose clock was years ahead goes a day after it came, and the phone is listened to again."""
    await shop.opt_in("kim")
    ahead = timedelta(days=3_650)
    kim = shop.customer("kim")
    now = await shop.ok("GET", "/v1/clock", who=shop.ops)
    at = datetime.fromisoformat(now["now"])
    await shop.set_clock(at)
    ping = {"device_id": "phone", "sent_at": at + ahead, "pings": [fix(at + ahead, 53.55, 10.0)]}
    assert (await shop.call("POST", "/v1/pings", ping, who=kim)).body["accepted"] == 1

    async def kept_after(hours: int) -> int:
        await shop.set_clock(at + timedelta(hours=hours))
        async with await open_pool(shop.app.settings.database_url, size=1) as pool:
            await upkeep.forget_locations(Database(pool, shop.app.settings.database_url), shop.app.clock)
        return (await shop.sql("select count(*) from devices where customer_id = 'kim' and track is not null"))[0][0]

    assert [await kept_after(hours) for hours in (23, 25)] == [1, 0]
    right = at + timedelta(hours=25)
    ping = {"device_id": "phone", "sent_at": right, "pings": [fix(right, 53.55, 10.0)]}
    assert (await shop.call("POST", "/v1/pings", ping, who=kim)).body["accepted"] == 1


async def test_much_goes_in_slices(shop, monkeypatch):
    """A large backlog is deleted a slice at a time, and a tick that has worked enough leaves the rest to the next."""
    await shop.opt_in("ada")
    await shop.sql(
        """insert into events (customer_id, event_id, type, occurred_at, source, received_at)
           select 'ada', 'e' || n, 'searched', $1, 'app', $1 from generate_series(1, 500) n""",
        NOON - timedelta(days=90),
    )
    monkeypatch.setattr(retention, "SLICE", 100)
    monkeypatch.setattr(retention, "BUDGET_S", 0.0)
    await tick(shop)
    left = (await counts(shop))["events"]
    assert 0 < left <= 400
    monkeypatch.setattr(retention, "BUDGET_S", 5.0)
    await asyncio.gather(tick(shop), tick(shop))
    assert not (await counts(shop))["events"]


async def test_the_table_of_what_is_kept_is_the_database(shop):
    """Every table of the database has its row in the table of what is kept, and what it names is there."""
    rows = await shop.sql(
        """select c.relname, array_agg(a.attname::text) as columns from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace group by 1"""
    )
    there = {row["relname"]: set(row["columns"]) for row in rows if row["relname"] != "alembic_version"}
    assert set(RECORDS) == set(there)
    assert all(kept.age is None or kept.age in there[table] for table, kept in RECORDS.items())
