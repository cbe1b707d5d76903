"""Why you got this: a sentence or two in plain words of her language, in which every noun is a stored fact. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.channels import channel_of
from geoservice.decisions.consent import needed_purposes
from geoservice.decisions.context import Evidence, Match
from geoservice.decisions.facts import Facts
from geoservice.decisions.message import in_words
from geoservice.decisions.sentences import Sentences, Whereabouts
from geoservice.vocabulary import GeofenceKind, Purpose, TransitionKind


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
        data_used=[*_events_used(facts.sentences, evidence, zone, today), *around, _place_used(facts, zone, today)],
        consents=consents,
        how_to_change=facts.sentences.how_to_change.format(topic=in_words(campaign.spec.topic)),
    )


def _summary(facts: Facts, match: Match | None, consents: list[ConsentUsed], zone: ZoneInfo, today: date) -> str:
    say, where = facts.sentences, _where(facts)
    if match is None:
        opening = f"{where[0].upper()}{where[1:]}."
    else:
        event = match.strongest_event
        day = _day(say, event.occurred_at, zone, today)
        did = say.did[event.type].format(category=in_words(match.interest.category), day=day)
        opening = say.did_and_is.format(did=did, where=where)
    allowed = [
        say.allowed_location.format(day=_day(say, consent.since, zone, today))
        for consent in consents
        if consent.purpose is Purpose.LOCATION
    ]
    return " ".join([opening, *allowed])


def _where(facts: Facts) -> str:
    store = None if facts.store is None else facts.store.name
    return facts.sentences.place(store, facts.geofence.name, _whereabouts(facts))


def _whereabouts(facts: Facts) -> Whereabouts:
    if facts.transition.kind is TransitionKind.EXIT:
        return Whereabouts.LEFT
    if facts.transition.kind is TransitionKind.CROSSED:
        return Whereabouts.PASSED
    inside = facts.geofence.kind in {GeofenceKind.STORE, GeofenceKind.DEPARTMENT}
    return Whereabouts.IN if inside else Whereabouts.NEAR


def _events_used(say: Sentences, evidence: Evidence, zone: ZoneInfo, today: date) -> list[str]:
    used = []
    for match in evidence.matches:
        category = in_words(match.interest.category)
        for kind in dict.fromkeys(event.type for event in match.events):
            same = [event for event in match.events if event.type is kind]
            often = len(same) > 1
            template = say.used_often if often else say.used_once
            newest = _day(say, same[0].occurred_at, zone, today)
            events = say.events[kind][often]
            used.append(template.format(count=len(same), events=events, category=category, day=newest))
    return used


def _place_used(facts: Facts, zone: ZoneInfo, today: date) -> str:
    local = facts.transition.at.astimezone(zone)
    day, area = facts.sentences.date(local.date(), today), facts.geofence.name
    return facts.sentences.moved[facts.transition.kind].format(area=area, day=day, time=f"{local:%H:%M}")


def _day(say: Sentences, instant: datetime, zone: ZoneInfo, today: date) -> str:
    return say.date(instant.astimezone(zone).date(), today)
