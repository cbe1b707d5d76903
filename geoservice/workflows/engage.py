"""Transition -> facts -> decision -> message row, in the transaction that found the transition.

The customer's row lock makes deciding and reserving one step: nobody else can count her slots in between. Whatever
transitions of hers are still undecided are taken in their order, the new ones and those that an earlier batch had to
leave behind because she was locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import uuid4

import msgspec

from geoservice.decisions.campaigns import Ambiguous, Campaign
from geoservice.decisions.consent import needed_purposes
from geoservice.decisions.decide import Decision, Outcome, decide
from geoservice.decisions.facts import (
    ConsentFact,
    ContextEvent,
    CustomerFacts,
    Facts,
    GeofenceFacts,
    Preferences,
    Slot,
)
from geoservice.decisions.limits import slot_window_s
from geoservice.geofencing.geofence import Geofence
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry import tracing
from geoservice.telemetry.metrics import DECISIONS, UNDECIDED
from geoservice.vocabulary import (
    EventType,
    MessageState,
    OsPermission,
    Purpose,
    Source,
    Transition,
    TransitionKind,
    to_jsonable,
)
from geoservice.workflows.directory import Snapshot
from geoservice.workflows.visits import RESUME_WITHIN, Visits

Row: TypeAlias = Mapping[str, Any]

EVENTS_MAX: Final = 2_000
"""So many events a customer are looked at, the newest; nobody looks at more in a campaign's window."""

_sql = Queries("engage")


@dataclass(slots=True)
class _Known:
    """What is on record of one locked customer."""

    row: Row
    preferences: Preferences = field(default_factory=Preferences)
    consents: dict[Purpose, ConsentFact] = field(default_factory=dict)
    events: list[ContextEvent] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One decision, and the message that it reserves."""

    customer_id: str
    transition_id: str
    device_id: str
    facts: Facts
    decision: Decision
    decision_id: str
    message_id: str | None
    trace: str | None


@dataclass(slots=True)
class _Ledger:
    """What to write once every transition has been looked at."""

    engaged: list[tuple[str, str, str | None]] = field(default_factory=list)
    entries: list[_Entry] = field(default_factory=list)


async def engage(connection: Connection, snapshot: Snapshot, customer_ids: Sequence[str], at: datetime) -> int:
    """Decide every undecided transition of these customers; return how many of them could be locked."""
    rows = await _sql.lock_customers.fetch(connection, customer_ids=customer_ids)
    UNDECIDED.inc(len(customer_ids) - len(rows))
    if not rows:
        return 0
    locked = [row["customer_id"] for row in rows]
    undecided = await _sql.undecided.fetch(connection, customer_ids=locked, at=at)
    if undecided:
        oldest = min(row["at"] for row in undecided)
        visits = Visits(await _sql.visits.fetch(connection, customer_ids=locked, since=oldest - RESUME_WITHIN))
        heard = any(_is_heard(row, snapshot) for row in undecided)
        known = await _load(connection, snapshot, rows, visits.ids, at) if heard else {}
        ledger = _Ledger()
        for row in undecided:
            _engage_one(row, known.get(row["customer_id"]), visits, snapshot, at, ledger)
        if any(row["waited_for"] for row in undecided):
            await _sql.close_deferred.run(connection, customer_ids=locked, at=at)
        await _save(connection, visits, ledger, at)
    return len(rows)


def _is_heard(row: Row, snapshot: Snapshot) -> bool:
    """Whether any campaign listens; if none does, nothing needs to be known of the customer."""
    fence = snapshot.fence(row["geofence_id"])
    return fence is not None and bool(snapshot.listening(_transition(row), _geofence(fence)))


def _engage_one(
    row: Row, known: _Known | None, visits: Visits, snapshot: Snapshot, at: datetime, ledger: _Ledger
) -> None:
    fence = snapshot.fence(row["geofence_id"])
    waited_for = row["waited_for"]
    if waited_for is None:
        visit_id = visits.follow(row, None if fence is None else fence.store_id)
        ledger.engaged.append((row["customer_id"], row["transition_id"], visit_id))
    else:
        visit_id = row["visit_id"]
    if known is None or fence is None or not _is_valid(fence, at):
        return
    facts = _facts(row, known, snapshot, visit_id, still_there=waited_for is None or visits.is_present(row))
    if waited_for is not None:
        facts = msgspec.structs.replace(
            facts, campaigns=tuple(c for c in facts.campaigns if c.campaign_id in waited_for)
        )
    if not facts.campaigns:
        return
    began_ns = tracing.now_ns()
    for decision in decide(facts, at):
        message_id = str(uuid4()) if decision.outcome is Outcome.SEND else None
        decision_id = str(uuid4())
        trace = tracing.past(
            "decide",
            row["trace"],
            began_ns,
            decision_id=decision_id,
            campaign_id=decision.campaign_id,
            outcome=decision.outcome.value,
            reason=decision.reason and decision.reason.value,
        )
        ledger.entries.append(
            _Entry(
                row["customer_id"],
                row["transition_id"],
                row["device_id"],
                facts,
                decision,
                decision_id,
                message_id,
                trace,
            )
        )
        if message_id is not None:
            # The next transition of this customer must count this slot.
            known.slots.insert(0, _slot(message_id, decision, facts, at))


def _geofence(fence: Geofence) -> GeofenceFacts:
    return GeofenceFacts(fence.geofence_id, fence.name, fence.kind, fence.tags)


def _transition(row: Row) -> Transition:
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


def _is_valid(fence: Geofence, at: datetime) -> bool:
    """Whether the geofence's own validity holds; outside of it there is nothing to say about it."""
    return (fence.valid_from is None or fence.valid_from <= at) and (
        fence.valid_until is None or at < fence.valid_until
    )


def _facts(row: Row, known: _Known, snapshot: Snapshot, visit_id: str | None, *, still_there: bool) -> Facts:
    fence = snapshot.fence(row["geofence_id"])
    assert fence is not None  # noqa: S101 - the caller has looked
    store = snapshot.stores.get(fence.store_id) if fence.store_id else None
    geofence, transition = _geofence(fence), _transition(row)
    zones = (
        known.preferences.timezone,
        known.row["timezone"],
        row["device_timezone"],
        store and store.timezone,
    )
    return Facts(
        transition=transition,
        geofence=geofence,
        store=store.facts if store else None,
        visit_id=visit_id,
        customer=CustomerFacts(
            timezone=next((zone for zone in zones if zone), "UTC"),
            locale=known.row["locale"],
            birth_year=known.row["birth_year"],
            os_permission=OsPermission(row["os_location_permission"]),
            push_reachable=bool(row["push_reachable"]),
        ),
        consents=known.consents,
        preferences=known.preferences,
        events=tuple(known.events),
        slots=tuple(known.slots),
        campaigns=snapshot.listening(transition, geofence),
        retailer=snapshot.retailer,
        fast_at=row["fast_at"],
        still_there=still_there,
    )


def _slot(message_id: str, decision: Decision, facts: Facts, at: datetime) -> Slot:
    assert decision.expires_at is not None  # noqa: S101 - every Send has one
    return Slot(
        message_id=message_id,
        campaign_id=decision.campaign_id,
        topic=_campaign_of(facts, decision).spec.topic,
        state=MessageState.PENDING,
        reserved_at=at,
        expires_at=decision.expires_at,
        store_id=facts.store.store_id if facts.store else None,
        geofence_id=facts.geofence.geofence_id,
        visit_id=facts.visit_id,
    )


# Loading ----------------------------------------------------------------------------------------------------


async def _load(
    connection: Connection, snapshot: Snapshot, customers: Iterable[Row], visit_ids: Sequence[str], at: datetime
) -> dict[str, _Known]:
    known = {row["customer_id"]: _Known(row) for row in customers}
    ids = list(known)
    for row in await _sql.preferences.fetch(connection, customer_ids=ids):
        known[row["customer_id"]].preferences = msgspec.convert(row["body"], Preferences)
    for row in await _sql.consents.fetch(connection, customer_ids=ids):
        known[row["customer_id"]].consents[Purpose(row["purpose"])] = ConsentFact(
            row["granted"], row["recorded_at"], row["notice_version"]
        )
    campaigns = snapshot.campaigns.values()
    event_window = timedelta(seconds=max((c.event_window_s for c in campaigns), default=0))
    categories = sorted({interest.category for campaign in campaigns for interest in campaign.interests})
    for row in await _sql.events.fetch(
        connection, customer_ids=ids, since=at - event_window, at=at, categories=categories, limit=EVENTS_MAX
    ):
        known[row["customer_id"]].events.append(
            ContextEvent(
                EventType(row["type"]),
                row["occurred_at"],
                row["product_id"],
                row["category"],
                row["store_id"],
            )
        )
    slot_window = timedelta(seconds=slot_window_s(tuple(campaigns), snapshot.retailer))
    for row in await _sql.slots.fetch(connection, customer_ids=ids, visit_ids=visit_ids, since=at - slot_window):
        values = dict(row)
        customer_id = values.pop("customer_id")
        known[customer_id].slots.append(Slot(**{**values, "state": MessageState(values["state"])}))
    return known


# Saving -----------------------------------------------------------------------------------------------------


async def _save(connection: Connection, visits: Visits, ledger: _Ledger, at: datetime) -> None:
    if touched := visits.touched:
        await _sql.save_visits.run(connection, rows=[visit.as_row() for visit in touched])
    await _sql.mark_engaged.run(
        connection,
        customer_ids=[customer_id for customer_id, _, _ in ledger.engaged],
        transition_ids=[transition_id for _, transition_id, _ in ledger.engaged],
        visit_ids=[visit_id for _, _, visit_id in ledger.engaged],
        at=at,
    )
    if not ledger.entries:
        return
    await _sql.add_decisions.run(connection, rows=[_decision_row(entry) for entry in ledger.entries], at=at)
    if sends := [entry for entry in ledger.entries if entry.message_id is not None]:
        await _sql.add_messages.run(connection, rows=[_message_row(entry) for entry in sends], at=at)
        await _sql.wake_senders.value(connection)
    if deferred := [entry for entry in ledger.entries if entry.decision.outcome is Outcome.DEFER]:
        await _sql.defer.run(connection, rows=[_deferred_row(entry) for entry in deferred])


def _decision_row(entry: _Entry) -> dict[str, Any]:
    facts, decision = entry.facts, entry.decision
    DECISIONS.labels(decision.outcome.value, decision.reason.value if decision.reason else "none").inc()
    return {
        "customer_id": entry.customer_id,
        "decision_id": entry.decision_id,
        "transition_id": entry.transition_id,
        "campaign_id": decision.campaign_id,
        "campaign_version": decision.campaign_version,
        "geofence_id": facts.geofence.geofence_id,
        "store_id": facts.store.store_id if facts.store else None,
        "visit_id": facts.visit_id,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "checks": to_jsonable(decision.checks),
        "message_id": entry.message_id,
    }


def _message_row(entry: _Entry) -> dict[str, Any]:
    facts, decision = entry.facts, entry.decision
    campaign = _campaign_of(facts, decision)
    return {
        "customer_id": entry.customer_id,
        "message_id": entry.message_id,
        "decision_id": entry.decision_id,
        "campaign_id": decision.campaign_id,
        "topic": campaign.spec.topic,
        "device_id": entry.device_id,
        "store_id": facts.store.store_id if facts.store else None,
        "geofence_id": facts.geofence.geofence_id,
        "visit_id": facts.visit_id,
        "purposes": needed_purposes(campaign.uses),
        "payload": to_jsonable(decision.payload),
        "why": to_jsonable(decision.why),
        "resend": campaign.spec.ambiguous is Ambiguous.RESEND,
        "expires_at": decision.expires_at,
        "trace": entry.trace,
    }


def _deferred_row(entry: _Entry) -> dict[str, Any]:
    return {
        "customer_id": entry.customer_id,
        "transition_id": entry.transition_id,
        "campaign_id": entry.decision.campaign_id,
        "due_at": entry.decision.until,
    }


def _campaign_of(facts: Facts, decision: Decision) -> Campaign:
    return next(campaign for campaign in facts.campaigns if campaign.campaign_id == decision.campaign_id)
