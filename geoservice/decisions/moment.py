"""Checks 5 to 7: already served, store open, and the right moment. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from opening_hours import OpeningHours

from geoservice.decisions.campaigns import Campaign, TriggerOn
from geoservice.decisions.checks import Check, check
from geoservice.decisions.context import Evidence
from geoservice.decisions.facts import Facts, StoreFacts
from geoservice.decisions.limits import Usage
from geoservice.decisions.reasons import Gate, Reason
from geoservice.vocabulary import TransitionKind

OPEN_FOR: Final = timedelta(minutes=15)
FRESH_FOR: Final = timedelta(minutes=10)
DRIVING_MPS: Final = 7.0
DRIVING_MEMORY: Final = timedelta(seconds=180)
_ZULU: Final = ZoneInfo("UTC")  # opening_hours knows zones by name only
_LOOKAHEAD_CHANGES: Final = 8  # comments in opening hours make changes that do not close the store


def already_served_check(evidence: Evidence) -> Check:
    """Check 5: she bought in the category after showing the interest."""
    bought = [{"category": category, "bought_at": bought_at} for category, bought_at in evidence.served]
    return check(Gate.ALREADY_SERVED, [Reason.ALREADY_PURCHASED] if bought else [], {"bought": bought})


class StoreState(Struct, frozen=True):
    """Check 6 and, when known, the instant at which the store closes."""

    check: Check
    closes_at: datetime | None = None


def store_state(store: StoreFacts | None, at: datetime) -> StoreState:
    """Check 6: the store is open now and for the next 15 minutes; no hours on record passes and says so."""
    if store is None:
        return StoreState(check(Gate.STORE, [], {"store": "not on record"}))
    used: dict[str, Any] = {
        "store_id": store.store_id,
        "opening_hours": store.opening_hours or "not on record",
    }
    if not store.opening_hours:
        return StoreState(check(Gate.STORE, [], used))
    minute = at.astimezone(_ZULU).replace(second=0, microsecond=0)
    is_open, closes_at = _open_until(store.opening_hours, store.timezone, minute)
    if not is_open:
        return StoreState(check(Gate.STORE, [Reason.STORE_CLOSED], used))
    used["closes_at"] = closes_at or "not within sight"
    if closes_at is not None and closes_at <= at + OPEN_FOR:
        return StoreState(check(Gate.STORE, [Reason.STORE_CLOSING], used), closes_at)
    return StoreState(check(Gate.STORE, [], used), closes_at)


@lru_cache(maxsize=4_096)
def _open_until(text: str, timezone: str, minute: datetime) -> tuple[bool, datetime | None]:
    """Whether the store is open in this minute, and until when; opening hours change on full minutes only."""
    hours = _opening_hours(text, timezone)
    return (False, None) if hours.is_closed(minute) else (True, _closing(hours, minute))


@lru_cache(maxsize=2_048)
def _opening_hours(text: str, timezone: str) -> OpeningHours:
    return OpeningHours(text, timezone=ZoneInfo(timezone))


def _closing(hours: OpeningHours, at: datetime) -> datetime | None:
    change: datetime | None = at
    for _ in range(_LOOKAHEAD_CHANGES):
        change = hours.next_change(change)
        if change is None or hours.is_closed(change):
            break
    return None if change is None else change.astimezone(UTC)


def moment_check(facts: Facts, ends_at: datetime, per_visit: int, usage: Usage) -> Check:
    """Check 7: fresh (before ``ends_at``), on foot, on a visit with fewer than ``per_visit`` messages."""
    transition = facts.transition
    used: dict[str, Any] = {
        "transition": transition.kind.value,
        "at": transition.at,
        "late": transition.late,
        "initial": transition.initial,
        "still_there": facts.still_there,
        "speed_mps": transition.speed_mps,
        "fast_at": facts.fast_at,
        "visit_id": facts.visit_id or "no visit",
    }
    refusals: list[Reason] = []
    if transition.late or usage.at >= ends_at:
        refusals.append(Reason.TRANSITION_LATE)
    if transition.initial:
        refusals.append(Reason.INITIAL_PRESENCE)
    if not facts.still_there and transition.kind is not TransitionKind.EXIT:
        refusals.append(Reason.LEFT_MEANWHILE)
    if _driving(facts):
        refusals.append(Reason.DRIVING)
    if facts.visit_id is not None:
        used["visit_messages"] = usage.of_visit(facts.visit_id)
        if used["visit_messages"] >= per_visit:
            refusals.append(Reason.VISIT_ALREADY_SERVED)
    return check(Gate.MOMENT, refusals, used)


def latest_at(campaign: Campaign, transition_at: datetime) -> datetime:
    """When the moment is over: 10 minutes after an enter, dwell or crossing, 23 hours after an exit."""
    lasts = timedelta(hours=23) if campaign.spec.trigger.on is TriggerOn.EXIT else FRESH_FOR
    return transition_at + timedelta(seconds=campaign.wait_s) + lasts


def _driving(facts: Facts) -> bool:
    speed_mps, fast_at = facts.transition.speed_mps, facts.fast_at
    if speed_mps is not None and speed_mps > DRIVING_MPS:
        return True
    return fast_at is not None and fast_at >= facts.transition.at - DRIVING_MEMORY
