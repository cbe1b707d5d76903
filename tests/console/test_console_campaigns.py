"""Campaigns in the console: writing one with a mistake, mending it, trying it on the past, pausing it at once."""

from __future__ import annotations

import pytest
import pytest_asyncio
from conftest import CAMPAIGN, NOON, Client
from console_browser import DESKTOP, PHONE, check_accessible, go_to, in_every_look, keep_picture, open_console, settled
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

GERMAN = {"title": "Die Schuhe sind da", "body": "Bei {{ store.name }}, in Ihrer Größe."}
SHORT = {"content": {"title": "In your size", "body": "Here, today."}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shared) -> Client:
    """A store, a campaign in two languages and two wordings, and three customers who walked by: one got the message."""
    await shared.set_up_store()
    content = {**CAMPAIGN["content"], "languages": {"de": GERMAN}}
    await shared.set_up_campaign(content=content, experiment={"variants": {"short": SHORT}})
    await shared.set_up_campaign("rain", name="Rain jackets", topic="outdoor", state="paused")
    await shared.set_up_campaign(
        "dinner", name="Dinner on the way home", topic="food", state="draft", context={}, uses=[]
    )
    for customer_id in ("ada", "bea", "cyd"):
        await shared.opt_in(customer_id)
    await shared.browse("ada")
    for customer_id in ("ada", "bea", "cyd"):
        await shared.set_clock(NOON)
        await shared.walk_in(customer_id)
    await shared.settled()
    return shared


async def test_a_mistake_is_shown_at_its_field_and_mended(shop, open_page):
    """An unknown variable is marked where it stands, with the service's own words; mended, the phones show the message.

    Saved as a draft, it stands in the list.
    """
    page = await open_console(open_page, shop, "campaigns", complaints_meant=["422", "404"])
    await page.get_by_role("link", name="New campaign").click()
    await page.get_by_label("Name", exact=True).fill("Trail shoes")
    await page.get_by_label("Topic", exact=True).fill("sneakers")
    await page.get_by_label("Id", exact=True).press("End")
    await page.get_by_label("Id", exact=True).press_sequentially("-2")
    await page.get_by_label("Only at these stores").select_option("Harbour Street")
    await page.get_by_label("In the category").fill("trail-shoes")
    await page.get_by_label("Title", exact=True).fill("The trail shoes are here")
    text = page.get_by_label("Text", exact=True)
    await text.fill("At {{ store.nme }}, in your size.")
    await text.blur()
    await page.get_by_text("unknown variable store.nme").wait_for()
    assert await text.get_attribute("aria-invalid") == "true"
    await keep_picture(page, "campaign-mistake")

    await text.fill("At {{ store.name }}, in your size.")
    await page.get_by_role("complementary", name="Preview").get_by_text("At ").first.wait_for()
    await page.get_by_text("The service would take it as it is.").wait_for()
    assert await text.get_attribute("aria-invalid") is None
    await page.get_by_role("button", name="Create campaign").click()
    await page.get_by_role("heading", name="Trail shoes").wait_for()
    await page.get_by_text("Saved as version 1. It speaks to nobody and leaves no record.").wait_for()
    saved = await shop.ok("GET", "/v1/campaigns/trail-shoes-2", who=shop.ops)
    assert (saved["state"], saved["content"]["body"]) == ("draft", "At {{ store.name }}, in your size.")
    assert saved["trigger"]["store_ids"] == ["harbour"]
    await page.get_by_role("link", name="All campaigns").click()
    await page.get_by_role("link", name="Trail shoes", exact=True).wait_for()


async def test_what_is_missing_is_shown_all_at_once(shop, open_page):
    """Who creates a campaign too early sees every field that it lacks, and stands in the first of them."""
    page = await open_console(open_page, shop, "campaigns/+new", complaints_meant=["422"])
    await page.get_by_text("things are missing or wrong.").wait_for()
    await page.get_by_role("button", name="Create campaign").click()
    for field in ("Name", "Topic", "Title", "Text"):
        await expect(page.get_by_label(field, exact=True)).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("Name", exact=True)).to_be_focused()


async def test_what_is_not_saved_waits_for_whoever_comes_back(shop, open_page):
    """Changes outlive a look at another page, say that they are not saved, and can be discarded."""
    page = await open_console(open_page, shop, "campaigns/rain")
    name = page.get_by_label("Name", exact=True)
    await name.fill("Umbrellas")
    await page.get_by_role("link", name="Health").click()
    await page.get_by_role("heading", name="Health").wait_for()
    await go_to(page, "campaigns/rain")
    await page.get_by_text("As you left it: your changes are not saved yet.").wait_for()
    await expect(name).to_have_value("Umbrellas")
    await page.get_by_role("button", name="Discard changes").click()
    await expect(name).to_have_value("Rain jackets")
    await expect(page.get_by_role("button", name="Save")).to_be_hidden()
    assert (await shop.ok("GET", "/v1/campaigns/rain", who=shop.ops))["name"] == "Rain jackets"


async def test_what_the_form_does_not_show_is_kept(shop, open_page):
    """A campaign with an experiment and languages is changed in the form, and keeps them; JSON shows all of it."""
    page = await open_console(open_page, shop, "campaigns/shoes")
    await page.get_by_label("Name", exact=True).fill("The shoes, again")
    await page.get_by_role("button", name="JSON").click()
    assert '"short"' in await page.get_by_label("The campaign as JSON").input_value()
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("Saved as version").wait_for()
    saved = await shop.ok("GET", "/v1/campaigns/shoes", who=shop.ops)
    assert saved["name"] == "The shoes, again"
    assert saved["experiment"]["variants"]["short"] == SHORT
    assert saved["content"]["languages"]["de"] == GERMAN


async def test_json_that_cannot_be_read_cannot_be_saved(shop, open_page):
    """Half a JSON document is said to be that, and saving waits until it can be read again.

    What was wrong with the document before is not held against it.
    """
    page = await open_console(open_page, shop, "campaigns/dinner", complaints_meant=["422"])
    await page.get_by_role("button", name="JSON").click()
    box = page.get_by_label("The campaign as JSON")
    whole = await box.input_value()
    await box.fill(whole.replace('"food"', "5"))
    await page.get_by_text("must be a text").wait_for()
    await box.fill(whole[:-1])
    await expect(page.get_by_text("must be a text")).to_have_count(0)
    assert await box.get_attribute("aria-invalid") == "true"
    assert await page.get_by_role("button", name="Save").is_disabled()
    await box.fill(whole.replace("Dinner", "Supper"))
    assert await page.get_by_role("button", name="Save").is_enabled()


INSIDE = """texts => texts.every(text => {
    const card = text.closest(".push-card, tr").getBoundingClientRect(), box = text.getBoundingClientRect();
    return box.left >= card.left && box.right <= card.right;
})"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_words_that_do_not_fit_stay_inside(shop, open_page, size):
    """A long title, a word longer than the page and Arabic stay inside their cards, and Arabic runs from the right."""
    long = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen"
    content = {
        "title": f"A message that is longer than a card is wide, of {long}",
        "body": f"أحذية الجري قريبة منك {long}",
    }
    campaign = {**CAMPAIGN, "name": f"{long}, {long}", "state": "draft", "content": content}
    await shop.ok("PUT", "/v1/campaigns/long", campaign, who=shop.ops)
    page = await open_console(open_page, shop, "campaigns", size=size)
    await page.get_by_role("link", name=f"{long}, {long}", exact=True).wait_for()
    assert await page.locator(".campaign-name").evaluate_all(INSIDE)
    await expect(page.get_by_role("link", name="New campaign")).to_be_in_viewport(ratio=1)
    await go_to(page, "campaigns/long")
    await page.get_by_text("The service would take it as it is.").wait_for()
    for way in ("At a glance", "Opened"):
        await page.get_by_role("button", name=way).click()
        assert await page.locator(".push-title, .push-body").evaluate_all(INSIDE), way
    assert await page.locator(".push-body").first.evaluate("text => getComputedStyle(text).direction") == "rtl"
    await keep_picture(page, f"campaign-long-words-{size['width']}")


async def test_somebody_elses_change_is_not_overwritten_unseen(shop, open_page):
    """When a campaign was saved by somebody else meanwhile, saving asks first."""
    page = await open_console(open_page, shop, "campaigns/dinner", complaints_meant=["412"])
    await page.get_by_label("Name", exact=True).fill("Mine")
    there = await shop.ok("GET", "/v1/campaigns/dinner", who=shop.ops)
    body = {key: value for key, value in there.items() if key not in {"id", "version", "live_since"}}
    await shop.ok("PUT", "/v1/campaigns/dinner", {**body, "name": "Theirs"}, who=shop.ops)
    await page.get_by_role("button", name="Save").click()
    await page.get_by_role("heading", name="Somebody else has saved it meanwhile").wait_for()
    assert (await shop.ok("GET", "/v1/campaigns/dinner", who=shop.ops))["name"] == "Theirs"
    await page.get_by_role("button", name="Save mine over it").click()
    await page.get_by_text("Saved as version").wait_for()
    assert (await shop.ok("GET", "/v1/campaigns/dinner", who=shop.ops))["name"] == "Mine"


async def test_a_dry_run_shows_what_would_have_been(shop, open_page):
    """The dry run of what the editor holds counts messages and silences by reason, in a chart and as a table."""
    page = await open_console(open_page, shop, "campaigns/shoes?show=dry-run")
    await page.get_by_role("button", name="Run it dry").click()
    await page.get_by_text("Customers at such a place").wait_for()
    legend = page.locator(".legend")
    assert "Sent 1" in await legend.inner_text()
    assert "Context not met 2" in await legend.inner_text()
    await page.get_by_text("The figures").click()
    await page.get_by_role("region", name="Messages and silences by day").wait_for()
    await check_accessible(page)
    await keep_picture(page, "dry-run")


async def test_one_click_pauses_and_says_what_that_does(shop, open_page):
    """One click in the list pauses a campaign everywhere, says so, and another one lets it speak again."""
    await shop.set_up_campaign("hats", name="Hats")
    page = await open_console(open_page, shop, "campaigns")
    await page.get_by_role("button", name="Pause Hats").click()
    await page.get_by_text("“Hats” is paused: from now on no process sends anything of it.").wait_for()
    assert (await shop.ok("GET", "/v1/campaigns/hats", who=shop.ops))["state"] == "paused"
    badge = page.get_by_role("row").filter(has_text="Hats").locator(".badge")
    await expect(badge).to_have_class("badge badge-warning")
    await keep_picture(page, "campaign-paused")
    await page.get_by_role("button", name="Resume it").click()
    await page.get_by_text("“Hats” is live again").wait_for()
    assert (await shop.ok("GET", "/v1/campaigns/hats", who=shop.ops))["state"] == "live"


async def test_an_older_version_is_taken_back(shop, open_page):
    """The versions tell what was changed; an older one is taken into the editor and saved as the next."""
    await shop.set_up_campaign("socks", name="Socks")
    await shop.set_up_campaign("socks", name="Warm socks")
    page = await open_console(open_page, shop, "campaigns/socks?show=versions")
    await page.get_by_role("button", name="Take version 1 into the editor").click()
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("Saved as version 3").wait_for()
    assert (await shop.ok("GET", "/v1/campaigns/socks", who=shop.ops))["name"] == "Socks"


@pytest.mark.parametrize(
    ("place", "shows"),
    [
        ("campaigns", "Rain jackets"),
        ("campaigns/shoes", "The service would take it as it is."),
        ("campaigns/+new", "things are missing or wrong."),
    ],
    ids=["list", "editor", "new"],
)
async def test_campaigns_are_for_everybody(shop, open_page, place, shows):
    """The list and the editor hold to WCAG 2.2 AA, in both colour schemes, down to a narrow phone."""
    page = await open_console(open_page, shop, place, complaints_meant=["422"])
    await page.get_by_text(shows).wait_for()
    await settled(page)
    async for look in in_every_look(page):
        await check_accessible(page)
        await keep_picture(page, f"{place.replace('/', '-').replace('+', '')}-{look}")
