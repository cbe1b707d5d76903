"""Campaigns over HTTP: written, read, paused, and refused with the place of what is wrong."""

from __future__ import annotations

import orjson
import pytest
from catalogue_house import around, collection
from conftest import CAMPAIGN, STORE

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_campaign_is_written_read_and_counted(shared):
    """A campaign is there after it was put, alone and in the list, and every put is its next version."""
    first = await shared.ok("PUT", "/v1/campaigns/c1", CAMPAIGN, who=shared.ops)
    assert (first["id"], first["version"], first["state"]) == ("c1", 1, "live")
    assert await shared.ok("GET", "/v1/campaigns/c1", who=shared.ops) == first
    assert {key: first[key] for key in CAMPAIGN} == CAMPAIGN
    second = await shared.ok("PUT", "/v1/campaigns/c1", CAMPAIGN | {"state": "draft"}, who=shared.ops)
    assert (second["version"], second["state"]) == (2, "draft")
    items = (await shared.ok("GET", "/v1/campaigns", who=shared.ops))["items"]
    assert [item for item in items if item["id"] == "c1"] == [second]


CONTENT = CAMPAIGN["content"]
INTEREST = CAMPAIGN["context"]["interest"]
BAD_CAMPAIGNS = [
    ("no name", {"name": ""}, "name"),
    ("no topic", {"topic": " "}, "topic"),
    ("unknown moment", {"trigger": {"on": "arrive"}}, "trigger.on"),
    ("sensitive place", {"trigger": {"on": "enter", "geofence_kind": "sensitive"}}, "trigger.geofence_kind"),
    ("bad fence id", {"trigger": {"on": "enter", "geofence_ids": ["ok", "a b"]}}, "trigger.geofence_ids[1]"),
    ("unknown use", {"uses": ["browse", "gossip"]}, "uses[1]"),
    ("undeclared use", {"uses": []}, "context.interest.events[0]"),
    ("unknown condition", {"context": {"weather": "rain"}}, "context"),
    ("bad interest", {"context": {"interest": INTEREST | {"min_count": 0}}}, "context.interest.min_count"),
    ("bad inside of all", {"context": {"all": [{"interest": INTEREST}, {"interest": {}}]}}, "context.all[1].interest"),
    ("no title", {"content": CONTENT | {"title": ""}}, "content.title"),
    ("bad template", {"content": CONTENT | {"body": "{{ store.name"}}, "content.body"),
    ("unknown variable", {"content": CONTENT | {"body": "{{ customer.name }}"}}, "content.body"),
    ("insecure image", {"content": CONTENT | {"image_url": "http://x.example/a.png"}}, "content.image_url"),
    ("script as link", {"content": CONTENT | {"deep_link": "javascript:alert(1)"}}, "content.deep_link"),
    ("reserved data", {"content": CONTENT | {"data": {"google.x": "1"}}}, "content.data.google.x"),
    ("limit below zero", {"limits": {"cooldown_s": -1}}, "limits.cooldown_s"),
    ("unknown limit", {"limits": {"daily_cap": 9}}, "limits"),
    ("time without offset", {"valid_from": "2026-03-01T00:00:00"}, "valid_from"),
    ("ends before it begins",
     {"valid_from": "2026-03-02T00:00:00Z", "valid_until": "2026-03-01T00:00:00Z"}, "valid_until"),
    ("unknown state", {"state": "on"}, "state"),
    ("unknown schedule", {"schedule": {"cron": "* * * * *"}}, "schedule"),
    ("unknown field", {"titel": "x"}, ""),
]  # fmt: skip


async def test_a_word_that_does_not_exist_is_answered_with_those_that_do(shared):
    """Whoever misspells a word is told which words there are, whether it is a value, one of a list or a name."""
    for changes, path, words in (
        ({"trigger": {"on": "arrive"}}, "trigger.on", "enter, dwell, exit, crossed"),
        ({"schedule": {"weekdays": ["sat", "Sunday"]}}, "schedule.weekdays[1]", "mon, tue, wed, thu, fri, sat, sun"),
    ):
        answer = await shared.call("PUT", "/v1/campaigns/misspelt", CAMPAIGN | changes, who=shared.ops)
        (error,) = answer.body["errors"]
        assert (error["path"], error["message"]) == (path, f"must be one of {words}")
    lena = shared.customer("lena")
    answer = await shared.call("PATCH", "/v1/me/preferences", {"channels": {"smoke": True}}, who=lena)
    assert answer.body["errors"][0]["message"] == "must be one of push, inbox"


PLAIN = [
    ({"valid_from": "27.11.2026"}, "must be a time with an offset, such as 2026-11-27T09:00:00+01:00"),
    ({"valid_from": "2026-11-27T09:00:00"}, "must be a time with an offset, such as 2026-11-27T09:00:00+01:00"),
    ({"schedule": {"dates": ["27.11."]}}, "must be a day, such as 2026-11-27"),
    ({"limits": {"cooldown_s": "a week"}}, "must be a whole number"),
    ({"priority": 5_000}, "must be at most 1000"),
    ({"experiment": {"holdout_percent": 95}}, "must be at most 90"),
    ({"trigger": {"on": "enter", "geofence_ids": ["a b"]}}, "may hold only A-Za-z0-9._:-"),
    ({"trigger": {}}, "`on` is missing"),
    ({"trigger": {"on": "enter", "kind": "store"}},
     "there is no field `kind`; known: on, geofence_kind, geofence_ids, store_ids, tags, after_s"),
    ({"context": {"interest": {"categorie": "tents"}}},
     "there is no field `categorie`; known: category, events, min_count, within_days, not_purchased, provenance"),
    ({"context": {"visits": {"store": "there"}}}, "must be one of any, here"),
    ({"context": {"interest": INTEREST | {"min_count": 0}}}, "must be at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), PLAIN, ids=[row[1][:40] for row in PLAIN])
async def test_a_refusal_says_what_to_write_instead(shared, changes, words):
    """Whoever gets a field of a campaign wrong reads what it must be, in words that need no programmer."""
    answer = await shared.call("PUT", "/v1/campaigns/plain", CAMPAIGN | changes, who=shared.ops)
    assert words in [error["message"] for error in answer.body["errors"]]


async def test_a_body_that_is_no_json_is_refused_with_the_line(shared):
    """Whoever leaves a comma too many in a campaign is told the line and the column."""
    body = b'{"name": "Rain jackets",\n "topic": "outdoor",\n}'
    answer = await shared.call("PUT", "/v1/campaigns/comma", body, who=shared.ops)
    assert answer.status == 400
    assert answer.body["detail"].endswith(": line 2, column 20.")


@pytest.mark.parametrize(("changes", "path"), [row[1:] for row in BAD_CAMPAIGNS], ids=[row[0] for row in BAD_CAMPAIGNS])
async def test_a_wrong_campaign_is_refused(shared, changes, path):
    """A campaign with something wrong is refused, the error points into the body, and there is no campaign."""
    answer = await shared.call("PUT", "/v1/campaigns/wrong", CAMPAIGN | changes, who=shared.ops)
    assert (answer.status, answer.body["code"]) == (422, "invalid")
    assert path in [error["path"] for error in answer.body["errors"]], answer.body["errors"]
    assert all(error["code"] and error["message"] for error in answer.body["errors"])
    assert (await shared.call("GET", "/v1/campaigns/wrong", who=shared.ops)).status == 404


@pytest.mark.parametrize("depth", [10, 100, 900, 5_000])
async def test_a_condition_without_end_is_refused(shared, depth):
    """However deep conditions are nested, the answer is a refusal or a campaign, never an error of ours."""
    condition = b'{"not":' * depth + orjson.dumps({"interest": INTEREST}) + b"}" * depth
    body = orjson.dumps(CAMPAIGN | {"context": "HERE"}).replace(b'"HERE"', condition)
    answer = await shared.call("PUT", "/v1/campaigns/deep", body, who=shared.ops)
    assert answer.status in {200, 400, 422}, answer.body
    assert depth == 10 or answer.status != 200


async def test_a_paused_campaign_is_silent(shared, store):
    """A paused campaign says nothing from its answer on, and says so; resumed, it speaks; both are versions."""
    await shared.ok("POST", "/v1/geofences/import?mode=replace", collection(around(store)), who=shared.ops)
    await shared.wait_until_matching(f"{store}-approach")
    changes = {"trigger": {"on": "enter", "geofence_ids": [f"{store}-approach"]}}
    await shared.set_up_campaign("pausing", **changes)
    for version, (verb, state, expected) in enumerate(
        [("pause", "paused", "suppress"), ("resume", "live", "send"), ("pause", "paused", "suppress")], start=2
    ):
        answer = await shared.ok("POST", f"/v1/campaigns/pausing/{verb}", who=shared.ops)
        assert (answer["state"], answer["version"]) == (state, version)
        guest = f"guest-{version}"
        await shared.opt_in(guest)
        await shared.browse(guest)
        await shared.walk_in(guest, STORE["lat"], STORE["lon"])
        await shared.settled()
        decided = [d for d in await shared.decisions(guest) if d["campaign_id"] == "pausing"]
        assert [(d["outcome"], d["campaign_version"]) for d in decided] == [(expected, version)]
