"""Check 5, already served, and what check 6 says of stock. Pure.

What she has, she is not offered: bought at a till, in the web shop or the app, bought something that does as well, or
told of this very product a short while ago. When the till or the stock has been silent for a day, nobody knows, and
not knowing is silence. How soon a campaign may repeat itself is its cooldown's business, and check 9's.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from geoservice.decisions.campaigns import Campaign, InStock
from geoservice.decisions.checks import Check, also, check
from geoservice.decisions.conditions import positive_interests
from geoservice.decisions.context import Evidence, Match
from geoservice.decisions.facts import Facts, ShopFacts
from geoservice.decisions.limits import Usage
from geoservice.decisions.reasons import Gate, Reason


class Feed(StrEnum):
    """The shop's systems that tell of purchases and of stock."""

    TILL = "till"
    SHOP = "shop"
    STOCK = "stock"


_PURCHASE_FEEDS: Final = (Feed.TILL, Feed.SHOP)


def already_served_check(campaign: Campaign, evidence: Evidence, facts: Facts, usage: Usage) -> Check:
    """Check 5, as far as it is the same for all campaigns with this condition: no purchase, and no silent feed."""
    silent = _silent_feeds(campaign, facts, usage) if facts.shop.feeds else {}
    if not evidence.served and not silent:
        return _NOTHING_BOUGHT
    refusals = []
    if any(not served.substitute for served in evidence.served):
        refusals.append(Reason.ALREADY_PURCHASED)
    if any(served.substitute for served in evidence.served):
        refusals.append(Reason.SUBSTITUTE_PURCHASED)
    used: dict[str, Any] = {
        "bought": [
            {"category": served.category, "bought_at": served.bought_at, "product_id": served.product_id}
            for served in evidence.served
        ]
    }
    if silent:
        refusals.append(Reason.FEED_STALE)
        used["silent_feeds"] = silent
    return check(Gate.ALREADY_SERVED, refusals, used)


_NOTHING_BOUGHT: Final = check(Gate.ALREADY_SERVED, [], {"bought": []})


def with_product(served: Check, campaign: Campaign, evidence: Evidence, facts: Facts, usage: Usage) -> Check:
    """Check 5, with what this campaign or another one has told her of the product before."""
    if not usage.has_told:
        return served
    product_id = product_of(evidence)
    told = usage.told_of(product_id)
    if product_id is None or not told:
        return served
    since = usage.at - timedelta(seconds=facts.retailer.same_product_s)
    repeats_itself = campaign.spec.limits.cooldown_s is not None
    cooling_since = usage.at - timedelta(seconds=facts.retailer.cooldown_s)
    counts = [
        when
        for campaign_id, when in told
        if when > since and (campaign_id != campaign.campaign_id or not (repeats_itself or when > cooling_since))
    ]
    used = served.facts | {"product_id": product_id, "product_told_at": max(counts, default=None)}
    return also(served, [Reason.SAME_PRODUCT] if counts else [], used)


def product_of(evidence: Evidence) -> str | None:
    """The product that the message is about, if her interest names one."""
    match = evidence.strongest
    return None if match is None else match.product_id


def _silent_feeds(campaign: Campaign, facts: Facts, usage: Usage) -> dict[str, Any]:
    """Feeds that this campaign relies on and that fell silent; one that was never heard was never connected."""
    relied_on: list[Feed] = []
    if any(interest.ends_with_purchase for interest in positive_interests(campaign.condition)):
        relied_on += _PURCHASE_FEEDS
    if campaign.spec.in_stock is not None:
        relied_on.append(Feed.STOCK)
    silent_for = timedelta(seconds=facts.retailer.feed_silent_s)
    heard = {feed: facts.shop.feeds[feed] for feed in relied_on if feed in facts.shop.feeds}
    return {feed.value: heard_at for feed, heard_at in heard.items() if usage.at > heard_at + silent_for}


def with_stock(store: Check, campaign: Campaign, evidence: Evidence, facts: Facts) -> Check:
    """Check 6, for a campaign that asks for stock: the product, or her size of it, is in this store."""
    in_stock = campaign.spec.in_stock
    if in_stock is None:
        return store
    product_id = product_of(evidence)
    size = _size(evidence.strongest, product_id, facts) if in_stock is InStock.SIZE else None
    pieces = 0
    if product_id is not None and (in_stock is InStock.PRODUCT or size is not None):
        pieces = _pieces(facts.shop, product_id, size)
    used = store.facts | {
        "asks_for": in_stock.value,
        "product_id": product_id or "none",
        "pieces": pieces,
    }
    if in_stock is InStock.SIZE:
        used["size"] = size or "not on record"
    return also(store, [] if pieces > 0 else [Reason.OUT_OF_STOCK], used)


def _pieces(shop: ShopFacts, product_id: str, size: str | None) -> int:
    if size is not None:
        return shop.stock.get((product_id, size), 0)
    return sum(pieces for (product, _), pieces in shop.stock.items() if product == product_id)


def _size(match: Match | None, product_id: str | None, facts: Facts) -> str | None:
    """Her size: as she or the shop noted it for the category, else the one that she looked at, else her usual one."""
    if match is None:
        return None
    sizes = facts.customer.sizes
    looked_at = (event.variant for event in match.events if event.product_id == product_id and event.variant)
    return sizes.get(match.interest.category) or next(looked_at, None) or sizes.get("")
