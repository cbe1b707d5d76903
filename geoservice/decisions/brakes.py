"""The campaign's own check, before all others: whether it speaks now, to whom, and how much this hour. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from geoservice.decisions.campaigns import Campaign, CampaignSpec, CampaignState
from geoservice.decisions.checks import Check, check
from geoservice.decisions.facts import Facts
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.timing import Timing

ENOUGH_DELIVERED: Final = 200
TOO_MANY: Final = 0.02
"""From this share of complaints, "creepy" or "stop", of at least so many delivered a campaign pauses itself."""


def annoys(delivered: int, complaints: int) -> bool:
    """Whether a campaign has to pause itself."""
    return delivered >= ENOUGH_DELIVERED and complaints >= TOO_MANY * delivered


def campaign_check(campaign: Campaign, facts: Facts, when: Timing, zone: ZoneInfo, at: datetime) -> Check:
    """The campaign is live, valid from the trigger until it speaks, allowed on that day, and under its ceiling."""
    if campaign.unconditional and not facts.waited:
        return _ALWAYS_LIVE
    spec, speaks_at = campaign.spec, max(at, when.due_at or at)
    used: dict[str, Any] = {"state": spec.state.value}
    refusals = [*_state_refusals(campaign, facts), *_time_refusals(spec, zone, at, speaks_at, used)]
    ceiling = campaign.ceiling(at)
    if ceiling is not None:
        sent = facts.sent_this_hour.get(campaign.campaign_id, 0)
        used |= {"hourly_ceiling": ceiling, "sent_this_hour": sent}
        if sent >= ceiling and speaks_at == at:
            refusals.append(Reason.CAMPAIGN_CEILING)
    return check(Gate.CAMPAIGN, refusals, used)


_ALWAYS_LIVE: Final = check(Gate.CAMPAIGN, [], {"state": CampaignState.LIVE.value})


def _state_refusals(campaign: Campaign, facts: Facts) -> list[Reason]:
    state, refusals = campaign.spec.state, []
    if state in {CampaignState.DRAFT, CampaignState.PAUSED}:
        refusals.append(Reason.CAMPAIGN_NOT_LIVE)
    if state is CampaignState.TEST and facts.customer.customer_id not in campaign.spec.test_customers:
        refusals.append(Reason.NOT_A_TEST_CUSTOMER)
    if not facts.geofence.in_force:
        refusals.append(Reason.GEOFENCE_GONE)
    elif facts.waited and not campaign.listens_to(facts.transition, facts.geofence):
        refusals.append(Reason.CAMPAIGN_CHANGED)
    return refusals


def _time_refusals(
    spec: CampaignSpec, zone: ZoneInfo, at: datetime, speaks_at: datetime, used: dict[str, Any]
) -> list[Reason]:
    refusals = []
    if spec.valid_from is not None or spec.valid_until is not None:
        used |= {"valid_from": spec.valid_from, "valid_until": spec.valid_until}
        begun = spec.valid_from is None or spec.valid_from <= at
        if not begun or (spec.valid_until is not None and speaks_at >= spec.valid_until):
            refusals.append(Reason.CAMPAIGN_NOT_VALID_NOW)
    if spec.schedule.weekdays or spec.schedule.dates:
        day = speaks_at.astimezone(zone).date()
        used["day"] = f"{day:%a %Y-%m-%d}".lower()
        if not spec.schedule.allows(day):
            refusals.append(Reason.NOT_ON_THIS_DAY)
    return refusals
