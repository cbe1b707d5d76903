"""Her days, seen from one instant: which local day something was, how long ago, and how people call it. Pure."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from geoservice.decisions.sentences import ENGLISH, Sentences


class Day(Struct, frozen=True, gc=False):
    """A local day; ``words`` are of her language."""

    ago: int
    """Whole calendar days."""
    words: str
    english: str


class Days:
    """The days of one decision, each put in words once."""

    def __init__(self, zone: ZoneInfo, at: datetime, hers: Sentences) -> None:
        self._zone = zone
        self._today = at.astimezone(zone).date()
        self._hers = hers
        self._found: dict[date, Day] = {}

    def of(self, instant: datetime) -> Day:
        """The day on which this was."""
        day = instant.astimezone(self._zone).date()
        return self._found.get(day) or self._find(day)

    def time(self, instant: datetime) -> str:
        """What her clock showed, such as 14:05."""
        return instant.astimezone(self._zone).time().isoformat("minutes")

    def _find(self, day: date) -> Day:
        english = ENGLISH.date(day, self._today)
        hers = english if self._hers is ENGLISH else self._hers.date(day, self._today)
        found = self._found[day] = Day((self._today - day).days, hers, english)
        return found
