"""What is on record of her is hers to read; others say why they look; who looks at all is told no name."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from conftest import NOON, STORE, Client
from customer_house import all_pages

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Messages -----------------------------------------------------------------------------------------------------------


async def test_a_message_says_why(shop, who):
    """Each message comes with what it says, where it stands, and why; nobody else finds it."""
    await shop.opt_in(who)
    await shop.browse(who)
    await shop.walk_in(who)
    await shop.settled()
    (listed,) = (await shop.ok("GET", "/v1/me/messages", who=shop.customer(who)))["items"]
    assert await shop.ok("GET", f"/v1/me/messages/{listed['id']}", who=shop.customer(who)) == listed
    assert (listed["title"], listed["state"], listed["store_id"]) == ("The shoes are here", "accepted", "harbour")
    assert listed["body"] == f"At {STORE['name']}, in your size."
    assert set(listed["why"]) >= {"summary", "data_used", "consents", "how_to_change"}
    stranger = shop.customer(f"not-{who}")
    assert (await shop.call("GET", f"/v1/me/messages/{listed['id']}", who=stranger)).status == 404
    assert (await shop.ok("GET", "/v1/me/messages", who=stranger))["items"] == []


async def test_messages_come_in_pages(shared, who):
    """Messages are listed newest first, each on exactly one page, also those of the same instant."""
    await shared.ok("PUT", f"/v1/customers/{who}", {}, who=shared.ops)
    await shared.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, purposes, payload,
                                 why, state, reserved_at, not_before, expires_at)
           select $1, 'm' || n, 'd', 'c', 't', 'push', '{}', '{"title": "t", "body": "b"}', '{}',
                  case when n = 3 then 'failed' else 'accepted' end, at, at, at
           from (select n, $2::timestamptz + (n / 3) * interval '1 ms' as at from generate_series(0, 9) as n) as row""",
        who,
        NOON,
    )
    seen = await all_pages(shared, "/v1/me/messages?limit=2", shared.customer(who), "before")
    assert [item["id"] for item in seen] == ["m9", "m8", "m7", "m6", "m5", "m4", "m2", "m1", "m0"]


# Looking up ---------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def greta(shop) -> Client:
    """A service in which Greta has been somewhere, five times."""
    await shop.opt_in("greta")
    await shop.browse("greta")
    await shop.walk_in("greta")
    await shop.settled()
    await shop.sql(
        """insert into transitions (customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source,
                                    late, initial, assumed, recorded_at, engaged_at)
           select 'greta', 't' || n, 'phone', 'g', 'enter', $1, 1, 'fix', false, false, false, $1, $1
           from generate_series(1, 4) as n""",
        NOON,
    )
    await shop.sql(
        """insert into decisions (customer_id, decision_id, transition_id, campaign_id, campaign_version, geofence_id,
                                  outcome, reason, checks, at)
           select 'greta', 'greta-d' || n, 't' || n, 'old', 1, 'g', 'suppress', 'daily_cap', '[]', $1
           from generate_series(1, 4) as n""",
        NOON,
    )
    return shop


LISTS = ["/v1/transitions", "/v1/decisions"]


async def audited(client: Client) -> list[Any]:
    return await client.sql("select * from audit_log where customer_id = 'greta' order by audit_id")


@pytest.mark.parametrize("path", [f"{path}?customer_id=greta" for path in LISTS] + ["/v1/decisions/greta-d1"])
async def test_who_looks_at_one_customer_says_why(greta, path):
    """Her records are for support and officers, with a reason that is put on record; others see nothing."""
    reason = {"Access-Reason": "ticket 7"}
    before = len(await audited(greta))
    for role, headers, code in (
        ("ops", reason, "forbidden"),
        ("server", reason, "forbidden"),
        ("support", {}, "access_reason_missing"),
        ("support", {"Access-Reason": "  "}, "access_reason_missing"),
        ("officer", {}, "access_reason_missing"),
    ):
        answer = await greta.call("GET", path, who=await greta.key(role) | headers)
        assert (answer.status, answer.body["code"]) == (403, code), role
        assert "greta" not in str(answer.body)
    assert len(await audited(greta)) == before
    for role in ("support", "officer"):
        assert (await greta.call("GET", path, who=await greta.key(role) | reason)).status == 200
    assert (await greta.call("GET", path, who=greta.ops)).status == 200
    rows = (await audited(greta))[before:]
    assert [(row["actor"], row["reason"]) for row in rows] == [
        ("support of a test", "ticket 7"),
        ("officer of a test", "ticket 7"),
        ("bootstrap", None),
    ]
    assert {row["action"] for row in rows} == {f"read {'decision' if 'd1' in path else path.split('?')[0][4:]}"}
    assert {row["subject"] for row in rows} == {"greta-d1" if "d1" in path else None}


@pytest.mark.parametrize("path", LISTS)
async def test_who_looks_at_all_is_told_no_name(greta, path):
    """Without asking for one customer, a key sees what happened, and to nobody by name."""
    for role in ("ops", "support", "officer"):
        items = (await greta.ok("GET", path, who=await greta.key(role)))["items"]
        assert items
        assert all({"customer_id", "device_id"}.isdisjoint(item) for item in items)


async def test_a_phone_is_somebodys(greta):
    """Asking for one phone without its owner would go around the reason, so it is refused."""
    answer = await greta.call("GET", "/v1/transitions?device_id=phone", who=await greta.key("support"))
    assert (answer.status, answer.body["code"]) == (403, "customer_id_missing")


@pytest.mark.parametrize("path", LISTS)
async def test_lists_come_in_pages(greta, path):
    """Following `next` as `after` gives every item once, in the order in which it happened."""
    whole = (await greta.ok("GET", f"{path}?customer_id=greta", who=greta.ops))["items"]
    assert len(whole) == 5
    assert await all_pages(greta, f"{path}?customer_id=greta&limit=2", greta.ops, "after") == whole


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 5),
        ("&outcome=send", 1),
        ("&outcome=suppress", 4),
        ("&campaign_id=shoes", 1),
        ("&campaign_id=none", 0),
        (f"&since={quote((NOON + timedelta(seconds=1)).isoformat())}", 1),
    ],
)
async def test_decisions_can_be_narrowed_down(greta, query, expected):
    """Decisions are found by outcome, campaign and time; each says its reason in a sentence."""
    items = (await greta.ok("GET", f"/v1/decisions?customer_id=greta{query}", who=greta.ops))["items"]
    assert len(items) == expected
    assert all(item["reason"] is None or item["sentence"] for item in items)


async def test_a_decision_is_complete(greta):
    """One decision has every check, and what became of its message."""
    (listed,) = (await greta.ok("GET", "/v1/decisions?customer_id=greta&outcome=send", who=greta.ops))["items"]
    whole = await greta.ok("GET", f"/v1/decisions/{listed['id']}", who=greta.ops)
    assert whole["message_state"] == "accepted"
    assert {"gate", "passed", "facts"} <= whole["checks"][0].keys()
    assert whole["why"]["summary"]


# Metrics ------------------------------------------------------------------------------------------------------------


async def test_metrics_name_nobody(greta):
    """Metrics count, and hold no customer, phone, token, place or message: labels are words from a short list."""
    text = (await greta.call("GET", "/metrics")).body.decode()
    assert 'geoservice_pings_total{outcome="accepted"}' in text
    assert 'geoservice_decisions_total{outcome="send",reason="none"}' in text
    labels = dict.fromkeys(re.findall(r'([a-z]+)="([^"]*)"', text))
    assert {name for name, _ in labels} <= {"outcome", "reason", "kind", "stage", "state", "channel", "table", "le"}
    assert all(re.fullmatch(r"[A-Za-z_]+|age_under_16", value) for name, value in labels if name != "le")
    counted = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for secret in ("greta", "token-", "phone", "harbour", "53.55"):
        assert secret not in counted
