"""Routes of the service itself: alive, ready, metrics; and the steerable clock where there is one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from geoservice.api.answers import service as answers
from geoservice.api.openapi import document
from geoservice.api.routing import Call, Route, answer
from geoservice.clock import SteerableClock
from geoservice.errors import NotFound
from geoservice.telemetry.metrics import CATALOGUE, exposition
from geoservice.vocabulary import Instant, Role, in_utc

PUBLIC: Final[frozenset[Role]] = frozenset()


class ClockBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``PUT /v1/clock``: where to put the clock, and whether it flows on from there."""

    now: Instant
    flows: bool = False

    def __post_init__(self) -> None:
        in_utc(self.now)


_clock_body = msgspec.json.Decoder(ClockBody)


async def get_health(_call: Call) -> web.Response:
    """Say that the process is alive."""
    return answer({"status": "alive"})


async def get_ready(call: Call) -> web.Response:
    """Say whether requests can be served, and if not, what is missing; warn of what keeps messages from going out."""
    found = await call.services.readiness.look()
    return answer(found, status=200 if found["ready"] else 503)


async def get_metrics(call: Call) -> web.Response:
    """Give the metrics in Prometheus' text format."""
    CATALOGUE.set(len(call.services.directory.snapshot.catalogue.index_of))
    return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def get_openapi(call: Call) -> web.Response:
    """Give the OpenAPI 3.1 document of this service."""
    return web.Response(body=_document(call.services.routes), content_type="application/json")


@lru_cache(maxsize=1)
def _document(routes: tuple[Route, ...]) -> bytes:
    """Write it once: it takes long enough to hold up others, and anybody may ask for it."""
    return orjson.dumps(document(routes))


async def get_clock(call: Call) -> web.Response:
    """Tell the business time."""
    return answer({"now": call.services.clock.now()})


async def put_clock(call: Call) -> web.Response:
    """Move the business time; only a service that was started with a steerable clock lets itself be moved."""
    clock = call.services.clock
    if not isinstance(clock, SteerableClock):
        raise NotFound("This service's clock cannot be moved.")
    body = await call.body(_clock_body)
    clock.put(body.now, flows=body.flows)
    return answer({"now": clock.now()})


ROUTES: Final = (
    Route("GET", "/healthz", get_health, PUBLIC, answer=answers.HealthAnswer),
    Route("GET", "/readyz", get_ready, PUBLIC, answer=answers.ReadyAnswer, also=(503,)),
    Route("GET", "/metrics", get_metrics, PUBLIC, answer=str, answer_type="text/plain"),
    Route("GET", "/openapi.json", get_openapi, PUBLIC, answer=dict[str, Any]),
)
CLOCK_ROUTES: Final = (
    Route("GET", "/v1/clock", get_clock, frozenset({Role.OPS}), answer=answers.ClockAnswer),
    Route("PUT", "/v1/clock", put_clock, frozenset({Role.OPS}), body=ClockBody, answer=answers.ClockAnswer),
)
"""Only there when the clock is steerable."""
