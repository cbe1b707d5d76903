"""Whether we may say something about this transition, what, and why.

``decide(facts, at)`` is pure, total and deterministic.

Every listening campaign gets one decision with every check on record, passed ones too. The first refusal in
the order of the gates is its reason. Of those that pass, one is sent and the others are outranked.

A campaign whose moment comes later is deferred: what has to hold at the trigger is checked now, what has to hold when
the message goes out is checked when it is due, and most of it twice. What is not about the moment and meets quiet hours
then waits for their end.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from geoservice.decisions.campaigns import Campaign, TriggerOn
from geoservice.decisions.checks import Block, Check, block, check
from geoservice.decisions.experiments import BASE, HELD_OUT, Draw, draw
from geoservice.decisions.facts import Facts
from geoservice.decisions.message import Payload, Rendered, rendered
from geoservice.decisions.moment import OPEN_FOR
from geoservice.decisions.quiet_hours import QUIET, next_quiet_start
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.served import product_of
from geoservice.decisions.shared import Grounds, Shared
from geoservice.decisions.timing import Timing, held_until
from geoservice.decisions.why import Why, explain

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
    blocks: tuple[Block, ...]
    """Its checks in parts: what many campaigns have in common is one object on the record of all of them."""
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
    def checks(self) -> tuple[Check, ...]:
        """Every check, in the order of the gates."""
        return tuple([each for part in self.blocks for each in part.checks])

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
        shared = Shared(facts, at)
    except Exception as error:  # noqa: BLE001  a failure is silent towards the customer, and on record
        return [_broken(campaign, (), error) for campaign in listening]
    verdicts = [_judged(shared, campaign) for campaign in listening]
    winner = _choose(shared, [verdict for verdict in verdicts if verdict.decision is None])
    outranked = block(check(Gate.CHOICE, [Reason.OUTRANKED], {"winner": winner}))
    return [verdict.decision or _outranked(verdict, outranked) for verdict in verdicts]


def _concerned(facts: Facts) -> list[Campaign]:
    """Campaigns that listen, or that have waited since they did, whatever has become of them."""
    transition, geofence, waited = facts.transition, facts.geofence, facts.waited
    return [each for each in facts.campaigns if each.campaign_id in waited or each.listens_to(transition, geofence)]


# One campaign -------------------------------------------------------------------------------------------------


class _Verdict(Struct, gc=False):
    """How one campaign stands: its decision, or None while it contends for the message."""

    campaign: Campaign
    blocks: tuple[Block, ...]
    decision: Decision | None
    rank: Rank | None = None
    grounds: Grounds | None = None
    timing: Timing | None = None
    payload: Payload | None = None


def _judged(shared: Shared, campaign: Campaign) -> _Verdict:
    """Run gates 0 to 10, in order, whatever the ones before said."""
    try:
        grounds = shared.grounds(campaign)
        frame = shared.frame(campaign, grounds.evidence)
        before, about_her, after, when = frame.before, grounds.checked, frame.after, frame.when
        refused = before.refused or about_her.refused or after.refused
        blocks: tuple[Block, ...] = (before, about_her, after)
        payload = None
        if not when.waits:
            texts = campaign.texts_for(shared.facts.customer.locale) if campaign.other_texts else campaign.texts
            # Without evidence there is nothing to fill the template with, and one refusal says so.
            written = rendered(texts, texts.read(grounds.values)) if grounds.evidence.holds else _NOT_RENDERED
            blocks, payload = (*blocks, written.checked), written.payload
            refused = refused or written.checked.refused
        until = held_until(campaign.pace, shared.facts, shared.zone, shared.at) if refused in QUIET else None
    except Exception as error:  # noqa: BLE001  one campaign's failure must not silence the others
        return _Verdict(campaign, (), _broken(campaign, (), error))
    if refused is not None:
        outcome = Outcome.SUPPRESS if until is None else Outcome.DEFER
        return _Verdict(campaign, blocks, _decision(campaign, outcome, refused, blocks, until=until))
    if when.waits:
        deferred = _decision(campaign, Outcome.DEFER, Reason.WAITING_FOR_DELAY, blocks, until=when.timing.due_at)
        return _Verdict(campaign, blocks, deferred)
    rank = (campaign.spec.priority, grounds.strength, grounds.newest_at)
    return _Verdict(campaign, blocks, None, rank, grounds, when.timing, payload)


_NOT_RENDERED: Final = Rendered(block(check(Gate.RENDER, [], {"skipped": Reason.CONTEXT_NOT_MET.value})))


# One message --------------------------------------------------------------------------------------------------


def _choose(shared: Shared, contenders: list[_Verdict]) -> str | None:
    """Send for the first in rank whose explanation can be written; the campaign id of that one."""
    while contenders:
        best = max(contenders, key=attrgetter("rank"))  # of equals the first, which is the one with the lowest id
        try:
            best.decision = _send(shared, best)
        except Exception as error:  # noqa: BLE001  a message that we cannot explain is not sent
            best.decision = _broken(best.campaign, best.blocks, error)
            contenders.remove(best)
        else:
            if best.decision.takes_slot:
                return best.campaign.campaign_id
            contenders.remove(best)  # its variant cannot be written: the next one may
    return None


def _send(shared: Shared, verdict: _Verdict) -> Decision:
    assert verdict.grounds is not None  # noqa: S101  contenders have passed every check
    assert verdict.timing is not None  # noqa: S101
    campaign = verdict.campaign
    around = [found.words for found in verdict.grounds.circumstances]
    why = explain(shared.facts, campaign, verdict.grounds.evidence, around, shared.days)
    drawn, blocks, payload = draw(campaign, shared.facts), verdict.blocks, verdict.payload
    arm = drawn.arm if drawn is not None else BASE
    if arm in campaign.variants:
        texts = campaign.variants[arm].texts_for(shared.facts.customer.locale)
        variant = rendered(texts, texts.read(verdict.grounds.values))
        blocks, payload = (*blocks[:-1], variant.checked), variant.payload
        if variant.checked.refused is not None:
            return _decision(campaign, Outcome.SUPPRESS, variant.checked.refused, blocks)
    held_out = arm == HELD_OUT
    used = {"winner": campaign.campaign_id} | ({} if drawn is None else {"arm": arm, "lot": drawn.lot})
    chosen = block(check(Gate.CHOICE, [Reason.HELD_OUT] if held_out else [], used))
    return _decision(
        campaign,
        Outcome.SUPPRESS if held_out else Outcome.SEND,
        chosen.refused,
        (*blocks, chosen),
        payload=None if held_out else payload,
        why=None if held_out else why,
        draw=drawn,
        expires_at=_expires_at(shared, campaign, verdict.timing),
        rank=verdict.rank,
        product_id=product_of(verdict.grounds.evidence),
        until_left=verdict.timing.bound and campaign.pace.on is not TriggerOn.CROSSED,
    )


def _expires_at(shared: Shared, campaign: Campaign, when: Timing) -> datetime:
    """The end of the moment, or of what made it right: quiet hours, closing time, the campaign's end."""
    facts, zone, at = shared.facts, shared.zone, shared.at
    ends = [
        when.ends_at,
        next_quiet_start(facts.preferences.quiet_hours, zone, at),
        next_quiet_start(facts.retailer.quiet_hours, zone, at),
        campaign.spec.valid_until,
    ]
    if when.bound and shared.store.closes_at is not None:
        ends.append(shared.store.closes_at - OPEN_FOR)
    return min([end for end in ends if end is not None])


def _outranked(verdict: _Verdict, lost: Block) -> Decision:
    campaign = verdict.campaign
    return Decision(campaign.campaign_id, campaign.version, Outcome.SUPPRESS, lost.refused, (*verdict.blocks, lost))


def _decision(
    campaign: Campaign, outcome: Outcome, reason: Reason | None, blocks: tuple[Block, ...], **more: Any
) -> Decision:
    return Decision(campaign.campaign_id, campaign.version, outcome, reason, blocks, **more)


def _broken(campaign: Campaign, blocks: tuple[Block, ...], error: Exception) -> Decision:
    """Silent, with the kind and place of the error on record; its text may hold personal data."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    used = {"error": type(error).__name__, "where": f"{frame.f_code.co_name}:{line}"}
    failed = block(check(Gate.CHOICE, [Reason.INTERNAL_ERROR], used))
    return _decision(campaign, Outcome.SUPPRESS, Reason.INTERNAL_ERROR, (*blocks, failed))
