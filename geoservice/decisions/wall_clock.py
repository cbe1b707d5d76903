"""What the clock on a wall shows, and when: local times that exist once, twice or not at all. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


def showings(local: time, day: date, zone: ZoneInfo) -> list[datetime]:
    """The instants of this day at which the clock shows this time: none, one or two, in UTC."""
    wanted = {datetime.combine(day, local, zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(instant for instant in wanted if instant.astimezone(zone).time() == local)


def first_showing(local: time, day: date, zone: ZoneInfo) -> datetime:
    """The first instant at which this day's clock shows this time; one that it skips moves to the end of the gap."""
    shown = showings(local, day, zone)
    if shown:
        return shown[0]
    start = datetime.combine(day, local, zone).astimezone(UTC) - _DAY
    change = clock_change(zone, start, 2 * _DAY)
    # Only a change of the clock makes it skip a time, and the day holds the time that it skipped.
    assert change is not None  # noqa: S101
    return change


def local_midnight_after(zone: ZoneInfo, at: datetime) -> datetime:
    """The end of the local day."""
    return first_showing(time(), at.astimezone(zone).date() + _DAY, zone)


@lru_cache(maxsize=1_024)
def clock_change(zone: ZoneInfo, after: datetime, within: timedelta) -> datetime | None:
    """The instant at which the zone's offset changes within that time, if it does."""
    low, high = after.astimezone(UTC), after.astimezone(UTC) + within
    before = low.astimezone(zone).utcoffset()
    if high.astimezone(zone).utcoffset() == before:
        return None
    while high - low > _SECOND:
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
