"""Why you got this: a sentence or two in plain words of her language, in which every noun is a stored fact. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.channels import channel_of
from geoservice.decisions.consent import needed_purposes
from geoservice.decisions.context import Evidence, Match
from geoservice.decisions.days import Days
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


def explain(facts: Facts, campaign: Campaign, evidence: Evidence, around: Sequence[str], days: Days) -> Why:
    """The explanation of a message that is about to be sent; days are the customer's local days.

    ``around`` names in words what else the campaign's condition looked at.
    """
    consents = [
        ConsentUsed(purpose, fact.since, fact.notice_version)
        for purpose in needed_purposes(campaign.uses, channel_of(facts, campaign.audience.channels))
        if (fact := facts.consents.get(purpose)) is not None
    ]
    return Why(
        summary=_summary(facts, evidence.strongest, consents, days),
        data_used=[*_events_used(facts.sentences, evidence, days), *around, _place_used(facts, days)],
        consents=consents,
        how_to_change=facts.sentences.how_to_change.format(topic=in_words(campaign.spec.topic)),
    )


def _summary(facts: Facts, match: Match | None, consents: list[ConsentUsed], days: Days) -> str:
    say, where = facts.sentences, _where(facts)
    if match is None:
        opening = f"{where[0].upper()}{where[1:]}."
    else:
        event = match.strongest_event
        day = days.of(event.occurred_at).words
        did = say.did[event.type].format(category=in_words(match.interest.category), day=day)
        opening = say.did_and_is.format(did=did, where=where)
    allowed = [
        say.allowed_location.format(day=days.of(consent.since).words)
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


def _events_used(say: Sentences, evidence: Evidence, days: Days) -> list[str]:
    used = []
    for match in evidence.matches:
        category = in_words(match.interest.category)
        for kind in dict.fromkeys(event.type for event in match.events):
            same = [event for event in match.events if event.type is kind]
            often = len(same) > 1
            template = say.used_often if often else say.used_once
            newest = days.of(same[0].occurred_at).words
            events = say.events[kind][often]
            used.append(template.format(count=len(same), events=events, category=category, day=newest))
    return used


def _place_used(facts: Facts, days: Days) -> str:
    at, area = facts.transition.at, facts.geofence.name
    return facts.sentences.moved[facts.transition.kind].format(area=area, day=days.of(at).words, time=days.time(at))
