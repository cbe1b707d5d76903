"""What the people who write campaigns see before and after: a preview, what came of it, and what pausing does."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio
from conftest import CAMPAIGN, NOON

from geoservice.storage.queries import Queries

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(shared):
    """Ada got the message, Bea is suppressed because she did not look at shoes."""
    await shared.set_up_store()
    await shared.set_up_campaign()
    for customer_id in ("ada", "bea"):
        await shared.opt_in(customer_id)
    await shared.browse("ada")
    for customer_id in ("ada", "bea"):
        await shared.set_clock(NOON)
        await shared.walk_in(customer_id)
    await shared.settled()
    return shared


async def preview(client, **changes):
    return await client.call("POST", "/v1/campaigns/new/preview", {**CAMPAIGN, **changes}, who=client.ops)


async def test_a_preview_reads_as_the_message_would(served):
    """The texts are written with the name of a real store and with somebody who just meets the condition."""
    content = {
        "title": "{{ interest.count }} × {{ interest.category }}",
        "body": "Now at {{ store.name }}, since {{ interest.date }}.",
        "deep_link": "https://shop.example/{{ interest.category | url_encode }}",
    }
    answer = await preview(served, content=content)
    assert answer.status == 200
    (shown,) = answer.body["previews"]
    assert shown["title"] == "2 × running shoes"
    assert shown["body"] == "Now at Harbour Street, since 2 March."
    assert shown["deep_link"] == "https://shop.example/running+shoes"
    assert shown["size_b"] < shown["limit_b"]
    assert answer.body["values"]["geofence.name"] == "Around harbour"
    assert answer.body["warnings"] == []


async def test_a_preview_names_no_interest_where_none_is_asked_for(served):
    """The values that a preview is written with are those that the campaign could use, and no made-up ones."""
    answer = await preview(served, context={}, uses=[], content={"title": "Here", "body": "At {{ store.name }}."})
    assert set(answer.body["values"]) == {"store.name", "geofence.name"}


async def test_every_language_of_every_variant_is_previewed(served):
    """The campaign's own wording comes first, then those in other languages, then each variant's."""
    german = {"title": "Die Schuhe sind da", "body": "Bei {{ store.name }}."}
    content = {**CAMPAIGN["content"], "languages": {"de": german}}
    variants = {"short": {"content": {"title": "Here!", "body": "Come in."}}}
    answer = await preview(served, content=content, experiment={"variants": variants})
    seen = [(each["arm"], each.get("language"), each["title"]) for each in answer.body["previews"]]
    assert seen == [
        ("base", None, "The shoes are here"),
        ("base", "de", "Die Schuhe sind da"),
        ("short", None, "Here!"),
    ]


async def test_a_preview_says_what_would_not_be_sent(served):
    """A text that gives something delicate away on a lock screen is shown with the reason and the word."""
    content = {"title": "About your pregnancy", "body": "It is here."}
    (shown,) = (await preview(served, content=content)).body["previews"]
    assert (shown["refused"], shown["word"]) == ("lock_screen", "pregnancy")
    long = {"title": "Long", "body": "{{ store.name }}" * 60, "data": {f"k{n}": "x" * 900 for n in range(4)}}
    (shown,) = (await preview(served, content=long)).body["previews"]
    assert shown["refused"] == "content_too_long"
    assert shown["size_b"] > shown["limit_b"]


async def test_a_preview_warns_of_a_trigger_that_hears_nothing(served):
    """A campaign about a place that does not exist can be saved, and the preview says that nothing starts it."""
    answer = await preview(served, trigger={"on": "enter", "geofence_ids": ["nowhere"]})
    assert [(each["path"], each["code"]) for each in answer.body["warnings"]] == [("trigger", "hears_nothing")]


async def test_a_preview_warns_of_a_delicate_category(served):
    """Looks at maternity never drive a message, so a campaign about them reaches only who declared the interest."""
    answer = await preview(served, context={"interest": {"category": "maternity"}})
    (warning,) = answer.body["warnings"]
    assert (warning["path"], warning["code"]) == ("context", "delicate")
    assert "maternity" in warning["message"]


async def test_a_preview_refuses_as_saving_would_and_stores_nothing(served):
    """All that is wrong is said at once, by path, in the same words, and there is no campaign afterwards."""
    wrong = {"uses": [], "content": {"title": "", "body": "{{ store.nme }}"}}
    looked_over = await preview(served, **wrong)
    saved = await served.call("PUT", "/v1/campaigns/new", {**CAMPAIGN, **wrong}, who=served.ops)
    assert looked_over.status == saved.status == 422
    assert looked_over.body == saved.body
    assert {each["path"] for each in saved.body["errors"]} >= {"content.title", "content.body"}
    assert (await preview(served)).status == 200
    assert (await served.call("GET", "/v1/campaigns/new", who=served.ops)).status == 404
    for role in ("support", "server"):
        who = await served.key(role)
        assert (await served.call("POST", "/v1/campaigns/new/preview", CAMPAIGN, who=who)).status == 403


async def test_decisions_are_counted_by_campaign_outcome_and_reason(served):
    """The last day's decisions are counted; an earlier window has none of them."""
    counted = await served.ok("GET", "/v1/decisions/counts", who=served.ops)
    items = {(each["campaign_id"], each["outcome"], each["reason"]): each["count"] for each in counted["items"]}
    assert items == {("shoes", "send", None): 1, ("shoes", "suppress", "context_not_met"): 1}
    before = (NOON - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    until = NOON.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await served.ok("GET", f"/v1/decisions/counts?since={before}&until={until}", who=served.ops))["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-03-04T11:00:00Z&until=2026-03-04T11:00:00Z",
        "since=2026-01-01T00:00:00Z&until=2026-03-01T00:00:00Z",
        "since=yesterday",
        "since=2026-03-04T11:00:00",
        "until=0001-01-01T00:00:00Z",
        "campaign_id=shoes",
    ],
)
async def test_a_window_that_cannot_be_is_refused(served, query):
    """Windows that are empty, longer than a month, without an offset or at the calendar's end get a 422."""
    assert (await served.call("GET", f"/v1/decisions/counts?{query}", who=served.ops)).status == 422


async def test_counting_reads_no_decision(served):
    """The index holds all that is counted, so that a busy day costs no reading of its decisions."""
    await served.sql("vacuum analyze decisions")
    connection = await asyncpg.connect(served.app.settings.database_url)
    try:
        await connection.execute("set enable_seqscan = off")  # the table is too small for the planner to care
        rows = await connection.fetch(f"explain {Queries('live').counts.sql}", NOON, NOON + timedelta(days=1))
    finally:
        await connection.close()
    assert "Index Only Scan using decisions_counted" in "\n".join(row[0] for row in rows)


async def test_decisions_come_newest_first_if_asked(served):
    """The newest come first and pages go back from there, each decision once, with the names of the places."""
    oldest = (await served.ok("GET", "/v1/decisions", who=served.ops))["items"]
    first = await served.ok("GET", "/v1/decisions?order=newest&limit=1", who=served.ops)
    second = await served.ok("GET", f"/v1/decisions?order=newest&limit=1&after={first['next']}", who=served.ops)
    assert [each["id"] for each in [*first["items"], *second["items"]]] == [each["id"] for each in reversed(oldest)]
    assert "next" not in second
    assert first["items"][0]["geofence_name"] == "Around harbour"
    assert first["items"][0]["store_name"] == "Harbour Street"
    assert (await served.call("GET", "/v1/decisions?order=best", who=served.ops)).status == 422


async def test_pausing_says_how_much_it_cancelled(served):
    """Whoever pauses a campaign is told how many messages waited and will not be sent; a second time it is none."""
    await served.set_up_campaign("waiting")
    await served.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, purposes, payload,
                                 why, reserved_at, not_before, expires_at)
           select 'ada', 'w' || n, 'd', 'waiting', 't', 'push', '{}', '{}', '{}', $1, $2, $2
           from generate_series(1, 3) n""",
        served.now,
        served.now + timedelta(days=300),
    )
    paused = await served.ok("POST", "/v1/campaigns/waiting/pause", who=served.ops)
    assert (paused["state"], paused["cancelled"]) == ("paused", 3)
    assert (await served.ok("POST", "/v1/campaigns/waiting/pause", who=served.ops))["cancelled"] == 0
    assert "cancelled" not in await served.ok("POST", "/v1/campaigns/waiting/resume", who=served.ops)
