"""Decisions, the live view and health in the console: one customer with a reason, what happens, how the service is."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest
import pytest_asyncio
from conftest import NOON, OPS_KEY, Client, environment, fix, free_port, running
from console_browser import check_accessible, in_every_look, keep_picture, open_console, settled
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHY = "Ticket 4711: she asks why – schön wär’s"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shared) -> Client:
    """Ada got a message, Bea did not: she had looked at nothing."""
    await shared.set_up_store()
    await shared.set_up_campaign()
    for customer_id in ("ada", "bea"):
        await shared.opt_in(customer_id)
    await shared.browse("ada")
    for customer_id in ("ada", "bea"):
        await shared.set_clock(NOON)
        await shared.walk_in(customer_id)
    await shared.settled()
    await shared.delivered(1)
    return shared


async def look_at(page, customer_id: str) -> None:
    await page.get_by_label("Customer").fill(customer_id)
    await page.get_by_label("Why do you look?").fill(WHY)
    await page.get_by_role("button", name="Show her decisions").click()
    await page.get_by_role("region", name=f"Decisions about {customer_id}").first.wait_for()


# Decisions -----------------------------------------------------------------------------------------------------------


async def test_a_decision_is_read_as_a_ladder_after_saying_why(shop, open_page):
    """Support looks Bea up with a reason: the ladder shows which check refused, and the look is on record."""
    support = (await shop.key("support"))["Authorization"].removeprefix("Bearer ")
    page = await open_console(open_page, shop, "decisions", key=support)
    await page.get_by_role("button", name="Show her decisions").click()
    await page.get_by_text("Say why, in a few words.").wait_for()
    await look_at(page, "bea")
    await page.get_by_role("link", name=re.compile("suppress")).click()
    await page.get_by_role("heading", name="Silent: context not met").wait_for()
    rung = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Context"))
    assert "Refused: this decided" in await rung.inner_text()
    assert (
        "Not reached" in await page.get_by_role("listitem").filter(has_text="best of what could be said").inner_text()
    )
    assert "Around harbour" in await page.locator(".particulars").inner_text()
    await settled(page)
    await check_accessible(page)
    await keep_picture(page, "decision-silent")
    assert not re.search(r"\b(ada|bea)\b", page.url)  # as words: an id may hold these letters
    entries = (await shop.ok("GET", "/v1/audit?customer_id=bea", who=shop.ops))["items"]
    looks = [(each["action"], each["reason"]) for each in entries if each["actor"] == "support of a test"]
    assert ("read decisions", WHY) in looks
    assert ("read decision", WHY) in looks


async def test_a_message_is_followed_to_the_phone(shop, open_page):
    """The decision that sent shows the message with its whole way, and every check that passed."""
    page = await open_console(open_page, shop, "decisions")
    await look_at(page, "ada")
    await page.get_by_role("link", name=re.compile("send")).click()
    await page.get_by_role("heading", name="Sent", exact=True).wait_for()
    message = page.locator(".card").filter(has=page.get_by_role("heading", name="The message"))
    await message.get_by_text("Accepted").first.wait_for()
    assert "The shoes are here" in await message.inner_text()
    assert await page.locator(".rung-passed").count() == 12
    text = await page.locator("main").inner_text()
    assert "53.5" not in text
    await keep_picture(page, "decision-sent")


async def test_without_a_reason_nobody_is_named(shop, open_page):
    """The list of all decisions names nobody, filters by outcome, and a single decision asks why first."""
    page = await open_console(open_page, shop, "decisions")
    rows = page.get_by_role("region", name="Decisions, newest first").get_by_role("row")
    await rows.nth(2).wait_for()
    assert not re.search(r"\bbea\b", await page.locator("main").inner_text())
    await page.get_by_label("Outcome").select_option("send")
    await page.get_by_role("link", name=re.compile("suppress")).wait_for(state="detached")
    await expect(rows).to_have_count(2)
    await page.get_by_role("link", name=re.compile("send")).click()
    await page.get_by_label("Why do you look?").wait_for()


async def test_operations_alone_do_not_see_customers(shop, open_page):
    """A key of operations sees the list of everybody and is told what a single customer needs."""
    ops = (await shop.key("ops"))["Authorization"].removeprefix("Bearer ")
    page = await open_console(open_page, shop, "decisions", key=ops)
    await page.get_by_text("This needs a key with the role support.").wait_for()
    await page.get_by_role("link", name=re.compile("suppress")).first.click()
    await page.get_by_role("heading", name="Your key does not open single decisions").wait_for()


async def test_whoever_signs_in_next_says_why_herself(shop, open_page):
    """Signing out forgets whom one looked at and why: the next one looks under her own reason."""
    page = await open_console(open_page, shop, "decisions")
    await look_at(page, "ada")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("API key").fill(OPS_KEY)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("region", name="All decisions").wait_for()
    for field in ("Customer", "Why do you look?"):
        await expect(page.get_by_label(field)).to_have_value("")


async def test_numbers_and_times_speak_the_language_of_the_page(shop, open_page):
    """In a German browser, too, the English pages write days and times in English."""
    page = await open_console(open_page, shop, "decisions", language="de-DE")
    await page.get_by_role("link", name=re.compile("Decision of 4 Mar 2026, 12:")).first.wait_for()


# Live ----------------------------------------------------------------------------------------------------------------


async def test_whoever_walks_by_appears_in_the_live_view(shop, open_page):
    """A fence is published, somebody walks into it, and the arrival and its decision appear, of nobody by name."""
    await shop.ok(
        "PUT", "/v1/stores/quay", {"name": "Quay", "lat": 53.6, "lon": 10.1, "timezone": "Europe/Berlin"}, who=shop.ops
    )
    page = await open_console(open_page, shop, "live")
    await page.get_by_text("Watching").wait_for()
    await shop.set_up_store("quay", lat=53.6, lon=10.1)
    await shop.opt_in("cyd")
    await shop.set_clock(NOON + timedelta(hours=1))
    await shop.walk_in("cyd", lat=53.6, lon=10.1)
    feed = page.get_by_role("list", name="What happened, newest first")
    await feed.get_by_text("Around quay").first.wait_for()
    await feed.get_by_role("link", name="shoes").wait_for()
    text = await page.locator("main").inner_text()
    assert "cyd" not in text
    assert "53.6" not in text
    await check_accessible(page)
    await keep_picture(page, "live")


async def test_the_live_view_goes_on_after_a_restart(shop, open_page, tmp_path):
    """When the service is started anew the page says so, comes back by itself, and misses nothing."""
    settings = environment(shop.app.settings.database_url, None, tmp_path, GEOSERVICE_PORT=str(free_port()))
    async with running(settings, None) as before:
        await before.set_clock(shop.now)
        page = await open_console(open_page, before, "live", complaints_meant=["ERR_"])
        await page.get_by_text("Watching").wait_for()
    await page.get_by_text("Line broken: trying again").wait_for()
    await add_transition(shop, "while-away", place="quay-while-away")
    async with running(settings, None):
        feed = page.get_by_role("list", name="What happened, newest first")
        await feed.get_by_text("quay-while-away").wait_for()
        await page.get_by_text("Watching").wait_for()
        await add_transition(shop, "afterwards", place="quay-afterwards")
        await feed.get_by_text("quay-afterwards").wait_for()
        await expect(feed.get_by_text("quay-while-away")).to_have_count(1)


async def add_transition(shop: Client, transition_id: str, place: str = "harbour-approach") -> None:
    await shop.sql(
        """insert into transitions (customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source,
                                    late, initial, assumed, recorded_at, engaged_at)
           values ('ada', $1, 'phone', $3, 'enter', $2, 1, 'fix', false, false, false, $2, $2)""",
        transition_id,
        shop.now,
        place,
    )


# Health --------------------------------------------------------------------------------------------------------------


async def test_health_moves(shop, open_page):
    """The health page says that the service is ready, and its figures follow the pings that come in."""
    page = await open_console(open_page, shop, "health")
    await page.get_by_text("Takes requests").wait_for()
    await page.get_by_role("heading", name="Pings", exact=True).wait_for()
    figure = (
        page.locator(".plot").filter(has=page.get_by_role("heading", name="Pings", exact=True)).locator("strong").first
    )
    await shop.opt_in("dan")
    async with asyncio.timeout(30):
        while await figure.inner_text() in {"–", "0.0"}:
            await shop.pass_time(seconds=5)
            await shop.ping("dan", *(fix(shop.now - timedelta(milliseconds=n), 53.7, 10.0) for n in range(20, 0, -1)))
    await check_accessible(page)
    await keep_picture(page, "health")


@pytest.mark.parametrize(
    ("place", "shows"),
    [("decisions", "Context not met"), ("live", "Around harbour"), ("health", "Push provider")],
)
async def test_watching_is_for_everybody(shop, open_page, place, shows):
    """The pages hold to WCAG 2.2 AA, in both colour schemes, down to a narrow phone."""
    page = await open_console(open_page, shop, place)
    if place == "live":
        await page.get_by_text("Watching").wait_for()
        await add_transition(shop, "for-everybody")
    await page.get_by_text(shows).first.wait_for()
    await settled(page)
    async for look in in_every_look(page):
        await check_accessible(page)
        await keep_picture(page, f"{place}-{look}")
