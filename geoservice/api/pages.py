"""The web pages: /console/ for store operations and /phone/ for the customer's side, as the build made them.

What has a hash in its name never changes and is kept by browsers; the two pages themselves are asked for each time.
Files lie packed beside their plain form, so nothing is compressed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from geoservice.api.answers import service as answers
from geoservice.api.problems import problem
from geoservice.api.routing import Call, Route, answer
from geoservice.config import Settings
from geoservice.vocabulary import Role

DIST: Final = Path(__file__).parents[1] / "console" / "dist"
PAGES: Final = ("console", "phone")
TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".geojson": "application/geo+json",
}
"""By name here, since browsers are told not to guess, and machines differ in what they take a suffix for."""
FOREVER: Final = "public, max-age=31536000, immutable"


def content_security_policy(settings: Settings) -> str:
    """Allow what our pages do and nothing else: no inline script or style, no host but the map's where one is set."""
    hosts = " ".join(["'self'", *map_origins(settings)])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src {hosts}; img-src 'self' data: blob:; "
        "font-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def map_origins(settings: Settings) -> tuple[str, ...]:
    """Where the map's style, tiles, glyphs and sprites come from, beside the service itself."""
    if settings.map_style_url is None:
        return ()
    parts = urlsplit(settings.map_style_url)
    return tuple(dict.fromkeys([f"{parts.scheme}://{parts.netloc}", *settings.map_origins]))


def serve_pages(application: web.Application, settings: Settings, dist: Path = DIST) -> None:
    """Add the pages and their files, which are no part of the API; what is built later needs another start."""
    policy = content_security_policy(settings)
    for name in PAGES:
        file = dist / name / "index.html"
        application.router.add_get(f"/{name}/", _page(file, policy) if file.is_file() else get_nothing_built)
        application.router.add_get(f"/{name}", _moved_to(f"/{name}/"))
    application.router.add_get("/assets/{name}", _assets({path.name: path for path in (dist / "assets").glob("*")}))


def _page(file: Path, policy: str) -> Handler:
    async def get_page(_request: web.Request) -> web.StreamResponse:
        headers = {"Content-Security-Policy": policy, "Content-Type": "text/html; charset=utf-8"}
        return web.FileResponse(file, headers={**headers, "Cache-Control": "no-cache"})

    return get_page


async def get_nothing_built(_request: web.Request) -> web.StreamResponse:
    """Say that this service has no pages, and how it would get them."""
    return problem(
        503,
        "pages_not_built",
        "The pages are not built",
        "This service was installed without its web pages. In a checkout, scripts/install builds them.",
    )


def _moved_to(place: str) -> Handler:
    async def get_moved(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPMovedPermanently(place)

    return get_moved


def _assets(files: Mapping[str, Path]) -> Handler:
    async def get_asset(request: web.Request) -> web.StreamResponse:
        file = files.get(request.match_info["name"])
        kind = TYPES.get(file.suffix) if file else None
        if file is None or kind is None:
            raise web.HTTPNotFound
        return web.FileResponse(file, headers={"Content-Type": kind, "Cache-Control": FOREVER})

    return get_asset


async def get_pages_settings(call: Call) -> web.Response:
    """Tell the web pages what they need before anybody signs in."""
    services = call.services
    pages = answers.PagesAnswer(map_style_url=services.settings.map_style_url, demo=services.is_demo)
    return answer(msgspec.to_builtins(pages))


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/pages.json", get_pages_settings, frozenset[Role](), answer=answers.PagesAnswer),
)
