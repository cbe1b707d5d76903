"""Products, stock and feeds over HTTP, and what they and the customer's own signals do to messages."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from conftest import CAMPAIGN, NOON, STORE

from geoservice.demo.fcm_stand_in import Answer

DAY = timedelta(days=1)
SHOE = {
    "name": "Swift 3",
    "category": "running-shoes",
    "line": "Swift",
    "variants": ["41", "42"],
    "substitutes": ["rival"],
    "complements": ["socks"],
}


def details(answer: Any) -> list[tuple[str, str]]:
    return [(error["path"], error["code"]) for error in answer.body["errors"]]


async def test_products_are_stored_listed_and_forgotten(service):
    """A product comes back as it was put; many come at once, in pages; a forgotten one is not found."""
    server = await service.key("server")
    assert await service.ok("PUT", "/v1/products/swift", SHOE, who=server) == {"id": "swift", **SHOE}
    many = [{"id": f"p{n}", "name": f"Product {n}", "category": "socks"} for n in range(3)]
    assert await service.ok("PUT", "/v1/products", {"products": many}, who=server) == {"stored": 3}
    assert await service.ok("GET", "/v1/products/swift", who=server) == {"id": "swift", **SHOE}
    first = await service.ok("GET", "/v1/products?limit=3", who=service.ops)
    assert ([item["id"] for item in first["items"]], first["next"]) == (["p0", "p1", "p2"], "p2")
    rest = await service.ok("GET", f"/v1/products?limit=3&after={first['next']}", who=service.ops)
    assert rest == {"items": [{"id": "swift", **SHOE}]}
    assert (await service.call("DELETE", "/v1/products/swift", who=server)).status == 204
    assert (await service.call("GET", "/v1/products/swift", who=server)).status == 404
    assert (await service.call("PUT", "/v1/products/swift", SHOE, who=service.customer("ada"))).status == 401


async def test_a_wrong_product_changes_nothing(service):
    """One product that is wrong refuses the whole upload, and every problem is named with its place."""
    good = {"id": "a", "name": "A", "category": "socks"}
    wrong = [good, {**good, "id": "b", "substitutes": ["b"]}, good]
    answer = await service.call("PUT", "/v1/products", {"products": wrong}, who=service.ops)
    assert answer.status == 422
    assert details(answer) == [("products[1].substitutes", "itself"), ("products[2].id", "duplicate")]
    assert await service.ok("GET", "/v1/products", who=service.ops) == {"items": []}
    alone = await service.call("PUT", "/v1/products/b", {**SHOE, "complements": ["b"]}, who=service.ops)
    assert details(alone) == [("complements", "itself")]


async def test_stock_is_what_was_counted_last(service):
    """Counts merge by product and variant; an older count changes nothing; replace forgets what is not named."""
    await service.ok("PUT", "/v1/stores/harbour", STORE, who=service.ops)
    path = "/v1/stores/harbour/stock"
    counted = [{"product_id": "swift", "variant": "42", "quantity": 3}, {"product_id": "cap", "quantity": 1}]
    assert await service.ok("PUT", path, {"items": counted}, who=service.ops) == {"stored": 2}
    late = {"as_of": NOON - DAY, "items": [{"product_id": "swift", "variant": "42", "quantity": 9}]}
    assert await service.ok("PUT", path, late, who=service.ops) == {"stored": 0}
    page = await service.ok("GET", f"{path}?limit=1", who=service.ops)
    assert [(item["product_id"], item["quantity"]) for item in page["items"]] == [("cap", 1)]
    page = await service.ok("GET", path, who=service.ops, params={"limit": 1, "after": page["next"]})
    assert [(item["product_id"], item["variant"], item["quantity"]) for item in page["items"]] == [("swift", "42", 3)]
    await service.ok("PUT", f"{path}?mode=replace", {"items": counted[1:]}, who=service.ops)
    rest = await service.ok("GET", path, who=service.ops)
    assert [item["product_id"] for item in rest["items"]] == ["cap"]
    assert await service.ok("GET", f"{path}?product_id=swift", who=service.ops) == {"items": []}


async def test_wrong_stock_is_refused(service):
    """An unknown store, a count from the future and the same variant twice are each said."""
    item = {"product_id": "cap", "quantity": 1}
    assert (await service.call("PUT", "/v1/stores/x/stock", {"items": [item]}, who=service.ops)).status == 404
    assert (await service.call("GET", "/v1/stores/x/stock", who=service.ops)).status == 404
    await service.ok("PUT", "/v1/stores/harbour", STORE, who=service.ops)
    for body, wrong in (
        ({"items": [item, item]}, [("items[0]", "duplicate"), ("items[1]", "duplicate")]),
        ({"items": [], "as_of": NOON + DAY}, [("as_of", "in_the_future")]),
        ({"items": [{**item, "quantity": -1}]}, [("items[0].quantity", "out_of_range")]),
    ):
        answer = await service.call("PUT", "/v1/stores/harbour/stock", body, who=service.ops)
        assert (answer.status, details(answer)) == (422, wrong)


async def test_feeds_are_heard_and_grow_stale(service):
    """Sales and stock tell that a connected feed is alive, so does a word without news; a day later it is stale."""
    await service.ok("PUT", "/v1/stores/harbour", STORE, who=service.ops)
    await service.ok("PUT", "/v1/feeds/till", {"store_id": "harbour", "as_of": NOON - DAY}, who=service.ops)
    feeds = await service.ok("PUT", "/v1/feeds/shop", {"as_of": NOON - 2 * DAY}, who=service.ops)
    assert [feed["stale"] for feed in feeds["items"]] == [True, False]
    sale = {"type": "purchased", "occurred_at": NOON, "product_id": "cap"}
    events = [{**sale, "store_id": "harbour"}, {**sale, "id": "online"}]
    await service.ok("POST", "/v1/customers/ada/events", {"events": events}, who=service.ops)
    await service.ok("PUT", "/v1/stores/harbour/stock", {"items": []}, who=service.ops)
    feeds = await service.ok("GET", "/v1/feeds", who=service.ops)
    assert [feed["stale"] for feed in feeds["items"]] == [False, False, False]
    await service.pass_time(days=1, seconds=1)
    feeds = await service.ok("PUT", "/v1/feeds/till", {"store_id": "harbour"}, who=service.ops)
    assert [(feed["feed"], feed.get("store_id"), feed["stale"]) for feed in feeds["items"]] == [
        ("shop", None, True),
        ("stock", "harbour", True),
        ("till", "harbour", False),
    ]
    assert (await service.call("DELETE", "/v1/feeds/shop", who=service.ops)).status == 204
    assert (await service.call("DELETE", "/v1/feeds/shop", who=service.ops)).status == 404
    assert (await service.call("PUT", "/v1/feeds/rumours", {}, who=service.ops)).status == 404
    assert (await service.call("PUT", "/v1/feeds/till", {}, who=service.ops)).status == 422


# What they do to messages ---------------------------------------------------------------------------------------


@pytest.fixture
async def lena(service):
    """Lena has looked at two shoes in size 42, and Harbour Street is around the corner."""
    await service.set_up_store()
    await service.opt_in("lena")
    looks = [
        {"type": "product_viewed", "occurred_at": NOON - 2 * DAY, "product_id": "swift", "variant": "42", "id": f"v{n}"}
        for n in range(2)
    ]
    await service.ok("PUT", "/v1/products/swift", SHOE, who=service.ops)
    await service.ok("POST", "/v1/events", {"events": looks}, who=service.customer("lena"))
    return service


async def reason(service: Any) -> str | None:
    await service.walk_in("lena")
    await service.settled()
    (decision,) = await service.decisions("lena")
    return decision["reason"]


async def test_an_event_has_its_products_category(lena):
    """Views that name only a product count for the category that the shop gave it."""
    await lena.set_up_campaign()
    assert await reason(lena) is None


async def test_a_substitute_bought_at_the_till_ends_it(lena):
    """The till tells of a product that the shoe names as doing as well: silence."""
    await lena.set_up_campaign()
    bought = {"type": "purchased", "occurred_at": NOON - DAY, "product_id": "rival", "store_id": "harbour"}
    await lena.ok("POST", "/v1/customers/lena/events", {"events": [bought]}, who=lena.ops)
    assert await reason(lena) == "substitute_purchased"


@pytest.mark.parametrize(("variant", "expected"), [("42", None), ("41", "out_of_stock")])
async def test_her_size_must_be_in_stock(lena, variant, expected):
    """A campaign that asks for her size speaks when this store has it, and not when it has another."""
    await lena.set_up_campaign(in_stock="size")
    body = {"items": [{"product_id": "swift", "variant": variant, "quantity": 1}]}
    await lena.ok("PUT", "/v1/stores/harbour/stock", body, who=lena.ops)
    assert await reason(lena) == expected


async def test_her_size_is_what_the_shop_noted(lena):
    """The shop's note of her size for a category goes before what she looked at."""
    await lena.set_up_campaign(in_stock="size")
    await lena.ok("PUT", "/v1/customers/lena", {"attributes": {"size.running-shoes": 41}}, who=lena.ops)
    body = {"items": [{"product_id": "swift", "variant": "41", "quantity": 1}]}
    await lena.ok("PUT", "/v1/stores/harbour/stock", body, who=lena.ops)
    assert await reason(lena) is None


async def test_a_silent_till_silences(lena):
    """The store's till was heard two days ago and not since: nobody knows what she bought."""
    await lena.set_up_campaign()
    await lena.ok("PUT", "/v1/feeds/till", {"store_id": "harbour", "as_of": NOON - 2 * DAY}, who=lena.ops)
    assert await reason(lena) == "feed_stale"


async def test_the_same_product_does_not_come_twice(lena):
    """Ten days later the campaign has cooled down, and would speak of the very same shoe."""
    await lena.set_up_campaign()
    assert await reason(lena) is None
    await lena.pass_time(days=10)
    await lena.ping("lena", {"type": "location", "recorded_at": lena.now, "lat": 53.6, "lon": 10, "accuracy_m": 10})
    await lena.pass_time(hours=1)
    await lena.walk_in("lena")
    await lena.settled()
    assert (await lena.decisions("lena"))[-1]["reason"] == "same_product"


# Signals ----------------------------------------------------------------------------------------------------------


async def test_a_browsers_privacy_signal_holds_on_the_phone(lena):
    """One request with Sec-GPC turns off what uses her browsing, on every device, and shows in her settings."""
    await lena.set_up_campaign()
    who = lena.customer("lena")
    await lena.ok("GET", "/v1/me/presence", who=who, headers={"Sec-GPC": "1"})
    assert (await lena.ok("GET", "/v1/me/preferences", who=who))["privacy_signal"] is True
    assert await reason(lena) == "privacy_signal"


async def test_without_personal_data_the_signal_changes_nothing(lena):
    """A campaign that uses nothing personal is not what the signal is about."""
    await lena.set_up_campaign(context={}, uses=[])
    await lena.ok("PATCH", "/v1/me/preferences", {"privacy_signal": True}, who=lena.customer("lena"))
    assert await reason(lena) is None


async def test_interests_are_declared_and_taken_back(lena):
    """What she says she likes starts a message without any look; taken back, it does not."""
    interest = {"interest": {"category": "tents", "events": ["declared"]}}
    await lena.set_up_campaign(context=interest, uses=[])
    who = lena.customer("lena")
    said = await lena.ok("PATCH", "/v1/me/preferences", {"interests": {"tents": True, "hats": True}}, who=who)
    assert said["interests"] == {"tents": True, "hats": True}
    said = await lena.ok("PATCH", "/v1/me/preferences", {"interests": {"hats": None}}, who=who)
    assert said["interests"] == {"tents": True}
    assert await reason(lena) is None
    (message,) = (await lena.ok("GET", "/v1/me/messages", who=who))["items"]
    assert "You told us that you like tents" in message["why"]["summary"]
    assert CAMPAIGN["topic"] == message["topic"]


async def test_declared_is_no_event(service):
    """An app cannot declare an interest in her name by posting an event."""
    event = {"type": "declared", "occurred_at": NOON, "category": "tents"}
    answer = await service.ok("POST", "/v1/events", {"events": [event]}, who=service.customer("ada"))
    assert (answer["accepted"], len(answer["rejected"])) == (0, 1)


async def test_a_lowered_cap_cancels_what_waits(service):
    """A cap lowered at noon holds at noon: what was decided and has not left is cancelled."""
    await service.set_up_store()
    await service.set_up_campaign(context={}, uses=[])
    await service.opt_in("ada", purposes=("location", "marketing_push"))
    service.fcm.script(Answer(kind="unavailable", retry_after="300"))
    await service.walk_in("ada")
    async with asyncio.timeout(60):
        while [row["state"] for row in await service.sql("select state from messages")] != ["retry_wait"]:
            await asyncio.sleep(0.01)
    who = service.customer("ada")
    lowered = await service.ok("PATCH", "/v1/me/preferences", {"daily_cap": 1}, who=who)
    assert len(lowered["cancelled"]) == 1
    assert [row["state"] for row in await service.sql("select state from messages")] == ["cancelled"]
