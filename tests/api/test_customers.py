"""What a customer decides holds at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from conftest import NOON, Client, fix
from customer_house import sending, state_of, waiting

pytestmark = pytest.mark.asyncio(loop_scope="module")

PURPOSES = ["location", "marketing_push", "personalisation", "associate_sharing", "insights"]
ANSWER = {"granted": True, "notice_version": "2026-01"}


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
    assert not await shop.sql("select from ping_receipts where customer_id = $1", who)
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
