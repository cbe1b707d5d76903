"""Checks 6 and 7: store open, and the right moment. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from opening_hours import OpeningHours

from geoservice.decisions.checks import Check, check
from geoservice.decisions.facts import Facts, StoreFacts
from geoservice.decisions.limits import Usage
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.timing import Timing, is_speed_unknown
from geoservice.vocabulary import TransitionKind

OPEN_FOR: Final = timedelta(minutes=15)
DRIVING_MPS: Final = 7.0
DRIVING_MEMORY: Final = timedelta(seconds=180)
_ZULU: Final = ZoneInfo("UTC")  # opening_hours knows zones by name only
_SIGHT_DAYS: Final = 366  # hours that never end, told day by day, would be followed to the year 9999 for a second
_LOOKAHEAD_CHANGES: Final = 8  # comments in opening hours make changes that do not close the store


class StoreState(Struct, frozen=True):
    """Check 6 at the trigger, and when the store closes, if that is known."""

    check: Check
    closes_at: datetime | None = None


def store_state(store: StoreFacts | None, at: datetime) -> StoreState:
    """Check 6: the store is not muted, open now and for the next 15 minutes.

    No opening hours on record passes and says so.
    """
    if store is None:
        return StoreState(_NOWHERE)
    refusals, used = _muted(store, at)
    used["opening_hours"] = store.opening_hours or "not on record"
    closes_at = None
    if store.opening_hours:
        minute = at.replace(second=0, microsecond=0)
        is_open, closes_at = _open_until(store.opening_hours, store.timezone, _place(store), minute)
        used["closes_at"] = closes_at or "not within sight"
        if not is_open:
            refusals.append(Reason.STORE_CLOSED)
            used["closes_at"] = "is closed"
        elif closes_at is not None and closes_at <= at + OPEN_FOR:
            refusals.append(Reason.STORE_CLOSING)
    return StoreState(check(Gate.STORE, refusals, used), closes_at)


def store_when_due(store: StoreFacts | None, at: datetime) -> Check:
    """Check 6 for a message that has waited: the store was open at the trigger, so only its mute is asked again."""
    if store is None:
        return _NOWHERE
    refusals, used = _muted(store, at)
    return check(Gate.STORE, refusals, used | {"opening_hours": "held at the trigger"})


_NOWHERE: Final = check(Gate.STORE, [], {"store": "not on record"})


def _muted(store: StoreFacts, at: datetime) -> tuple[list[Reason], dict[str, Any]]:
    if store.muted_until is not None and at < store.muted_until:
        return [Reason.STORE_MUTED], {"store_id": store.store_id, "muted_until": store.muted_until}
    return [], {"store_id": store.store_id}


@lru_cache(maxsize=4_096)
def _open_until(
    text: str, timezone: str, place: tuple[float, float] | None, minute: datetime
) -> tuple[bool, datetime | None]:
    """Whether the store is open in this minute, and until when; opening hours change on full minutes only."""
    hours, minute = _opening_hours(text, timezone, place), minute.astimezone(_ZULU)
    return (False, None) if hours.is_closed(minute) else (True, _closing(hours, minute))


@lru_cache(maxsize=2_048)
def _opening_hours(text: str, timezone: str, place: tuple[float, float] | None) -> OpeningHours:
    return OpeningHours(text, timezone=ZoneInfo(timezone), coords=place, max_interval_days=_SIGHT_DAYS)


_LOCAL: Final = re.compile("PH|SH|sun|dawn|dusk")
"""Holidays, and what the sun says."""


def _place(store: StoreFacts) -> tuple[float, float] | None:
    """The store's place, for hours that depend on it: the borders of all countries take a process 110 MB."""
    return store.place if store.opening_hours and _LOCAL.search(store.opening_hours) else None


def _closing(hours: OpeningHours, at: datetime) -> datetime | None:
    change: datetime | None = at
    for _ in range(_LOOKAHEAD_CHANGES):
        change = hours.next_change(change)
        if change is None or hours.is_closed(change):
            break
    return None if change is None else change.astimezone(UTC)


def moment_check(facts: Facts, timing: Timing, per_visit: int, usage: Usage, *, fast_matters: bool) -> Check:
    """Check 7: fresh, on foot, in time, on a visit with fewer than ``per_visit`` messages.

    Of a message that has waited, freshness held at the trigger. Whether she is driving is asked again when
    ``fast_matters``.
    """
    transition, waited = facts.transition, bool(facts.waited)
    used: dict[str, Any] = {
        "transition": transition.kind,
        "at": transition.at,
        "late": transition.late,
        "initial": transition.initial,
        "speed_mps": "unknown" if is_speed_unknown(facts) else transition.speed_mps,
        "fast_at": facts.fast_at,
        "visit_id": facts.visit_id or "no visit",
    }
    refusals: list[Reason] = []
    if waited:
        used |= {"due_at": timing.due_at, "still_there": facts.still_there}
        if usage.at >= timing.late_at:
            refusals.append(Reason.DEFERRED_TOO_LATE)
    else:
        if transition.late or usage.at >= timing.late_at:
            refusals.append(Reason.TRANSITION_LATE)
        if transition.initial:
            refusals.append(Reason.INITIAL_PRESENCE)
        if timing.due_at is None:
            refusals.append(Reason.NO_LATER_HOUR)
    if timing.bound and not facts.still_there and transition.kind is not TransitionKind.CROSSED:
        used["still_there"] = False
        refusals.append(Reason.LEFT_MEANWHILE)
    if fast_matters and _driving(facts, usage.at if waited else transition.at):
        refusals.append(Reason.DRIVING)
    if facts.visit_id is not None:
        used["visit_messages"] = usage.of_visit(facts.visit_id)
        if used["visit_messages"] >= per_visit:
            refusals.append(Reason.VISIT_ALREADY_SERVED)
    return check(Gate.MOMENT, refusals, used)


def _driving(facts: Facts, at: datetime) -> bool:
    speed_mps, fast_at = facts.transition.speed_mps, facts.fast_at
    if speed_mps is not None and speed_mps > DRIVING_MPS and at < facts.transition.at + DRIVING_MEMORY:
        return True
    return fast_at is not None and fast_at >= at - DRIVING_MEMORY
