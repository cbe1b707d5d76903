"""Checks 1 and 2: what consents, preferences and comfort level allow. Pure."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from geoservice.decisions.campaigns import Use
from geoservice.decisions.channels import is_switched_on
from geoservice.decisions.checks import Check, check
from geoservice.decisions.facts import ConsentFact, Facts
from geoservice.decisions.reasons import Gate, Reason
from geoservice.vocabulary import Channel, OsPermission, Purpose

MIN_AGE_YEARS: Final = 16

PERSONAL_USES: Final = frozenset({Use.BROWSE, Use.PURCHASE, Use.LOYALTY, Use.VISITS, Use.PROFILE})
"""Uses that need consent for personalisation."""

COMFORT_ALLOWS: Final[dict[int, frozenset[Use]]] = {
    # Only what I asked for: topics, loyalty and the place itself.
    1: frozenset({Use.LOYALTY, Use.BEACON}),
    # Helpful: my browsing, too, how often I come, what the shop knows of me.
    2: frozenset({Use.LOYALTY, Use.BEACON, Use.BROWSE, Use.VISITS, Use.PROFILE}),
    # Everything: also what I bought and what follows from it.
    3: frozenset(Use),
}


@lru_cache(maxsize=256)
def needed_purposes(uses: frozenset[Use], channel: Channel) -> tuple[Purpose, ...]:
    """The consents that a message triggered by a place needs: by its channel, and by what its campaign uses."""
    by_channel = (Purpose.MARKETING_PUSH,) if channel is Channel.PUSH else ()
    by_use = (Purpose.PERSONALISATION,) if uses & PERSONAL_USES else ()
    return (Purpose.LOCATION, *by_channel, *by_use)


_MISSING: Final[dict[Purpose, Reason]] = {
    Purpose.LOCATION: Reason.NO_LOCATION_CONSENT,
    Purpose.MARKETING_PUSH: Reason.NO_PUSH_CONSENT,
    Purpose.PERSONALISATION: Reason.NO_PERSONALISATION_CONSENT,
}


def consent_check(facts: Facts, uses: frozenset[Use], channel: Channel, at: datetime) -> Check:
    """Check 1: the consents that these uses need, the phone's permission, the age. No record means no."""
    refusals: list[Reason] = []
    used: dict[str, Any] = {}
    for purpose in needed_purposes(uses, channel):
        consent = facts.consents.get(purpose)
        used[purpose] = _consent_record(consent)
        if consent is None or not consent.granted:
            refusals.append(_MISSING[purpose])
        if facts.preferences.privacy_signal and purpose is Purpose.PERSONALISATION:
            refusals.append(Reason.PRIVACY_SIGNAL)
        if purpose is Purpose.LOCATION and facts.customer.os_permission is OsPermission.DENIED:
            refusals.append(Reason.OS_LOCATION_DENIED)
    used["privacy_signal"] = facts.preferences.privacy_signal
    used["os_permission"] = facts.customer.os_permission
    used["birth_year"] = facts.customer.birth_year or "not on record"
    if _maybe_under_age(facts, at):
        refusals.append(Reason.AGE_UNDER_16)
    return check(Gate.CONSENT, refusals, used)


def _consent_record(consent: ConsentFact | None) -> dict[str, Any] | str:
    if consent is None:
        return "not on record"
    return {"granted": consent.granted, "since": consent.since, "notice_version": consent.notice_version}


def _maybe_under_age(facts: Facts, at: datetime) -> bool:
    """Only the year of birth is known, so the year in which she turns 16 does not prove it yet."""
    born = facts.customer.birth_year
    return born is not None and at.astimezone(ZoneInfo(facts.customer.timezone)).year - born <= MIN_AGE_YEARS


def preferences_check(facts: Facts, topic: str, uses: frozenset[Use], channel: Channel, at: datetime) -> Check:
    """Check 2: topic and channel on, an address, no snooze, and a comfort level that allows these uses."""
    preferences = facts.preferences
    refusals: list[Reason] = []
    used: dict[str, Any] = {"topic": topic, "channel": channel, "comfort_level": preferences.comfort_level}
    if not preferences.topics.get(topic, False):
        refusals.append(Reason.TOPIC_OFF)
    if not is_switched_on(facts, channel):
        refusals.append(Reason.CHANNEL_OFF)
    if channel is Channel.PUSH and not facts.customer.push_reachable:
        refusals.append(Reason.NO_PUSH_ADDRESS)
    if preferences.snooze_until is not None and at < preferences.snooze_until:
        refusals.append(Reason.SNOOZED)
        used["snooze_until"] = preferences.snooze_until
    beyond = uses - COMFORT_ALLOWS[preferences.comfort_level]
    if beyond:
        refusals.append(Reason.COMFORT_LEVEL)
        used["uses_beyond"] = sorted(use.value for use in beyond)
    return check(Gate.PREFERENCES, refusals, used)
