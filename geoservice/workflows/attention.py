"""What became of messages: receipts, feedback, visits and purchases, and the budget that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from geoservice.decisions.attention import HISTORY, HISTORY_MAX, Attention, Told, attention
from geoservice.decisions.facts import RetailerDefaults
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import MessageEvent

_sql = Queries("attention")


async def load_told(connection: Connection, customer_ids: Sequence[str], at: datetime) -> dict[str, list[Told]]:
    """Load what the phones of these customers have shown them, and what came of it."""
    told: dict[str, list[Told]] = {}
    for row in await _sql.told.fetch(
        connection, customer_ids=customer_ids, since=at - HISTORY, at=at, limit=HISTORY_MAX
    ):
        if (message := read_told(row["message_id"], row["events"], row["ats"])) is not None:
            told.setdefault(row["customer_id"], []).append(message)
    return told


def read_told(message_id: str, events: Iterable[str], ats: Iterable[datetime]) -> Told | None:
    """Make one message of its events; None when her phone has not said that it was shown."""
    known = {MessageEvent(event): when for event, when in zip(events, ats, strict=True)}
    delivered_at = known.pop(MessageEvent.DELIVERED, None)
    if delivered_at is None:
        return None
    # What she did, she did with a message that was there, whatever the phone's clock says of its delivery.
    return Told(message_id, min([delivered_at, *known.values()]), tuple(known.items()))


async def note_visits(connection: Connection, arrivals: Sequence[tuple[str, str, datetime]]) -> None:
    """Note who (customer, store, when) stepped into a store after its message."""
    if arrivals:
        customer_ids, store_ids, ats = zip(*arrivals, strict=True)
        await _sql.note_visits.run(connection, customer_ids=customer_ids, store_ids=store_ids, ats=ats)


async def note_purchases(connection: Connection, customer_id: str, purchases: Sequence[Any]) -> None:
    """Note which messages a purchase followed; ``purchases`` are events."""
    if purchases:
        await _sql.note_purchases.run(
            connection,
            customer_id=customer_id,
            product_ids=[event.product_id for event in purchases],
            store_ids=[event.store_id for event in purchases],
            ats=[event.occurred_at for event in purchases],
        )


async def attention_of(database: Database, customer_id: str, retailer: RetailerDefaults, at: datetime) -> Attention:
    """Work out one customer's budget."""
    async with database.connection() as connection:
        told = await load_told(connection, [customer_id], at)
    return attention(told.get(customer_id, []), retailer.daily_cap, at)
