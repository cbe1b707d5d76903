"""Decisions, and the messages that they reserve, as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geoservice.decisions.campaigns import Ambiguous, Campaign
from geoservice.decisions.channels import channel_of
from geoservice.decisions.consent import needed_purposes
from geoservice.decisions.decide import Decision, Outcome
from geoservice.decisions.facts import Facts, Slot
from geoservice.decisions.quiet_hours import QUIET
from geoservice.decisions.reasons import Reason
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry.metrics import DECISIONS, from_zero
from geoservice.vocabulary import MessageState, to_json, to_jsonable

from_zero(DECISIONS, [(Outcome.SEND, "none"), *((Outcome.DEFER, each) for each in (Reason.WAITING_FOR_DELAY, *QUIET))])
from_zero(DECISIONS, [(Outcome.SUPPRESS, reason) for reason in Reason if reason is not Reason.WAITING_FOR_DELAY])

_sql = Queries("engage")
_experiments = Queries("experiments")


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision, and the message that it reserves."""

    customer_id: str
    transition_id: str
    device_id: str
    facts: Facts
    decision: Decision
    decision_id: str
    message_id: str | None
    trace: str | None


def campaign_of(facts: Facts, decision: Decision) -> Campaign:
    """The campaign that a decision is of."""
    return next(campaign for campaign in facts.campaigns if campaign.campaign_id == decision.campaign_id)


def slot_of(message_id: str, decision: Decision, facts: Facts, at: datetime) -> Slot:
    """The slot that a message holds from now on."""
    assert decision.expires_at is not None  # noqa: S101 - whatever holds a slot has one
    campaign = campaign_of(facts, decision)
    return Slot(
        message_id=message_id,
        campaign_id=decision.campaign_id,
        topic=campaign.spec.topic,
        state=MessageState.PENDING,
        reserved_at=at,
        expires_at=decision.expires_at,
        store_id=facts.store.store_id if facts.store else None,
        geofence_id=facts.geofence.geofence_id,
        visit_id=facts.visit_id,
        product_id=decision.product_id,
        channel=channel_of(facts, campaign.audience.channels),
    )


async def write_down(connection: Connection, entries: Sequence[Entry], at: datetime) -> None:
    """Write decisions, messages, and what waits; all rows of a table in one statement."""
    await _add_decisions(connection, entries, at)
    await _save_draws(connection, entries, at)
    if sends := [entry for entry in entries if entry.message_id is not None]:
        await _sql.add_messages.run(connection, rows=[_message_row(entry) for entry in sends], at=at)
        await _sql.wake_senders.value(connection)
    if deferred := [entry for entry in entries if entry.decision.outcome is Outcome.DEFER]:
        await _sql.defer.run(connection, rows=[_deferred_row(entry) for entry in deferred])


async def _add_decisions(connection: Connection, entries: Sequence[Entry], at: datetime) -> None:
    decisions, facts = [entry.decision for entry in entries], [entry.facts for entry in entries]
    for (outcome, reason), count in Counter((each.outcome, each.reason) for each in decisions).items():
        DECISIONS.labels(outcome.value, reason.value if reason else "none").inc(count)
    await _sql.add_decisions.run(
        connection,
        customer_ids=[entry.customer_id for entry in entries],
        decision_ids=[entry.decision_id for entry in entries],
        transition_ids=[entry.transition_id for entry in entries],
        campaign_ids=[each.campaign_id for each in decisions],
        campaign_versions=[each.campaign_version for each in decisions],
        geofence_ids=[each.geofence.geofence_id for each in facts],
        store_ids=[each.store.store_id if each.store else None for each in facts],
        visit_ids=[each.visit_id for each in facts],
        outcomes=[each.outcome for each in decisions],
        reasons=[each.reason for each in decisions],
        checks=[to_json(each.checks) for each in decisions],
        message_ids=[entry.message_id for entry in entries],
        at=at,
    )


async def _save_draws(connection: Connection, entries: Sequence[Entry], at: datetime) -> None:
    drawn = [entry for entry in entries if entry.decision.draw is not None and entry.decision.draw.is_new]
    if drawn:
        await _experiments.assign.run(connection, rows=[_draw_row(entry) for entry in drawn], at=at)
    if ghosts := [entry for entry in entries if entry.decision.takes_slot and entry.message_id is None]:
        await _experiments.add_ghosts.run(connection, rows=[_ghost_row(entry) for entry in ghosts], at=at)


def _draw_row(entry: Entry) -> dict[str, Any]:
    draw = entry.decision.draw
    assert draw is not None  # noqa: S101 - the caller has looked
    return {
        "customer_id": entry.customer_id,
        "experiment_id": draw.experiment_id,
        "arm": draw.arm,
        "lot": draw.lot,
    }


def _ghost_row(entry: Entry) -> dict[str, Any]:
    facts, campaign = entry.facts, campaign_of(entry.facts, entry.decision)
    return {
        "customer_id": entry.customer_id,
        "ghost_id": entry.decision_id,
        "campaign_id": campaign.campaign_id,
        "topic": campaign.spec.topic,
        "channel": channel_of(facts, campaign.audience.channels),
        "store_id": facts.store.store_id if facts.store else None,
        "geofence_id": facts.geofence.geofence_id,
        "visit_id": facts.visit_id,
        "product_id": entry.decision.product_id,
    }


def _message_row(entry: Entry) -> dict[str, Any]:
    facts, decision = entry.facts, entry.decision
    campaign = campaign_of(facts, decision)
    channel = channel_of(facts, campaign.audience.channels)
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
        "product_id": decision.product_id,
        "channel": channel,
        "purposes": needed_purposes(campaign.uses, channel),
        "payload": to_jsonable(decision.payload),
        "why": to_jsonable(decision.why),
        "resend": campaign.spec.ambiguous is Ambiguous.RESEND,
        "until_left": decision.until_left,
        "expires_at": decision.expires_at,
        "trace": entry.trace,
    }


def _deferred_row(entry: Entry) -> dict[str, Any]:
    return {
        "customer_id": entry.customer_id,
        "transition_id": entry.transition_id,
        "campaign_id": entry.decision.campaign_id,
        "due_at": entry.decision.until,
    }
