"""The retailer's policy, the attention budget and what feedback does to both, over HTTP."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import NOON, environment, fix, ring, running_process

from geoservice.demo.fcm_stand_in import Answer

DAY = timedelta(days=1)
FREE = {"min_gap_s": 0, "cooldown_s": 0, "per_visit": 100}


@pytest.fixture
async def ada(service):
    """Ada is told whenever she comes near Harbour Street."""
    await service.set_up_store()
    await service.set_up_campaign(context={}, uses=[], limits=FREE)
    await service.opt_in("ada")
    return service


async def come(client: Any, day: int = 0) -> str:
    """Walk in on the given day at noon, from far away; the outcome or the reason."""
    await client.set_clock(NOON + day * DAY - timedelta(minutes=30))
    await client.ping("ada", fix(client.now, 53.6, 10.0))
    await client.set_clock(NOON + day * DAY)
    await client.walk_in("ada")
    await client.settled()
    newest = (await client.decisions("ada"))[-1]
    return newest["reason"] or newest["outcome"]


async def answer(client: Any, event: str) -> Any:
    """Say something about the newest message."""
    who = client.customer("ada")
    message = (await client.ok("GET", "/v1/me/messages", who=who))["items"][0]
    return await client.ok("POST", f"/v1/me/messages/{message['id']}/feedback", {"event": event}, who=who)


async def budget(client: Any) -> dict[str, Any]:
    return await client.ok("GET", "/v1/me/attention", who=client.customer("ada"))


# The policy -------------------------------------------------------------------------------------------------------


async def test_without_a_policy_the_settings_hold(service):
    """Version 0 is what the settings say, every field spelled out."""
    policy = await service.ok("GET", "/v1/policy", who=service.ops)
    assert (policy["version"], policy["daily_cap"], policy["quiet_hours"]) == (0, 2, {"start": "21:00", "end": "08:00"})
    assert (policy["min_gap_s"], policy["cooldown_s"], policy["caps"]) == (7_200, 604_800, [])


@pytest.mark.parametrize(
    ("policy", "holds"),
    [
        # Fewer, further apart, at other hours, or by one more rule.
        ({"daily_cap": 1}, True),
        ({"min_gap_s": 7_201}, True),
        ({"quiet_hours": {"start": "20:00", "end": "08:00"}}, True),
        ({"caps": [{"scope": "global", "n": 9, "calendar": "week"}]}, True),
        # A laxer one takes nothing back.
        ({"daily_cap": 9, "min_gap_s": 0, "cooldown_s": 0, "quiet_hours": None}, False),
    ],
)
async def test_a_tighter_policy_holds_for_what_still_waits(ada, policy, holds):
    """The provider is away; what was decided before the policy was tightened is not sent when it is back."""
    ada.fcm.script(Answer("unavailable", times=1_000))
    await ada.walk_in("ada")
    await until_state(ada, "retry_wait")
    await ada.ok("PUT", "/v1/policy", policy, who=ada.ops)
    ada.fcm.reset()
    await until_state(ada, "cancelled" if holds else "accepted")
    assert len(ada.fcm.accepted) == (0 if holds else 1)


async def until_state(client: Any, state: str) -> None:
    """Wait until her message is in this state; time goes by a little meanwhile, so that a try again is due."""
    async with asyncio.timeout(60):
        while [row["state"] for row in await client.sql("select state from messages")] != [state]:
            await client.pass_time(seconds=1)
            await asyncio.sleep(0.05)


async def test_a_policy_has_versions(service):
    """Each publication is a version that says who published what; what it leaves out is as in the settings."""
    rule = {"scope": "topic", "n": 3, "calendar": "week", "of": "sneakers"}
    first = await service.ok(
        "PUT", "/v1/policy", {"daily_cap": 1, "quiet_hours": None, "caps": [rule]}, who=service.ops
    )
    assert (first["version"], first["daily_cap"], first["quiet_hours"], first["caps"]) == (1, 1, None, [rule])
    second = await service.ok("PUT", "/v1/policy", {"min_gap_s": 60}, who=service.ops)
    assert (second["version"], second["daily_cap"], second["min_gap_s"], second["caps"]) == (2, 2, 60, [])
    versions = (await service.ok("GET", "/v1/policy/versions", who=service.ops))["items"]
    assert [(each["version"], each["body"]) for each in versions] == [
        (2, {"min_gap_s": 60}),
        (1, {"daily_cap": 1, "quiet_hours": None, "caps": [rule]}),
    ]


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({"caps": [{"scope": "global", "n": 1}]}, "caps[0]", "window"),
        ({"caps": [{"scope": "global", "n": 1, "within_s": 60, "calendar": "day"}]}, "caps[0]", "window"),
        ({"caps": [{"scope": "global", "n": 1, "within_s": 60, "of": "x"}]}, "caps[0].of", "no_subject"),
        ({"daily_cap": -1}, "daily_cap", "out_of_range"),
        ({"min_gap": 1}, "", "unknown_field"),
    ],
)
async def test_a_wrong_policy_is_refused(service, body, path, code):
    """A policy that makes no sense changes nothing, and says where."""
    answer = await service.call("PUT", "/v1/policy", body, who=service.ops)
    assert answer.status == 422
    assert [(error["path"], error["code"]) for error in answer.body["errors"]] == [(path, code)]
    assert (await service.ok("GET", "/v1/policy", who=service.ops))["version"] == 0


async def test_a_cap_lowered_at_noon_holds_at_noon(ada):
    """The retailer lowers the cap to one after the first message: the next moment is refused, and says why."""
    assert await come(ada) == "send"
    await ada.ok("PUT", "/v1/policy", {"daily_cap": 1}, who=ada.ops)
    for _ in range(2):
        await ada.pass_time(hours=1)
        await ada.ping("ada", fix(ada.now, 53.6, 10.0))
    await ada.pass_time(hours=1)
    await ada.walk_in("ada")
    await ada.settled()
    assert [d["reason"] for d in await ada.decisions("ada")] == [None, "daily_cap"]


async def test_a_rule_by_topic_holds(ada):
    """One message of the topic in any week: a day later it is refused, with the rule on record."""
    rule = {"scope": "topic", "n": 1, "within_s": 7 * 86_400}
    await ada.ok("PUT", "/v1/policy", {"caps": [rule]}, who=ada.ops)
    assert await come(ada) == "send"
    assert await come(ada, day=2) == "cap_rule"
    limits = next(c for c in (await ada.decisions("ada"))[-1]["checks"] if c["gate"] == "limits")
    assert limits["facts"]["rules"] == [{"rule": rule, "had": 1}]


# The budget -------------------------------------------------------------------------------------------------------


async def test_three_misses_are_one_step_down(ada):
    """Three messages that nobody answers: one a day is left; her page shows each step, in words too."""
    for day in range(3):
        assert await come(ada, day) == "send"
        await answer(ada, "delivered")
    await ada.set_clock(NOON + 3 * DAY + timedelta(hours=1))
    found = await budget(ada)
    assert (found["level"], found["misses"]) == ({"messages": 1, "days": 1}, 0)
    assert [step["what"] for step in found["steps"]] == ["missed"] * 3
    assert found["sentence"] == "We send you at most 1 message in a day."


async def test_a_creepy_message_is_two_steps_down_and_less_personal(ada):
    """One tap: one message in three days is left, and the comfort level is lower, at once."""
    assert await come(ada) == "send"
    await answer(ada, "creepy")
    assert (await budget(ada))["level"] == {"messages": 1, "days": 3}
    settings = await ada.ok("GET", "/v1/me/preferences", who=ada.customer("ada"))
    assert settings["comfort_level"] == 1
    assert await come(ada, day=2) == "attention_budget"
    assert await come(ada, day=5) == "send"


async def test_stop_turns_the_topic_off(ada):
    """One tap: the topic is off, at once, and only once however often it is tapped."""
    assert await come(ada) == "send"
    await answer(ada, "stop")
    assert (await answer(ada, "stop"))["repeated"]
    settings = await ada.ok("GET", "/v1/me/preferences", who=ada.customer("ada"))
    assert (settings["topics"], settings["comfort_level"]) == ({"sneakers": False}, 2)
    assert len((await budget(ada))["steps"]) == 1
    assert await come(ada, day=4) == "topic_off"


async def test_stepping_into_the_store_is_an_answer(ada):
    """She was told near the store and stepped in: that is a visit, and no miss."""
    inner = ring("harbour", 53.55, 10.0, 40)
    inner["properties"] |= {"id": "harbour-inside", "kind": "store"}
    await ada.ok("PUT", "/v1/geofences/harbour-inside", inner, who=ada.ops)
    await ada.wait_until_matching("harbour-inside")
    start = NOON - timedelta(minutes=10)
    for n, metres in enumerate((600, 100, 100, 100)):
        await ada.set_clock(start + timedelta(minutes=2 * n))
        await ada.ping("ada", fix(ada.now, 53.55 + metres / 111_200, 10.0))
    await ada.settled()
    await answer(ada, "delivered")
    for n in range(3):
        await ada.set_clock(NOON + timedelta(minutes=n))
        await ada.ping("ada", fix(ada.now, 53.55, 10.0))
    await ada.settled()
    assert [step["what"] for step in (await budget(ada))["steps"]] == ["visited"]


async def test_a_late_till_undoes_a_miss(ada):
    """The till tells two days later that she bought in the store within the day: then it was no miss."""
    assert await come(ada) == "send"
    await answer(ada, "delivered")
    bought = {"type": "purchased", "occurred_at": ada.now + timedelta(hours=1), "store_id": "harbour"}
    await ada.pass_time(days=2)
    assert [step["what"] for step in (await budget(ada))["steps"]] == ["missed"]
    await ada.ok("POST", "/v1/customers/ada/events", {"events": [bought]}, who=ada.ops)
    assert [step["what"] for step in (await budget(ada))["steps"]] == ["converted"]


async def until_matching(client: Any, place: tuple[float, float]) -> None:
    """Send strangers past a place until this process sees one of them arrive."""
    async with asyncio.timeout(60):
        for n in itertools.count():
            stranger = f"stranger-{client.app.port}-{n}"
            await client.opt_in(stranger, purposes=("location",))
            now = datetime.now(UTC)
            far = fix(now - timedelta(seconds=200), place[0] + 0.0045, place[1])
            near = [fix(now - timedelta(seconds=ago), *place) for ago in (60, 0)]
            await client.ping(stranger, far, *near)
            if await client.transitions(stranger):
                return
            await asyncio.sleep(0.2)


# Several processes ------------------------------------------------------------------------------------------------


async def test_rules_hold_over_several_processes(database_url, fcm, tmp_path):
    """64 phones of one customer arrive at 64 stores at once, at two processes: the rule's two messages go out."""
    values = environment(database_url, fcm, tmp_path, GEOSERVICE_CLOCK="system", GEOSERVICE_DEFAULT_DAILY_CAP="50")
    values["GEOSERVICE_DEFAULT_QUIET_HOURS"] = "none"
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(running_process(values, tmp_path / "first.log"))
        now = datetime.now(UTC)
        places = [(53.0 + 0.02 * n, 10.0) for n in range(64)]
        for n, (lat, lon) in enumerate(places):
            body = {"name": f"Store {n}", "lat": lat, "lon": lon, "timezone": "Europe/Berlin"}
            await client.ok("PUT", f"/v1/stores/s{n}", body, who=client.ops)
        fences = [ring(f"s{n}", lat, lon) for n, (lat, lon) in enumerate(places)]
        collection = {"type": "FeatureCollection", "features": fences}
        await client.ok("POST", "/v1/geofences/import", collection, who=client.ops)
        campaign = {
            "name": "Any",
            "topic": "sneakers",
            "trigger": {"on": "enter"},
            "content": {"title": "Hello", "body": "Come in"},
            "limits": FREE,
        }
        await client.ok("PUT", "/v1/campaigns/any", campaign, who=client.ops)
        rule = {"scope": "topic", "n": 2, "calendar": "day"}
        await client.ok("PUT", "/v1/policy", {"caps": [rule]}, who=client.ops)
        await client.opt_in("ada", purposes=("location", "marketing_push"))
        for n in range(64):
            phone = {"platform": "android", "push_token": f"t{n}"}
            await client.ok("PUT", f"/v1/devices/d{n}", phone, who=client.customer("ada"))
        second = await stack.enter_async_context(running_process(values, tmp_path / "second.log"))
        clients = (client, second)
        for each in clients:
            await until_matching(each, places[-1])
        away = now - timedelta(seconds=200)
        await asyncio.gather(
            *(
                clients[n % 2].ping(
                    "ada",
                    fix(away, lat + 0.0045, lon),
                    fix(now - timedelta(seconds=60), lat, lon),
                    fix(now, lat, lon),
                    device_id=f"d{n}",
                )
                for n, (lat, lon) in enumerate(places)
            )
        )
        await client.settled(60)
        found = await client.ok("GET", "/v1/decisions?customer_id=ada&limit=1000", who=client.ops)
        there = await client.ok("GET", "/v1/transitions?customer_id=ada&limit=1000", who=client.ops)
        assert len(there["items"]) == 64
    assert Counter(d["reason"] or d["outcome"] for d in found["items"]) == {"send": 2, "cap_rule": 62}
