"""What the campaigns of one decision share: each question is answered once, and only when a campaign asks it. Pure.

A check that says the same of two campaigns is one object on the record of both. What does not ask what she did follows
from a campaign's manner alone, its ``Frame``; what asks that follows from its condition, its ``Grounds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from geoservice.decisions.brakes import campaign_check
from geoservice.decisions.campaigns import Audience, Campaign, Limits, Manner, Pace, Use
from geoservice.decisions.channels import channel_of
from geoservice.decisions.checks import Block, Check, block, check
from geoservice.decisions.circumstances import Circumstances, Found
from geoservice.decisions.conditions import Condition
from geoservice.decisions.consent import consent_check, preferences_check
from geoservice.decisions.context import Evidence, Provenance, Timeline
from geoservice.decisions.days import Days
from geoservice.decisions.facts import Facts
from geoservice.decisions.limits import Usage, limits_check
from geoservice.decisions.message import interest_values, place_values
from geoservice.decisions.moment import moment_check, store_state, store_when_due
from geoservice.decisions.policy import CapScope
from geoservice.decisions.quiet_hours import quiet_hours_check
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.schedule import AskAgain, Send
from geoservice.decisions.sensitive import sensitive_check
from geoservice.decisions.served import already_served_check, product_of, with_product, with_stock
from geoservice.decisions.templates import Values
from geoservice.decisions.timing import Timing, is_speed_unknown, timing
from geoservice.vocabulary import Channel


class Grounds(Struct, gc=False):
    """What a condition came to, and checks 3 to 5."""

    evidence: Evidence
    checked: Block
    strength: int
    newest_at: datetime
    """Of the strongest match, as it counts among campaigns."""
    circumstances: tuple[Found, ...]
    values: Values


class When(Struct, gc=False):
    """When campaigns of one pace speak, and check 7 for them."""

    timing: Timing
    check: Check
    waits: bool


class Frame(Struct, gc=False):
    """The checks that do not ask what she did."""

    when: When
    before: Block
    """Gates 0 to 2."""
    after: Block
    """Gates 6 and 7, and 8 and 9 if the message would go out now."""


_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


class Shared:
    """All that is worked out for one decision."""

    def __init__(self, facts: Facts, at: datetime) -> None:
        self.facts = facts
        self.at = at
        self.zone = ZoneInfo(facts.customer.timezone)
        self.days = Days(self.zone, at, facts.sentences)
        self.circumstances = Circumstances(facts, at)
        self.timeline = Timeline(facts.events, at, facts.shop.products, facts.preferences.interests, self.circumstances)
        self.usage = Usage(facts, self.zone, at)
        self.store = store_state(facts.store, at)
        self.quiet_hours = quiet_hours_check(facts, self.zone, at)
        self._told_apart = bool(facts.waited or facts.retailer.caps or self.usage.counted)
        self._place = place_values(facts)
        self._consents: dict[tuple[frozenset[Use], tuple[Channel, ...]], tuple[Channel, Check]] = {}
        self._permissions: dict[Audience, tuple[Check, Check]] = {}
        self._frames: dict[Manner, Frame] = {}
        self._grounds: dict[Condition, Grounds] = {}
        self._limits: dict[Limits, Check] = {}
        self._whens: dict[tuple[Pace, datetime | None, int | None, bool], When] = {}

    def frame(self, campaign: Campaign, evidence: Evidence) -> Frame:
        """Gates 0 to 2 and 6 to 9; campaigns of one manner share them, unless something tells them apart."""
        if self._told_apart or not campaign.unconditional or campaign.spec.in_stock is not None:
            return self._find_frame(campaign, evidence)
        found = self._frames.get(campaign.manner)
        if found is None:
            found = self._frames[campaign.manner] = self._find_frame(campaign, evidence)
        return found

    def _find_frame(self, campaign: Campaign, evidence: Evidence) -> Frame:
        when = self._when(campaign)
        live = campaign_check(campaign, self.facts, when.timing, self.zone, self.at)
        consent, preferences = self._permission(campaign.audience)
        store = self._store_of(campaign, evidence, when.timing)
        if when.waits:
            after = block(store, when.check)
        else:
            after = block(store, when.check, self.quiet_hours, self._limits_of(campaign, evidence))
        return Frame(when, block(live, consent, preferences), after)

    def _store_of(self, campaign: Campaign, evidence: Evidence, when: Timing) -> Check:
        """Check 6: open at the trigger, and later if she has to be there or the campaign says so."""
        if self.facts.waited and AskAgain.STORE not in campaign.pace.ask_again:
            return self.store.check if when.bound else store_when_due(self.facts.store, self.at)
        return with_stock(self.store.check, campaign, evidence, self.facts)

    def grounds(self, campaign: Campaign) -> Grounds:
        """Checks 3 to 5; campaigns with one condition share them, unless a product parts them."""
        condition, asked, usage = campaign.condition, campaign.circumstances, self.usage
        is_shared = not usage.has_told and campaign.spec.in_stock is None
        if is_shared and (found := self._grounds.get(condition)) is not None:
            return found
        evidence = self.timeline.evaluate(condition)
        match = evidence.strongest
        around = tuple([self.circumstances.look(each) for each in asked]) if asked else ()
        served = already_served_check(campaign, evidence, self.facts, usage)
        if usage.has_told:
            served = with_product(served, campaign, evidence, self.facts, usage)
        found = Grounds(
            evidence,
            block(sensitive_check(campaign, evidence), context_check(evidence, around), served),
            0 if match is None else match.provenance,
            _LONG_AGO if match is None else match.last_at,
            around,
            interest_values(match, self._place, self.days),
        )
        if is_shared:
            self._grounds[condition] = found
        return found

    def _permission(self, audience: Audience) -> tuple[Check, Check]:
        """Checks 1 and 2."""
        found = self._permissions.get(audience)
        if found is None:
            facts, at = self.facts, self.at
            uses, channels = asked = audience.uses, audience.channels
            if asked not in self._consents:
                channel = channel_of(facts, channels)
                self._consents[asked] = channel, consent_check(facts, uses, channel, at)
            channel, consent = self._consents[asked]
            preferences = preferences_check(facts, audience.topic, uses, channel, at)
            found = self._permissions[audience] = consent, preferences
        return found

    def _when(self, campaign: Campaign) -> When:
        """When this campaign speaks about this trigger, with check 7."""
        facts, campaign_id = self.facts, campaign.campaign_id
        repeated = facts.visit_id is not None and self.usage.has_had(campaign_id, facts.visit_id)
        key = campaign.pace, facts.waited.get(campaign_id), campaign.spec.limits.per_visit, repeated
        return self._whens.get(key) or self._find_when(key)

    def _find_when(self, key: tuple[Pace, datetime | None, int | None, bool]) -> When:
        facts = self.facts
        pace, waited_until, own, repeated = key
        per_visit = facts.retailer.per_visit if own is None else own
        if repeated:
            per_visit = 0  # other campaigns may still speak on this visit, this one has
        when = timing(pace, facts, self.zone, waited_until)
        asked = not facts.waited or AskAgain.MOMENT in pace.ask_again
        asked = asked or (pace.send is Send.NOW and is_speed_unknown(facts))  # that is what it waited for
        checked = moment_check(facts, when, per_visit, self.usage, fast_matters=asked)
        found = self._whens[key] = When(when, checked, when.due_at is not None and self.at < when.due_at)
        return found

    def _limits_of(self, campaign: Campaign, evidence: Evidence) -> Check:
        """Check 9; campaigns that she had nothing of share it, unless the retailer's rules tell them apart."""
        if self.facts.retailer.caps or self.usage.of_campaign(campaign.campaign_id):
            return self._find_limits(campaign, evidence)
        own = campaign.spec.limits
        found = self._limits.get(own)
        if found is None:
            found = self._limits[own] = self._find_limits(campaign, evidence)
        return found

    def _find_limits(self, campaign: Campaign, evidence: Evidence) -> Check:
        facts = self.facts
        if not facts.retailer.caps:
            return limits_check(campaign, facts.retailer, self.usage)
        subject = {
            CapScope.TOPIC: campaign.spec.topic,
            CapScope.CAMPAIGN: campaign.campaign_id,
            CapScope.STORE: facts.store.store_id if facts.store else None,
            CapScope.PRODUCT: product_of(evidence),
        }
        channel = channel_of(facts, campaign.audience.channels)
        return limits_check(campaign, facts.retailer, self.usage, subject, channel)


def context_check(evidence: Evidence, around: Sequence[Found]) -> Check:
    """Check 4: the campaign's condition holds; records on which events and circumstances."""
    refusals = [] if evidence.holds else [Reason.CONTEXT_NOT_MET]
    used: dict[str, Any] = {
        "matched": [
            {
                "category": match.interest.category,
                "provenance": _SURELY[match.provenance],
                "count": len(match.events),
                "first_at": match.events[-1].occurred_at,
                "last_at": match.last_at,
            }
            for match in evidence.matches
        ]
    }
    if around:
        used["circumstances"] = [each.record for each in around]
    return check(Gate.CONTEXT, refusals, used)


_SURELY: Final = {provenance: provenance.name.lower() for provenance in Provenance}
