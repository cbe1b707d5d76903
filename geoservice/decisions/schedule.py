"""When, after its trigger, a campaign speaks: at once, after a wait, later today, or days later. Pure.

The days and hours of a schedule are local: those of the customer's time zone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from geoservice.decisions.wall_clock import first_showing, local_midnight_after

DEFAULT_HOUR: Final = 18
"""The hour for ``later_today`` while too little is known of her habits."""

ENOUGH_DOINGS: Final = 5
"""So many doings in the hours that are left today say which of them is usual."""

HABIT_DAYS: Final = 30
"""How far back her doings tell her usual hour."""


class Send(StrEnum):
    """When the message goes out, seen from its trigger."""

    NOW = "now"
    LATER_TODAY = "later_today"
    DAYS_LATER = "days_later"


class Weekday(StrEnum):
    """A day of the week, in the order of ``date.weekday``."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


_WEEK: Final = tuple(Weekday)


class AskAgain(StrEnum):
    """Checks that held at the trigger and that a delayed campaign may ask for once more."""

    STORE = "store"
    MOMENT = "moment"


class Schedule(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True, cache_hash=True):
    """When to send, seen from the trigger, and on which local days; no weekdays and no dates mean any."""

    send: Send = Send.NOW
    days: Annotated[int, Meta(ge=1, le=90)] | None = None
    weekdays: Annotated[tuple[Weekday, ...], Meta(max_length=7)] = ()
    dates: Annotated[tuple[date, ...], Meta(max_length=366)] = ()
    ask_again: Annotated[tuple[AskAgain, ...], Meta(max_length=2)] = ()

    def allows(self, day: date) -> bool:
        """Whether it may speak on this local day."""
        return (not self.weekdays or _WEEK[day.weekday()] in self.weekdays) and (not self.dates or day in self.dates)


def days_later(at: datetime, days: int, zone: ZoneInfo) -> datetime:
    """So many calendar days later at the same local time; one that the clock skips moves to the end of the gap."""
    local = at.astimezone(zone)
    return first_showing(local.time(), local.date() + timedelta(days=days), zone)


def later_today(
    at: datetime, doings: Iterable[datetime], zone: ZoneInfo, is_quiet: Callable[[time], bool]
) -> datetime | None:
    """The full hour, later on the same local day, at which she is usually active; None when the day has none left.

    ``doings`` are instants of her own doings in the last weeks. Of hours with as many, the first; none that is quiet.
    """
    local = at.astimezone(zone)
    left = [hour for hour in range(local.hour + 1, 24) if not is_quiet(time(hour))]
    counts = Counter(hour for each in doings if (hour := each.astimezone(zone).hour) in left)
    if counts.total() >= ENOUGH_DOINGS:
        hour = min(counts, key=lambda hour: (-counts[hour], hour))
    elif DEFAULT_HOUR in left:
        hour = DEFAULT_HOUR
    else:
        return None
    due_at = first_showing(time(hour), local.date(), zone)
    return due_at if at < due_at < local_midnight_after(zone, at) else None
