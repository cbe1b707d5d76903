"""Cap rules: how many messages, about what, by which channel, in which window. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from geoservice.vocabulary import Channel

RULES_MAX: Final = 50
WINDOW_MAX_S: Final = 366 * 86_400
_DAY: Final = timedelta(hours=24)


class CapScope(StrEnum):
    """What a rule counts together."""

    GLOBAL = "global"
    TOPIC = "topic"
    CAMPAIGN = "campaign"
    STORE = "store"
    PRODUCT = "product"


class Calendar(StrEnum):
    """A window that begins at local midnight: of today, of Monday, of the first of the month."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


_LONGEST_S: Final = {Calendar.DAY: 86_400, Calendar.WEEK: 7 * 86_400, Calendar.MONTH: 31 * 86_400}


class CapRule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """At most ``n`` messages a window: a calendar one, or any ``within_s`` seconds. 0 means never.

    ``of`` names one topic, campaign, store or product; without it each has ``n`` of its own. A calendar day holds for
    any 24 hours as well, or 23:00 and 00:30 would both be allowed.
    """

    scope: CapScope
    n: Annotated[int, Meta(ge=0, le=1_000)]
    within_s: Annotated[int, Meta(ge=60, le=WINDOW_MAX_S)] | None = None
    calendar: Calendar | None = None
    of: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    channel: Channel | None = None

    @property
    def longest_s(self) -> int:
        """How far back the rule looks."""
        return self.within_s or (_LONGEST_S[self.calendar] if self.calendar is not None else 0)

    def counts(self, when: datetime, at: datetime, zone: ZoneInfo) -> bool:
        """Whether a message that counts at ``when`` lies in the window that ``at`` is in."""
        if self.within_s is not None:
            return at < when + timedelta(seconds=self.within_s)
        then, today = when.astimezone(zone).date(), at.astimezone(zone).date()
        if self.calendar is Calendar.DAY:
            return then == today or at < when + _DAY
        if self.calendar is Calendar.WEEK:
            return then.isocalendar()[:2] == today.isocalendar()[:2]
        return (then.year, then.month) == (today.year, today.month)
