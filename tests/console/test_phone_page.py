"""The phone page: the shoe story lived by hand, settings that the next decision obeys, leaving, and for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from console_browser import DESKTOP, PHONE, check_accessible, keep_picture
from demo_house import demo_house
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with demo_house(postgres, tmp_path_factory.mktemp("phone_page")) as house:
        yield house


async def pick_up(open_page: Any, demo: Any, *complaints: str, **how: Any) -> Page:
    """A phone fresh from the box: it asks for consent first."""
    await demo.set_time()
    page = await open_page(f"{demo.url}/phone/", complaints_meant=["/demo/stream", *complaints], **how)
    await page.get_by_role("button", name="Continue with my answers").wait_for()
    return page


async def go_on(open_page: Any, demo: Any, *complaints: str, **how: Any) -> Page:
    """The phone of somebody who has allowed all, and looked at two pairs of running shoes."""
    await demo.set_time()
    phone = await demo.new_phone()
    page = await open_page(
        f"{demo.url}/phone/",
        stored={"geoservice.phone.token": phone.token, "geoservice.phone.device": "browser"},
        complaints_meant=["/demo/stream", *complaints],
        **how,
    )
    await page.get_by_role("button", name="Swift 3").wait_for()
    return page


async def allow(page: Page) -> None:
    """Say yes to all three, and to one topic."""
    for name in ("Use my location near stores", "Send me messages", "Use what I look at and buy", "Running"):
        await page.get_by_role("switch", name=name).check()
    await page.get_by_role("button", name="Continue with my answers").click()
    await page.get_by_role("button", name="Swift 3").wait_for()


async def go_to(page: Page, tab: str) -> None:
    if await page.get_by_role("button", name="Unlock").is_visible():
        await page.get_by_role("button", name="Unlock").click()
    await page.get_by_role("navigation", name="App").get_by_role("button", name=tab).click()


async def look_at_shoes(page: Page) -> None:
    await go_to(page, "Shop")
    for name in ("Swift 3", "Tide 2"):
        await page.get_by_role("button", name=name).click()
        await page.get_by_role("heading", name=name).wait_for()
        await page.get_by_role("button", name="Back").click()


async def walk(page: Page, how: str = "Walk past the store") -> None:
    await page.get_by_role("button", name=how).click()
    await expect(page.get_by_role("button", name="Stop")).to_be_disabled(timeout=30_000)


def story(page: Page) -> Any:
    return page.get_by_role("region", name="The shoe story")


# The story -----------------------------------------------------------------------------------------------------------


async def test_the_shoe_story_lived_by_hand(demo, open_page):
    """She allows it, looks, a week passes, she walks by: one push, and why; she buys, walks by: silence, and why."""
    page = await pick_up(open_page, demo)
    await keep_picture(page, "phone-first-start")
    await allow(page)
    await look_at_shoes(page)
    await keep_picture(page, "phone-shop")
    await page.get_by_role("button", name="A week passes").click()
    await page.get_by_text("25 March 2026").wait_for()
    await walk(page)
    push = page.get_by_role("button", name="Running shoes, just around the corner")
    await push.wait_for()
    await keep_picture(page, "phone-push")
    assert [each.title for each in demo.fcm.accepted] == ["Running shoes, just around the corner"]

    await push.click()
    why = page.get_by_role("region", name="Why you got this")
    await expect(why).to_contain_text("You looked at running shoes on 18 March")
    await page.get_by_role("button", name="Helpful").click()
    await page.get_by_text("Good to know.").wait_for()
    await keep_picture(page, "phone-why")
    (message,) = (await customer_calls(page, "GET", "/v1/me/messages"))["items"]
    assert {"delivered", "opened", "helpful"} <= {step["what"] for step in message["timeline"]}

    await go_to(page, "Shop")
    await page.get_by_role("button", name="Swift 3").click()
    await page.get_by_role("button", name="Buy").click()
    await page.get_by_text("Swift 3 is yours").wait_for()
    await page.get_by_role("button", name="A week passes").click()
    await page.get_by_text("1 April 2026").wait_for()
    await walk(page)
    happened = page.get_by_role("log")
    await expect(happened).to_contain_text("bought")
    link = happened.get_by_role("link").first
    assert "/console/#/decisions/" in (await link.get_attribute("href") or "")
    await expect(story(page)).to_contain_text("That is the whole of it")
    await keep_picture(page, "phone-silence")
    assert len(demo.fcm.accepted) == 1


async def customer_calls(page: Page, method: str, path: str, body: Any = None) -> Any:
    """What the service says to her, beside the page."""
    script = """([method, path, body]) => fetch(path, {method, body: body && JSON.stringify(body), headers: {
        'Content-Type': 'application/json',
        Authorization: `Bearer ${sessionStorage.getItem('geoservice.phone.token')}`,
    }}).then(answer => answer.json())"""
    return await page.evaluate(script, [method, path, body])


# Settings that hold --------------------------------------------------------------------------------------------------


async def test_the_next_decision_obeys_the_cap(demo, open_page):
    """She lowers the cap to none: the sentence says so, and the next walk ends in silence for that reason."""
    page = await go_on(open_page, demo)
    await go_to(page, "Settings")
    await page.get_by_role("radio", name="None", exact=True).check()
    await page.get_by_text("We send you no messages.").wait_for()
    await page.get_by_text("How that number comes about").click()
    await page.get_by_text("you are here").wait_for()
    await keep_picture(page, "phone-cap")
    sent = len(demo.fcm.accepted)
    await walk(page)
    decided = (await customer_calls(page, "GET", "/demo/decisions"))["items"]
    reasons = {each["reason"] for each in decided if each["campaign"].endswith("running shoes")}
    assert reasons == {"daily_cap"}
    await expect(page.get_by_role("log")).to_contain_text("messages")
    assert len(demo.fcm.accepted) == sent


async def test_another_phone_of_hers_is_not_overruled(demo, open_page):
    """What another phone changed meanwhile is shown, not overwritten."""
    page = await go_on(open_page, demo, "412")
    await go_to(page, "Settings")
    level = page.get_by_role("radio", name="Only what I asked for")
    await level.wait_for()
    assert (await customer_calls(page, "PATCH", "/v1/me/preferences", {"daily_cap": 1}))["daily_cap"] == 1
    await level.click()
    await page.get_by_text("Another phone of yours was faster").wait_for()
    await expect(page.get_by_role("radio", name="1", exact=True)).to_be_checked()
    await expect(level).not_to_be_checked()
    await level.click()
    await expect(level).to_be_checked()


async def test_two_switches_in_a_row_both_hold(demo, open_page):
    """Who turns two settings quickly one after the other changes both; only another phone's change is a conflict."""
    page = await go_on(open_page, demo)
    await go_to(page, "Settings")
    running, outdoor = (page.get_by_role("switch", name=name) for name in ("Running", "Outdoor"))
    await outdoor.wait_for()
    slow = asyncio.Event()

    async def when_both_are_turned(route: Any) -> None:
        await slow.wait()
        await route.continue_()

    await page.route("**/v1/me/preferences", when_both_are_turned)
    await running.click()
    await outdoor.click()
    slow.set()
    await expect(outdoor).to_be_checked()
    await expect(running).not_to_be_checked()
    topics = (await customer_calls(page, "GET", "/v1/me/preferences"))["topics"]
    assert (topics["running"], topics["outdoor"]) == (False, True)
    await expect(page.get_by_text("Another phone of yours was faster")).to_have_count(0)


async def test_taking_consent_back_holds_at_once(demo, open_page):
    """One switch, and the next positions are dropped at the door, with the reason in her words."""
    page = await go_on(open_page, demo)
    await go_to(page, "Settings")
    location = page.get_by_role("switch", name="Use my location near stores")
    await expect(location).to_be_checked()
    await location.click()
    await page.get_by_text("Taken back; it holds from now on.").wait_for()
    await walk(page)
    await expect(page.get_by_role("log")).to_contain_text("dropped at the door")
    assert (await customer_calls(page, "GET", "/v1/me/presence"))["items"] == []


async def test_she_takes_her_data_along_and_is_erased(demo, open_page):
    """The export is a file with everything; the receipt of the erasure says what is kept; a stranger begins anew."""
    page = await go_on(open_page, demo)
    await go_to(page, "Settings")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Take it along").click()
    text = Path(await (await download.value).path()).read_text(encoding="utf-8")
    assert '"complete": true' in text
    before = await page.evaluate("sessionStorage.getItem('geoservice.phone.token')")
    await page.get_by_role("button", name="Erase everything").click()
    dialog = page.get_by_role("dialog", name="Erase everything about you?")
    await dialog.get_by_role("button", name="Erase everything").click()
    receipt = page.get_by_role("dialog", name="Everything is erased")
    await expect(receipt).to_contain_text("What must be kept")
    await keep_picture(page, "phone-erased")
    await receipt.get_by_role("button", name="Start over as somebody new").click()
    await page.get_by_role("button", name="Continue with my answers").wait_for()
    assert await page.evaluate("sessionStorage.getItem('geoservice.phone.token')") != before


# Hands, keys and bad networks ----------------------------------------------------------------------------------------


async def test_the_phone_is_carried_by_keys_and_by_hand(demo, open_page):
    """Walking to the store with the arrow keys is noticed as being near it, and dragging the phone away as leaving."""
    page = await go_on(open_page, demo)
    believed = page.get_by_role("status").filter(has_text="The service believes")
    marker = page.get_by_role("button", name="Your phone.")
    await marker.focus()
    for key in ("ArrowLeft",) * 6 + ("ArrowDown",) * 7:
        await page.keyboard.press(key)
    await expect(believed).to_contain_text("near Mönckebergstraße")
    await keep_picture(page, "phone-near")
    await marker.hover()
    await page.mouse.down()
    box = await marker.bounding_box()
    for step in range(1, 9):
        await page.mouse.move(box["x"] + 12 - 4 * step, box["y"] + 20 + 14 * step)
    await page.mouse.up()
    await expect(believed).to_contain_text("near no store")


async def test_without_a_connection_nothing_is_lost(demo, open_page):
    """Positions wait on the phone while there is no connection, the page says so, and they arrive afterwards."""
    page = await go_on(open_page, demo, "ERR_INTERNET_DISCONNECTED")
    await page.route("**/v1/pings", lambda route: route.abort("internetdisconnected"))
    marker = page.get_by_role("button", name="Your phone.")
    await marker.focus()
    await page.keyboard.press("ArrowDown")
    await page.get_by_role("log").get_by_text("positions wait on the phone").wait_for()
    await page.unroute("**/v1/pings")
    async with page.expect_request("**/v1/pings") as request:
        await page.keyboard.press("ArrowDown")
    assert len((await request.value).post_data_json["pings"]) == 2


async def test_what_could_not_be_saved_is_said_where_she_looks(demo, open_page):
    """Without a connection no setting changes, and she sees that at once, at the top of the settings or far down."""
    page = await go_on(open_page, demo, "ERR_INTERNET_DISCONNECTED")
    await go_to(page, "Settings")
    consent = page.get_by_role("switch", name="Use my location near stores")
    await expect(consent).to_be_checked()
    for what in ("**/v1/me/consents/*", "**/v1/me/preferences"):
        await page.route(what, lambda route: route.abort("internetdisconnected"))
    failure = page.get_by_text("The service does not answer")
    await consent.click()
    await expect(failure).to_be_in_viewport()
    await expect(consent).to_be_checked()
    await page.get_by_role("button", name="A week", exact=True).click()
    await expect(failure).to_have_count(2)
    await expect(failure.first).to_be_in_viewport()
    await page.unroute("**/v1/me/preferences")
    await page.get_by_role("button", name="Try again").click()
    await expect(failure).to_have_count(1)


async def test_a_tab_keeps_its_phone_until_the_demo_knows_it_no_more(demo, open_page):
    """Loading the page again goes on with the same phone; with a token of yesterday's demo it begins with a new one."""
    page = await pick_up(open_page, demo, "401")
    await allow(page)
    token = await page.evaluate("sessionStorage.getItem('geoservice.phone.token')")
    await page.reload()
    await page.get_by_role("button", name="Swift 3").wait_for()
    assert await page.evaluate("sessionStorage.getItem('geoservice.phone.token')") == token
    await page.evaluate("sessionStorage.setItem('geoservice.phone.token', 'e30.eyJzdWIiOiJhZGEifQ.nobody-signed-this')")
    await page.reload()
    await page.get_by_role("button", name="Continue with my answers").wait_for()


async def test_a_service_that_is_no_demo_asks_for_a_token(shared, open_page):
    """Against any other service developers paste a customer's token; what only a demo has is not there."""
    page = await open_page(f"{shared.app.url}/phone/", complaints_meant=["404"])
    await page.get_by_label("Customer’s token").fill("no token")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("This is no customer’s token").wait_for()
    await check_accessible(page)
    await keep_picture(page, "phone-sign-in")
    await page.get_by_label("Customer’s token").fill(shared.tokens.sign("ada", 3600))
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Continue with my answers").click()
    await page.get_by_role("button", name="Send this position").wait_for()
    assert await page.get_by_role("button", name="A week passes").count() == 0
    await go_to(page, "Settings")
    await page.get_by_role("switch", name="Use my location near stores").click()
    await page.get_by_text("Noted; it holds from now on.").wait_for()
    consents = (await customer_calls(page, "GET", "/v1/me/consents"))["items"]
    assert [each["purpose"] for each in consents if each["granted"]] == ["location"]


# For everybody -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop-light", "phone-dark"])
async def test_every_tab_is_for_everybody(demo, open_page, size, dark):
    """Each screen holds to WCAG 2.2 AA in both colour schemes, down to 360 pixels, and needs no sideways scrolling."""
    name = f"{size['width']}-{'dark' if dark else 'light'}"
    page = await pick_up(open_page, demo, size=size, dark=dark)

    async def look(what: str) -> None:
        await expect(page.locator(".skeleton, [aria-busy=true]")).to_have_count(0)
        await check_accessible(page)
        await keep_picture(page, f"phone-{what}-{name}")

    await look("start")
    await allow(page)
    await look("shop")
    await look_at_shoes(page)
    await page.get_by_role("button", name="Dune Runner").click()
    await look("product")
    await go_to(page, "Inbox")
    await look("inbox-empty")
    await go_to(page, "Settings")
    await page.get_by_text("We send you").wait_for()
    await look("settings")
    if size == PHONE:
        await page.get_by_role("button", name="Street").click()
    await look("street")
    await walk(page)
    push = page.get_by_role("button", name="Running shoes, just around the corner")
    await push.wait_for()
    await look("push")
    if size == PHONE:
        await page.get_by_role("button", name="Phone", exact=True).click()
        await look("lock-screen")
    await push.click()
    await page.get_by_role("region", name="Why you got this").wait_for()
    await look("why")
