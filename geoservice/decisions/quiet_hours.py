"""Check 8: quiet hours, right across midnight and across the switch to and from summer time. Pure.

Quiet hours are what the wall clock says: an instant is quiet when its local time lies in [start, end). So an
hour that the clock shows twice is quiet twice, and an end that the clock skips falls on the next time that it
shows.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from geoservice.decisions.checks import Check, check
from geoservice.decisions.facts import Facts, QuietHours
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.wall_clock import clock_change, showings

_HORIZON = timedelta(hours=50)  # the longest local day has 25 hours; a start comes at most a day later


def is_quiet(hours: QuietHours | None, zone: ZoneInfo, at: datetime) -> bool:
    """Whether ``at`` lies in the quiet hours of this zone."""
    return hours is not None and _covers(hours, at.astimezone(zone).time())


def _covers(hours: QuietHours, local: time) -> bool:
    if hours.start <= hours.end:
        return hours.start <= local < hours.end
    return local >= hours.start or local < hours.end


def next_quiet_start(hours: QuietHours | None, zone: ZoneInfo, at: datetime) -> datetime | None:
    """The first quiet instant at or after ``at``, in UTC; None when there are no quiet hours."""
    if hours is None or hours.start == hours.end:
        return None
    found = _next_start(hours, zone, at.replace(second=0, microsecond=0))
    return None if found is None else max(found, at)


@lru_cache(maxsize=4_096)
def _next_start(hours: QuietHours, zone: ZoneInfo, at: datetime) -> datetime | None:
    """Seen from a full minute: hours begin and end on those, and so do changes of the clock."""
    if is_quiet(hours, zone, at):
        return at
    # Quiet begins when the clock shows the start, or jumps over it or back into the quiet hours.
    today = at.astimezone(zone).date()
    candidates = [each for days in (0, 1, 2) for each in showings(hours.start, today + timedelta(days), zone)]
    if (change := clock_change(zone, at, _HORIZON)) is not None:
        candidates.append(change)
    return min((c for c in candidates if c > at and is_quiet(hours, zone, c)), default=None)


def quiet_hours_check(facts: Facts, zone: ZoneInfo, at: datetime) -> Check:
    """Check 8: the customer's quiet hours, then the retailer's, both in the customer's zone."""
    own, house = facts.preferences.quiet_hours, facts.retailer.quiet_hours
    refusals: list[Reason] = []
    local = at.astimezone(zone).time()
    if own is not None and _covers(own, local):
        refusals.append(Reason.QUIET_HOURS_CUSTOMER)
    if house is not None and _covers(house, local):
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
