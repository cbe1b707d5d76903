"""A browser for the tests of the web pages: the machine's Chromium, against a service in this process.

``open_page`` opens pages of any size and colour scheme and fails the test on whatever the browser complains of: errors
on its console, exceptions, and violations of the Content-Security-Policy. Screenshots are kept in ``artefacts/``.
"""

# `conftest` is the file at the top by the time a fixture runs, not yet when this one is read: so imports stand inside.

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

SLOWEST_MS: Final = 60_000
"""Whatever a test waits for comes much sooner, but for a machine that is busy with other things."""


@dataclass
class Window:
    """A browser's window: its pages share what was loaded once and nothing else, for keys stay in their tabs."""

    browser: Browser
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    kept: dict[str, Page] = field(default_factory=dict)

    async def new_page(self, size: Any, stored: dict[str, str], language: str | None, *, dark: bool) -> Page:
        """Open a page that notes what the browser complains of."""
        context = self.context if language is None else await new_context(self.browser, language)
        page = await context.new_page()
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme="dark" if dark else "light")
        page.on("console", lambda said: self.note(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.note(f"{error}"))
        page.on("requestfailed", lambda request: self.note(f"{request.url}: {request.failure}"))
        for name, value in stored.items():
            await page.add_init_script(f"sessionStorage.setItem({name!r}, {value!r})")
        return page

    def note(self, complaint: str) -> None:
        """Keep a complaint for the test that runs."""
        self.complaints.append(complaint)


async def new_context(browser: Browser, language: str) -> BrowserContext:
    """Open a window for somebody in Hamburg."""
    context = await browser.new_context(reduced_motion="reduce", locale=language, timezone_id="Europe/Berlin")
    context.set_default_timeout(SLOWEST_MS)
    return context


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window() -> AsyncIterator[Window]:
    """One browser for a module; without one the tests are skipped, but on an integration server they fail."""
    from console_browser import chromium, missing

    if lack := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)
    async with async_playwright() as playwright:
        # WebGL in software, so that maps are drawn on machines without a graphics card; everything else is drawn by
        # the processor itself, which needs half of the time. Root has no sandbox.
        options = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
        options.append("--disable-gpu-compositing")
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        async with await playwright.chromium.launch(executable_path=chromium(), args=options) as browser:
            expect.set_options(timeout=SLOWEST_MS)
            yield Window(browser, await new_context(browser, "en-GB"))


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(window: Window) -> AsyncIterator[Any]:
    """Opens pages of any size and colour scheme; at the end none of them may have complained.

    ``complaints_meant`` are those that a test means to see, as parts of their text; ``stored`` is what the tab
    remembers whenever it is loaded; ``language`` is the browser's; a page that is ``kept`` by a name is there for the
    module's next test as this one left it.
    """
    from console_browser import ALWAYS_SAID, DESKTOP

    pages: list[Page] = []
    meant: list[str] = []
    window.complaints.clear()

    async def open_it(
        url: str,
        *,
        size: Any = None,
        dark: bool = False,
        stored: dict[str, str] | None = None,
        complaints_meant: Any = (),
        language: str | None = None,
        kept: str | None = None,
    ) -> Page:
        meant.extend(complaints_meant)
        page = window.kept.get(kept or "")
        if page is None:
            page = await window.new_page(size or DESKTOP, stored or {}, language, dark=dark)
            if kept is None:
                pages.append(page)
            else:
                window.kept[kept] = page
        await page.goto(url)
        return page

    yield open_it
    for page in pages:
        await page.close()
    unforeseen = [each for each in window.complaints if not any(part in each for part in (*meant, *ALWAYS_SAID))]
    assert unforeseen == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(shared: Any) -> Any:
    """The shared service with the sample city in it: stores, geofences, products, campaigns."""
    from conftest import OPS_KEY

    from geoservice.demo.city import publish
    from geoservice.demo.client import Client

    await publish(Client(shared.app.url, shared.session, OPS_KEY, lambda _customer: ""))
    return shared
