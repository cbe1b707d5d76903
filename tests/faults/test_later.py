"""What waits, and what is held back: exactly once, by any number of processes, also after days of silence."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from conftest import NOON, Client, fix
from test_races import LOCATION_AND_PUSH, arrival, held, put_clocks, set_up, two_services

from geoservice.demo.fcm_stand_in import Answer
from geoservice.storage.database import Database, open_pool
from geoservice.vocabulary import FREED
from geoservice.workflows.publishing import pause_annoying

PLAIN: dict[str, Any] = {"context": {}, "uses": [], "content": {"title": "Hello", "body": "We are open."}}
FREE = {"min_gap_s": 0, "cooldown_s": 0, "per_visit": 9}


async def opt_in_all(client: Client, customers: list[str]) -> None:
    await asyncio.gather(*(client.opt_in(each, purposes=LOCATION_AND_PUSH) for each in customers))


async def arrive(client: Client, customer_id: str, place: tuple[float, float], at: Any = NOON) -> None:
    receipt = await client.ping(customer_id, *arrival(at, *place))
    assert receipt["accepted"] == 2


async def leave(client: Client, customer_id: str, place: tuple[float, float], at: Any) -> None:
    far = place[0] + 500 / 111_200
    await client.ping(customer_id, *(fix(at + timedelta(seconds=s), far, place[1]) for s in (0, 60, 120, 180)))


async def decided(client: Client, what: str = "outcome, reason", where: str = "true") -> list[tuple[Any, ...]]:
    rows = await client.sql(f"select {what} from decisions where {where} order by seq")
    return [tuple(row) for row in rows]


async def until_nothing_waits(client: Client) -> None:
    async with asyncio.timeout(60):
        while await client.sql("select 1 from deferred where due_at <= $1", client.now):
            await asyncio.sleep(0.02)
    await client.settled()


async def test_what_is_due_is_decided_once_by_two_processes(database_url, fcm, tmp_path):
    """Twenty messages that wait, two processes that look: each is decided once, and sent once."""
    async with two_services(database_url, fcm, tmp_path) as clients:
        (place,) = await set_up(*clients, **PLAIN, trigger={"on": "enter", "after_s": 60})
        customers = [f"c{n}" for n in range(20)]
        await opt_in_all(clients[0], customers)
        await asyncio.gather(*(arrive(clients[n % 2], each, place) for n, each in enumerate(customers)))
        await clients[0].settled()
        assert Counter(await decided(clients[0])) == {("defer", "waiting_for_delay"): 20}
        await put_clocks(NOON + timedelta(seconds=61), *clients)
        await until_nothing_waits(clients[0])
        assert Counter(await decided(clients[0])) == {("defer", "waiting_for_delay"): 20, ("send", None): 20}
        assert len(fcm.accepted) == 20


async def test_after_two_days_of_downtime_there_is_no_burst(database_url, fcm, tmp_path):
    """What became due while nobody looked has expired, each with its reason; what is due now still comes."""
    async with two_services(database_url, fcm, tmp_path) as clients:
        client = clients[0]
        (place,) = await set_up(*clients, **PLAIN, trigger={"on": "exit", "after_s": 3600}, limits=FREE)
        later = {**PLAIN, "trigger": {"on": "exit"}, "schedule": {"send": "days_later", "days": 2}, "limits": FREE}
        await client.set_up_campaign("two-days", **later)
        customers = [f"c{n}" for n in range(5)]
        await opt_in_all(client, customers)
        for each in customers:
            await arrive(client, each, place)
        await put_clocks(NOON + timedelta(minutes=10), *clients)
        for each in customers:
            await leave(client, each, place, NOON + timedelta(minutes=5))
        await client.settled()
        assert Counter(await decided(client)) == {("defer", "waiting_for_delay"): 10}
        await put_clocks(NOON + timedelta(days=2, minutes=15), *clients)
        await until_nothing_waits(client)
        found = Counter(await decided(client, "campaign_id, outcome, reason", "outcome <> 'defer'"))
        assert found == {
            ("campaign-0", "suppress", "deferred_too_late"): 5,
            ("two-days", "send", None): 5,
        }
        assert len(fcm.accepted) == 5


async def test_leaving_takes_back_what_was_about_being_there(service, fcm):
    """A message that waits for the provider is not tried again once she left; one that waits is refused when due."""
    (place,) = await set_up(service, **PLAIN, trigger={"on": "enter", "after_s": 300}, limits=FREE)
    await service.set_up_campaign("at-once", **PLAIN, trigger={"on": "enter"}, limits=FREE)
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    # The provider is away, so that the message at once is still in the house when she goes.
    fcm.script(Answer("unavailable", times=1_000))
    await arrive(service, "ada", place)
    await service.set_clock(NOON + timedelta(minutes=4))
    await leave(service, "ada", place, NOON + timedelta(minutes=1))
    async with asyncio.timeout(60):
        while not await service.sql("select 1 from messages where unwanted"):
            await asyncio.sleep(0.02)
    await service.set_clock(NOON + timedelta(minutes=6))
    await until_nothing_waits(service)
    assert ("campaign-0", "left_meanwhile") in await decided(service, "campaign_id, reason")
    fcm.reset()
    await service.set_clock(NOON + timedelta(minutes=12))
    async with asyncio.timeout(60):
        while {row["state"] for row in await service.sql("select state from messages")} - FREED:
            await asyncio.sleep(0.05)
    assert fcm.accepted == []


async def test_a_phone_that_tells_late_that_she_came_and_went_gets_nothing(service, fcm):
    """One batch holds her coming and her going: a message about being there would come when she is gone."""
    (place,) = await set_up(service, **PLAIN, trigger={"on": "enter"}, limits=FREE)
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    await service.set_clock(NOON + timedelta(minutes=4))
    gone = [fix(NOON + timedelta(seconds=s), place[0] + 4 * s / 111_200, place[1]) for s in (60, 90, 120, 150)]
    await service.ping("ada", *arrival(NOON, *place), *gone)
    await service.settled()
    assert await decided(service) == [("suppress", "left_meanwhile")]
    assert fcm.accepted == []


async def test_the_ping_that_tells_that_she_left_comes_before_what_is_due(service, database_url, fcm):
    """Her leaving and her message's due time are looked at together: she has left."""
    (place,) = await set_up(service, **PLAIN, trigger={"on": "enter", "after_s": 180}, limits=FREE)
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    await arrive(service, "ada", place)
    await service.settled()
    async with held(database_url, "select from customers where customer_id = 'ada' for no key update"):
        await service.set_clock(NOON + timedelta(minutes=4))
        await leave(service, "ada", place, NOON + timedelta(minutes=1))
    await until_nothing_waits(service)
    assert await decided(service) == [("defer", "waiting_for_delay"), ("suppress", "left_meanwhile")]
    assert fcm.accepted == []


async def test_a_message_that_moved_to_her_other_phone_ends_when_the_first_one_leaves(service, fcm):
    """Her phone came and its token was dead, so the message went over to her tablet: it ends when the phone leaves."""
    (place,) = await set_up(service, **PLAIN, trigger={"on": "enter"}, limits=FREE)
    for device_id in ("phone", "tablet"):
        await service.opt_in("ada", purposes=LOCATION_AND_PUSH, device_id=device_id)
    fcm.script(Answer("unregistered"), token="token-ada-phone")
    fcm.script(Answer("unavailable", times=1_000), token="token-ada-tablet")
    await arrive(service, "ada", place)
    async with asyncio.timeout(60):
        while not await service.sql("select 1 from messages where device_id = 'tablet' and attempts > 1"):
            await asyncio.sleep(0.02)
    await service.set_clock(NOON + timedelta(minutes=4))
    await leave(service, "ada", place, NOON + timedelta(minutes=1))
    async with asyncio.timeout(60):
        while not await service.sql("select 1 from messages where unwanted"):
            await asyncio.sleep(0.02)
    fcm.reset()
    await service.set_clock(NOON + timedelta(minutes=6))
    await until_nothing_waits(service)
    assert fcm.accepted == []


async def test_of_two_that_are_due_the_better_one_is_served(service):
    """A campaign that waited longer does not win by that: priority does, whichever trigger is older."""
    places = await set_up(service, **PLAIN, stores=2, trigger={"on": "exit", "after_s": 7200}, limits={}, priority=1)
    trigger = {"on": "exit", "after_s": 7200, "geofence_ids": ["store-1-approach"]}
    await service.set_up_campaign("better", **PLAIN, trigger=trigger, priority=2)
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    at = NOON
    for place in places:
        await service.set_clock(at)
        await arrive(service, "ada", place, at)
        await service.set_clock(at + timedelta(minutes=9))
        await leave(service, "ada", place, at + timedelta(minutes=5))
        at += timedelta(minutes=35)
    await service.settled()
    # Now all of them become due in the same moment.
    await service.sql("update deferred set due_at = $1", service.now + timedelta(minutes=1))
    await service.set_clock(service.now + timedelta(minutes=2))
    await until_nothing_waits(service)
    sent = await decided(service, "campaign_id", "outcome = 'send'")
    assert sent == [("better",)]
    refused = Counter(await decided(service, "campaign_id, reason", "outcome = 'suppress'"))
    assert refused == {("campaign-0", "min_gap"): 1, ("campaign-0", "outranked"): 1}


async def test_an_hourly_ceiling_holds_in_two_processes(database_url, fcm, tmp_path):
    """Thirty customers arrive at once on two services: exactly as many messages as the ceiling allows."""
    async with two_services(database_url, fcm, tmp_path) as clients:
        client = clients[0]
        (place,) = await set_up(*clients, **PLAIN, trigger={"on": "enter"}, limits={"hourly_ceiling": 7})
        customers = [f"c{n}" for n in range(30)]
        await opt_in_all(client, customers)
        await asyncio.gather(*(arrive(clients[n % 2], each, place) for n, each in enumerate(customers)))
        await client.settled()
        assert Counter(await decided(client)) == {("send", None): 7, ("suppress", "campaign_ceiling"): 23}
        # The next hour has its own.
        await client.opt_in("late", purposes=LOCATION_AND_PUSH)
        await put_clocks(NOON + timedelta(hours=1), *clients)
        await arrive(client, "late", place, NOON + timedelta(hours=1))
        await client.settled()
        assert (await decided(client))[-1] == ("send", None)
        await put_clocks(NOON + timedelta(hours=1, seconds=1), *clients)


async def test_a_pause_elsewhere_is_heard_before_the_next_decision(database_url, fcm, tmp_path):
    """Paused in one process, the campaign is silent in the other, although nobody told that one yet."""
    async with two_services(database_url, fcm, tmp_path) as (one, two):
        (place,) = await set_up(one, two, **PLAIN, trigger={"on": "enter"})
        await opt_in_all(one, ["ada", "bea"])
        await one.ok("POST", "/v1/campaigns/campaign-0/pause", who=one.ops)
        await arrive(two, "ada", place)
        await two.settled()
        assert await decided(two) == [("suppress", "campaign_not_live")]
        await one.ok("POST", "/v1/campaigns/campaign-0/resume", who=one.ops)
        await one.ok("POST", "/v1/stores/store-0/mute", who=one.ops)
        await arrive(two, "bea", place)
        await two.settled()
        assert (await decided(two))[-1] == ("suppress", "store_muted")
        assert fcm.accepted == []


async def test_a_campaign_that_annoys_pauses_itself(service):
    """Two in a hundred said creepy or stop: the campaign is paused, once there are enough to tell, and says why."""
    (place,) = await set_up(service, **PLAIN, trigger={"on": "enter"})
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    await arrive(service, "ada", place)
    await service.delivered(1)
    await service.settled()

    async def copies(count: int, complaints: int) -> None:
        """More messages like the one that went out, and complaints about some."""
        await service.sql(
            "insert into messages select (jsonb_populate_record(m, jsonb_build_object('message_id', 'copy-' || n, "
            "'visit_id', null))).* from messages m, generate_series(1, $1::int) n where m.message_id not like 'copy-%' "
            "on conflict do nothing",
            count,
        )
        await service.sql(
            "insert into message_events (customer_id, message_id, event, at) "
            "select 'ada', 'copy-' || n, 'creepy', $2 from generate_series(1, $1::int) n on conflict do nothing",
            complaints,
            service.now,
        )

    dsn = service.app.settings.database_url
    async with await open_pool(dsn, size=1) as pool:
        database = Database(pool, dsn)
        await copies(198, 10)
        assert await pause_annoying(database, service.now) == []  # 199 delivered: too few to tell
        await copies(600, 12)
        assert await pause_annoying(database, service.now) == []  # 12 of 601
        await copies(600, 13)
        assert await pause_annoying(database, service.now) == ["campaign-0"]
    campaign = await service.ok("GET", "/v1/campaigns/campaign-0", who=service.ops)
    assert campaign["state"] == "paused"
    assert campaign["paused_because"] == "13 of 601 delivered were called creepy or led to a stop"
    # Resumed by a person, it starts with a clean sheet.
    await service.pass_time(minutes=1)
    resumed = await service.ok("POST", "/v1/campaigns/campaign-0/resume", who=service.ops)
    assert "paused_because" not in resumed
    async with await open_pool(dsn, size=1) as pool:
        assert await pause_annoying(Database(pool, dsn), service.now) == []


async def test_versions_keep_what_a_campaign_said(service):
    """Every version stays to be read; a decision names the one it was made with."""
    (place,) = await set_up(service, **PLAIN, trigger={"on": "enter"})
    await service.opt_in("ada", purposes=LOCATION_AND_PUSH)
    await arrive(service, "ada", place)
    await service.settled()
    changed = {**PLAIN["content"], "title": "Good day"}
    await service.set_up_campaign("campaign-0", **{**PLAIN, "content": changed, "state": "draft"})
    page = await service.ok("GET", "/v1/campaigns/campaign-0/versions?limit=1", who=service.ops)
    assert [(each["version"], each["content"]["title"]) for each in page["items"]] == [(2, "Good day")]
    page = await service.ok("GET", f"/v1/campaigns/campaign-0/versions?before={page['next']}", who=service.ops)
    assert [(each["version"], each["content"]["title"]) for each in page["items"]] == [(1, "Hello")]
    assert "next" not in page
    assert [d["campaign_version"] for d in await service.decisions("ada")] == [1]
    missing = await service.call("GET", "/v1/campaigns/nowhere/versions", who=service.ops)
    assert missing.status == 404


async def test_a_test_is_for_its_customers_alone(service, fcm):
    """In state test only the named customers are spoken to; about everybody else not even a record is left."""
    state = {"state": "test", "test_customers": ["ada"]}
    (place,) = await set_up(service, **PLAIN, **state, trigger={"on": "enter"})
    await opt_in_all(service, ["ada", "bea"])
    await arrive(service, "ada", place)
    await arrive(service, "bea", place)
    await service.settled()
    assert await decided(service, "customer_id, outcome") == [("ada", "send")]
    assert len(fcm.accepted) == 1


async def test_a_mute_lasts_until_the_stores_midnight(service):
    """Muted at noon in Hamburg, the store is silent until midnight there, or until it takes the mute back."""
    (place,) = await set_up(service, **PLAIN, trigger={"on": "enter"})
    await opt_in_all(service, ["ada", "bea"])
    answer = await service.ok("POST", "/v1/stores/store-0/mute", who=service.ops)
    assert answer == {"id": "store-0", "muted_until": "2026-03-04T23:00:00Z"}
    store = await service.ok("GET", "/v1/stores/store-0", who=service.ops)
    assert store["muted_until"] == "2026-03-04T23:00:00Z"
    await arrive(service, "ada", place)
    await service.settled()
    assert await decided(service) == [("suppress", "store_muted")]
    await service.ok("POST", "/v1/stores/store-0/unmute", who=service.ops)
    await arrive(service, "bea", place)
    await service.settled()
    assert (await decided(service))[-1] == ("send", None)
    for verb in ("mute", "unmute"):
        assert (await service.call("POST", f"/v1/stores/nowhere/{verb}", who=service.ops)).status == 404


async def test_decisions_can_be_filtered_and_paged(service):
    """By reason, by store and by time; a page names where the next one begins."""
    places = await set_up(service, **PLAIN, stores=2, trigger={"on": "enter"})
    await opt_in_all(service, [f"c{n}" for n in range(6)])
    await service.ok("POST", "/v1/stores/store-1/mute", who=service.ops)
    for n in range(6):
        await arrive(service, f"c{n}", places[n % 2])
    await service.settled()

    async def found(query: str) -> list[dict[str, Any]]:
        return (await service.ok("GET", f"/v1/decisions?{query}", who=service.ops))["items"]

    assert [d["reason"] for d in await found("reason=store_muted")] == ["store_muted"] * 3
    assert {d["store_id"] for d in await found("store=store-0")} == {"store-0"}
    assert len(await found("store=store-0&outcome=send")) == 3
    assert await found("until=2026-03-04T10:00:00Z") == []
    assert len(await found("since=2026-03-04T10:00:00Z&until=2026-03-04T12:00:00Z")) == 6
    seen, after = [], "0"
    while after is not None:
        page = await service.ok("GET", f"/v1/decisions?limit=4&after={after}", who=service.ops)
        seen += [d["id"] for d in page["items"]]
        after = page.get("next")
    assert len(seen) == len(set(seen)) == 6
    refused = (await found("reason=store_muted"))[0]
    assert refused["sentence"] == "The store has asked for silence today."
    assert refused["customer_sentence"] == "The store sent no messages on that day."
    assert (await service.call("GET", "/v1/decisions?reason=because", who=service.ops)).status == 422
