"""Routes of messages: the customer's list with its why, what she and her phone say about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from geoservice.api import answers, schemas
from geoservice.api.routing import Call, Route, answer
from geoservice.errors import Invalid
from geoservice.vocabulary import Id, Instant, MessageEvent
from geoservice.workflows import messages

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
        return schemas.in_utc(msgspec.convert(instant.replace(" ", "+"), Instant)), msgspec.convert(message_id, Id)
    except (msgspec.ValidationError, ValueError):
        raise Invalid("before must be the next of an earlier page.") from None


async def get_message(call: Call) -> web.Response:
    """Give one message with its why and its timeline."""
    return answer(_write_message(await messages.one_of_customer(call.services.database, call.customer_id, call.id())))


async def post_feedback(call: Call) -> web.Response:
    """Note that a message was delivered, opened or dismissed, or what she thinks of it; each once."""
    body = await call.body(_feedback_body)
    message_id = call.id()
    feedback = await messages.record_feedback(
        call.services.database,
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
)
