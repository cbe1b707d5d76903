"""Check 8: quiet hours, right across midnight and across the switch to and from summer time. Pure.

Quiet hours are what the wall clock says: an instant is quiet when its local time lies in [start, end). So an
hour that the clock shows twice is quiet twice, and an end that the clock skips falls on the next time that it
shows.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from geoservice.decisions.checks import Check, check
from geoservice.decisions.facts import Facts, QuietHours
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.wall_clock import clock_change, showings

_HORIZON = timedelta(hours=50)  # the longest local day has 25 hours; a turn comes at most a day later
_TURNS = 3
"""Hers may end within the retailer's and the other way round: where they leave a gap, so many turns of both find it."""

QUIET: Final = frozenset({Reason.QUIET_HOURS_CUSTOMER, Reason.QUIET_HOURS_RETAILER})


def is_quiet(hours: QuietHours | None, zone: ZoneInfo, at: datetime) -> bool:
    """Whether ``at`` lies in the quiet hours of this zone."""
    return hours is not None and covers(hours, at.astimezone(zone).time())


def covers(hours: QuietHours, local: time) -> bool:
    """Whether it is quiet when the clock shows this time."""
    if hours.start <= hours.end:
        return hours.start <= local < hours.end
    return local >= hours.start or local < hours.end


def next_quiet_start(hours: QuietHours | None, zone: ZoneInfo, at: datetime) -> datetime | None:
    """The first quiet instant at or after ``at``, in UTC; None when there are no quiet hours."""
    if hours is None or hours.start == hours.end:
        return None
    found = _turn(hours, zone, at.replace(second=0, microsecond=0), to_quiet=True)
    return None if found is None else max(found, at)


def quiet_until(facts: Facts, zone: ZoneInfo, at: datetime) -> datetime | None:
    """The first instant, from ``at`` on, that is quiet neither for her nor for the retailer; None if there is none."""
    until = at.replace(second=0, microsecond=0)
    both = [each for each in (facts.preferences.quiet_hours, facts.retailer.quiet_hours) if each is not None]
    for _ in range(_TURNS):
        for hours in both:
            found = _turn(hours, zone, until, to_quiet=False)
            if found is None:
                return None
            until = found
        if not any(is_quiet(hours, zone, until) for hours in both):
            return max(until, at)
    return None


@lru_cache(maxsize=4_096)
def _turn(hours: QuietHours, zone: ZoneInfo, at: datetime, *, to_quiet: bool) -> datetime | None:
    """When it is quiet next, or not any more, from a full minute on: hours and changes of the clock keep to those."""
    if is_quiet(hours, zone, at) is to_quiet:
        return at
    # It turns when the clock shows that time, or jumps over it or back behind it.
    turn, today = hours.start if to_quiet else hours.end, at.astimezone(zone).date()
    candidates = [each for days in (0, 1, 2) for each in showings(turn, today + timedelta(days), zone)]
    if (change := clock_change(zone, at, _HORIZON)) is not None:
        candidates.append(change)
    return min((c for c in candidates if c > at and is_quiet(hours, zone, c) is to_quiet), default=None)


def quiet_hours_check(facts: Facts, zone: ZoneInfo, at: datetime) -> Check:
    """Check 8: the customer's quiet hours, then the retailer's, both in the customer's zone."""
    own, house = facts.preferences.quiet_hours, facts.retailer.quiet_hours
    refusals: list[Reason] = []
    local = at.astimezone(zone).time()
    if own is not None and covers(own, local):
        refusals.append(Reason.QUIET_HOURS_CUSTOMER)
    if house is not None and covers(house, local):
        refusals.append(Reason.QUIET_HOURS_RETAILER)
    used = {
        "local_time": local.isoformat("minutes"),
        "timezone": zone.key,
        "customer": _in_words(own),
        "retailer": _in_words(house),
    }
    return check(Gate.QUIET_HOURS, refusals, used)


@lru_cache(maxsize=4_096)
def _in_words(hours: QuietHours | None) -> str:
    if hours is None or hours.start == hours.end:
        return "none"
    return f"{hours.start.isoformat('minutes')}-{hours.end.isoformat('minutes')}"
