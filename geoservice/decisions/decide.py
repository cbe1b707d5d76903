"""Whether we may say something about this transition, what, and why.

``decide(facts, at)`` is pure, total and deterministic.

Every listening campaign gets one decision with every check on record, passed ones too. The first refusal in
the order of the gates is its reason. Of those that pass, one is sent and the others are outranked.

A campaign whose moment comes later is deferred: what has to hold at the trigger is checked now, what has to hold when
the message goes out is checked when it is due, and most of it twice.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from geoservice.decisions.brakes import campaign_check
from geoservice.decisions.campaigns import Audience, Campaign, InStock, Limits, Pace, TriggerOn
from geoservice.decisions.channels import channel_of
from geoservice.decisions.checks import Check, check
from geoservice.decisions.circumstances import Circumstances, Found
from geoservice.decisions.conditions import Condition
from geoservice.decisions.consent import consent_check, preferences_check
from geoservice.decisions.context import Evidence, Match, Provenance, Timeline
from geoservice.decisions.experiments import BASE, HELD_OUT, Draw, draw
from geoservice.decisions.facts import Facts
from geoservice.decisions.limits import Usage, limits_check
from geoservice.decisions.message import Payload, Values, interest_values, place_values, render_check
from geoservice.decisions.moment import OPEN_FOR, moment_check, store_state
from geoservice.decisions.policy import CapScope
from geoservice.decisions.quiet_hours import next_quiet_start, quiet_hours_check
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.schedule import AskAgain
from geoservice.decisions.sensitive import sensitive_check
from geoservice.decisions.served import already_served_check, product_of, with_product, with_stock
from geoservice.decisions.timing import Timing, timing
from geoservice.decisions.why import Why, explain
from geoservice.vocabulary import Channel

__all__ = ["Check", "Decision", "Outcome", "decide"]


class Outcome(StrEnum):
    """What becomes of a campaign at this transition."""

    SEND = "send"
    DEFER = "defer"
    SUPPRESS = "suppress"


class Decision(Struct, frozen=True, gc=False):
    """What one campaign does about one transition, and every check that led there.

    ``payload``, ``why`` and ``expires_at`` come with a send, ``until`` with a defer, ``reason`` with all but
    a send. ``rank`` is that of a send among all messages that could go to her now: the highest is best.
    """

    campaign_id: str
    campaign_version: int
    outcome: Outcome
    reason: Reason | None
    checks: tuple[Check, ...]
    payload: Payload | None = None
    why: Why | None = None
    expires_at: datetime | None = None
    until: datetime | None = None
    rank: Rank | None = None
    until_left: bool = False
    """Whether the message is about being there, and ends when she leaves."""
    product_id: str | None = None
    """The product that the message is about, if the interest behind it names one."""
    draw: Draw | None = None
    """The winner's arm, if its campaign has an experiment."""

    @property
    def takes_slot(self) -> bool:
        """Whether it holds a slot: as a message, or as the ghost of one."""
        return self.outcome is Outcome.SEND or self.reason is Reason.HELD_OUT


Rank = tuple[int, int, datetime]
"""Priority, strength of the evidence, its freshness."""


def decide(facts: Facts, at: datetime) -> list[Decision]:
    """One decision for each campaign that listens, by campaign id; at most one of them sends."""
    at = at.astimezone(UTC)
    listening = sorted(_concerned(facts), key=attrgetter("campaign_id"))
    if not listening:
        return []
    try:
        moment = _Moment(facts, at)
    except Exception as error:  # noqa: BLE001  a failure is silent towards the customer, and on record
        return [_broken(campaign, [], error) for campaign in listening]
    verdicts = [_judged(moment, campaign) for campaign in listening]
    winner = _choose(moment, [verdict for verdict in verdicts if verdict.decision is None])
    outranked = check(Gate.CHOICE, [Reason.OUTRANKED], {"winner": winner})
    return [verdict.decision or _outranked(verdict, outranked) for verdict in verdicts]


def _concerned(facts: Facts) -> list[Campaign]:
    """Campaigns that listen, or that have waited since they did, whatever has become of them."""
    transition, geofence, waited = facts.transition, facts.geofence, facts.waited
    return [each for each in facts.campaigns if each.campaign_id in waited or each.listens_to(transition, geofence)]


# What the campaigns of one decision share ---------------------------------------------------------------------


class _Grounds(Struct, gc=False):
    """What a condition came to, and the checks that follow from it alone."""

    evidence: Evidence
    sensitive: Check
    context: Check
    already_served: Check
    rank: tuple[int, datetime]
    circumstances: tuple[Found, ...]
    values: Values


class _When(Struct, gc=False):
    """When campaigns of one pace speak, and check 7 for them."""

    timing: Timing
    check: Check
    waits: bool


_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


class _Moment:
    """What all campaigns of one decision share, worked out once and only when a campaign asks."""

    def __init__(self, facts: Facts, at: datetime) -> None:
        self.facts = facts
        self.at = at
        self.zone = ZoneInfo(facts.customer.timezone)
        self.today = at.astimezone(self.zone).date()
        self.circumstances = Circumstances(facts, at)
        self.timeline = Timeline(facts.events, at, facts.shop.products, facts.preferences.interests, self.circumstances)
        self.usage = Usage(facts, self.zone, at)
        self.store = store_state(facts.store, at)
        self.quiet_hours = quiet_hours_check(facts, self.zone, at)
        self._place = place_values(facts)
        self._permissions: dict[Audience, tuple[Check, Check]] = {}
        self._grounds: dict[tuple[Condition, InStock | None], _Grounds] = {}
        self._limits: dict[Limits, Check] = {}
        self._whens: dict[tuple[Pace, datetime | None, int | None, bool], _When] = {}

    def permission(self, audience: Audience) -> tuple[Check, Check]:
        """Checks 1 and 2."""
        found = self._permissions.get(audience)
        if found is None:
            facts, at = self.facts, self.at
            channel = channel_of(facts, audience.channels)
            found = self._permissions[audience] = (
                consent_check(facts, audience.uses, channel, at),
                preferences_check(facts, audience.topic, audience.uses, channel, at),
            )
        return found

    def grounds(self, campaign: Campaign) -> _Grounds:
        """Checks 3 to 5."""
        key = campaign.condition, campaign.spec.in_stock
        found = self._grounds.get(key)
        if found is None:
            evidence = self.timeline.evaluate(campaign.condition)
            match = evidence.strongest
            around = tuple([self.circumstances.look(each) for each in campaign.circumstances])
            found = self._grounds[key] = _Grounds(
                evidence,
                sensitive_check(campaign, evidence),
                context_check(evidence, around),
                already_served_check(campaign, evidence, self.facts, self.usage),
                (0, _LONG_AGO) if match is None else (match.provenance, match.last_at),
                around,
                {**self._place, **interest_values(match, self.zone, self.today, self.facts.sentences)},
            )
        return found

    def when(self, campaign: Campaign) -> _When:
        """When this campaign speaks about this trigger, with check 7."""
        facts, campaign_id = self.facts, campaign.campaign_id
        repeated = facts.visit_id is not None and self.usage.has_had(campaign_id, facts.visit_id)
        key = campaign.pace, facts.waited.get(campaign_id), campaign.spec.limits.per_visit, repeated
        return self._whens.get(key) or self._find_when(key)

    def _find_when(self, key: tuple[Pace, datetime | None, int | None, bool]) -> _When:
        facts = self.facts
        pace, waited_until, own, repeated = key
        per_visit = facts.retailer.per_visit if own is None else own
        if repeated:
            per_visit = 0  # other campaigns may still speak on this visit, this one has
        when = timing(pace, facts, self.zone, waited_until)
        asked = not facts.waited or AskAgain.MOMENT in pace.ask_again
        checked = moment_check(facts, when, per_visit, self.usage, fast_matters=asked)
        found = self._whens[key] = _When(when, checked, when.due_at is not None and self.at < when.due_at)
        return found

    def limits(self, campaign: Campaign, evidence: Evidence) -> Check:
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
        subject = {
            CapScope.TOPIC: campaign.spec.topic,
            CapScope.CAMPAIGN: campaign.campaign_id,
            CapScope.STORE: facts.store.store_id if facts.store else None,
            CapScope.PRODUCT: product_of(evidence),
        }
        channel = channel_of(facts, campaign.audience.channels) if facts.retailer.caps else Channel.PUSH
        return limits_check(campaign, facts.retailer, self.usage, subject, channel)


# One campaign -------------------------------------------------------------------------------------------------


class _Verdict(Struct, gc=False):
    """How one campaign stands: its decision, or None while it contends for the message."""

    campaign: Campaign
    checks: list[Check]
    decision: Decision | None = None
    grounds: _Grounds | None = None
    payload: Payload | None = None
    timing: Timing | None = None


def _judged(moment: _Moment, campaign: Campaign) -> _Verdict:
    checks: list[Check] = []
    try:
        when = moment.when(campaign)
        grounds = _check_grounds(moment, campaign, when, checks)
        payload = None if when.waits else _check_message(moment, campaign, grounds, checks)
    except Exception as error:  # noqa: BLE001  one campaign's failure must not silence the others
        return _Verdict(campaign, checks, _broken(campaign, checks, error))
    for each in checks:
        if each.reason is not None:
            return _Verdict(campaign, checks, _decision(campaign, Outcome.SUPPRESS, each.reason, checks))
    if when.waits:
        deferred = _decision(campaign, Outcome.DEFER, Reason.WAITING_FOR_DELAY, checks, until=when.timing.due_at)
        return _Verdict(campaign, checks, deferred)
    return _Verdict(campaign, checks, None, grounds, payload, when.timing)


def _check_grounds(moment: _Moment, campaign: Campaign, when: _When, checks: list[Check]) -> _Grounds:
    """Run gates 0 to 7, in order, whatever the ones before said; ``checks`` grows as they come."""
    facts = moment.facts
    checks.append(campaign_check(campaign, facts, when.timing, moment.zone, moment.at))
    checks.extend(moment.permission(campaign.audience))
    grounds = moment.grounds(campaign)
    evidence = grounds.evidence
    asked = not facts.waited or AskAgain.STORE in campaign.pace.ask_again
    checks += (
        grounds.sensitive,
        grounds.context,
        with_product(grounds.already_served, campaign, evidence, facts, moment.usage),
        with_stock(moment.store.check, campaign, evidence, facts) if asked else moment.store.when_due,
        when.check,
    )
    return grounds


def _check_message(moment: _Moment, campaign: Campaign, grounds: _Grounds, checks: list[Check]) -> Payload | None:
    """Run gates 8 to 10: they look at the moment in which the message would go out."""
    checks.append(moment.quiet_hours)
    checks.append(moment.limits(campaign, grounds.evidence))
    if not grounds.evidence.holds:  # there is nothing to fill the template with, and one refusal says so
        checks.append(_NOT_RENDERED)
        return None
    texts = campaign.texts_for(moment.facts.customer.locale) if campaign.other_texts else campaign.texts
    render, payload = render_check(texts, grounds.values)
    checks.append(render)
    return payload


_NOT_RENDERED: Final = check(Gate.RENDER, [], {"skipped": Reason.CONTEXT_NOT_MET.value})


def context_check(evidence: Evidence, around: Sequence[Found]) -> Check:
    """Check 4: the campaign's condition holds; records on which events and circumstances."""
    refusals = [] if evidence.holds else [Reason.CONTEXT_NOT_MET]
    used: dict[str, Any] = {"matched": [_record(match) for match in evidence.matches]}
    if around:
        used["circumstances"] = [each.record for each in around]
    return check(Gate.CONTEXT, refusals, used)


_SURELY: Final = {provenance: provenance.name.lower() for provenance in Provenance}


def _record(match: Match) -> dict[str, object]:
    return {
        "category": match.interest.category,
        "provenance": _SURELY[match.provenance],
        "count": len(match.events),
        "first_at": match.first_at,
        "last_at": match.last_at,
    }


# One message --------------------------------------------------------------------------------------------------


def _choose(moment: _Moment, contenders: list[_Verdict]) -> str | None:
    """Send for the first in rank whose explanation can be written; the campaign id of that one."""
    while contenders:
        best = max(contenders, key=_rank)  # of equals the first, which is the one with the lowest id
        try:
            best.decision = _send(moment, best)
        except Exception as error:  # noqa: BLE001  a message that we cannot explain is not sent
            best.decision = _broken(best.campaign, best.checks, error)
            contenders.remove(best)
        else:
            if best.decision.takes_slot:
                return best.campaign.campaign_id
            contenders.remove(best)  # its variant cannot be written: the next one may
    return None


def _rank(verdict: _Verdict) -> Rank:
    """Priority, then strength of the evidence, then its freshness: the highest wins."""
    assert verdict.grounds is not None  # noqa: S101  contenders have passed every check
    return (verdict.campaign.spec.priority, *verdict.grounds.rank)


def _send(moment: _Moment, verdict: _Verdict) -> Decision:
    assert verdict.grounds is not None  # noqa: S101  contenders have passed every check
    assert verdict.timing is not None  # noqa: S101
    campaign = verdict.campaign
    around = [found.words for found in verdict.grounds.circumstances]
    why = explain(moment.facts, campaign, verdict.grounds.evidence, around, moment.zone, moment.at)
    drawn, payload = draw(campaign, moment.facts), verdict.payload
    arm = drawn.arm if drawn is not None else BASE
    if arm in campaign.variants:
        texts = campaign.variants[arm].texts_for(moment.facts.customer.locale)
        verdict.checks[-1], payload = render_check(texts, verdict.grounds.values)
        if payload is None:
            return _decision(campaign, Outcome.SUPPRESS, verdict.checks[-1].reason, verdict.checks)
    held_out = arm == HELD_OUT
    used = {"winner": campaign.campaign_id} | ({} if drawn is None else {"arm": arm, "lot": drawn.lot})
    chosen = check(Gate.CHOICE, [Reason.HELD_OUT] if held_out else [], used)
    return _decision(
        campaign,
        Outcome.SUPPRESS if held_out else Outcome.SEND,
        Reason.HELD_OUT if held_out else None,
        [*verdict.checks, chosen],
        payload=None if held_out else payload,
        why=None if held_out else why,
        draw=drawn,
        expires_at=_expires_at(moment, campaign, verdict.timing),
        rank=_rank(verdict),
        product_id=product_of(verdict.grounds.evidence),
        until_left=verdict.timing.bound and campaign.pace.on is not TriggerOn.CROSSED,
    )


def _expires_at(moment: _Moment, campaign: Campaign, when: Timing) -> datetime:
    """The end of the moment, or of what made it right: quiet hours, closing time, the campaign's end."""
    facts, zone, at = moment.facts, moment.zone, moment.at
    ends = [
        when.ends_at,
        next_quiet_start(facts.preferences.quiet_hours, zone, at),
        next_quiet_start(facts.retailer.quiet_hours, zone, at),
        campaign.spec.valid_until,
    ]
    if when.bound and moment.store.closes_at is not None:
        ends.append(moment.store.closes_at - OPEN_FOR)
    return min([end for end in ends if end is not None])


def _outranked(verdict: _Verdict, lost: Check) -> Decision:
    return _decision(verdict.campaign, Outcome.SUPPRESS, Reason.OUTRANKED, [*verdict.checks, lost])


def _decision(
    campaign: Campaign, outcome: Outcome, reason: Reason | None, checks: Sequence[Check], **more: Any
) -> Decision:
    return Decision(campaign.campaign_id, campaign.version, outcome, reason, tuple(checks), **more)


def _broken(campaign: Campaign, checks: Sequence[Check], error: Exception) -> Decision:
    """Silent, with the kind and place of the error on record; its text may hold personal data."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    used = {"error": type(error).__name__, "where": f"{frame.f_code.co_name}:{line}"}
    failed = check(Gate.CHOICE, [Reason.INTERNAL_ERROR], used)
    return _decision(campaign, Outcome.SUPPRESS, Reason.INTERNAL_ERROR, [*checks, failed])
