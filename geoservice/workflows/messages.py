"""The life of a message as people see it: her list, what she said about it, one timeline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from geoservice.decisions.facts import Preferences
from geoservice.errors import Conflict, NotFound
from geoservice.storage.database import Database
from geoservice.storage.journal import Journal
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import MessageEvent, MessageState
from geoservice.workflows.customers import lock_customer, run_locked
from geoservice.workflows.preferences import merge_preferences, preferences_of, write_down

_sql = Queries("messages")


# Her list ---------------------------------------------------------------------------------------------------


async def of_customer(
    database: Database, customer_id: str, *, limit: int, before: datetime | None, before_id: str
) -> list[asyncpg.Record]:
    """List what was or is being said to her, newest first."""
    async with database.connection() as connection:
        return await _sql.of_customer.fetch(
            connection, customer_id=customer_id, message_id=None, limit=limit, before=before, before_id=before_id
        )


async def one_of_customer(database: Database, customer_id: str, message_id: str) -> asyncpg.Record:
    """Give one message of hers; raises NotFound."""
    async with database.connection() as connection:
        row = await _sql.of_customer.row(
            connection, customer_id=customer_id, message_id=message_id, limit=1, before=None, before_id=""
        )
    if row is None:
        raise NotFound("There is no such message.")
    return row


# Receipts and feedback --------------------------------------------------------------------------------------


class Feedback(msgspec.Struct, frozen=True):
    """A fact about a message as it is on record; ``repeated`` says that it was there already."""

    event: MessageEvent
    at: datetime
    repeated: bool = False


async def record_feedback(
    database: Database,
    journal: Journal,
    customer_id: str,
    message_id: str,
    event: MessageEvent,
    *,
    at: datetime,
    happened_at: datetime | None = None,
) -> Feedback:
    """Put on record what the phone or the customer said about a message, once, with its effects. Raises NotFound.

    "Creepy" lowers her comfort level, "stop" turns the topic off, in the same transaction. A report may come late, but
    nothing happens before the message was decided, nor in the future.
    """

    async def work(connection: Connection) -> tuple[Feedback, Preferences | None]:
        await lock_customer(connection, customer_id)
        message = await _sql.lock.row(connection, customer_id=customer_id, message_id=message_id)
        if message is None:
            raise NotFound("There is no such message.")
        when = min(max(happened_at or at, message["reserved_at"]), at)
        if not await add_event(connection, customer_id, message_id, event, when):
            known = await _sql.event.value(
                connection, customer_id=customer_id, message_id=message_id, event=event.value
            )
            return Feedback(event, known, repeated=True), None
        settings = await _apply(connection, customer_id, message, Feedback(event, when), at)
        return Feedback(event, when), settings

    feedback: Feedback
    feedback, settings = await run_locked(database, work)
    if settings is not None:
        await write_down(journal, customer_id, settings, at)
    return feedback


async def _apply(
    connection: Connection, customer_id: str, message: asyncpg.Record, feedback: Feedback, at: datetime
) -> Preferences | None:
    """Let a new fact have its effects, in the transaction that stores it, under the customer's lock.

    Whatever she did with a message, her phone has shown it: `delivered` follows from everything else.
    """
    if feedback.event is not MessageEvent.DELIVERED:
        await add_event(connection, customer_id, message["message_id"], MessageEvent.DELIVERED, feedback.at)
    if feedback.event is MessageEvent.STOP:
        patch: dict[str, Any] = {"topics": {message["topic"]: False}}
    elif feedback.event is MessageEvent.CREEPY:
        level = (await preferences_of(connection, customer_id)).comfort_level
        patch = {"comfort_level": max(1, level - 1)}
    else:
        return None
    return (await merge_preferences(connection, customer_id, patch, at))[0]


async def add_event(
    connection: Connection,
    customer_id: str,
    message_id: str,
    event: MessageEvent,
    at: datetime,
    details: Mapping[str, Any] | None = None,
) -> bool:
    """Store a fact about a message; False when it is on record already, and so holds as it is."""
    stored = await _sql.add_event.value(
        connection, customer_id=customer_id, message_id=message_id, event=event.value, at=at, details=details or {}
    )
    return stored is not None


# Operations -------------------------------------------------------------------------------------------------


async def by_id(database: Database, message_id: str) -> asyncpg.Record:
    """Give any message with its customer, for support. Raises NotFound."""
    async with database.connection() as connection:
        row = await _sql.by_id.row(connection, message_id=message_id)
    if row is None:
        raise NotFound("There is no such message.")
    return row


async def newest(
    database: Database, *, state: MessageState | None, campaign_id: str | None, limit: int
) -> list[asyncpg.Record]:
    """List messages, newest first, of nobody by name."""
    async with database.connection() as connection:
        return await _sql.newest.fetch(
            connection, state=None if state is None else state.value, campaign_id=campaign_id, limit=limit
        )


HER_CHOICE: Final = frozenset({"consent_withdrawn", "preferences_changed", "opted_out", "signed_out"})
"""Why a message was cancelled by the customer herself."""

_WHY_NOT: Final[dict[MessageState, str]] = {
    MessageState.PENDING: "It waits for a sender already.",
    MessageState.CLAIMED: "A sender has it already.",
    MessageState.SENDING: "It is being sent.",
    MessageState.RETRY_WAIT: "It is tried again by itself.",
    MessageState.ACCEPTED: "The provider took it.",
    MessageState.UNKNOWN: "The provider may have taken it: sent again, she could see it twice.",
    MessageState.EXPIRED: "Its moment is over.",
}


def refuse_requeue(row: Mapping[str, Any], at: datetime) -> str | None:
    """Why a message must not be tried again; None when it may."""
    state = MessageState(row["state"])
    if state in _WHY_NOT:
        return _WHY_NOT[state]
    if row["in_doubt"]:
        return "An earlier try may have reached her: sent again, she could see it twice."
    if row["failure"] in HER_CHOICE:
        return f"The customer decided against it ({row['failure']})."
    if row["expires_at"] <= at:
        return _WHY_NOT[MessageState.EXPIRED]
    return None if row["transition_id"] is not None else "What led to it is not on record any more."


async def requeue(database: Database, message_id: str, at: datetime) -> None:
    """Let the campaign decide again about what led to a message that certainly did not go out.

    What has ended stays as it is: a new decision is taken, by every rule and under every cap of now, and a new message
    is its result, or a silence with its reason. Raises NotFound, or Conflict with why it must not be.
    """
    customer_id = (await by_id(database, message_id))["customer_id"]

    async def work(connection: Connection) -> None:
        await lock_customer(connection, customer_id)
        row = await _sql.by_id.row(connection, message_id=message_id)
        if row is None:
            raise NotFound("There is no such message.")
        if (problem := refuse_requeue(row, at)) is not None:
            raise Conflict(problem, code="not_requeueable")
        await _sql.decide_again.run(
            connection,
            customer_id=customer_id,
            transition_id=row["transition_id"],
            campaign_id=row["campaign_id"],
            at=at,
        )

    await run_locked(database, work)


# The timeline -----------------------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True):
    """One thing that happened to a message: `decided`, a state, or an event. ``detail`` is a code."""

    at: datetime
    what: str
    detail: str | None = None


class _Try(msgspec.Struct, frozen=True):
    at: datetime
    state: str
    reason: str | None = None


class _Event(msgspec.Struct, frozen=True):
    at: datetime
    event: str


def timeline(row: Mapping[str, Any]) -> list[Step]:
    """Tell a message's life, oldest first: decided, every try, how it ended, what the phone and she did with it."""
    steps = [Step(row["reserved_at"], "decided")]
    steps += [Step(each.at, each.state, each.reason) for each in msgspec.convert(row["tries"], list[_Try])]
    if row["finished_at"] is not None and steps[-1].what != row["state"]:
        steps.append(Step(row["finished_at"], row["state"], row["failure"]))
    steps += [Step(each.at, each.event) for each in msgspec.convert(row["events"], list[_Event])]
    return sorted(steps, key=lambda step: step.at)
