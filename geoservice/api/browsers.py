"""What browsers are told: which pages of other origins may call, and what our own pages may load.

No other origin may call unless the settings name it. Every answer says that its type is not to be guessed; personal
ones stay out of caches; pages load nothing from elsewhere and stand in nobody's frame.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

ALL_ANSWERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "geoservice",  # aiohttp would name its version, and Python's
}
PAGES: Final = {
    # Inline parts: the page at /docs starts itself with a script of its own.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), payment=()",
}
PREFLIGHT_S: Final = 600
_HEADERS: Final = "Authorization, Content-Type, Content-Encoding, If-Match, If-None-Match, Access-Reason, Last-Event-ID"
_EXPOSED: Final = "ETag, Location, Retry-After"


@web.middleware
async def guard_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add the headers that every answer needs, and those of pages; a handler's own come first."""
    response = await handler(request)
    if not response.prepared:
        headers = response.headers
        for name, value in ALL_ANSWERS.items():
            headers.setdefault(name, value)
        kind = response.content_type
        if kind.endswith("json"):
            headers.setdefault("Cache-Control", "no-store")
        elif kind == "text/html":
            for name, value in PAGES.items():
                headers.setdefault(name, value)
    return response


def allow_origins(origins: Collection[str]) -> Middleware:
    """Let pages of these origins call; they bring a token or a key themselves, never a cookie."""

    @web.middleware
    async def allow(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN, "")
        if origin not in origins:
            return await handler(request)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            response: web.StreamResponse = web.Response(status=204)
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "GET, PUT, POST, PATCH, DELETE"
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _HEADERS
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(PREFLIGHT_S)
        else:
            response = await handler(request)
        if not response.prepared:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        return response

    return allow
