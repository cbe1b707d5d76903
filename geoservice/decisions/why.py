"""Why you got this: a sentence or two in plain English in which every noun is a stored fact. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.channels import channel_of
from geoservice.decisions.consent import needed_purposes
from geoservice.decisions.context import Evidence, Match
from geoservice.decisions.facts import Facts
from geoservice.decisions.message import day_in_words, in_words
from geoservice.vocabulary import EventType, GeofenceKind, Purpose, TransitionKind


class ConsentUsed(Struct, frozen=True):
    """A consent that this message rests on, as it was recorded."""

    purpose: Purpose
    since: datetime
    notice_version: str


class Why(Struct, frozen=True):
    """The explanation that comes with every message."""

    summary: str
    data_used: list[str]
    consents: list[ConsentUsed]
    how_to_change: str


_DID: Final[dict[EventType, str]] = {
    EventType.DECLARED: "told us that you like {}",
    EventType.PRODUCT_VIEWED: "looked at {}",
    EventType.WISHLISTED: "put {} on your wish list",
    EventType.CARTED: "put {} in your basket",
    EventType.SEARCHED: "searched for {}",
    EventType.PURCHASED: "bought {}",
    EventType.REVIEWED: "reviewed {}",
}

_COUNTED: Final[dict[EventType, tuple[str, str]]] = {
    EventType.DECLARED: ("interest that you named", "interests that you named"),
    EventType.PRODUCT_VIEWED: ("product view", "product views"),
    EventType.WISHLISTED: ("wish list entry", "wish list entries"),
    EventType.CARTED: ("product in the basket", "products in the basket"),
    EventType.SEARCHED: ("search", "searches"),
    EventType.PURCHASED: ("purchase", "purchases"),
    EventType.REVIEWED: ("review", "reviews"),
}

_ALLOWED: Final[dict[Purpose, str]] = {
    Purpose.LOCATION: "offers by location",
    Purpose.MARKETING_PUSH: "offers as push messages",
    Purpose.PERSONALISATION: "offers that fit what you look at and buy",
}


def explain(
    facts: Facts, campaign: Campaign, evidence: Evidence, around: Sequence[str], zone: ZoneInfo, at: datetime
) -> Why:
    """The explanation of a message that is about to be sent; days are the customer's local days.

    ``around`` names in words what else the campaign's condition looked at.
    """
    today = at.astimezone(zone).date()
    consents = [
        ConsentUsed(purpose, fact.since, fact.notice_version)
        for purpose in needed_purposes(campaign.uses, channel_of(facts, campaign.audience.channels))
        if (fact := facts.consents.get(purpose)) is not None
    ]
    return Why(
        summary=_summary(facts, evidence.strongest, consents, zone, today),
        data_used=[*_events_used(evidence, zone, today), *around, _place_used(facts, zone, today)],
        consents=consents,
        how_to_change=(
            f"In the app's settings you can switch off the topic “{in_words(campaign.spec.topic)}”, set "
            "quiet hours and a daily limit, snooze all messages, or withdraw any of these consents."
        ),
    )


def _summary(facts: Facts, match: Match | None, consents: list[ConsentUsed], zone: ZoneInfo, today: date) -> str:
    place = _where(facts)
    if match is None:
        opening = f"{place[0].upper()}{place[1:]}."
    else:
        event = match.strongest_event
        did = _DID[event.type].format(in_words(match.interest.category))
        opening = f"You {did} on {_day(event.occurred_at, zone, today)} and {place}."
    allowed = [
        f"You allowed {_ALLOWED[consent.purpose]} on {_day(consent.since, zone, today)}."
        for consent in consents
        if consent.purpose is Purpose.LOCATION
    ]
    return " ".join([opening, *allowed])


def _where(facts: Facts) -> str:
    place = _place(facts)
    if facts.transition.kind is TransitionKind.EXIT:
        return f"you have just left {place}"
    if facts.transition.kind is TransitionKind.CROSSED:
        return f"you have just passed {place}"
    inside = facts.geofence.kind in {GeofenceKind.STORE, GeofenceKind.DEPARTMENT}
    return f"you are {'in' if inside else 'near'} {place}"


def _place(facts: Facts) -> str:
    if facts.store is None:
        return facts.geofence.name
    name = facts.store.name
    return f"our {name}" if "store" in name.lower() else f"our {name} store"


def _events_used(evidence: Evidence, zone: ZoneInfo, today: date) -> list[str]:
    used = []
    for match in evidence.matches:
        category = in_words(match.interest.category)
        for kind in dict.fromkeys(event.type for event in match.events):
            same = [event for event in match.events if event.type is kind]
            counted = _COUNTED[kind][len(same) > 1]
            newest = _day(same[0].occurred_at, zone, today)
            on = f"the last on {newest}" if len(same) > 1 else f"on {newest}"
            used.append(f"{len(same)} {counted} in {category}, {on}")
    return used


def _place_used(facts: Facts, zone: ZoneInfo, today: date) -> str:
    local = facts.transition.at.astimezone(zone)
    moment = f"{day_in_words(local.date(), today)} at {local:%H:%M}"
    return f"your phone's place: {_MOVED[facts.transition.kind]} the area “{facts.geofence.name}” on {moment}"


_MOVED: Final[dict[TransitionKind, str]] = {
    TransitionKind.ENTER: "it entered",
    TransitionKind.DWELL: "it stayed in",
    TransitionKind.EXIT: "it left",
    TransitionKind.CROSSED: "it crossed",
    TransitionKind.REMOVED: "it was in",
    TransitionKind.LOST: "it was in",
}


def _day(instant: datetime, zone: ZoneInfo, today: date) -> str:
    return day_in_words(instant.astimezone(zone).date(), today)
