"""The life of a message as people see it: her list, what she said about it, one timeline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from geoservice.errors import NotFound
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import MessageEvent
from geoservice.workflows.customers import lock_customer, run_locked

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
    customer_id: str,
    message_id: str,
    event: MessageEvent,
    *,
    at: datetime,
    happened_at: datetime | None = None,
) -> Feedback:
    """Put on record what the phone or the customer said about a message, once. Raises NotFound.

    A report may come late, but nothing happens before the message was decided, nor in the future.
    """

    async def work(connection: Connection) -> Feedback:
        await lock_customer(connection, customer_id)
        message = await _sql.lock.row(connection, customer_id=customer_id, message_id=message_id)
        if message is None:
            raise NotFound("There is no such message.")
        when = min(max(happened_at or at, message["reserved_at"]), at)
        if not await add_event(connection, customer_id, message_id, event, when):
            known = await _sql.event.value(
                connection, customer_id=customer_id, message_id=message_id, event=event.value
            )
            return Feedback(event, known, repeated=True)
        await _apply(connection, customer_id, message, Feedback(event, when))
        return Feedback(event, when)

    feedback: Feedback = await run_locked(database, work)
    return feedback


async def _apply(connection: Connection, customer_id: str, message: asyncpg.Record, feedback: Feedback) -> None:
    """Let a new fact have its effects, in the transaction that stores it, under the customer's lock.

    Whatever she did with a message, her phone has shown it: `delivered` follows from everything else.
    """
    if feedback.event is not MessageEvent.DELIVERED:
        await add_event(connection, customer_id, message["message_id"], MessageEvent.DELIVERED, feedback.at)


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
