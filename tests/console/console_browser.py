"""What tests of the web pages do with a browser: open, wait, check, keep a picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from conftest import OPS_KEY, Client
from playwright.async_api import Page, expect

from geoservice.api.pages import DIST

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
ARTEFACTS = Path(__file__).parent / "artefacts"
AXE = DIST.parent / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

LOOKS = [(DESKTOP, False), (DESKTOP, True), (PHONE, True), (PHONE, False)]

DRAWN = """() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))
    .then(() => Promise.allSettled(document.getAnimations().map(each => each.finished)))"""

OpenPage = Callable[..., Coroutine[Any, Any, Page]]


def missing() -> str | None:
    """Say what these tests lack on this machine."""
    if chromium() is None:
        return "no Chromium: on Debian and Ubuntu, apt install chromium; or name one in CHROMIUM"
    if not (DIST / "console" / "index.html").is_file() or not AXE.is_file():
        return "the pages are not built: scripts/install"
    return None


def chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return named or next(filter(None, found), None)


ALWAYS_SAID = ("GPU stall", "net::ERR_ABORTED", "GL Driver Message")
"""Of drawing in software, and of requests that a page gave up because it went on."""


async def open_console(open_page: OpenPage, client: Client, place: str = "", *, key: str = OPS_KEY, **how: Any) -> Page:
    """Open the console at a place such as ``map``, signed in."""
    page = await open_page(f"{client.app.url}/console/#/{place}", stored={"geoservice.key": key}, **how)
    await page.get_by_role("navigation", name="Pages").wait_for()
    return page


async def go_to(page: Page, place: str) -> None:
    """Go to another place of the console, as a link there would."""
    await page.evaluate("place => { location.hash = `#/${place}` }", place)


async def settled(page: Page) -> None:
    """Wait until nothing that is shown is being loaded any more."""
    await page.get_by_role("heading", level=1).first.wait_for()
    # Not wait_for_function: it evaluates text in the page, which the Content-Security-Policy forbids.
    await expect(page.locator(".skeleton, [aria-busy=true]")).to_have_count(0)


async def in_every_look(page: Page) -> AsyncIterator[str]:
    """Show the page on a desktop and on a narrow phone, in the light and in the dark; give a name for each look."""
    for size, dark in LOOKS:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme="dark" if dark else "light")
        # Colours that are still on their way to the other scheme have no contrast of their own.
        await page.evaluate(DRAWN)
        yield look_name(size, dark)


def look_name(size: Any, dark: bool) -> str:
    """Name a look as its pictures do."""
    return f"{size['width']}-{'dark' if dark else 'light'}"


async def check_accessible(page: Page) -> None:
    """Hold what is shown to WCAG 2.2 AA, as far as axe can tell, and to no sideways scrolling."""
    if await page.evaluate("typeof axe") == "undefined":
        await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES)
    said = [(each["id"], each["help"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
    assert not said, said
    wide, window = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= window, f"the page is {wide} pixels wide in a window of {window}"


async def keep_picture(page: Page, name: str) -> None:
    """Keep a screenshot, for people to look at."""
    ARTEFACTS.mkdir(exist_ok=True)
    await page.screenshot(path=ARTEFACTS / f"{name}.png")
