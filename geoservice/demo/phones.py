"""Routes that only ``geoservice demo`` has: phones for whoever opens the page, what is pushed to them, and the time.

A made-up customer gets a token without a password, and anybody may move the time. So no setting adds these routes:
the demo passes them to its own service, which listens on this machine only and pushes to a stand-in.

The time goes one way. A step forward waits until what is on its way to her has arrived, as it would have by then.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

import msgspec
import orjson
from aiohttp import web
from msgspec import Meta, Struct

from geoservice.api.ops import write_decision
from geoservice.api.routing import Call, Route, answer
from geoservice.api.service import PUBLIC
from geoservice.clock import SteerableClock
from geoservice.demo.city import RETAILER
from geoservice.demo.fcm_stand_in import AcceptedPush, FcmStandIn
from geoservice.demo.hours import opening
from geoservice.demo.shop import ITEMS, NOTICE, TOPICS, Item
from geoservice.demo.stage import ZONE
from geoservice.errors import NotFound
from geoservice.geofencing.geofence import to_feature
from geoservice.vocabulary import CustomerId, Id
from geoservice.workflows import messages, operating

TOKEN_TTL_S: Final = 12 * 3_600
FORWARD_MAX_S: Final = 62 * 86_400
AFTER_OPENING: Final = timedelta(minutes=5)
"""Who goes to a store's opening comes a little later."""
OPEN_STILL: Final = timedelta(minutes=45)
"""An open store that closes sooner is no good for a walk: the next opening is."""
ARRIVING_S: Final = 3.0
"""How long a step forward waits for messages under way."""
SIGN_OF_LIFE_S: Final = 15.0
"""A stream without news says so this often, so that what lies between does not cut it."""
DECISIONS_LISTED: Final = 50

_ON_ITS_WAY: Final = frozenset({"pending", "claimed", "sending"})


class PhoneBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /demo/phones``: whose phone it is; somebody new unless told."""

    customer_id: CustomerId | None = None


class PhoneAnswer(Struct):
    """Who she is, her token for this service, and the address that the push provider gives to her phone."""

    customer_id: str
    token: str
    expires_at: datetime
    push_token: str


class TimeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /demo/time``: so many seconds forward, or to the next time at which a store is well open."""

    forward_s: Annotated[float, Meta(ge=0, le=FORWARD_MAX_S)] | None = None
    opening_of: Id | None = None

    def __post_init__(self) -> None:
        if (self.forward_s is None) == (self.opening_of is None):
            raise ValueError("say forward_s or opening_of")


class TimeAnswer(Struct):
    """The time in the demo, and the zone of its stores."""

    now: datetime
    timezone: str


class DemoStore(Struct):
    """A store, and whether it is open in the demo's time."""

    id: str
    name: str
    lat: float
    lon: float
    opening_hours: str | None
    is_open: bool
    changes_at: datetime | None


class CityAnswer(Struct):
    """What the simulator draws and the shop sells."""

    retailer: str
    notice_version: str
    topics: dict[str, str]
    items: tuple[Item, ...]
    stores: list[DemoStore]
    geofences: dict[str, Any]


class DecidedItem(Struct, omit_defaults=True):
    """A decision about her, in her words; ``id`` leads operations to its checks."""

    id: str
    at: datetime
    campaign: str
    outcome: Literal["send", "defer", "suppress"]
    geofence: str
    reason: str | None = None
    sentence: str | None = None
    message_id: str | None = None


class DecidedAnswer(Struct):
    """Decisions, oldest first; ``after`` is where to go on."""

    items: list[DecidedItem]
    after: int


class DecidedQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``GET /demo/decisions``."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class StreamQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``GET /demo/stream``: pushes after this one; without it, those from now on."""

    after: Annotated[int, Meta(ge=0)] | None = None


_phone_body = msgspec.json.Decoder(PhoneBody)
_time_body = msgspec.json.Decoder(TimeBody)


class Phones:
    """The phones of a demo. An async context manager: when it ends, so do the streams."""

    def __init__(self, provider: FcmStandIn) -> None:
        self._provider = provider
        self._news = asyncio.Event()
        self._closing = False
        self._one_step_at_a_time = asyncio.Lock()
        provider.on_accepted = self._tell

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._tell()

    def _tell(self) -> None:
        """Wake every stream."""
        self._news.set()
        self._news = asyncio.Event()

    # A phone, and what it gets ------------------------------------------------------------------------------

    async def post_phone(self, call: Call) -> web.Response:
        """Hand out a phone: a made-up customer with a token, and the address that pushes to her go to."""
        body = await call.body(_phone_body)
        customer_id = body.customer_id or f"visitor-{secrets.token_hex(4)}"
        token = call.services.tokens.sign(customer_id, TOKEN_TTL_S)
        expires_at = datetime.fromtimestamp(time.time() + TOKEN_TTL_S, UTC)
        phone = PhoneAnswer(customer_id, token, expires_at, push_token_of(customer_id))
        return answer(msgspec.structs.asdict(phone))

    async def get_stream(self, call: Call) -> web.StreamResponse:
        """Stream what reaches her phone, and every step of the time, as server-sent events until the demo ends.

        ``event: push`` has the push as the provider took it; ``event: time`` the time in the demo.
        """
        query = call.query(StreamQuery)
        seen = len(self._provider.accepted) if query.after is None else query.after
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "X-Content-Type-Options": "nosniff",
            }
        )
        await response.prepare(call.request)
        with suppress(ConnectionError):  # whoever closes the page is no error
            async for piece in self._events(call, seen):
                await response.write(piece)
            await response.write_eof()
        return response

    async def _events(self, call: Call, seen: int) -> AsyncIterator[bytes]:
        address = push_token_of(call.customer_id)
        yield b"retry: 1000\n\n"
        while not self._closing:
            news = self._news
            for number, push in self._pushes_to(address, seen):
                yield _event("push", {"number": number, **msgspec.structs.asdict(push)})
            seen = len(self._provider.accepted)
            yield _event("time", _time_now(call))
            while not (news.is_set() or self._closing):
                with suppress(TimeoutError):
                    async with asyncio.timeout(SIGN_OF_LIFE_S):
                        await news.wait()
                if not news.is_set():
                    yield b": still here\n\n"

    def _pushes_to(self, address: str, seen: int) -> Iterator[tuple[int, AcceptedPush]]:
        for number, push in enumerate(self._provider.accepted[seen:], seen + 1):
            if push.token == address:
                yield number, push

    async def get_decisions(self, call: Call) -> web.Response:
        """Tell her what was decided about her, sent or not, and why not in her words."""
        after = call.query(DecidedQuery).after
        rows = await operating.decisions(
            call.services.database,
            customer_id=call.customer_id,
            after=after,
            limit=DECISIONS_LISTED,
            **dict.fromkeys(("campaign_id", "outcome", "reason", "store", "since", "until")),
        )
        snapshot = call.services.directory.snapshot
        items = []
        for row in rows:
            decision = write_decision(row)
            campaign, fence = snapshot.campaigns.get(row["campaign_id"]), snapshot.fence(row["geofence_id"])
            items.append(
                DecidedItem(
                    id=decision["id"],
                    at=decision["at"],
                    campaign=campaign.spec.name if campaign else row["campaign_id"],
                    outcome=decision["outcome"],
                    geofence=(fence.name if fence else None) or row["geofence_id"],
                    reason=decision["reason"],
                    sentence=decision.get("customer_sentence"),
                    message_id=decision.get("message_id"),
                )
            )
        return answer(msgspec.to_builtins(DecidedAnswer(items, rows[-1]["seq"] if rows else after)))

    # The time and the city ----------------------------------------------------------------------------------

    async def get_time(self, call: Call) -> web.Response:
        """Tell the time in the demo."""
        return answer(_time_now(call))

    async def post_time(self, call: Call) -> web.Response:
        """Let time pass: some seconds, a week, or until a store is well open; never back."""
        body = await call.body(_time_body)
        async with self._one_step_at_a_time:
            await _let_arrive(call)
            clock, forward = call.services.clock, timedelta(seconds=body.forward_s or 0)
            if body.opening_of is not None:
                forward = _until_open(call, body.opening_of)
            assert isinstance(clock, SteerableClock)  # noqa: S101 - the service refuses these routes with any other
            clock.put(clock.now() + forward, flows=True)
        self._tell()
        return answer(_time_now(call))

    async def get_city(self, call: Call) -> web.Response:
        """Give the sample city: stores and whether they are open, geofences, and what the shop sells."""
        snapshot, now = call.services.directory.snapshot, call.services.clock.now()
        stores = []
        for store in sorted(snapshot.stores.values(), key=lambda each: each.name):
            hours = opening(store, now)
            stores.append(
                DemoStore(
                    id=store.store_id,
                    name=store.name,
                    lat=store.lat,
                    lon=store.lon,
                    opening_hours=store.opening_hours,
                    is_open=hours.is_open,
                    changes_at=hours.changes_at,
                )
            )
        features = [to_feature(fence) for fence in snapshot.catalogue.present]
        geofences = {"type": "FeatureCollection", "features": features}
        city = CityAnswer(RETAILER, NOTICE, TOPICS, ITEMS, stores, geofences)
        return answer(msgspec.to_builtins(city))

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of them; nobody else has them."""
        return (
            Route("POST", "/demo/phones", self.post_phone, PUBLIC, body=PhoneBody, answer=PhoneAnswer),
            Route(
                "GET",
                "/demo/stream",
                self.get_stream,
                query=StreamQuery,
                answer=str,
                answer_type="text/event-stream",
            ),
            Route("GET", "/demo/decisions", self.get_decisions, query=DecidedQuery, answer=DecidedAnswer),
            Route("GET", "/demo/time", self.get_time, PUBLIC, answer=TimeAnswer),
            Route("POST", "/demo/time", self.post_time, body=TimeBody, answer=TimeAnswer, refuses=(404,)),
            Route("GET", "/demo/city", self.get_city, PUBLIC, answer=CityAnswer),
        )


def push_token_of(customer_id: str) -> str:
    """Name the address that the stand-in for the push provider gives to a customer's phone."""
    return f"stand-in:{customer_id}"


def _time_now(call: Call) -> dict[str, Any]:
    return {"now": call.services.clock.now(), "timezone": ZONE.key}


def _event(kind: str, value: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(value, option=orjson.OPT_UTC_Z))


async def _let_arrive(call: Call) -> None:
    """Wait while a message to her is on its way; what the provider does not take in time waits on."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ARRIVING_S):
            while await _is_awaited(call):  # noqa: ASYNC110 - what is awaited is in the database
                await asyncio.sleep(0.02)


async def _is_awaited(call: Call) -> bool:
    newest = await messages.of_customer(call.services.database, call.customer_id, limit=3, before=None, before_id="")
    return any(row["state"] in _ON_ITS_WAY for row in newest)


def _until_open(call: Call, store_id: str) -> timedelta:
    """How long until a store is well open; nothing if it is."""
    store, now = call.services.directory.snapshot.stores.get(store_id), call.services.clock.now()
    if store is None:
        raise NotFound("There is no such store.")
    hours = opening(store, now)
    if hours.is_open and (hours.changes_at is None or hours.changes_at - now > OPEN_STILL):
        return timedelta()
    if hours.is_open:
        hours = opening(store, hours.changes_at or now)
    if hours.changes_at is None:
        raise NotFound("This store never opens.")
    return hours.changes_at + AFTER_OPENING - now
