"""What we say to customers ourselves, apart from campaigns' own words: English here, other languages as data. Pure.

A sentence is a template with named places. English is complete by construction and stands in for every language that
there is no file of; the files in ``geoservice/languages/`` have the same fields, and a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Final

from msgspec import Struct

from geoservice.decisions.attention import Level
from geoservice.decisions.reasons import REASONS, Reason
from geoservice.vocabulary import EventType, TransitionKind


class Whereabouts(StrEnum):
    """Where she is, or was a moment ago."""

    IN = "in"
    NEAR = "near"
    LEFT = "left"
    PASSED = "passed"


class Sentences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that one language says; names in braces are filled in."""

    months: tuple[str, ...]
    day: str
    """``{day}`` and ``{month}`` of this year."""
    day_of_another_year: str

    did: Mapping[EventType, str]
    """What she did with ``{category}`` on ``{day}``."""
    did_and_is: str
    """``{did}`` and ``{where}``."""
    at_store: Mapping[Whereabouts, str]
    """At ``{place}``, which is one of the next two."""
    store: str
    store_that_says_so: str
    """Of a ``{name}`` with the next word in it."""
    store_word: str
    at_area: Mapping[Whereabouts, str]
    allowed_location: str
    """Since ``{day}``."""

    events: Mapping[EventType, tuple[str, str]]
    """One, and several."""
    used_once: str
    """``{count}`` ``{events}`` in ``{category}`` on ``{day}``."""
    used_often: str
    moved: Mapping[TransitionKind, str]
    """What the phone did with ``{area}`` on ``{day}`` at ``{time}``."""
    visits: tuple[str, str, str]
    """None, one, or ``{count}`` visits to ``{where}`` in ``{days}`` days."""
    our_stores: str
    attribute: str
    loyalty_tier: str
    no_loyalty_tier: str

    how_to_change: str
    """With ``{topic}``."""
    no_messages: str
    messages_a_day: tuple[str, str]
    """One, or ``{count}``."""
    messages_in_days: tuple[str, str]
    """The same in ``{days}`` days."""

    reasons: Mapping[Reason, str]
    """Why she got nothing."""

    def date(self, day: date, today: date) -> str:
        """A day such as 15 November, with the year when it is another one."""
        template = self.day if day.year == today.year else self.day_of_another_year
        return _dated(template, day, self.months[day.month - 1])

    def place(self, store: str | None, area: str, where: Whereabouts) -> str:
        """That she is at a store, or at an area that belongs to none."""
        if store is None:
            return self.at_area[where].format(place=area)
        plain = self.store_that_says_so if self.store_word in store.lower() else self.store
        return self.at_store[where].format(place=plain.format(name=store))

    def earlier_visits(self, count: int, store: str | None, days: int) -> str:
        """How often she was in a store, or in any of ours."""
        return self.visits[min(count, 2)].format(count=count, where=store or self.our_stores, days=days)

    def budget(self, level: Level, own_daily_cap: int | None) -> str:
        """What the cap in force comes to."""
        messages = level.messages if own_daily_cap is None else min(level.messages, own_daily_cap)
        if messages == 0:
            return self.no_messages
        template = (self.messages_a_day if level.days == 1 else self.messages_in_days)[messages > 1]
        return template.format(count=messages, days=level.days)


@lru_cache(maxsize=4_096)  # a year of days, in a few languages
def _dated(template: str, day: date, month: str) -> str:
    return template.format(day=day.day, month=month, year=day.year)


ENGLISH: Final = Sentences(
    months=(
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
    day="{day} {month}",
    day_of_another_year="{day} {month} {year}",
    did={
        EventType.DECLARED: "You told us that you like {category} on {day}",
        EventType.PRODUCT_VIEWED: "You looked at {category} on {day}",
        EventType.WISHLISTED: "You put {category} on your wish list on {day}",
        EventType.CARTED: "You put {category} in your basket on {day}",
        EventType.SEARCHED: "You searched for {category} on {day}",
        EventType.PURCHASED: "You bought {category} on {day}",
        EventType.REVIEWED: "You reviewed {category} on {day}",
    },
    did_and_is="{did} and {where}.",
    at_store={
        Whereabouts.IN: "you are in {place}",
        Whereabouts.NEAR: "you are near {place}",
        Whereabouts.LEFT: "you have just left {place}",
        Whereabouts.PASSED: "you have just passed {place}",
    },
    store="our {name} store",
    store_that_says_so="our {name}",
    store_word="store",
    at_area={
        Whereabouts.IN: "you are in {place}",
        Whereabouts.NEAR: "you are near {place}",
        Whereabouts.LEFT: "you have just left {place}",
        Whereabouts.PASSED: "you have just passed {place}",
    },
    allowed_location="You allowed offers by location on {day}.",
    events={
        EventType.DECLARED: ("interest that you named", "interests that you named"),
        EventType.PRODUCT_VIEWED: ("product view", "product views"),
        EventType.WISHLISTED: ("wish list entry", "wish list entries"),
        EventType.CARTED: ("product in the basket", "products in the basket"),
        EventType.SEARCHED: ("search", "searches"),
        EventType.PURCHASED: ("purchase", "purchases"),
        EventType.REVIEWED: ("review", "reviews"),
    },
    used_once="{count} {events} in {category}, on {day}",
    used_often="{count} {events} in {category}, the last on {day}",
    moved={
        TransitionKind.ENTER: "your phone's place: it entered the area “{area}” on {day} at {time}",
        TransitionKind.DWELL: "your phone's place: it stayed in the area “{area}” on {day} at {time}",
        TransitionKind.EXIT: "your phone's place: it left the area “{area}” on {day} at {time}",
        TransitionKind.CROSSED: "your phone's place: it crossed the area “{area}” on {day} at {time}",
        TransitionKind.REMOVED: "your phone's place: it was in the area “{area}” on {day} at {time}",
        TransitionKind.LOST: "your phone's place: it was in the area “{area}” on {day} at {time}",
    },
    visits=(
        "no earlier visits to {where} in the last {days} days",
        "one earlier visit to {where} in the last {days} days",
        "{count} earlier visits to {where} in the last {days} days",
    ),
    our_stores="our stores",
    attribute="what we have on record as “{name}”",
    loyalty_tier="your loyalty tier {tier}",
    no_loyalty_tier="that you are in no loyalty tier",
    how_to_change=(
        "In the app's settings you can switch off the topic “{topic}”, set quiet hours and a daily limit, snooze all "
        "messages, or withdraw any of these consents."
    ),
    no_messages="We send you no messages.",
    messages_a_day=("We send you at most 1 message in a day.", "We send you at most {count} messages in a day."),
    messages_in_days=(
        "We send you at most 1 message in {days} days.",
        "We send you at most {count} messages in {days} days.",
    ),
    reasons={reason: text.customer for reason, text in REASONS.items()},
)
