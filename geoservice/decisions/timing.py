"""How long a campaign waits after its trigger or for quiet hours to end, and when it is too late. Pure.

A message that waited is decided again when it is due. What made the trigger right held then and is not asked again:
the store was open, the moment fresh. A message about being there ends with that: whether she is still there, and the
store still open for a while, is asked.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from geoservice.decisions.campaigns import Pace, TriggerOn
from geoservice.decisions.facts import Facts
from geoservice.decisions.quiet_hours import covers, quiet_until
from geoservice.decisions.schedule import Send, days_later, later_today
from geoservice.decisions.wall_clock import local_midnight_after
from geoservice.vocabulary import GeofenceKind, Source

ON_A_MISSION: Final = timedelta(minutes=3)
"""Whoever enters a store wants something: a promotional message leaves her alone for so long, unless it says less."""

SPEED_SEEN_WITHIN: Final = timedelta(seconds=60)
"""A phone's own word that it entered or left says nothing of its speed: so long a fix has time to tell."""

THERE_FOR: Final = timedelta(minutes=10)
"""How long a message about being somewhere makes sense, from when it was due."""

LATE_AFTER: Final = timedelta(hours=2)
"""A message that is not about being somewhere is too late so long after it was due: a service that was down for days
must not make up for them."""

KEPT_FOR: Final = timedelta(hours=23)
"""How long the push provider may keep such a message for a phone that is off."""


class Timing(Struct, frozen=True, gc=False):
    """When one campaign speaks about one trigger.

    ``due_at`` is when it is decided for good, None when no such time is left. From ``late_at`` on nothing is decided;
    a message lives until ``ends_at``. ``bound`` says that she must be there still.
    """

    due_at: datetime | None
    late_at: datetime
    ends_at: datetime
    bound: bool


def timing(pace: Pace, facts: Facts, zone: ZoneInfo, waited_until: datetime | None) -> Timing:
    """When a campaign of this pace speaks; ``waited_until`` is when it was due, for one that has waited."""
    due_at = waited_until or _due_at(pace, facts, zone)
    bound = pace.send is Send.NOW and pace.on is not TriggerOn.EXIT
    from_ = due_at or facts.transition.at
    if bound:
        ends_at = from_ + THERE_FOR
        return Timing(due_at, ends_at, ends_at, bound)
    return Timing(due_at, from_ + LATE_AFTER, from_ + KEPT_FOR, bound)


def _due_at(pace: Pace, facts: Facts, zone: ZoneInfo) -> datetime | None:
    at = facts.transition.at
    if pace.send is Send.LATER_TODAY:
        quiet = [each for each in (facts.preferences.quiet_hours, facts.retailer.quiet_hours) if each is not None]
        return later_today(at, facts.doings, zone, lambda hour: any(covers(each, hour) for each in quiet))
    if pace.send is Send.DAYS_LATER:
        return days_later(at, pace.days, zone)
    wait = _wait(pace, facts)
    return at + (max(wait, SPEED_SEEN_WITHIN) if is_speed_unknown(facts) and pace.on is not TriggerOn.DWELL else wait)


def held_until(pace: Pace, facts: Facts, zone: ZoneInfo, at: datetime) -> datetime | None:
    """Until when quiet hours hold a message: one about the moment ends with them, later today is never tomorrow."""
    if pace.send is Send.NOW:
        return None
    until = quiet_until(facts, zone, at)
    if pace.send is Send.LATER_TODAY and until is not None and until >= local_midnight_after(zone, at):
        return None
    return until


def is_speed_unknown(facts: Facts) -> bool:
    """Whether nobody knows how fast she came: no speed, no fix before it to tell, nor a beacon within reach."""
    return facts.transition.speed_mps is None and facts.transition.source is Source.OS


def _wait(pace: Pace, facts: Facts) -> timedelta:
    if pace.on is TriggerOn.DWELL:  # the transition proves the geofence's own dwell time
        return max(timedelta(), timedelta(seconds=(pace.after_s or 0) - (facts.geofence.dwell_s or 0)))
    if pace.after_s is not None:
        return timedelta(seconds=pace.after_s)
    shopping = pace.on is TriggerOn.ENTER and facts.geofence.kind is GeofenceKind.STORE
    return ON_A_MISSION if shopping else timedelta()
