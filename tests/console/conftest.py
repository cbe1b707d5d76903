"""A browser for the tests of the web pages: the machine's Chromium, against a service in this process.

``open_page`` opens pages of any size and colour scheme and fails the test on whatever the browser complains of: errors
on its console, exceptions, and violations of the Content-Security-Policy. Screenshots are kept in ``artefacts/``.
"""

# `conftest` is the file at the top by the time a fixture runs, not yet when this one is read: so imports stand inside.

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for a module; without one the tests are skipped, but on an integration server they fail."""
    from console_browser import chromium, missing

    if lack := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)
    async with async_playwright() as playwright:
        # WebGL in software, so that maps are drawn on machines without a graphics card; root has no sandbox.
        options = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        async with await playwright.chromium.launch(executable_path=chromium(), args=options) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser) -> AsyncIterator[Any]:
    """Opens pages of any size and colour scheme; at the end none of them may have complained.

    ``complaints_meant`` are those that a test means to see, as parts of their text.
    """
    from console_browser import ALWAYS_SAID, DESKTOP

    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    meant: list[str] = []

    async def open_it(
        url: str, *, size: Any = None, dark: bool = False, key: str | None = None, complaints_meant: Any = ()
    ) -> Page:
        meant.extend(complaints_meant)
        context = await browser.new_context(
            viewport=size or DESKTOP,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="Europe/Berlin",
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        if key is not None:
            await context.add_init_script(f"sessionStorage.setItem('geoservice.key', {key!r})")
        page = await context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(f"{error}"))
        page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
        await page.goto(url)
        return page

    yield open_it
    for context in contexts:
        await context.close()
    unforeseen = [each for each in complaints if not any(part in each for part in (*meant, *ALWAYS_SAID))]
    assert unforeseen == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(shared: Any) -> Any:
    """The shared service with the sample city in it: stores, geofences, products, campaigns."""
    from conftest import OPS_KEY

    from geoservice.demo.city import publish
    from geoservice.demo.client import Client

    await publish(Client(shared.app.url, shared.session, OPS_KEY, lambda _customer: ""))
    return shared
