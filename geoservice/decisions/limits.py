"""Check 9: caps, minimum gap, cooldown, limits per customer and visit, the attention budget. Pure.

A cap slot is a message's own row. It counts from its reservation until 24 h after the provider accepted it.
While its fate is open it counts as if it were happening now; once ``expires_at`` is past, and when the fate
is unknown, it counts as if accepted then. Only a message that definitely did not reach the customer gives its
slot back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from geoservice.decisions.attention import attention, ladder
from geoservice.decisions.campaigns import DAY_S, Campaign
from geoservice.decisions.checks import Check, check
from geoservice.decisions.facts import Facts, RetailerDefaults, Slot
from geoservice.decisions.policy import CapRule, CapScope
from geoservice.decisions.reasons import Gate, Reason
from geoservice.vocabulary import FREED, Channel, MessageState

DAY: Final = timedelta(hours=24)

FLOOR_S: Final = ladder(1)[-1].days * DAY_S
"""How far back the lowest attention budget looks."""

MAX_LIFE_S: Final = DAY_S
"""No message lives longer between its reservation and its ``expires_at``."""


def slot_window_s(campaigns: Iterable[Campaign], retailer: RetailerDefaults) -> int:
    """How far back, by reservation, messages must be loaded so that no limit overlooks one."""
    own = max((campaign.slot_window_s for campaign in campaigns), default=0)
    rules = max((rule.longest_s for rule in retailer.caps), default=0)
    house = max(rules, retailer.min_gap_s, retailer.cooldown_s, retailer.same_product_s, FLOOR_S)
    return max(own, house) + MAX_LIFE_S


def counts_at(slot: Slot, at: datetime) -> datetime | None:
    """The instant that a slot counts at, seen from ``at``; None when it was freed."""
    if slot.state in FREED:
        return None
    if slot.state is MessageState.ACCEPTED:
        return slot.accepted_at or slot.expires_at
    return min(at, slot.expires_at)  # open, or in doubt: now until it expires, then when it expired


class Usage:
    """What this customer has had, seen from one instant; shared by all campaigns of a decision."""

    def __init__(self, facts: Facts, zone: ZoneInfo, at: datetime) -> None:
        self.at = at
        self.zone = zone
        self.attention = attention(facts.told, facts.retailer.daily_cap, at)
        self.counted: list[tuple[Slot, datetime]] = [
            (slot, when) for slot in facts.slots if (when := counts_at(slot, at)) is not None
        ]
        recent = [when for _, when in self.counted if at < when + 2 * DAY]
        today = at.astimezone(zone).date() if recent else None
        self.rolling = sum([at < when + DAY for when in recent])
        self.today = sum([when.astimezone(zone).date() == today for when in recent])
        self.last_at = max([when for _, when in self.counted], default=None)
        self._of_campaign: dict[str, list[datetime]] = {}
        self._of_product: dict[str | None, list[tuple[str, datetime]]] = {}
        self._of_visit: dict[str, int] = {}
        self._of_both: set[tuple[str, str]] = set()
        for slot, when in self.counted:
            self._of_campaign.setdefault(slot.campaign_id, []).append(when)
            if slot.product_id is not None:
                self._of_product.setdefault(slot.product_id, []).append((slot.campaign_id, when))
            if slot.visit_id is not None:
                self._of_visit[slot.visit_id] = self.of_visit(slot.visit_id) + 1
                self._of_both.add((slot.visit_id, slot.campaign_id))
        self.has_told = bool(self._of_product)
        """Whether any message was about a product."""
        own_cap = facts.preferences.daily_cap
        self.cap = facts.retailer.daily_cap if own_cap is None else min(own_cap, facts.retailer.daily_cap)
        self.daily_refusals = [
            *([Reason.DAILY_CAP] if self.today >= self.cap else []),
            *([Reason.DAILY_CAP_ROLLING] if self.rolling >= self.cap else []),
        ]

    def within(self, window: timedelta) -> int:
        """How many messages count in the window that ends now."""
        return sum(self.at < when + window for _, when in self.counted)

    def of_campaign(self, campaign_id: str) -> list[datetime]:
        """When this campaign's messages count."""
        return self._of_campaign.get(campaign_id, [])

    def told_of(self, product_id: str | None) -> list[tuple[str, datetime]]:
        """Which campaigns have told her of this product, and when that counts."""
        return self._of_product.get(product_id, [])

    def of_visit(self, visit_id: str) -> int:
        """How many messages this visit has had, of any campaign."""
        return self._of_visit.get(visit_id, 0)

    def has_had(self, campaign_id: str, visit_id: str) -> bool:
        """Whether this visit has had this campaign's message, which no campaign may repeat."""
        return (visit_id, campaign_id) in self._of_both


def limits_check(
    campaign: Campaign,
    retailer: RetailerDefaults,
    usage: Usage,
    subject: Mapping[CapScope, str | None] | None = None,
    channel: Channel = Channel.PUSH,
) -> Check:
    """Check 9: the strictest rule wins.

    ``subject`` names what the message would be about, and ``channel`` how it would go, for the retailer's rules.
    """
    limits, had = campaign.spec.limits, usage.of_campaign(campaign.campaign_id)
    min_gap_s = retailer.min_gap_s if limits.min_gap_s is None else limits.min_gap_s
    cooldown_s = retailer.cooldown_s if limits.cooldown_s is None else limits.cooldown_s
    refusals = list(usage.daily_refusals)
    used: dict[str, Any] = {
        "daily_cap": usage.cap,
        "today": usage.today,
        "last_24_h": usage.rolling,
        "min_gap_s": min_gap_s,
        "last_message_at": usage.last_at,
        "cooldown_s": cooldown_s,
        "campaign_messages": len(had),
    }
    if _within(usage.last_at, min_gap_s, usage.at):
        refusals.append(Reason.MIN_GAP)
    if _within(max(had, default=None), cooldown_s, usage.at):
        refusals.append(Reason.CAMPAIGN_COOLDOWN)
    if limits.per_customer is not None:
        used["per_customer"] = limits.per_customer
        if len(had) >= limits.per_customer:
            refusals.append(Reason.PER_CUSTOMER_LIMIT)
    full = [entry for rule in retailer.caps if (entry := _full(rule, usage, subject or {}, channel)) is not None]
    if full:
        refusals.append(Reason.CAP_RULE)
        used["rules"] = full
    if not usage.attention.is_full:
        level = usage.attention.level
        spent = usage.within(timedelta(days=level.days))
        used["attention"] = {"messages": level.messages, "days": level.days, "spent": spent}
        if spent >= level.messages or (level.days == 1 and usage.today >= level.messages):
            refusals.append(Reason.ATTENTION_BUDGET)
    return check(Gate.LIMITS, refusals, used)


def _full(
    rule: CapRule, usage: Usage, subject: Mapping[CapScope, str | None], channel: Channel
) -> dict[str, Any] | None:
    """The rule and what it has counted, if it applies to this message and leaves nothing."""
    name = subject.get(rule.scope)
    if rule.channel not in {None, channel} or (rule.scope is not CapScope.GLOBAL and name is None):
        return None
    if rule.of not in {None, name}:
        return None
    had = sum(
        rule.counts(when, usage.at, usage.zone)
        for slot, when in usage.counted
        if rule.channel in {None, slot.channel} and _subject_of(slot)[rule.scope] == name
    )
    return {"rule": rule, "had": had} if had >= rule.n else None


def _subject_of(slot: Slot) -> dict[CapScope, str | None]:
    return {
        CapScope.GLOBAL: None,
        CapScope.TOPIC: slot.topic,
        CapScope.CAMPAIGN: slot.campaign_id,
        CapScope.STORE: slot.store_id,
        CapScope.PRODUCT: slot.product_id,
    }


def _within(last_at: datetime | None, window_s: int, at: datetime) -> bool:
    # No window at all is none for a message either that another process reserved after this decision's clock was read.
    return window_s > 0 and last_at is not None and at < last_at + timedelta(seconds=window_s)
