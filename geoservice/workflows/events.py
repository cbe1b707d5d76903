"""What she did: in the app, in the web shop, at the till."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import EventType
from geoservice.workflows.attention import note_purchases
from geoservice.workflows.standing import Standing, standing

_sql = Queries("customers")

EVENT_TOLERANCE: Final = timedelta(minutes=2)
"""An event this far in the future is a phone's clock that runs ahead; more is rejected."""


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something she did; ``price`` is of one piece, in the retailer's currency."""

    type: EventType
    occurred_at: datetime
    id: str | None = None
    product_id: str | None = None
    category: str | None = None
    quantity: int | None = None
    price: float | None = None
    store_id: str | None = None
    order_id: str | None = None
    variant: str | None = None

    @property
    def identity(self) -> str:
        """Its id; without one, the same content at the same instant is the same event."""
        if self.id is not None:
            return self.id
        content = msgspec.structs.asdict(self)
        if self.variant is None:
            del content["variant"]  # fields that came later do not change what was sent before
        return "sha:" + blake2b(msgspec.json.encode(content), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of events: how many are new, and the places of those that may not be stored."""

    new: int
    refused: list[int]


async def record_events(
    database: Database, customer_id: str, events: Sequence[Event], source: str, at: datetime
) -> Recorded:
    """Store events once each, by id, also of an alias; what was erased, or came after an erasure, is not stored."""
    if not events:
        return Recorded(0, [])

    async def work(connection: Connection) -> Recorded:
        hers = await standing(connection, customer_id)
        refused = [place for place, event in enumerate(events) if not hers.may_store(event.occurred_at)]
        kept = [event for event in events if hers.may_store(event.occurred_at)]
        return Recorded(await add(connection, hers, kept) if kept else 0, refused)

    async def add(connection: Connection, hers: Standing, events: Sequence[Event]) -> int:
        await _sql.add_customer.run(connection, customer_id=hers.customer_id, at=at)
        rows = await _sql.add_events.fetch(
            connection,
            customer_id=hers.customer_id,
            alias=hers.alias,
            event_ids=[event.identity for event in events],
            types=[event.type.value for event in events],
            # What a fast clock calls the near future has happened.
            occurred_ats=[min(event.occurred_at, at) for event in events],
            product_ids=[event.product_id for event in events],
            categories=[event.category for event in events],
            quantities=[event.quantity for event in events],
            prices=[event.price for event in events],
            store_ids=[event.store_id for event in events],
            order_ids=[event.order_id for event in events],
            variants=[event.variant for event in events],
            source=source,
            at=at,
        )
        new = {row["event_id"] for row in rows}
        bought = [event for event in events if event.type is EventType.PURCHASED and event.identity in new]
        await note_purchases(connection, hers.customer_id, bought)
        return len(rows)

    return await database.run(work)
