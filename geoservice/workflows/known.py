"""What is on record of the customers that a batch has locked, as the facts that a decision may know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import msgspec

from geoservice.decisions.attention import Told
from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.facts import (
    ConsentFact,
    ContextEvent,
    CustomerFacts,
    Facts,
    GeofenceFacts,
    Preferences,
    ShopFacts,
    Slot,
    VisitFact,
)
from geoservice.decisions.limits import slot_window_s
from geoservice.decisions.schedule import HABIT_DAYS, Send
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import (
    Channel,
    EventType,
    MessageState,
    OsPermission,
    Purpose,
    Source,
    Transition,
    TransitionKind,
)
from geoservice.workflows.attention import load_told
from geoservice.workflows.directory import Snapshot
from geoservice.workflows.languages import language_of
from geoservice.workflows.products import load_shop

Row: TypeAlias = Mapping[str, Any]

EVENTS_MAX: Final = 2_000
"""So many events a customer are looked at, the newest; nobody looks at more in a campaign's window."""

DOINGS_MAX: Final = 500

_EVENT_TYPES: Final = {kind.value: kind for kind in EventType}

_sql = Queries("engage")
_experiments = Queries("experiments")


@dataclass(slots=True)
class Known:
    """What is on record of one locked customer."""

    row: Row
    preferences: Preferences = field(default_factory=Preferences)
    consents: dict[Purpose, ConsentFact] = field(default_factory=dict)
    events: list[ContextEvent] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    visits: list[VisitFact] = field(default_factory=list)
    doings: list[datetime] = field(default_factory=list)
    arms: dict[str, str] = field(default_factory=dict)
    salt: str = ""
    shops: dict[str | None, ShopFacts] = field(default_factory=dict)
    """By store."""


def transition_of(row: Row) -> Transition:
    """Make a transition of its row."""
    return Transition(
        kind=TransitionKind(row["kind"]),
        geofence_id=row["geofence_id"],
        at=row["at"],
        confidence=row["confidence"],
        source=Source(row["source"]),
        late=row["late"],
        initial=row["initial"],
        assumed=row["assumed"],
        speed_mps=row["speed_mps"],
    )


def event_of(row: Row) -> ContextEvent:
    """Make an event of its row."""
    kind = _EVENT_TYPES[row["type"]]
    return ContextEvent(kind, row["occurred_at"], row["product_id"], row["category"], row["store_id"], row["variant"])


def consent_of(row: Row) -> ConsentFact:
    """Make a consent of its row."""
    return ConsentFact(row["granted"], row["recorded_at"], row["notice_version"])


def visit_of(row: Row) -> VisitFact:
    """Make a visit of its row."""
    return VisitFact(row["visit_id"], row["store_id"], row["started_at"])


def facts_of(
    row: Row,
    geofence: GeofenceFacts,
    known: Known,
    campaigns: tuple[Campaign, ...],
    snapshot: Snapshot,
    visit_id: str | None,
) -> Facts:
    """Put together what a decision may know, but for slots and what waiting adds."""
    store = snapshot.stores.get(geofence.store_id) if geofence.store_id else None
    zones = (
        known.preferences.timezone,
        known.row["timezone"],
        row["device_timezone"],
        store and store.timezone,
    )
    locale = known.row["locale"] or row["device_locale"]
    return Facts(
        transition=transition_of(row),
        geofence=geofence,
        store=store.facts if store else None,
        visit_id=visit_id,
        customer=CustomerFacts(
            customer_id=row["customer_id"],
            timezone=next((zone for zone in zones if zone), "UTC"),
            locale=locale,
            birth_year=known.row["birth_year"],
            loyalty_tier=known.row["loyalty_tier"],
            attributes=known.row["attributes"],
            sizes=_sizes(known.row["attributes"]),
            os_permission=OsPermission(row["os_location_permission"]),
            push_reachable=bool(row["push_reachable"]),
        ),
        consents=known.consents,
        preferences=known.preferences,
        events=tuple(known.events),
        slots=(),
        told=tuple(known.told),
        campaigns=campaigns,
        retailer=snapshot.retailer,
        sentences=language_of(locale).sentences,
        shop=known.shops.get(geofence.store_id, ShopFacts()),
        fast_at=row["fast_at"],
        visits=tuple(known.visits),
        doings=tuple(known.doings),
        arms=known.arms,
        salt=known.salt,
    )


def _sizes(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Her sizes among what the shop noted: ``size`` in general, ``size.running-shoes`` of one category."""
    return {
        name.partition(".")[2]: str(value)
        for name, value in attributes.items()
        if name.partition(".")[0] == "size" and not isinstance(value, bool)
    }


async def load(
    connection: Connection,
    snapshot: Snapshot,
    campaigns: Sequence[Campaign],
    customers: Iterable[Row],
    visit_ids: Sequence[str],
    at: datetime,
) -> dict[str, Known]:
    """Read what these campaigns may ask of each customer, with as few statements for all of them as for one."""
    known = {row["customer_id"]: Known(row) for row in customers}
    ids = list(known)
    for row in await _sql.preferences.fetch(connection, customer_ids=ids):
        known[row["customer_id"]].preferences = msgspec.convert(row["body"], Preferences)
    for row in await _sql.consents.fetch(connection, customer_ids=ids):
        known[row["customer_id"]].consents[Purpose(row["purpose"])] = consent_of(row)
    event_window = timedelta(seconds=max((c.event_window_s for c in campaigns), default=0))
    categories = sorted({interest.category for campaign in campaigns for interest in campaign.interests})
    for row in await _sql.events.fetch(
        connection, customer_ids=ids, since=at - event_window, at=at, categories=categories, limit=EVENTS_MAX
    ):
        known[row["customer_id"]].events.append(event_of(row))
    slot_window = timedelta(seconds=slot_window_s(campaigns, snapshot.retailer))
    for row in await _sql.slots.fetch(connection, customer_ids=ids, visit_ids=visit_ids, since=at - slot_window):
        values = dict(row)
        customer_id = values.pop("customer_id")
        states = {"state": MessageState(values["state"]), "channel": Channel(values["channel"])}
        known[customer_id].slots.append(Slot(**{**values, **states}))
    for customer_id, told in (await load_told(connection, ids, at)).items():
        known[customer_id].told = told
    if any(campaign.spec.experiment is not None for campaign in campaigns):
        for row in await _experiments.arms.fetch(connection, customer_ids=ids):
            known[row["customer_id"]].arms, known[row["customer_id"]].salt = row["arms"], row["salt"]
    if visit_window_s := max(campaign.visit_window_s for campaign in campaigns):
        since = at - timedelta(seconds=visit_window_s)
        for row in await _sql.recent_visits.fetch(connection, customer_ids=ids, since=since):
            known[row["customer_id"]].visits.append(visit_of(row))
    if any(campaign.pace.send is Send.LATER_TODAY for campaign in campaigns):
        since = at - timedelta(days=HABIT_DAYS)
        for row in await _sql.doings.fetch(connection, customer_ids=ids, since=since, at=at, limit=DOINGS_MAX):
            known[row["customer_id"]].doings.append(row["occurred_at"])
    return known


async def load_shops(
    connection: Connection,
    snapshot: Snapshot,
    campaigns: Sequence[Campaign],
    known: Mapping[str, Known],
    undecided: Iterable[Row],
) -> None:
    """Add what the shop said of the products that they looked at, and of the stores that they are at."""
    fences = (snapshot.fence(row["geofence_id"]) for row in undecided)
    store_ids = sorted({fence.store_id for fence in fences if fence is not None and fence.store_id is not None})
    named = {
        customer_id: {event.product_id for event in each.events if event.product_id is not None}
        for customer_id, each in known.items()
    }
    with_stock = any(campaign.spec.in_stock is not None for campaign in campaigns)
    product_ids = sorted(set().union(*named.values()))
    shop = await load_shop(connection, store_ids, product_ids, with_stock=with_stock)
    for customer_id, each in known.items():
        each.shops = {store_id: shop.facts(store_id, named[customer_id]) for store_id in (None, *store_ids)}
