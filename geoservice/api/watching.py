"""Routes of whoever watches: what happens now, and how much of what happened lately. Of nobody by name."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import asyncpg
import orjson
import structlog
from aiohttp import web
from msgspec import Struct

from geoservice.api import schemas
from geoservice.api.browsers import ALL_ANSWERS
from geoservice.api.routing import Call, Route, answer, bearer
from geoservice.decisions.decide import Outcome
from geoservice.decisions.reasons import REASONS, Reason
from geoservice.errors import GeoserviceError, Invalid
from geoservice.storage.database import UNREACHABLE
from geoservice.vocabulary import Instant, Role, Source, TransitionKind, in_utc
from geoservice.workflows import live
from geoservice.workflows.directory import Snapshot

OPS: Final = frozenset({Role.OPS})

EVERY_S: Final = 0.25
"""How often a viewer's connection looks for what is new."""
BEAT_S: Final = 15.0
"""After so long without news a comment is sent, so that nobody takes the line for dead."""
SLOW_S: Final = 10.0
"""A viewer who has not taken what was sent after this long is cut; coming back, she goes on where she was."""
COUNTED: Final = timedelta(days=31)

_log = structlog.get_logger(__name__)


# What happens now -----------------------------------------------------------------------------------------------------


class LiveTransition(Struct, tag="transition", omit_defaults=True):
    """A phone and a geofence; whose phone is not told, and two of the same phone are not to be told apart."""

    id: str
    at: datetime
    geofence_id: str
    kind: TransitionKind
    source: Source
    confidence: float
    late: bool
    initial: bool
    geofence_name: str | None = None
    store_id: str | None = None


class LiveDecision(Struct, tag="decision", omit_defaults=True):
    """What one campaign did about one of the transitions."""

    id: str
    at: datetime
    transition_id: str
    campaign_id: str
    campaign_version: int
    geofence_id: str
    outcome: Outcome
    reason: Reason | None = None
    sentence: str | None = None
    geofence_name: str | None = None
    store_id: str | None = None


class LiveNews(Struct):
    """The data of an event ``news``; ``skipped`` when a viewer was away for too long to be told everything."""

    items: list[LiveTransition | LiveDecision]
    skipped: bool = False


async def get_live(call: Call) -> web.StreamResponse:
    """Tell transitions and decisions as they commit, in every process, as server-sent events.

    The data of each event `news` is a JSON object with `items`, each of type `transition` or `decision`. Whoever comes
    back with `Last-Event-ID` misses nothing and is told nothing twice. Comments keep the line alive.
    """
    services, last = call.services, call.request.headers.get("Last-Event-ID")
    with services.viewers.one_more():
        if last is None:
            place, skipped = await live.begin(services.database), False
        else:
            place, skipped = await live.resume(services.database, last)
        return await _tell(call, place, skipped=skipped)


async def _tell(call: Call, place: live.Place, *, skipped: bool) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            **ALL_ANSWERS,
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # a proxy that waits for more would spoil it
        }
    )
    await response.prepare(call.request)
    try:
        async with asyncio.timeout(SLOW_S):
            await response.write(_frame({"items": [], "skipped": skipped}, place))
        await _go_on(call, place, response)
    except (ConnectionError, TimeoutError):
        if call.request.transport is not None:
            call.request.transport.abort()
    except (GeoserviceError, asyncpg.PostgresError, *UNREACHABLE) as error:
        # The key was revoked, or the database is away: either will be said when the viewer comes back.
        _log.info("live_view_ended", error=type(error).__name__)
    return response


async def _go_on(call: Call, place: live.Place, response: web.StreamResponse) -> None:
    """Look and tell, until the service stops or the key holds no more."""
    services, key = call.services, bearer(call.request)
    loop = asyncio.get_running_loop()
    silent_since = loop.time()
    while not services.viewers.stopping:
        await services.keys.actor(key)
        found = await services.viewers.look(services.database, place)
        if found or loop.time() - silent_since > BEAT_S:
            news = _write(found, services.directory.snapshot)
            async with asyncio.timeout(SLOW_S):
                await response.write(_frame({"items": news}, place) if found else b": still here\n\n")
            silent_since = loop.time()
        if not found.more:
            await services.viewers.pause(EVERY_S)


def _frame(news: dict[str, Any], place: live.Place) -> bytes:
    told = place.told()
    told_line = b"" if told is None else b"id: %b\n" % told.encode()
    return b"%bevent: news\ndata: %b\n\n" % (told_line, orjson.dumps(news, option=orjson.OPT_UTC_Z))


def _write(found: live.Look, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Transitions before the decisions about them, in the order in which they happened."""
    transitions = [_write_row("transition", row, snapshot) for row in found.transitions]
    decisions = [_write_row("decision", row, snapshot) for row in found.decisions]
    return sorted([*transitions, *decisions], key=lambda item: item["at"])


def _write_row(kind: Literal["transition", "decision"], row: Any, snapshot: Snapshot) -> dict[str, Any]:
    body = schemas.as_json(row, without=frozenset({"seq", "oldest", "next"}))
    fence = snapshot.fence(row["geofence_id"])
    named = {} if fence is None else {"geofence_name": fence.name, "store_id": fence.store_id}
    reason = body.get("reason")
    words = {"sentence": REASONS[Reason(reason)].ops} if reason in set(Reason) else {}
    return {"type": kind, "id": body.pop(f"{kind}_id"), **named, **body, **words}


# How much happened lately ---------------------------------------------------------------------------------------------


class CountsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/decisions/counts``: the last 24 hours, if nothing is said."""

    since: Instant | None = None
    until: Instant | None = None

    def __post_init__(self) -> None:
        for instant in (self.since, self.until):
            if instant is not None:
                in_utc(instant)


class DecisionsCount(Struct):
    """So many decisions of a campaign had this outcome for this reason; a send has none."""

    campaign_id: str
    outcome: Outcome
    reason: str | None
    count: int


class CountsAnswer(Struct):
    """Decisions after ``since``, up to ``until``, counted."""

    since: datetime
    until: datetime
    items: list[DecisionsCount]


async def get_counts(call: Call) -> web.Response:
    """Count decisions by campaign, outcome and reason: of the last 24 hours, or of up to 31 days."""
    query = call.query(CountsQuery)
    until = query.until or call.services.clock.now()
    try:
        since = query.since or until - timedelta(days=1)
        in_order = since < until
    except OverflowError:
        in_order = False
    if not in_order or until - since > COUNTED:
        raise Invalid(f"since must come before until, by {COUNTED.days} days at most.")
    rows = await live.counts(call.services.database, since, until)
    return answer({"since": since, "until": until, "items": [dict(row) for row in rows]})


ROUTES: Final = (
    Route(
        "GET",
        "/v1/live",
        get_live,
        OPS,
        answer=LiveNews,
        answer_type="text/event-stream",
        refuses=(422,),
        takes=("Last-Event-ID",),
    ),
    Route("GET", "/v1/decisions/counts", get_counts, OPS, query=CountsQuery, answer=CountsAnswer),
)
"""Stand before the lists: ``counts`` is no decision's id."""
