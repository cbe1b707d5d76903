"""Signing in to the console, its frame, and how its files are served."""

from __future__ import annotations

import pytest
from conftest import OPS_KEY
from console_browser import check_accessible, go_to, in_every_look, keep_picture, open_console, settled

from geoservice.api.pages import DIST

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_wrong_key_is_refused_and_a_right_one_opens_the_console(shared, open_page):
    """Whoever types a wrong key is told so; with a right one she is in, stays in over a reload, and can sign out."""
    page = await open_page(f"{shared.app.url}/console/", complaints_meant=["401"])
    await page.get_by_label("API key").fill("gsk_000000000000_not-a-key-of-this-service")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("does not know this key").wait_for()
    await keep_picture(page, "sign-in-refused")

    await page.get_by_label("API key").fill(OPS_KEY)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Map").wait_for()
    await page.reload()
    await page.get_by_role("heading", name="Map").wait_for()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("API key").wait_for()
    assert await page.evaluate("sessionStorage.length + localStorage.length") == 0


async def test_a_key_of_another_role_is_told_which_it_needs(shared, open_page):
    """A key that may not see geofences learns which role does, instead of an empty map."""
    support = (await shared.key("support"))["Authorization"].removeprefix("Bearer ")
    page = await open_console(open_page, shared, "map", key=support)
    await page.get_by_text("It needs the role ops; yours has support").wait_for()


async def test_a_revoked_key_ends_the_session_with_a_word(shared, open_page):
    """When the key is revoked while she works, the console says so and asks for another; it is kept no longer."""
    page = await open_console(open_page, shared, "decisions", complaints_meant=["401"])
    await settled(page)
    refusal = {"status": 401, "code": "invalid_key", "title": "Unauthenticated", "detail": "The API key does not hold."}
    await page.route("**/v1/**", lambda route: route.fulfill(status=401, json=refusal))
    await go_to(page, "campaigns")
    await page.get_by_text("Your API key no longer holds").wait_for()
    assert await page.evaluate("sessionStorage.length") == 0
    await page.reload()
    await page.get_by_text("does not know this key").wait_for()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_service_that_is_away_costs_nobody_her_key(shared, open_page):
    """Who loads the page while the service restarts is told so, and goes on when it is back, without typing her key."""
    page = await open_console(open_page, shared, "decisions", complaints_meant=["ERR_CONNECTION_REFUSED"])
    await page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    await page.reload()
    await page.get_by_text("The service does not answer.").wait_for()
    await page.unroute("**/v1/**")
    await page.get_by_role("button", name="Try again").click()
    await page.get_by_role("heading", name="Decisions", exact=True).wait_for()


async def test_sign_in_is_for_everybody(shared, open_page):
    """The sign-in page holds to WCAG 2.2 AA, in both colour schemes, down to a narrow phone."""
    page = await open_page(f"{shared.app.url}/console/")
    await page.get_by_label("API key").wait_for()
    async for look in in_every_look(page):
        await check_accessible(page)
        await keep_picture(page, f"sign-in-{look}")


async def test_the_keyboard_gets_past_the_navigation(shared, open_page):
    """The first press of Tab offers a way past the navigation, and taking it puts the focus on the page."""
    page = await open_console(open_page, shared, "health")
    await settled(page)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the page"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#/health")


# How they are served -------------------------------------------------------------------------------------------------


async def test_pages_allow_no_more_than_they_do(shared):
    """The pages come with a strict policy: nothing inline, nothing from elsewhere, in nobody's frame."""
    answer = await shared.call("GET", "/console/")
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "worker-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "connect-src 'self';" in policy
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_files_are_packed_and_kept(shared):
    """A file with a hash in its name comes packed and is kept for good; the page that names it is asked for again."""
    names = [path.name for path in (DIST / "assets").iterdir() if path.suffix == ".js"]
    for name in names:
        answer = await shared.call("GET", f"/assets/{name}", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"].startswith("text/javascript")
    page = await shared.call("GET", "/console/")
    assert page.headers["Cache-Control"] == "no-cache"
    again = await shared.call("GET", "/console/", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/..%2Fconsole%2Findex.html", "/console/none", "/assets/"])
async def test_what_is_not_there_is_a_404(shared, path):
    """Other addresses are not found, whatever they look like, and nothing outside the built files is given out."""
    answer = await shared.call("GET", path)
    assert answer.status == 404
    assert answer.body["code"] == "not_found"
