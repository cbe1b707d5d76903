"""What she did, in the app and at the till, counts once; what the shop knows of her is merged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from conftest import NOON, Client

pytestmark = pytest.mark.asyncio(loop_scope="module")


def event(**changes: Any) -> dict[str, Any]:
    return {"type": "product_viewed", "occurred_at": NOON, "product_id": "p1", "category": "shoes"} | changes


async def post_events(client: Client, who: str, *events: Any) -> Any:
    return await client.call("POST", "/v1/events", {"events": list(events)}, who=client.customer(who))


async def test_events_count_once(shared, who):
    """An event with an id counts once, whatever else it says; without one, the same content counts once."""
    answer = await post_events(shared, who, event(id="e1"), event(id="e1", product_id="p2"), event(), event())
    assert (answer.status, answer.body) == (202, {"accepted": 2, "duplicates": 2, "rejected": []})
    answer = await post_events(shared, who, event(id="e1"), event(), event(quantity=2), event(id="e2"))
    assert (answer.body["accepted"], answer.body["duplicates"]) == (2, 2)
    rows = await shared.sql("select product_id from events where customer_id = $1 and event_id = 'e1'", who)
    assert [row["product_id"] for row in rows] == ["p1"]


async def test_ids_of_events_are_each_customers_own(shared, who):
    """The same id of two customers is two events."""
    for each in (who, f"other-{who}"):
        assert (await post_events(shared, each, event(id="e1"))).body["accepted"] == 1


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"type": "stolen"}, "type", "unknown_value"),
        ({"occurred_at": "2026-03-04T12:00:00"}, "occurred_at", "timezone"),
        ({"occurred_at": NOON + timedelta(days=1)}, "occurred_at", "in_the_future"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at", "in_the_future"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at", "long_ago"),
        ({"category": ""}, "category", "length"),
        ({"category": "c" * 65}, "category", "length"),
        ({"quantity": 0}, "quantity", "out_of_range"),
        ({"price": -0.01}, "price", "out_of_range"),
        ({"id": "a b"}, "id", "pattern"),
        ({"colour": "blue"}, "", "unknown_field"),
    ],
)
async def test_a_bad_event_costs_no_good_one(shared, who, changes, path, code):
    """A bad event is named by index, place and rule; the others are stored."""
    answer = await post_events(shared, who, event(id="a"), event(id="b") | changes, event(id="c"))
    assert (answer.status, answer.body["accepted"]) == (202, 2)
    (rejected,) = answer.body["rejected"]
    assert (rejected["index"], rejected["path"], rejected["code"]) == (1, path, code), rejected
    rows = await shared.sql("select event_id from events where customer_id = $1 order by event_id", who)
    assert [row["event_id"] for row in rows] == ["a", "c"]


async def test_too_many_events_are_a_413(shared, who):
    """More than 1,000 events at once are refused as a whole."""
    answer = await post_events(shared, who, *(event(id=f"e{n}") for n in range(1_001)))
    assert (answer.status, answer.body["code"]) == (413, "too_large")
    assert not await shared.sql("select from events where customer_id = $1", who)


async def test_events_from_the_shop_are_the_same_events(shared, who):
    """What the till reports is stored beside what the app reports, with its source; ids are shared."""
    till = await shared.key("server")
    await post_events(shared, who, event(id="e1"))
    body = {"events": [event(id="e1"), event(id="e2", type="purchased", order_id="o1", price=59.9, quantity=1)]}
    answer = await shared.ok("POST", f"/v1/customers/{who}/events", body, who=till)
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    rows = await shared.sql("select event_id, source from events where customer_id = $1 order by event_id", who)
    assert [tuple(row) for row in rows] == [("e1", "app"), ("e2", "server of a test")]


async def test_what_the_shop_knows_is_merged(shared, who):
    """What the shop leaves out stays; what cannot be is refused."""
    path, till = f"/v1/customers/{who}", shared.ops
    await shared.ok(
        "PUT", path, {"timezone": "Europe/Berlin", "birth_year": 1990, "attributes": {"vip": True}}, who=till
    )
    await shared.ok("PUT", path, {"loyalty_tier": "gold"}, who=till)
    (row,) = await shared.sql("select * from customers where customer_id = $1", who)
    assert (row["timezone"], row["birth_year"], row["loyalty_tier"]) == ("Europe/Berlin", 1990, "gold")
    for body in ({"timezone": "Mars/Olympus"}, {"birth_year": 1066}, {"attributes": {"a": {"b": 1}}}, {"name": "Ada"},
                 {"attributes": {"a": 10**30}}):  # fmt: skip
        raw = body if "attributes" not in body else repr(body).replace("'", '"').encode()
        assert (await shared.call("PUT", path, raw, who=till)).status == 422, body
    assert (await shared.call("PUT", "/v1/customers/a%20b", {}, who=till)).status == 422
