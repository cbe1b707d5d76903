"""Where a trace begins: a request. Only there when traces are on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from geoservice.telemetry import tracing


@web.middleware
async def trace_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Record every request by its route; the address itself may name a customer.

    What a caller says of a trace of its own is not listened to: phones are many, and not ours.
    """
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    with tracing.request(f"{request.method} {route}") as span:
        response = await handler(request)
        told: dict[str, tracing.Attribute] = {
            "http.request.method": request.method,
            "http.route": route,
            "http.response.status_code": response.status,
        }
        span.note(**told)
        return response
