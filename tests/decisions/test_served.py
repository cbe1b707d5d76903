"""What she has already is not offered, and what the store does not have is not promised."""

from __future__ import annotations

from datetime import timedelta

import pytest

from geoservice.decisions.decide import decide
from geoservice.decisions.facts import CustomerFacts, ProductFacts, ShopFacts
from geoservice.errors import Invalid
from geoservice.vocabulary import EventType

DAY = timedelta(days=1)


def named(*substitutes):
    return {"shoe": ProductFacts("shoe", "Shoe", "running-shoes", substitutes=frozenset(substitutes))}


def outcome(build, *events, shop=None, sizes=None, **campaign):
    facts = build.facts(
        events=(*build.looks(), *events),
        shop=shop or ShopFacts(),
        customer=CustomerFacts("Europe/Berlin", sizes=sizes or {}),
        campaigns=(build.campaign(**campaign),),
    )
    (decision,) = decide(facts, build.at)
    return decision.reason or decision.outcome


PURCHASES = [
    # The very shoe, at a till that knows no categories.
    ("shoe", None, DAY, {}, "already_purchased"),
    # Any shoe of the category.
    ("other", "running-shoes", DAY, {}, "already_purchased"),
    # Something else that the shoe names as doing as well.
    ("rival", "trail-shoes", DAY, named("rival"), "substitute_purchased"),
    # Something else that nobody names.
    ("rival", "trail-shoes", DAY, named("hat"), "send"),
    # Before she looked.
    ("shoe", None, -DAY, {}, "send"),
    # A purchase of nothing in particular.
    (None, None, DAY, named("rival"), "send"),
]


@pytest.mark.parametrize(("product_id", "category", "after", "products", "expected"), PURCHASES)
def test_purchases_and_substitutes_close_an_interest(build, product_id, category, after, products, expected):
    """Wherever it was bought: the product, its category, or what does as well ends the interest that came before."""
    bought = build.event(EventType.PURCHASED, build.looked_at + after, category, product_id=product_id)
    assert outcome(build, bought, shop=ShopFacts(products=products)) == expected


STOCK = [
    # Any piece will do.
    ("product", {"41": 1}, {}, "send"),
    ("product", {"": 2}, {}, "send"),
    ("product", {"41": 0}, {}, "out_of_stock"),
    ("product", {}, {}, "out_of_stock"),
    # Her size, as noted for the category, else in general.
    ("size", {"42": 1}, {"running-shoes": "42", "": "41"}, "send"),
    ("size", {"41": 1}, {"running-shoes": "42", "": "41"}, "out_of_stock"),
    ("size", {"41": 1}, {"": "41"}, "send"),
    # Without a size on record nothing is promised.
    ("size", {"41": 1}, {}, "out_of_stock"),
]


@pytest.mark.parametrize(("asks", "pieces", "sizes", "expected"), STOCK)
def test_what_the_store_does_not_have_is_not_promised(build, asks, pieces, sizes, expected):
    """A campaign that asks for stock speaks only when the store has the product, or her size of it."""
    stock = {("shoe", variant): quantity for variant, quantity in pieces.items()}
    assert outcome(build, shop=ShopFacts(stock=stock), sizes=sizes, in_stock=asks) == expected


def test_the_size_that_she_looked_at_counts(build):
    """With no size on record, the one of the shoe that she looked at is hers."""
    seen = build.looks(variant="43")
    campaign = build.campaign(in_stock="size")
    facts = build.facts(events=seen, shop=ShopFacts(stock={("shoe", "43"): 1}), campaigns=(campaign,))
    assert decide(facts, build.at)[0].outcome == "send"


def test_a_campaign_says_what_is_silent(build):
    """The record names the feed that fell silent, and since when; feeds that were never heard are not asked for."""
    heard_at = build.at - 2 * DAY
    facts = build.facts(shop=ShopFacts(feeds={"till": heard_at, "stock": heard_at}))
    (decision,) = decide(facts, build.at)
    (served,) = (check for check in decision.checks if check.gate == "already_served")
    assert (decision.reason, served.facts["silent_feeds"]) == ("feed_stale", {"till": heard_at})


@pytest.mark.parametrize(
    ("feed", "asks", "reason"),
    [("shop", None, "feed_stale"), ("stock", "product", "feed_stale"), ("stock", None, None)],
)
def test_a_silent_feed_silences_who_relies_on_it(build, feed, asks, reason):
    """Purchases are told by the web shop, too; stock counts for campaigns that ask for it."""
    shop = ShopFacts(stock={("shoe", ""): 1}, feeds={feed: build.at - 2 * DAY})
    campaign = build.campaign(in_stock=asks)
    facts = build.facts(campaigns=(campaign,), events=build.looks(), shop=shop)
    assert [decision.reason for decision in decide(facts, build.at)] == [reason]


def test_stock_needs_an_interest(build):
    """Without an interest there is no product to look for; that is said once, at upload."""
    with pytest.raises(Invalid) as refused:
        build.campaign(context={}, content={"title": "Hello", "body": "Come in"}, in_stock="product")
    assert [(detail.path, detail.code) for detail in refused.value.details] == [("in_stock", "needs_interest")]


BOUGHT = {"interest": {"category": "running-shoes", "events": ["purchased"]}}
LOOKED_OR_BOUGHT = {"interest": {"category": "running-shoes", "events": ["product_viewed", "purchased"]}}


@pytest.mark.parametrize(
    ("context", "buys", "reason"),
    [
        (BOUGHT, True, None),
        (BOUGHT, False, "context_not_met"),
        ({"not": BOUGHT}, True, "context_not_met"),
        ({"not": BOUGHT}, False, None),
        # Who may only have looked is not told of what she bought.
        (LOOKED_OR_BOUGHT, True, "already_purchased"),
    ],
)
def test_a_purchase_does_not_end_an_interest_in_what_she_owns(build, context, buys, reason):
    """Who bought running shoes can be told of socks, and who did not can be told apart from her."""
    content = {"title": "Socks", "body": "Here they are."}
    campaign = build.campaign(uses=["browse", "purchase"], context=context, content=content)
    events = (build.event(EventType.PURCHASED, build.looked_at),) if buys else ()
    facts = build.facts(campaigns=(campaign,), preferences=build.preferences(comfort_level=3), events=events)
    assert [decision.reason for decision in decide(facts, build.at)] == [reason]


@pytest.mark.parametrize(
    ("limits", "told_by", "reason"),
    [
        ({}, "shoes", "same_product"),
        ({"cooldown_s": 7 * 86_400}, "shoes", None),
        ({"cooldown_s": 0}, "x", "same_product"),
    ],
)
def test_only_a_campaign_with_its_own_cooldown_may_repeat_a_product_sooner(build, limits, told_by, reason):
    """Eight days after she was told of the shoe: again by the campaign whose cooldown says so, and by no other."""
    slots = (build.slot(8 * DAY, campaign_id=told_by, product_id="shoe"),)
    facts = build.facts(campaigns=(build.campaign(limits=limits),), events=build.looks(), slots=slots)
    assert [decision.reason for decision in decide(facts, build.at)] == [reason]
