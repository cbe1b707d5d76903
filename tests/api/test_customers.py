"""What a customer decides holds at once; what is on record of her is hers, and others say why they look."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from conftest import NOON, STORE, Client, fix

from geoservice.demo.fcm_stand_in import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PURPOSES = ["location", "marketing_push", "personalisation", "associate_sharing", "insights"]
ANSWER = {"granted": True, "notice_version": "2026-01"}
LATER = Answer("unavailable", retry_after="30")


@pytest_asyncio.fixture(loop_scope="module")
async def who(request) -> str:
    """A customer of her own for each test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shared) -> Client:
    """A service with a store and a campaign."""
    await shared.set_up_store()
    await shared.set_up_campaign()
    return shared


async def waiting(client: Client, who: str) -> str:
    """Give a message of hers that waits, since the provider is not available; returns its id."""
    return await message_in(client, who, "retry_wait", LATER)


async def sending(client: Client, who: str) -> str:
    """Give a message of hers that is with the provider right now, which takes its time; returns its id."""
    return await message_in(client, who, "sending", Answer("accept", delay_s=0.6))


async def message_in(client: Client, who: str, state: str, answer: Answer) -> str:
    client.fcm.script(answer, token=f"token-{who}-phone")
    await client.opt_in(who)
    await client.browse(who)
    await client.walk_in(who)
    async with asyncio.timeout(5):
        while not (rows := await messages(client, who)) or rows[0]["state"] != state:
            await asyncio.sleep(0.01)
    (row,) = rows
    return row["message_id"]


async def messages(client: Client, who: str) -> list[Any]:
    return await client.sql("select * from messages where customer_id = $1", who)


async def state_of(client: Client, message_id: str) -> tuple[str, str | None]:
    (row,) = await client.sql("select state, failure from messages where message_id = $1", message_id)
    return row["state"], row["failure"]


# Consents -----------------------------------------------------------------------------------------------------------


async def test_no_record_means_no(shared, who):
    """Whoever was never asked has consented to nothing."""
    items = (await shared.ok("GET", "/v1/me/consents", who=shared.customer(who)))["items"]
    assert items == [{"purpose": purpose, "granted": False} for purpose in PURPOSES]


async def test_consents_have_a_history(shared, who):
    """The newest answer is in force, and every earlier one stays on record as evidence."""
    path = "/v1/me/consents/insights"
    for n, granted in enumerate((True, False, True)):
        body = {
            "granted": granted, "notice_version": f"v{n}", "language": "de", "source": "settings, second page",
            "os_permission": "while_in_use",
        }  # fmt: skip
        answer = await shared.ok("PUT", path, body, who=shared.customer(who))
        assert (answer["purpose"], answer["granted"]) == ("insights", granted)
        items = (await shared.ok("GET", "/v1/me/consents", who=shared.customer(who)))["items"]
        (in_force,) = [item for item in items if item["purpose"] == "insights"]
        assert in_force == body | {"purpose": "insights", "recorded_at": answer["recorded_at"]}
    rows = await shared.sql("select granted from consents where customer_id = $1 order by consent_id", who)
    assert [row["granted"] for row in rows] == [True, False, True]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"granted": True}, ""),
        ({"notice_version": "1"}, ""),
        (ANSWER | {"granted": "yes"}, "granted"),
        (ANSWER | {"granted": None}, "granted"),
        (ANSWER | {"notice_version": ""}, "notice_version"),
        (ANSWER | {"source": "s" * 201}, "source"),
        (ANSWER | {"os_permission": "sometimes"}, "os_permission"),
        (ANSWER | {"purpose": "location"}, ""),
    ],
)
async def test_a_doubtful_consent_is_none(shared, who, body, path):
    """An answer that is not clearly one is refused with the place, and nothing is recorded."""
    answer = await shared.call("PUT", "/v1/me/consents/location", body, who=shared.customer(who))
    assert answer.status == 422
    assert answer.body["errors"][0]["path"] == path
    assert not await shared.sql("select from consents where customer_id = $1", who)


async def test_an_unknown_purpose_is_not_found(shared, who):
    """Nobody can consent to a purpose that does not exist."""
    for purpose in ("profiling", "LOCATION", "%00", "location%20"):
        answer = await shared.call("PUT", f"/v1/me/consents/{purpose}", ANSWER, who=shared.customer(who))
        assert (answer.status, answer.body["code"]) == (404, "not_found")


async def test_withdrawing_location_forgets_at_once(shop, who):
    """Once a withdrawal is answered, the last fix and presence are gone, the visit is over, what waits is cancelled."""
    message_id = await waiting(shop, who)
    assert (await shop.ok("GET", "/v1/me/presence", who=shop.customer(who)))["items"]
    answer = await shop.ok("PUT", "/v1/me/consents/location", ANSWER | {"granted": False}, who=shop.customer(who))
    assert (answer["cancelled"], answer["in_flight"]) == ([message_id], [])
    assert await state_of(shop, message_id) == ("cancelled", "consent_withdrawn")
    assert (await shop.ok("GET", "/v1/me/presence", who=shop.customer(who)))["items"] == []
    (device,) = await shop.sql("select track, location_allowed from devices where customer_id = $1", who)
    assert (device["track"], device["location_allowed"]) == (None, False)
    (visit,) = await shop.sql("select ended_at, present from visits where customer_id = $1", who)
    assert visit["ended_at"] is not None
    assert visit["present"] == []
    assert not await shop.sql("select from transitions where customer_id = $1 and engaged_at is null", who)
    (ignored,) = (await shop.ping(who, fix(shop.now, 53.55, 10.0)))["ignored"]
    assert ignored["reason"] == "no_location_consent"
    assert (await shop.call("GET", f"/v1/me/messages/{message_id}", who=shop.customer(who))).status == 404


@pytest.mark.parametrize("purpose", ["marketing_push", "personalisation"])
async def test_withdrawing_cancels_what_needs_it(shop, who, purpose):
    """Withdrawing a consent that a waiting message needs cancels it; where she is stays known."""
    message_id = await waiting(shop, who)
    answer = await shop.ok("PUT", f"/v1/me/consents/{purpose}", ANSWER | {"granted": False}, who=shop.customer(who))
    assert (answer["cancelled"], answer["in_flight"]) == ([message_id], [])
    assert await state_of(shop, message_id) == ("cancelled", "consent_withdrawn")
    assert (await shop.ok("GET", "/v1/me/presence", who=shop.customer(who)))["items"]


async def test_withdrawing_something_else_cancels_nothing(shop, who):
    """A message that does not need a consent does not go with it; nor does saying yes once more cancel anything."""
    message_id = await waiting(shop, who)
    for purpose, granted in (("insights", False), ("associate_sharing", False), ("location", True)):
        body = ANSWER | {"granted": granted}
        answer = await shop.ok("PUT", f"/v1/me/consents/{purpose}", body, who=shop.customer(who))
        assert answer["cancelled"] == []
    assert (await state_of(shop, message_id))[0] != "cancelled"


async def test_a_withdrawal_names_what_is_in_flight(shop, who):
    """A message that the provider may have already cannot be called back; the answer names it, and it is not lost."""
    message_id = await sending(shop, who)
    answer = await shop.ok("PUT", "/v1/me/consents/location", ANSWER | {"granted": False}, who=shop.customer(who))
    assert (answer["cancelled"], answer["in_flight"]) == ([], [message_id])
    await shop.settled()
    assert (await state_of(shop, message_id))[0] == "accepted"


# Preferences --------------------------------------------------------------------------------------------------------

DEFAULTS = {
    "topics": {}, "channels": {}, "quiet_hours": None, "daily_cap": None, "comfort_level": 2, "snooze_until": None,
    "timezone": None, "privacy_signal": False, "interests": {},
}  # fmt: skip


async def patch(client: Client, who: str, **changes: Any) -> Any:
    return await client.call("PATCH", "/v1/me/preferences", changes, who=client.customer(who))


async def settings(client: Client, who: str) -> Any:
    return await client.ok("GET", "/v1/me/preferences", who=client.customer(who))


async def test_preferences_start_with_the_defaults(shared, who):
    """Whoever never touched the settings has the defaults, and a version to compare with."""
    answer = await shared.call("GET", "/v1/me/preferences", who=shared.customer(who))
    assert (answer.status, answer.body) == (200, DEFAULTS)
    assert answer.headers["ETag"] == '"0"'


async def test_preferences_are_merged(shared, who):
    """A patch changes what it names and leaves the rest; null gives a setting back to its default."""
    assert (await patch(shared, who, topics={"sneakers": True, "hats": False}, comfort_level=3)).status == 200
    first = await patch(shared, who, topics={"hats": True}, daily_cap=1, channels={"push": False})
    assert first.body["topics"] == {"sneakers": True, "hats": True}
    assert (first.body["comfort_level"], first.body["daily_cap"]) == (3, 1)
    second = await patch(shared, who, topics={"sneakers": None}, comfort_level=None, channels=None)
    assert second.status == 422  # a whole map has no default to go back to; its entries have
    second = await patch(shared, who, topics={"sneakers": None}, comfort_level=None, channels={"push": None})
    assert second.body["topics"] == {"hats": True}
    assert (second.body["comfort_level"], second.body["daily_cap"], second.body["channels"]) == (2, 1, {})
    await patch(shared, who, topics={"hats": None}, daily_cap=None)
    assert await settings(shared, who) == DEFAULTS


async def test_every_change_has_a_version(shared, who):
    """The ETag counts the changes, and reading shows that of the newest."""
    tags = [(await patch(shared, who, daily_cap=n)).headers["ETag"] for n in (0, 1)]
    read = await shared.call("GET", "/v1/me/preferences", who=shared.customer(who))
    assert [*tags, read.headers["ETag"]] == ['"1"', '"2"', '"2"']


async def test_quiet_hours_are_hours_and_minutes(shared, who):
    """Quiet hours are written and read as 21:00, may wrap midnight, survive other changes, and can be given back."""
    quiet = {"start": "21:00", "end": "08:30"}
    assert (await patch(shared, who, quiet_hours=quiet)).body["quiet_hours"] == quiet
    assert (await patch(shared, who, daily_cap=1)).body["quiet_hours"] == quiet
    assert (await settings(shared, who))["quiet_hours"] == quiet
    assert (await patch(shared, who, quiet_hours=None)).body["quiet_hours"] is None


async def test_quiet_hours_of_hers_are_kept(shop, who):
    """Quiet hours that she set as 12:00 to 14:00 keep a message at noon back."""
    await shop.opt_in(who)
    await shop.browse(who)
    local = shop.now + timedelta(hours=1)  # Hamburg in winter
    quiet = {"start": f"{local:%H:%M}", "end": f"{local + timedelta(hours=2):%H:%M}"}
    await shop.ok("PATCH", "/v1/me/preferences", {"quiet_hours": quiet}, who=shop.customer(who))
    await shop.walk_in(who)
    (decision,) = await shop.decisions(who)
    assert decision["outcome"] != "send"
    assert "quiet" in decision["reason"]


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"daily_cap": 3}, "daily_cap", "above_ceiling"),
        ({"daily_cap": -1}, "daily_cap", "out_of_range"),
        ({"timezone": "Mars/Olympus"}, "timezone", "unknown_timezone"),
        ({"timezone": "/etc/passwd"}, "timezone", "unknown_timezone"),
        ({"comfort_level": 4}, "comfort_level", "out_of_range"),
        ({"quiet_hours": {"start": "9:00", "end": "10:00"}}, "quiet_hours.start", "pattern"),
        ({"quiet_hours": {"start": "24:00", "end": "10:00"}}, "quiet_hours.start", "pattern"),
        ({"quiet_hours": {"start": "21:00:00", "end": "08:00"}}, "quiet_hours.start", "pattern"),
        ({"quiet_hours": {"start": "21:00"}}, "quiet_hours", "missing"),
        ({"topics": {"sneakers": "yes"}}, "topics[...]", "type"),
        ({"topics": {"": True}}, "topics", "length"),
        ({"channels": {"smoke": True}}, "channels", "unknown_value"),
        ({"snooze_until": "2026-03-05T08:00:00"}, "snooze_until", "timezone"),
        ({"tropics": {}}, "", "unknown_field"),
    ],
)
async def test_a_wrong_setting_is_refused(shared, who, changes, path, code):
    """A setting that cannot be is refused with place and rule, and all others stay as they were."""
    answer = await patch(shared, who, **({"comfort_level": 1} | changes))
    assert answer.status == 422
    assert [(error["path"], error["code"]) for error in answer.body["errors"]] == [(path, code)]
    assert await settings(shared, who) == DEFAULTS


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": {"sneakers": False}},
        {"topics": {"sneakers": None}},
        {"channels": {"push": False}},
        {"daily_cap": 0},
        {"snooze_until": NOON + timedelta(days=30)},
    ],
    ids=["topic off", "topic back to its default", "channel off", "none a day", "snoozed"],
)
async def test_what_is_no_longer_wanted_is_cancelled(shop, who, changes):
    """A topic or channel switched off, a cap of none, or a snooze cancels what waits."""
    message_id = await waiting(shop, who)
    answer = await patch(shop, who, **changes)
    assert (answer.body["cancelled"], answer.body["in_flight"]) == ([message_id], [])
    assert await state_of(shop, message_id) == ("cancelled", "preferences_changed")


async def test_another_topic_does_not_matter(shop, who):
    """Switching off another topic cancels nothing."""
    message_id = await waiting(shop, who)
    await patch(shop, who, topics={"hats": True})
    assert (await patch(shop, who, topics={"hats": False})).body["cancelled"] == []
    assert (await state_of(shop, message_id))[0] != "cancelled"


# Phones -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["push_token", "fid"])
async def test_an_address_moves_to_whoever_signs_in(shop, who, kind):
    """A phone that changed hands reaches its new owner only, and what waited for the old one is cancelled."""
    message_id = await waiting(shop, who)
    address = {"push_token": f"token-{who}-phone"}
    if kind == "fid":
        address = {"fid": f"fid-{who}"}
        await shop.ok("PUT", "/v1/devices/phone", {"platform": "ios"} | address, who=shop.customer(who))
    heir = f"heir-{who}"
    await shop.ok("PUT", "/v1/devices/hers", {"platform": "ios"} | address, who=shop.customer(heir))
    rows = await shop.sql(f"select customer_id from devices where {kind} = $1", address[kind])
    assert [row["customer_id"] for row in rows] == [heir]
    assert await state_of(shop, message_id) == ("cancelled", "signed_out")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"platform": "android"}, "push_token"),
        ({"push_token": "t"}, ""),
        ({"platform": "windows", "push_token": "t"}, "platform"),
        ({"platform": "ios", "push_token": ""}, "push_token"),
        ({"platform": "ios", "push_token": "t" * 4097}, "push_token"),
        ({"platform": "ios", "push_token": "t", "timezone": "Mars/Olympus"}, "timezone"),
        ({"platform": "ios", "push_token": "t", "locale": "d"}, "locale"),
        ({"platform": "ios", "push_token": "t", "os_location_permission": "maybe"}, "os_location_permission"),
    ],
)
async def test_a_wrong_registration_is_refused(shared, who, body, path):
    """A phone that cannot be reached, or says something impossible, is refused with the place."""
    answer = await shared.call("PUT", "/v1/devices/phone", body, who=shared.customer(who))
    assert answer.status == 422
    assert [error["path"] for error in answer.body["errors"]] == [path]
    assert not await shared.sql("select from devices where customer_id = $1", who)


async def test_signing_out_forgets_the_phone(shop, who):
    """A phone that signed out is in no store, and nothing waits for it."""
    message_id = await waiting(shop, who)
    assert (await shop.call("DELETE", "/v1/devices/phone", who=shop.customer(who))).status == 204
    assert (await shop.ok("GET", "/v1/me/presence", who=shop.customer(who)))["items"] == []
    assert await state_of(shop, message_id) == ("cancelled", "signed_out")
    assert not await shop.sql("select from visits where customer_id = $1 and ended_at is null", who)
    assert (await shop.call("DELETE", "/v1/devices/phone", who=shop.customer(who))).status == 404


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


async def all_pages(client: Client, path: str, who: dict[str, str], parameter: str) -> list[dict[str, Any]]:
    """Follow ``next`` to the end; no page is empty or longer than asked for."""
    items: list[dict[str, Any]] = []
    step = ""
    while True:
        body = await client.ok("GET", path + step, who=who)
        assert 1 <= len(body["items"]) <= 2
        items += body["items"]
        if "next" not in body:
            return items
        step = f"&{parameter}={quote(body['next'], safe='')}"


# Events -------------------------------------------------------------------------------------------------------------


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
    assert all(re.fullmatch(r"[A-Za-z_]+", value) for name, value in labels if name != "le")
    counted = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for secret in ("greta", "token-", "phone", "harbour", "53.55"):
        assert secret not in counted
