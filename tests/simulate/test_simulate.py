"""A dry run: what a campaign would have done, held against what it did."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
from datetime import timedelta

from conftest import CAMPAIGN, NOON, fix

from geoservice.storage.database import Database, open_pool
from geoservice.workflows.simulate import simulate

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
FAR = 0.0054
PLACES = {"harbour": (53.55, 10.0), "market": (53.60, 10.0)}


async def a_week(service, customers: int, seed: int = 7) -> None:
    """Customers who come and go, look, buy, change their minds and answer, each by chance."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    for store_id, (lat, lon) in PLACES.items():
        await service.set_up_store(store_id, lat, lon)
    await service.set_up_campaign("shoes", limits={"cooldown_s": 86_400})
    anything = {"context": {}, "uses": [], "limits": {"cooldown_s": 172_800}}
    await service.set_up_campaign("other", topic="news", priority=rng.choice((-1, 1)), **anything)
    await service.set_up_campaign("late", topic="news", trigger={"on": "enter", "after_s": 240}, **anything)
    names = [f"c{n}" for n in range(customers)]
    for name in names:
        topics = {"sneakers": rng.random() < 0.9, "news": rng.random() < 0.5}
        await service.opt_in(name, topics=topics)
    for day in range(7):
        for hour in (9, 11, 15, 22):
            start = NOON.replace(hour=0) + (day + 1) * DAY + timedelta(hours=hour)
            await service.set_clock(start)
            coming = [name for name in names if rng.random() < 0.5]
            for name in coming:
                if rng.random() < 0.5:
                    await service.browse(name, times=rng.randint(1, 3))
                what = rng.random()
                who = service.customer(name)
                if what < 0.1:
                    bought = {"type": "purchased", "occurred_at": start, "category": "running-shoes"}
                    await service.ok("POST", "/v1/events", {"events": [bought]}, who=who)
                elif what < 0.2:
                    await service.ok("PATCH", "/v1/me/preferences", {"daily_cap": rng.randint(0, 2)}, who=who)
                elif what < 0.3:
                    await service.ok("PATCH", "/v1/me/preferences", {"daily_cap": None, "comfort_level": 2}, who=who)
            places = {name: rng.choice(list(PLACES.values())) for name in coming}
            for step, away in ((0, FAR), (4, 0.0), (5, 0.0), (10, 0.0), (20, FAR), (22, FAR)):
                await service.set_clock(start + step * MINUTE)
                for name in coming:
                    lat, lon = places[name]
                    await service.ping(name, fix(service.now, lat + away, lon))
            await service.settled()
            for name in coming:
                if rng.random() < 0.4:
                    messages = (await service.ok("GET", "/v1/me/messages", who=service.customer(name)))["items"]
                    if messages:
                        path = f"/v1/me/messages/{messages[0]['id']}/feedback"
                        event = rng.choice(("delivered", "opened", "creepy"))
                        await service.ok("POST", path, {"event": event}, who=service.customer(name))


async def test_a_replay_of_a_live_campaign_is_what_happened(service):
    """Over a generated week 99 % of each live campaign's decisions come out as they did; nothing is written."""
    await a_week(service, customers=8)
    tables = ("messages", "decisions", "deferred", "transitions", "message_events")
    before = [await service.sql(f"select count(*) from {table}") for table in tables]
    until = service.now + timedelta(hours=1)
    dsn = service.app.settings.database_url
    pool = await open_pool(dsn, size=2)
    for campaign_id in ("shoes", "other", "late"):
        campaign = service.app_directory.snapshot.campaigns[campaign_id]
        report = await simulate(
            Database(pool, dsn),
            service.app_directory.snapshot,
            campaign_id,
            campaign.spec,
            since=NOON - DAY,
            until=until,
            limit_s=60,
        )
        rows = await service.sql(
            "select transition_id, outcome, reason from decisions where campaign_id = $1", campaign_id
        )
        happened = sorted(tuple(row) for row in rows)
        replayed = sorted(report.decided)
        assert len(happened) > 50
        same = len(happened) - len(set(happened) - set(replayed))
        assert same >= 0.99 * len(happened), (campaign_id, sorted(set(happened) ^ set(replayed))[:12])
        assert abs(len(replayed) - len(happened)) <= 0.01 * len(happened)
    await pool.close()
    assert before == [await service.sql(f"select count(*) from {table}") for table in tables]


async def test_a_replay_of_what_waited_knows_who_else_was_due(service):
    """Two campaigns wait for the same three minutes in the store: in the replay, too, the one of less weight loses."""
    await service.set_up_store()
    for campaign_id, priority in (("less", 1), ("more", 2)):
        await service.set_up_campaign(campaign_id, trigger={"on": "enter", "after_s": 180}, priority=priority)
    await service.opt_in("ada")
    await service.browse("ada")
    await service.walk_in("ada")
    await service.pass_time(seconds=181)
    async with asyncio.timeout(60):
        while len(happened := await service.decisions("ada")) < 4:
            await asyncio.sleep(0.02)
    assert [each["reason"] for each in happened if each["campaign_id"] == "less"] == ["waiting_for_delay", "outranked"]
    for campaign_id, sent, suppressed in (("less", 0, {"outranked": 1}), ("more", 1, {})):
        found = await service.ok("POST", f"/v1/campaigns/{campaign_id}/dry-run", who=service.ops)
        assert (found["sent"], found["suppressed"]) == (sent, suppressed)


async def test_a_dry_run_tells_how_often_and_why_not(service):
    """A draft over HTTP: one message, one silence with its reason, per day, with examples in which nobody is named."""
    await service.set_up_store()
    await service.set_up_campaign("live", context={}, uses=[], topic="nobody's")
    for name in ("ada", "ben"):
        await service.opt_in(name)
    await service.browse("ada")
    for name in ("ada", "ben"):
        await service.walk_in(name)
        await service.set_clock(NOON)
    await service.pass_time(hours=1)
    draft = {**CAMPAIGN, "state": "draft"}
    found = await service.ok("POST", "/v1/campaigns/draft/dry-run?days=2", draft, who=service.ops)
    assert (found["customers"], found["sent"], found["suppressed"]) == (2, 1, {"context_not_met": 1})
    assert found["by_day"] == [{"day": "2026-03-04", "sent": 1, "suppressed": {"context_not_met": 1}}]
    assert {example["outcome"] for example in found["examples"]} == {"send", "context_not_met"}
    assert not re.search(r"\bada\b", json.dumps(found))  # as a word: an id may hold these letters
    assert await service.sql("select from messages") == []
    stored = await service.ok("POST", "/v1/campaigns/live/dry-run", who=service.ops)
    assert (stored["sent"], stored["suppressed"]) == (0, {"topic_off": 2})
    assert (await service.call("POST", "/v1/campaigns/unknown/dry-run", who=service.ops)).status == 404
    wrong = await service.call("POST", "/v1/campaigns/x/dry-run", {**draft, "uses": []}, who=service.ops)
    assert wrong.status == 422


async def test_a_replay_counts_the_ghosts_of_other_campaigns(service):
    """Whoever was held out of one campaign had her slot taken, so that a dry run of another finds it taken, too."""
    for store_id, (lat, lon) in PLACES.items():
        await service.set_up_store(store_id, lat, lon)
    anything = {"context": {}, "uses": []}
    for campaign_id, store_id in (("first", "harbour"), ("second", "market")):
        trigger = {"on": "enter", "store_ids": [store_id], "after_s": 0}
        experiment = {"holdout_percent": 90} if campaign_id == "first" else None
        await service.set_up_campaign(campaign_id, trigger=trigger, experiment=experiment, **anything)
    names = [f"c{n}" for n in range(6)]
    for name in names:
        await service.opt_in(name)
    for place in PLACES.values():
        start = service.now
        for name in names:
            await service.set_clock(start)
            await service.walk_in(name, *place)
        await service.settled()
        await service.pass_time(hours=1)
    reasons = [each["reason"] for name in names for each in await service.decisions(name)]
    assert "held_out" in reasons
    assert reasons.count("min_gap") == len(names)
    found = await service.ok("POST", "/v1/campaigns/second/dry-run", who=service.ops)
    assert (found["sent"], found["suppressed"]) == (0, {"min_gap": len(names)})


async def test_the_command_replays_a_file(service, tmp_path):
    """``geoservice simulate`` reads a campaign from a file and prints what it came to."""
    await service.set_up_store()
    file = tmp_path / "campaign.json"
    file.write_text(json.dumps(CAMPAIGN))
    settings = service.app.settings
    environment = {"GEOSERVICE_DATABASE_URL": settings.database_url, "GEOSERVICE_DATA_DIR": str(tmp_path), "PATH": "/"}
    command = [sys.executable, "-m", "geoservice", "simulate", str(file), "--days", "7", "--json"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed.splitlines()[-1])["sent"] == 0
    file.write_text("{}")
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 2
