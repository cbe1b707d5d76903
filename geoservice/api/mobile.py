"""Routes of the retailer's app: devices, pings, events."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import web

from geoservice.api import schemas
from geoservice.api.answers import phone as answers
from geoservice.api.routing import Call, Route, answer
from geoservice.errors import ErrorDetail, Invalid
from geoservice.geofencing.nearby import nearby
from geoservice.geofencing.screening import EARLIEST
from geoservice.geofencing.track import read_track
from geoservice.vocabulary import GeofenceKind, to_jsonable
from geoservice.workflows import devices, events, products
from geoservice.workflows.publishing import is_zone

_nearby_body = msgspec.json.Decoder(schemas.NearbyBody)
_device_body = msgspec.json.Decoder(schemas.DeviceBody)

_IN_THE_FUTURE: Final = ErrorDetail(
    "occurred_at", "in_the_future", "occurred_at is more than 2 minutes ahead of the server's clock"
)
_ERASED: Final = ErrorDetail("", "customer_erased", "she had herself erased: nothing about her is stored")
_LONG_AGO: Final = ErrorDetail("occurred_at", "long_ago", "occurred_at is before the year 2000")


async def put_device(call: Call) -> web.Response:
    """Register a phone, and the push token by which this customer is reached on it."""
    device_id = call.id()
    body = await call.body(_device_body)
    refuse_unknown_zone(body.timezone)
    if body.push_token is None and body.fid is None:
        detail = ErrorDetail("push_token", "missing", "send push_token, fid or both")
        raise Invalid("Without an address the phone cannot be reached.", details=[detail])
    registration = devices.Registration(**msgspec.structs.asdict(body))
    services = call.services
    await devices.register_device(
        services.database, services.journal, (call.customer_id, device_id), registration, services.clock.now()
    )
    return answer({"device_id": device_id, "registered": True})


async def delete_device(call: Call) -> web.Response:
    """Sign out on a phone."""
    services = call.services
    key = call.customer_id, call.id()
    await devices.remove_device(services.database, services.journal, key, services.clock.now())
    return web.Response(status=204)


async def post_pings(call: Call) -> web.Response:
    """Take observations; the answer comes when they are durable."""
    envelope, items, bad = schemas.pings.decode(await call.raw_body())
    call.count_device(envelope.device_id)
    receipt = await call.services.ingest.submit((call.customer_id, envelope.device_id), items, envelope.sent_at)
    return answer(schemas.write_receipt(receipt, bad), status=202)


async def post_events(call: Call) -> web.Response:
    """Take what the customer did in the app."""
    return await take_events(call, call.customer_id, source="app")


async def take_events(call: Call, customer_id: str, *, source: str, from_shop: bool = False) -> web.Response:
    """Store events of one customer, each once; those ``from_shop`` tell also that its tills and web shop are alive."""
    _, items, bad = schemas.events.decode(await call.raw_body())
    at = call.services.clock.now()
    good = []
    for index, item in items:
        if item.occurred_at > at + events.EVENT_TOLERANCE:
            bad.append((index, _IN_THE_FUTURE))
        elif item.occurred_at < EARLIEST:
            bad.append((index, _LONG_AGO))
        else:
            good.append((index, events.Event(**msgspec.structs.asdict(item))))
    places, allowed = [index for index, _ in good], [event for _, event in good]
    recorded = await events.record_events(call.services.database, customer_id, allowed, source, at)
    bad += [(places[place], _ERASED) for place in recorded.refused]
    if from_shop:
        await products.note_sales(call.services.database, {event.store_id for event in allowed}, at)
    duplicates = len(good) - len(recorded.refused) - recorded.new
    return answer({"accepted": recorded.new, "duplicates": duplicates, "rejected": schemas.rejected(bad)}, status=202)


async def get_presence(call: Call) -> web.Response:
    """Tell app developers where the service believes the customer's phones are, by name, without coordinates."""
    snapshot = call.services.directory.snapshot
    items: list[dict[str, Any]] = []
    for row in await devices.presence(call.services.database, call.customer_id):
        track = read_track(row["track"])
        proximity = {heard.geofence_id: heard.proximity for heard in track.signals.fences}
        for presence in track.presences:
            fence = snapshot.fence(presence.geofence_id)
            if fence is not None and fence.kind is GeofenceKind.SENSITIVE:
                continue
            items.append(
                {
                    "device_id": row["device_id"],
                    "geofence_id": presence.geofence_id,
                    "name": fence.name if fence else None,
                    "kind": fence.kind if fence else None,
                    "state": presence.state,
                    "proximity": proximity.get(presence.geofence_id),
                }
            )
    return answer({"items": to_jsonable(items)})


async def post_nearby(call: Call) -> web.Response:
    """Name the circles that the phone should register with its operating system; the position is not stored.

    By POST, since coordinates in an address reach the logs of proxies.
    """
    body = await call.body(_nearby_body)
    catalogue = call.services.directory.snapshot.catalogue
    # Off the loop: where most geofences lie in the belts of sensitive places, many have to be looked at.
    found = await asyncio.to_thread(nearby, catalogue, body.lon, body.lat, body.accuracy_m, body.limit)
    return answer(
        {
            "items": [{"geofence_id": geofence_id, **circle._asdict()} for geofence_id, circle in found.circles],
            "outer": found.outer._asdict(),
        }
    )


def refuse_unknown_zone(name: str | None) -> None:
    """Raise Invalid unless the zone exists, or none is given."""
    if name is not None and not is_zone(name):
        detail = ErrorDetail("timezone", "unknown_timezone", "must be an IANA time zone")
        raise Invalid("This time zone is not known.", details=[detail])


ROUTES: Final = (
    Route("PUT", "/v1/devices/{id}", put_device, body=schemas.DeviceBody, answer=answers.DeviceAnswer),
    Route("DELETE", "/v1/devices/{id}", delete_device, status=204),
    Route(
        "POST",
        "/v1/pings",
        post_pings,
        body_max=schemas.PINGS_BODY,
        body=schemas.PingsBody,
        answer=answers.PingsAnswer,
        status=202,
    ),
    Route(
        "POST",
        "/v1/events",
        post_events,
        body_max=schemas.EVENTS_BODY,
        body=schemas.EventsBody,
        answer=answers.EventsAnswer,
        status=202,
    ),
    Route("POST", "/v1/geofences/nearby", post_nearby, body=schemas.NearbyBody, answer=answers.NearbyAnswer),
    Route("GET", "/v1/me/presence", get_presence, answer=answers.PresenceAnswer),
)
