"""Whether we may say something about this transition, what, and why.

``decide(facts, at)`` is pure, total and deterministic.

Every listening campaign gets one decision with every check on record, passed ones too. The first refusal in
the order of the gates is its reason. Of those that pass, one is sent and the others are outranked.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from geoservice.decisions.campaigns import Campaign, CampaignState, TriggerOn, Use
from geoservice.decisions.checks import Check, check
from geoservice.decisions.consent import consent_check, preferences_check, sensitive_check
from geoservice.decisions.context import Evidence, Match, Timeline
from geoservice.decisions.facts import Facts
from geoservice.decisions.limits import Usage, limits_check
from geoservice.decisions.message import Payload, Values, interest_values, place_values, render_check
from geoservice.decisions.moment import OPEN_FOR, already_served_check, latest_at, moment_check, store_state
from geoservice.decisions.quiet_hours import next_quiet_start, quiet_hours_check
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.why import Why, explain

__all__ = ["Check", "Decision", "Outcome", "decide"]


class Outcome(StrEnum):
    """What becomes of a campaign at this transition."""

    SEND = "send"
    DEFER = "defer"
    SUPPRESS = "suppress"


class Decision(Struct, frozen=True):
    """What one campaign does about one transition, and every check that led there.

    ``payload``, ``why`` and ``expires_at`` come with a send, ``until`` with a defer, ``reason`` with all but
    a send.
    """

    campaign_id: str
    campaign_version: int
    outcome: Outcome
    reason: Reason | None
    checks: tuple[Check, ...]
    priority: int = 0
    payload: Payload | None = None
    why: Why | None = None
    expires_at: datetime | None = None
    until: datetime | None = None


def decide(facts: Facts, at: datetime) -> list[Decision]:
    """One decision for each campaign that listens, by campaign id; at most one of them sends."""
    at = at.astimezone(UTC)
    listening = sorted(
        (c for c in facts.campaigns if c.listens_to(facts.transition, facts.geofence)),
        key=lambda campaign: campaign.campaign_id,
    )
    if not listening:
        return []
    try:
        moment = _Moment(facts, at)
    except Exception as error:  # noqa: BLE001  a failure is silent towards the customer, and on record
        return [_broken(campaign, (), error) for campaign in listening]
    verdicts = [_judged(moment, campaign) for campaign in listening]
    winner = _choose(moment, [verdict for verdict in verdicts if verdict.decision is None])
    return [verdict.decision or _outranked(verdict, winner) for verdict in verdicts]


class _Moment:
    """What all campaigns of one decision share, worked out once."""

    def __init__(self, facts: Facts, at: datetime) -> None:
        self.facts = facts
        self.at = at
        self.zone = ZoneInfo(facts.customer.timezone)
        self.timeline = Timeline(facts.events, at)
        self.usage = Usage(facts, self.zone, at)
        self.store = store_state(facts.store, at)
        self.quiet_hours = quiet_hours_check(facts, self.zone, at)
        self._place = place_values(facts)
        self._consent: dict[frozenset[Use], Check] = {}
        self._preferences: dict[tuple[str, frozenset[Use]], Check] = {}
        self._moments: dict[tuple[datetime, int], Check] = {}
        self._values: dict[int, Values] = {}

    def consent(self, uses: frozenset[Use]) -> Check:
        if uses not in self._consent:
            self._consent[uses] = consent_check(self.facts, uses, self.at)
        return self._consent[uses]

    def preferences(self, topic: str, uses: frozenset[Use]) -> Check:
        key = topic, uses
        if key not in self._preferences:
            self._preferences[key] = preferences_check(self.facts, topic, uses, self.at)
        return self._preferences[key]

    def moment(self, campaign: Campaign) -> Check:
        own = campaign.spec.limits.per_visit
        per_visit = self.facts.retailer.per_visit if own is None else own
        if self.facts.visit_id is not None and self.usage.has_had(campaign.campaign_id, self.facts.visit_id):
            per_visit = 0  # other campaigns may still speak on this visit, this one has
        key = latest_at(campaign, self.facts.transition.at), per_visit
        if key not in self._moments:
            self._moments[key] = moment_check(self.facts, *key, self.usage)
        return self._moments[key]

    def values(self, match: Match | None) -> Values:
        key = id(match)  # one timeline gives one object for each interest
        if key not in self._values:
            self._values[key] = {**self._place, **interest_values(match, self.zone, self.at)}
        return self._values[key]


class _Verdict(Struct):
    """How one campaign stands: its decision, or None while it contends for the message."""

    campaign: Campaign
    checks: tuple[Check, ...]
    decision: Decision | None = None
    evidence: Evidence | None = None
    payload: Payload | None = None


def _judged(moment: _Moment, campaign: Campaign) -> _Verdict:
    checks: list[Check] = []
    try:
        evidence, payload = _run_checks(moment, campaign, checks)
    except Exception as error:  # noqa: BLE001  one campaign's failure must not silence the others
        return _Verdict(campaign, (), _broken(campaign, tuple(checks), error))
    verdict = _Verdict(campaign, tuple(checks), None, evidence, payload)
    refusal = next((each.reason for each in checks if not each.passed), None)
    until = moment.facts.transition.at + timedelta(seconds=campaign.wait_s)
    if refusal is not None:
        verdict.decision = _decision(verdict, Outcome.SUPPRESS, refusal)
    elif moment.at < until:
        verdict.decision = _decision(verdict, Outcome.DEFER, Reason.WAITING_FOR_DELAY, until=until)
    return verdict


def _run_checks(moment: _Moment, campaign: Campaign, checks: list[Check]) -> tuple[Evidence, Payload | None]:
    """Run every gate, in order, whatever the ones before said; ``checks`` grows as they come."""
    facts, at = moment.facts, moment.at
    checks.append(campaign_check(campaign, at))
    checks.append(moment.consent(campaign.uses))
    checks.append(moment.preferences(campaign.spec.topic, campaign.uses))
    evidence = moment.timeline.evaluate(campaign.condition)
    checks.append(sensitive_check(campaign, evidence))
    checks.append(context_check(evidence))
    checks.append(already_served_check(evidence))
    checks.append(moment.store.check)
    checks.append(moment.moment(campaign))
    checks.append(moment.quiet_hours)
    checks.append(limits_check(campaign, facts.retailer, moment.usage))
    if not evidence.holds:  # there is nothing to fill the template with, and one refusal says so
        checks.append(check(Gate.RENDER, [], {"skipped": Reason.CONTEXT_NOT_MET.value}))
        return evidence, None
    render, payload = render_check(campaign, moment.values(evidence.strongest))
    checks.append(render)
    return evidence, payload


def campaign_check(campaign: Campaign, at: datetime) -> Check:
    """The campaign is live, and valid now: ``valid_from`` is included, ``valid_until`` is not."""
    spec = campaign.spec
    refusals: list[Reason] = []
    if spec.state is not CampaignState.LIVE:
        refusals.append(Reason.CAMPAIGN_NOT_LIVE)
    if (spec.valid_from and at < spec.valid_from) or (spec.valid_until and at >= spec.valid_until):
        refusals.append(Reason.CAMPAIGN_NOT_VALID_NOW)
    used = {"state": spec.state.value, "valid_from": spec.valid_from, "valid_until": spec.valid_until}
    return check(Gate.CAMPAIGN, refusals, used)


def context_check(evidence: Evidence) -> Check:
    """Check 4: the campaign's condition holds; records on which events."""
    refusals = [] if evidence.holds else [Reason.CONTEXT_NOT_MET]
    return check(Gate.CONTEXT, refusals, {"matched": [_record(match) for match in evidence.matches]})


def _record(match: Match) -> dict[str, object]:
    return {
        "category": match.interest.category,
        "provenance": match.provenance.name.lower(),
        "count": len(match.events),
        "first_at": match.first_at,
        "last_at": match.last_at,
    }


def _choose(moment: _Moment, contenders: list[_Verdict]) -> str | None:
    """Send for the first in rank whose explanation can be written; the campaign id of that one."""
    for verdict in sorted(contenders, key=_rank):
        try:
            verdict.decision = _send(moment, verdict)
        except Exception as error:  # noqa: BLE001  a message that we cannot explain is not sent
            verdict.decision = _broken(verdict.campaign, verdict.checks, error)
        else:
            return verdict.campaign.campaign_id
    return None


def _rank(verdict: _Verdict) -> tuple[int, int, float, str]:
    """Priority, then strength of the evidence, then its freshness, then the id: first is best."""
    match = verdict.evidence.strongest if verdict.evidence else None
    strength, freshness = (match.provenance, match.last_at.timestamp()) if match else (0, 0.0)
    return -verdict.campaign.spec.priority, -strength, -freshness, verdict.campaign.campaign_id


def _send(moment: _Moment, verdict: _Verdict) -> Decision:
    assert verdict.evidence is not None  # noqa: S101  contenders have passed every check
    chosen = check(Gate.CHOICE, [], {"winner": verdict.campaign.campaign_id})
    why = explain(moment.facts, verdict.campaign, verdict.evidence, moment.zone, moment.at)
    verdict.checks = (*verdict.checks, chosen)
    expires_at = _expires_at(moment, verdict.campaign)
    return _decision(verdict, Outcome.SEND, None, payload=verdict.payload, why=why, expires_at=expires_at)


def _expires_at(moment: _Moment, campaign: Campaign) -> datetime:
    """The end of the moment, or of what made it right: quiet hours, closing time, the campaign's end."""
    facts, zone, at = moment.facts, moment.zone, moment.at
    ends = [
        latest_at(campaign, facts.transition.at),
        next_quiet_start(facts.preferences.quiet_hours, zone, at),
        next_quiet_start(facts.retailer.quiet_hours, zone, at),
        campaign.spec.valid_until,
    ]
    if campaign.spec.trigger.on is not TriggerOn.EXIT and moment.store.closes_at is not None:
        ends.append(moment.store.closes_at - OPEN_FOR)
    return min(end for end in ends if end is not None)


def _outranked(verdict: _Verdict, winner: str | None) -> Decision:
    lost = check(Gate.CHOICE, [Reason.OUTRANKED], {"winner": winner})
    verdict.checks = (*verdict.checks, lost)
    return _decision(verdict, Outcome.SUPPRESS, Reason.OUTRANKED)


def _decision(
    verdict: _Verdict,
    outcome: Outcome,
    reason: Reason | None,
    *,
    payload: Payload | None = None,
    why: Why | None = None,
    expires_at: datetime | None = None,
    until: datetime | None = None,
) -> Decision:
    campaign = verdict.campaign
    return Decision(
        campaign_id=campaign.campaign_id,
        campaign_version=campaign.version,
        outcome=outcome,
        reason=reason,
        checks=verdict.checks,
        priority=campaign.spec.priority,
        payload=payload,
        why=why,
        expires_at=expires_at,
        until=until,
    )


def _broken(campaign: Campaign, checks: tuple[Check, ...], error: Exception) -> Decision:
    """Silent, with the kind and place of the error on record; its text may hold personal data."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    used = {"error": type(error).__name__, "where": f"{frame.f_code.co_name}:{line}"}
    failed = check(Gate.CHOICE, [Reason.INTERNAL_ERROR], used)
    verdict = _Verdict(campaign, (*checks, failed))
    return _decision(verdict, Outcome.SUPPRESS, Reason.INTERNAL_ERROR)
