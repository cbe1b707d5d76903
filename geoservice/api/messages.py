"""Routes of messages: the customer's list with its why, what she says about them, support's look, and the stop."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from geoservice.api import schemas
from geoservice.api.answers import messages as answers
from geoservice.api.routing import Call, Route, answer
from geoservice.errors import Invalid
from geoservice.vocabulary import Id, Instant, MessageEvent, Role, in_utc
from geoservice.workflows import messages, stopping

_log = structlog.get_logger(__name__)
_stop_body = msgspec.json.Decoder(schemas.StopBody)
_feedback_body = msgspec.json.Decoder(schemas.FeedbackBody)


async def get_messages(call: Call) -> web.Response:
    """List messages, newest first, each with its why and its timeline."""
    query = call.query(schemas.MessagesQuery)
    limit = query.limit
    before, before_id = _cursor(query.before)
    rows = await messages.of_customer(
        call.services.database, call.customer_id, limit=limit + 1, before=before, before_id=before_id
    )
    body: dict[str, Any] = {"items": [_write_message(row) for row in rows[:limit]]}
    if len(rows) > limit:
        last = rows[limit - 1]
        body["next"] = f"{last['reserved_at'].isoformat()},{last['message_id']}"
    return answer(body)


def _cursor(text: str | None) -> tuple[datetime | None, str]:
    if text is None:
        return None, ""
    instant, _, message_id = text.partition(",")
    try:
        # A plus sign that was not escaped arrives as a space.
        return in_utc(msgspec.convert(instant.replace(" ", "+"), Instant)), msgspec.convert(message_id, Id)
    except (msgspec.ValidationError, ValueError):
        raise Invalid("before must be the next of an earlier page.") from None


async def get_message(call: Call) -> web.Response:
    """Give one message with its why and its timeline."""
    return answer(_write_message(await messages.one_of_customer(call.services.database, call.customer_id, call.id())))


async def post_feedback(call: Call) -> web.Response:
    """Note that a message was delivered, opened or dismissed, or what she thinks of it; each once."""
    message_id = call.id()
    body = await call.body(_feedback_body)
    feedback = await messages.record_feedback(
        call.services.database,
        call.services.journal,
        call.customer_id,
        message_id,
        MessageEvent(body.event),
        at=call.services.clock.now(),
        happened_at=body.at,
    )
    return answer({"id": message_id, **msgspec.structs.asdict(feedback)})


def _write_message(row: Any) -> dict[str, Any]:
    payload = row["payload"]
    return {
        "id": row["message_id"],
        "campaign_id": row["campaign_id"],
        "topic": row["topic"],
        "channel": row["channel"],
        "state": row["state"],
        "at": row["reserved_at"],
        "accepted_at": row["accepted_at"],
        "expires_at": row["expires_at"],
        "store_id": row["store_id"],
        "title": payload["title"],
        "body": payload["body"],
        "deep_link": payload.get("deep_link"),
        "image_url": payload.get("image_url"),
        "why": row["why"],
        "timeline": [msgspec.structs.asdict(step) for step in messages.timeline(row)],
    }


# Operations -------------------------------------------------------------------------------------------------


async def get_any_message(call: Call) -> web.Response:
    """Give any message with its customer and its whole life, for support; needs a reason."""
    row = await messages.by_id(call.services.database, call.id())
    await call.looks_at("read message", row["customer_id"], row["message_id"])
    hers = _write_message(row)
    more = ("customer_id", "decision_id", "device_id", "attempts", "in_doubt", "provider_message_id", "failure")
    return answer(hers | {name: row[name] for name in more})


async def post_stop(call: Call) -> web.Response:
    """Stop sending: everything, one channel or one campaign. When this answers, nothing of it begins any more.

    What had begun may still arrive; `in_flight` says how many. Messages that wait expire when their moment is over.
    """
    body = await call.body(_stop_body)
    services = call.services
    stopped = await stopping.stop(
        services.database,
        stopping.scope_of(body.campaign_id, body.channel),
        actor=call.actor.name,
        reason=body.reason,
        at=services.clock.now(),
    )
    _log.warning("sending_stopped", scope=stopped.scope, actor=call.actor.name, in_flight=stopped.in_flight)
    return answer(msgspec.structs.asdict(stopped))


async def get_stops(call: Call) -> web.Response:
    """List the stops in force."""
    return answer({"items": [dict(row) for row in await stopping.stops(call.services.database)]})


async def delete_stop(call: Call) -> web.Response:
    """Release a stop: the one of everything, or that of one channel or campaign."""
    query = call.query(schemas.StopQuery)
    services = call.services
    scope = stopping.scope_of(query.campaign_id, query.channel)
    await stopping.release(services.database, scope)
    _log.warning("sending_released", scope=scope, actor=call.actor.name)
    return web.Response(status=204)


OPS: Final = frozenset({Role.OPS})
READERS: Final = frozenset({Role.SUPPORT, Role.OFFICER})

ROUTES: Final = (
    Route("GET", "/v1/me/messages", get_messages, query=schemas.MessagesQuery, answer=answers.MessagesAnswer),
    Route("GET", "/v1/me/messages/{id}", get_message, answer=answers.MessageAnswer),
    Route(
        "POST",
        "/v1/me/messages/{id}/feedback",
        post_feedback,
        body=schemas.FeedbackBody,
        answer=answers.FeedbackAnswer,
    ),
    Route("GET", "/v1/messages/{id}", get_any_message, READERS, answer=answers.AnyMessageAnswer, asks_reason=True),
    Route("POST", "/v1/stop", post_stop, OPS, body=schemas.StopBody, answer=answers.StopAnswer),
    Route("GET", "/v1/stop", get_stops, OPS, answer=answers.StopsAnswer),
    Route("DELETE", "/v1/stop", delete_stop, OPS, query=schemas.StopQuery, status=204, refuses=(404,)),
)
