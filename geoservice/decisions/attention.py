"""The attention budget: fewer messages for whoever never responds, arithmetic that she can read. Pure.

It starts at the retailer's daily cap. A *miss* is a delivered message without open, helpful, creepy, stop, visit or
purchase within 24 hours; every third miss is one step down the ladder, which ends at one message in 14 days, never in
silence. An open, "helpful", a visit or a purchase is one step up, once a message and never above the cap. "Creepy" or
"stop" is two steps down, once a message.

Everything counts at the time at which it happened, not at which it was reported: a receipt that comes late gives the
same budget as if it had come at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from msgspec import Struct

from geoservice.vocabulary import MessageEvent

ANSWER_WITHIN: Final = timedelta(hours=24)
MISSES_A_STEP: Final = 3

UP: Final = frozenset({MessageEvent.OPENED, MessageEvent.HELPFUL, MessageEvent.VISITED, MessageEvent.CONVERTED})
DOWN_TWO: Final = frozenset({MessageEvent.CREEPY, MessageEvent.STOP})

HISTORY: Final = timedelta(days=365)
HISTORY_MAX: Final = 200
"""So many messages of the last year are looked at, the newest: they come down to the floor from any cap in use."""


class Level(Struct, frozen=True):
    """At most so many messages in so many days."""

    messages: int
    days: int


class Told(Struct, frozen=True):
    """A message that the phone has shown, and what came of it: the first time of each kind."""

    message_id: str
    delivered_at: datetime
    answers: tuple[tuple[MessageEvent, datetime], ...] = ()


class Step(Struct, frozen=True):
    """One thing that counted: when, which message, what, and the level that it led to."""

    at: datetime
    message_id: str
    what: str
    misses: int
    level: Level


class Attention(Struct, frozen=True):
    """The level in force, and how it came about, oldest step first."""

    level: Level
    ladder: tuple[Level, ...]
    misses: int
    steps: tuple[Step, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether nothing was taken away."""
        return self.level == self.ladder[0]


@lru_cache(maxsize=64)
def ladder(daily_cap: int) -> tuple[Level, ...]:
    """Every level from the cap down to the floor; with a cap of 0 there is only silence."""
    if daily_cap == 0:
        return (Level(0, 1),)
    return (*(Level(n, 1) for n in range(daily_cap, 0, -1)), Level(1, 3), Level(1, 7), Level(1, 14))


def attention(told: Iterable[Told], daily_cap: int, at: datetime) -> Attention:
    """What these messages and answers come to, seen from ``at``."""
    levels = ladder(daily_cap)
    place, misses, steps = 0, 0, []
    for when, message_id, what in sorted([moment for message in told for moment in _moments(message, at)]):
        if what == "missed":
            misses += 1
            if misses == MISSES_A_STEP:
                misses, place = 0, place + 1
        elif MessageEvent(what) in UP:
            place -= 1
        else:
            place += 2
        place = min(max(place, 0), len(levels) - 1)
        steps.append(Step(when, message_id, what, misses, levels[place]))
    return Attention(levels[place], levels, misses, tuple(steps))


def _moments(message: Told, at: datetime) -> Iterator[tuple[datetime, str, str]]:
    """What of a message counts until ``at``: at most one step up, one way down, or a miss."""
    known = [(when, event) for event, when in message.answers if when <= at]
    ups = [(when, event) for when, event in known if event in UP]
    downs = [(when, event) for when, event in known if event in DOWN_TWO]
    for found in (ups, downs):
        if found:
            when, event = min(found)
            yield when, message.message_id, event.value
    over_at = message.delivered_at + ANSWER_WITHIN
    if over_at <= at and not any(when <= over_at for when, _ in ups + downs):
        yield over_at, message.message_id, "missed"
