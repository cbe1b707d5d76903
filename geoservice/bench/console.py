"""The console's map in a real browser: how soon it can be used, and how smoothly 10,000 geofences move.

Chromium draws without a graphics card here, so that a frame takes as long as the processor needs for it; the share that
the geofences have in it shows beside the same moves over an empty map.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

from geoservice.bench.city import fences
from geoservice.bench.processes import Server
from geoservice.bench.town import OPS_KEY, Walkers, serving
from geoservice.errors import SettingsError

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

FENCES: Final = 10_000
MOVES: Final = 40
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS: Final = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_FRAMES: Final = """() => {
    window.frames_ms = [];
    let last = performance.now();
    const next = () => {
        const now = performance.now();
        window.frames_ms.push(now - last);
        last = now;
        requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}"""


async def measure() -> dict[str, Any]:
    """Open the map with 20 geofences and with 10,000, and pan each; see the keys for units."""
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415 - a tool of development only
    except ImportError:
        raise SettingsError(["This benchmark needs playwright: pip install playwright."]) from None
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        raise SettingsError(["This benchmark needs a browser: apt install chromium, or name one in CHROMIUM."])
    options = [*_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    figures: dict[str, Any] = {}
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=path, args=options) as browser,
    ):
        for name, count in (("few", 20), ("many", FENCES)):
            async with serving(Walkers(0), geofences=fences(count)) as server:
                figures |= {f"{name}_{key}": value for key, value in (await _map_of(browser, server)).items()}
    figures["many_frames_to_few"] = round(figures["many_frame_p50_ms"] / figures["few_frame_p50_ms"], 2)
    return {"fences": FENCES, **figures}


async def _map_of(browser: Browser, server: Server) -> dict[str, float]:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    await page.add_init_script(f"sessionStorage.setItem('geoservice.key', {OPS_KEY!r})")
    await page.goto(f"{server.url}/healthz")  # the browser has started, and knows nothing of the console yet
    begun = time.perf_counter()
    await page.goto(f"{server.url}/console/#/map")
    await page.get_by_role("list", name="Geofences").get_by_role("link").first.wait_for()
    listed_ms = (time.perf_counter() - begun) * 1e3
    await page.locator(".map-view[data-drawn]").wait_for()
    drawn_ms = (time.perf_counter() - begun) * 1e3
    frames_ms = await _panned(page)
    await page.close()
    return {
        "usable_ms": round(listed_ms),
        "drawn_ms": round(drawn_ms),
        "frame_p50_ms": round(statistics.median(frames_ms), 1),
        "frame_p95_ms": round(statistics.quantiles(frames_ms, n=20)[-1], 1),
    }


async def _panned(page: Page) -> list[float]:
    """Drag the map to and fro, and give the milliseconds between the frames meanwhile."""
    await page.evaluate(_FRAMES)
    await page.mouse.move(900, 400)
    await page.mouse.down()
    for move in range(MOVES):
        await page.mouse.move(900 + 8 * (move % 20), 400 + 4 * (move % 20))
    await page.mouse.up()
    frames_ms: list[float] = await page.evaluate("window.frames_ms")
    return frames_ms
