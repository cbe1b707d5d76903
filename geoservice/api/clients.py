"""Routes of other clients: apps that bring their own payloads, answered as those apps expect it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from geoservice.api import schemas
from geoservice.api.adapters.mapping import Mapped
from geoservice.api.adapters.owntracks import read_owntracks
from geoservice.api.adapters.transistorsoft import read_transistorsoft
from geoservice.api.answers import phone as answers
from geoservice.api.problems import refuse_malformed
from geoservice.api.routing import Call, Route, answer
from geoservice.telemetry.metrics import INGEST_PINGS
from geoservice.workflows.queue import IngestReceipt


class DeviceQuery(msgspec.Struct, frozen=True):
    """``POST /v1/ingest/transistorsoft``: which phone it is, where the body does not say so."""

    device_id: str | None = None


async def post_owntracks(call: Call) -> web.Response:
    """Take a message of OwnTracks; the answer is the empty list of things that the app should do.

    A message that breaks a rule is taken, too, and counted as rejected: the app would send it again for ever.
    """
    body = await call.raw_body()
    if body.strip():  # a friend that was deleted is posted as nothing
        ids = call.services.directory.snapshot.catalogue.index_of
        await _take(call, read_owntracks(_load(body), ids, call.request.headers.get("X-Limit-D")))
    return answer([])


async def post_transistorsoft(call: Call) -> web.Response:
    """Take records of Transistorsoft's SDK; 200 tells it to delete them."""
    query = call.query(DeviceQuery)
    mapped = read_transistorsoft(_load(await call.raw_body()), query.device_id)
    return answer(schemas.write_receipt(await _take(call, mapped)))


async def _take(call: Call, mapped: Mapped) -> IngestReceipt:
    """Send what was mapped the way of all pings, and count the rest as what it is."""
    device_id = mapped.device_id
    assert device_id is not None  # noqa: S101 - the mappings see to it
    call.count_device(device_id)
    receipt = await call.services.ingest.submit((call.customer_id, device_id), mapped.observations)
    for outcome, count in (("rejected", len(mapped.rejected)), ("sample", len(mapped.ignored))):
        if count:
            INGEST_PINGS.labels(outcome).inc(count)
    receipt.add(IngestReceipt(ignored=mapped.ignored, rejected=mapped.rejected))
    return receipt


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse_malformed(error) from None


ROUTES: Final = (
    Route(
        "POST",
        "/v1/ingest/owntracks",
        post_owntracks,
        body=dict[str, Any],
        answer=list[dict[str, Any]],
        basic=True,
    ),
    Route(
        "POST",
        "/v1/ingest/transistorsoft",
        post_transistorsoft,
        body_max=schemas.PINGS_BODY,
        body=dict[str, Any],
        query=DeviceQuery,
        answer=answers.PingsAnswer,
    ),
)
