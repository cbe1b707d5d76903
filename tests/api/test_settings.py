"""What customers are told, what they answered, and settings that two screens change at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from conftest import NOON, Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTICE = {
    "texts": {"en": "We use your position.", "de": "Wir nutzen Ihren Standort."},
    "controller": "Strandläufer GmbH", "jurisdiction": "DE", "data_used": ["position"],
}  # fmt: skip


async def consent(client: Client, who: str, notice: str, purpose: str = "location", **more: Any) -> Any:
    body = {"granted": True, "notice_version": notice} | more
    return await client.call("PUT", f"/v1/me/consents/{purpose}", body, who=client.customer(who))


async def test_until_a_notice_is_published_any_version_is_taken(shared):
    """A retailer who keeps the words elsewhere names the version only; nothing is checked."""
    assert not (await shared.ok("GET", "/v1/notices", who=shared.ops))["items"]
    assert (await consent(shared, "early", "whatever-1")).status == 200
    assert (await shared.call("GET", "/v1/me/notice", who=shared.customer("early"))).status == 404


async def test_a_published_notice_does_not_change(shared):
    """A notice may be sent again as it is, and not with other words: consents rest on it."""
    first = await shared.ok("PUT", "/v1/notices/2026-01", NOTICE, who=shared.ops)
    assert await shared.ok("PUT", "/v1/notices/2026-01", NOTICE, who=shared.ops) == first
    other = NOTICE | {"texts": {"en": "We use nothing at all."}}
    answer = await shared.call("PUT", "/v1/notices/2026-01", other, who=shared.ops)
    assert (answer.status, answer.body["code"]) == (409, "notice_published")
    assert await shared.ok("GET", "/v1/notices/2026-01", who=shared.ops) == first
    assert (await shared.call("GET", "/v1/notices/2026-02", who=shared.ops)).status == 404


async def test_the_app_reads_the_words_in_force(shared):
    """Whoever is to be asked reads the newest notice, in every language, with its version."""
    await shared.ok("PUT", "/v1/notices/2026-01", NOTICE, who=shared.ops)
    await shared.pass_time(seconds=1)
    newer = NOTICE | {"texts": {"en": "Newer words."}}
    await shared.ok("PUT", "/v1/notices/2026-02", newer, who=shared.ops)
    words = await shared.ok("GET", "/v1/me/notice", who=shared.customer("reader"))
    assert (words["version"], words["texts"]) == ("2026-02", {"en": "Newer words."})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"texts": {}},
        {"texts": {"en": ""}},
        {"texts": {"<b>": "x"}},
        NOTICE | {"version": "2"},
        {"texts": {"en": 7}},
    ],
)
async def test_a_notice_without_words_is_none(shared, body):
    """A notice has words, in a language that has a tag, and no fields of other kinds."""
    assert (await shared.call("PUT", "/v1/notices/other", body, who=shared.ops)).status == 422


async def test_a_consent_rests_on_what_was_published(shared):
    """Once notices are published, nobody can agree to one that was not; taking back is always possible."""
    await shared.ok("PUT", "/v1/notices/2026-01", NOTICE, who=shared.ops)
    answer = await consent(shared, "ada", "2025-99")
    assert (answer.status, answer.body["errors"][0]["code"]) == (422, "unknown_notice")
    assert (await consent(shared, "ada", "2026-01", language="de", source="onboarding")).status == 200
    assert (await consent(shared, "ada", "2025-99", granted=False)).status == 200


async def test_a_record_says_everything(shared):
    """Each answer keeps what was asked, in which words and language, by whom, under which law, for which data, when."""
    await shared.ok("PUT", "/v1/notices/2026-01", NOTICE, who=shared.ops)
    more = {"language": "de", "source": "settings, page 2", "os_permission": "while_in_use"}
    for granted in (True, False, True):
        await consent(shared, "ben", "2026-01", granted=granted, **more)
    items = (await shared.ok("GET", "/v1/me/consents/location", who=shared.customer("ben")))["items"]
    assert [item["granted"] for item in items] == [True, False, True]
    kept = {name: NOTICE[name] for name in ("controller", "jurisdiction", "data_used")}
    assert items[0] == {"purpose": "location", "granted": True, "notice_version": "2026-01"} | more | kept | {
        "recorded_at": items[0]["recorded_at"]
    }
    in_force = (await shared.ok("GET", "/v1/me/consents", who=shared.customer("ben")))["items"][0]
    assert in_force == items[0]
    assert (await shared.call("GET", "/v1/me/consents/profiling", who=shared.customer("ben"))).status == 404


# Two screens --------------------------------------------------------------------------------------------------------


async def patch(client: Client, who: str, if_match: str | None, **changes: Any) -> Any:
    headers = {} if if_match is None else {"If-Match": if_match}
    return await client.call("PATCH", "/v1/me/preferences", changes, who=client.customer(who), headers=headers)


async def test_an_update_is_not_lost(shared):
    """A screen that shows old settings cannot overwrite what another one changed meanwhile: it gets a 412."""
    first = await patch(shared, "cleo", None, daily_cap=1)
    second = await patch(shared, "cleo", first.headers["ETag"], comfort_level=1)
    assert second.status == 200
    late = await patch(shared, "cleo", first.headers["ETag"], comfort_level=3)
    assert (late.status, late.body["code"]) == (412, "precondition_failed")
    now = await shared.call("GET", "/v1/me/preferences", who=shared.customer("cleo"))
    assert (now.body["comfort_level"], now.headers["ETag"]) == (1, second.headers["ETag"])


@pytest.mark.parametrize(
    ("if_match", "status"),
    [('"0"', 200), ("*", 200), ('"7", "0"', 200), ('W/"0"', 412), ("0", 412), ('"1"', 412), ("", 412), ('"x0"', 412),
     ('"0"x', 412), ('"' + "9" * 400 + '"', 412)],
)  # fmt: skip
async def test_if_match_is_read_as_http_means_it(shared, if_match, status):
    """Any of a list may match, a star always does; weak, unquoted and foreign tags never do."""
    who = f"dora-{abs(hash(if_match))}"
    assert (await patch(shared, who, if_match, daily_cap=1)).status == status


async def test_of_two_at_once_one_wins(shared):
    """Ten changes at once on the same version: one is taken, the others are told to read again."""
    answers = await asyncio.gather(*(patch(shared, "ella", '"0"', daily_cap=n % 2) for n in range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [412] * 9


# At once ------------------------------------------------------------------------------------------------------------


async def test_settings_hold_for_the_next_decision(shared):
    """Whatever she changes holds for the very next time she passes the store."""
    await shared.set_up_store()
    await shared.set_up_campaign()
    for who, changes, reason in (
        ("fay-1", {"topics": {"sneakers": False}}, "topic_off"),
        ("fay-2", {"channels": {"push": False}}, "channel_off"),
        ("fay-3", {"snooze_until": shared.now + timedelta(days=1)}, "snoozed"),
        ("fay-4", {"comfort_level": 1}, "comfort_level"),
        ("fay-5", {"daily_cap": 0}, "daily_cap"),
    ):
        await shared.opt_in(who)
        await shared.browse(who)
        await shared.ok("PATCH", "/v1/me/preferences", changes, who=shared.customer(who))
        await shared.walk_in(who)
        (decision,) = await shared.decisions(who)
        assert decision["outcome"] == "suppress", who
        assert reason in decision["reason"], (who, decision["reason"])


async def test_an_interest_that_is_taken_back_holds_for_what_waits(shared):
    """A message that waits may be about what she likes no longer: it is cancelled; a new like is no harm."""
    from geoservice.decisions.facts import Preferences
    from geoservice.workflows.preferences import _is_stricter

    before = Preferences(interests={"baby": shared.now, "tea": shared.now})
    assert _is_stricter(before, Preferences(interests={"tea": shared.now}), shared.now)
    assert not _is_stricter(Preferences(interests={"tea": shared.now}), before, shared.now)


async def test_a_lower_cap_holds_for_what_waits(shared):
    """Who lowers the number a day to what she has had already does not get the message that waits."""
    from geoservice.decisions.facts import Preferences
    from geoservice.workflows.preferences import _is_stricter

    before = Preferences(daily_cap=2)
    assert _is_stricter(before, Preferences(daily_cap=1), shared.now)
    assert _is_stricter(Preferences(), Preferences(daily_cap=1), shared.now)
    assert not _is_stricter(Preferences(daily_cap=1), before, shared.now)
    assert _is_stricter(before, Preferences(daily_cap=2, timezone="Asia/Tokyo"), shared.now)


# What nobody can set for herself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/me/preferences", {"default_daily_cap": 9}),
        ("PATCH", "/v1/me/preferences", {"version": 9}),
        ("PATCH", "/v1/me/preferences", {"customer_id": "ben"}),
        ("PATCH", "/v1/me/preferences", {"consents": {"location": True}}),
        ("PUT", "/v1/me/consents/location", {"granted": True, "notice_version": "1", "recorded_at": str(NOON)}),
        ("PUT", "/v1/me/consents/location", {"granted": True, "notice_version": "2026-01", "customer_id": "ben"}),
        ("PUT", "/v1/me/consents/location", {"granted": True, "notice_version": "2026-01", "controller": "me"}),
        ("PUT", "/v1/devices/phone", {"platform": "ios", "push_token": "t", "location_allowed": True}),
        ("PUT", "/v1/devices/phone", {"platform": "ios", "push_token": "t", "customer_id": "ben"}),
        ("POST", "/v1/pings", {"device_id": "phone", "customer_id": "ben", "pings": []}),
        ("POST", "/v1/events", {"events": [], "source": "till"}),
        ("POST", "/v1/events", {"events": [], "customer_id": "ben"}),
    ],
)  # fmt: skip
async def test_nothing_comes_in_beside_the_fields(shared, method, path, body):
    """Fields that the service sets itself, caps, consents, other customers, are refused wherever they stand."""
    answer = await shared.call(method, path, body, who=shared.customer("gina"))
    assert answer.status == 422
    assert answer.body["errors"][0]["code"] == "unknown_field"
    assert not await shared.sql(
        "select from consents where customer_id in ('gina', 'ben') and granted and controller = 'me'"
    )
