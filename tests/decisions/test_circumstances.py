"""Conditions about visits, attributes and tiers: when they hold, what is on record, what she is told."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from geoservice.decisions.decide import Outcome, decide
from geoservice.decisions.facts import CustomerFacts, StoreFacts, VisitFact
from geoservice.decisions.reasons import Gate, Reason
from geoservice.vocabulary import EventType

DAY = timedelta(days=1)
PLAIN = {"content": {"title": "Hello", "body": "We are open."}, "uses": ["visits", "profile", "loyalty"]}


def visits(build, *days_ago, store_id="s1"):
    return tuple(VisitFact(f"v-{ago}", store_id, build.at - ago * DAY) for ago in days_ago)


def about(build, condition, **facts):
    customer = {name: facts.pop(name) for name in ("loyalty_tier", "attributes") if name in facts}
    return decide(
        build.facts(
            campaigns=(build.campaign(context=condition, **PLAIN),),
            customer=CustomerFacts("Europe/Berlin", **customer),
            **facts,
        ),
        build.at,
    )[0]


VISITS = [
    # Three earlier visits are three; the present one does not count.
    ({"min_count": 3}, (1, 5, 20), True),
    ({"min_count": 3}, (1, 5), False),
    # Only the last so many days.
    ({"min_count": 2, "within_days": 7}, (1, 8), False),
    ({"min_count": 2, "within_days": 8}, (1, 8), True),
    # Newcomers, and those who do not come too often.
    ({"max_count": 0}, (), True),
    ({"max_count": 0}, (29,), False),
    ({"min_count": 1, "max_count": 2}, (1, 2, 3), False),
]


@pytest.mark.parametrize(("asked", "days_ago", "holds"), VISITS)
def test_how_often_she_comes_can_be_asked(build, asked, days_ago, holds):
    """Earlier visits to this store in the last days are counted, and the bounds are included."""
    present = VisitFact("v1", "s1", build.at)  # the visit of the story
    decision = about(build, {"visits": asked}, visits=(present, *visits(build, *days_ago)))
    assert (decision.outcome is Outcome.SEND) is holds
    assert holds or decision.reason is Reason.CONTEXT_NOT_MET


def test_visits_elsewhere_count_only_when_any_store_is_asked(build):
    """A visit to another store is one to any store, not one to here."""
    elsewhere = visits(build, 3, store_id="s2")
    assert about(build, {"visits": {"min_count": 1}}, visits=elsewhere).reason is Reason.CONTEXT_NOT_MET
    assert about(build, {"visits": {"min_count": 1, "store": "any"}}, visits=elsewhere).outcome is Outcome.SEND


ATTRIBUTES = [
    ({"name": "club", "equals": True}, {"club": True}, True),
    # Yes is not 1, and what is not on record is nothing.
    ({"name": "club", "equals": True}, {"club": 1}, False),
    ({"name": "club", "equals": True}, {}, False),
    ({"name": "city", "any_of": ["Kiel", "Bremen"]}, {"city": "Kiel"}, True),
    ({"name": "city", "any_of": ["Kiel", "Bremen"]}, {"city": "Ulm"}, False),
    ({"name": "points", "at_least": 100, "at_most": 200}, {"points": 200}, True),
    ({"name": "points", "at_least": 100}, {"points": 99.5}, False),
    # A number that was written as text is no number.
    ({"name": "points", "at_least": 100}, {"points": "500"}, False),
    ({"name": "points", "at_least": 100}, {"points": {"now": 500}}, False),
]


@pytest.mark.parametrize(("asked", "attributes", "holds"), ATTRIBUTES)
def test_what_the_shop_knows_can_be_asked(build, asked, attributes, holds):
    """Attributes are compared by value and kind; one that is missing never holds."""
    assert (about(build, {"attribute": asked}, attributes=attributes).outcome is Outcome.SEND) is holds


def test_the_loyalty_tier_can_be_asked(build):
    """One of the tiers is enough; no tier on record is none of them."""
    asked = {"loyalty_tier": ["gold", "silver"]}
    assert about(build, asked, loyalty_tier="silver").outcome is Outcome.SEND
    assert about(build, asked, loyalty_tier="bronze").reason is Reason.CONTEXT_NOT_MET
    assert about(build, asked).reason is Reason.CONTEXT_NOT_MET
    assert about(build, {"not": asked}).outcome is Outcome.SEND


def test_whatever_was_looked_at_is_on_record_and_in_the_why(build):
    """Ops see the numbers; she is told in words what of her was used."""
    condition = {"all": [{"visits": {"min_count": 2}}, {"loyalty_tier": ["gold"]}]}
    decision = about(build, condition, visits=visits(build, 2, 3), loyalty_tier="gold")
    context = next(check for check in decision.checks if check.gate is Gate.CONTEXT)
    assert context.facts["circumstances"] == [
        {"visits": 2, "store": "here", "within_days": 30},
        {"loyalty_tier": "gold"},
    ]
    assert decision.why.data_used[:2] == [
        "2 earlier visits to Harbour Street in the last 30 days",
        "your loyalty tier gold",
    ]


SURELY = [
    # She viewed the shoes; that is less than putting them on a wish list, and more than an inference.
    ("inferred", True),
    ("viewed", True),
    ("wishlisted", False),
    ("declared", False),
]


LADDER = [
    ("purchased", "bought_with"),
    ("reviewed", "bought_with"),
    ("product_viewed", "viewed"),
    ("searched", "viewed"),
    ("carted", "carted"),
    ("wishlisted", "wishlisted"),
]
SUREST_LAST = ["inferred", "bought_with", "viewed", "carted", "wishlisted", "declared"]


@pytest.mark.parametrize(("did", "tells"), LADDER)
def test_each_doing_tells_an_interest_so_surely(build, did, tells):
    """A search counts as a look, a wish list nearly as her word, and what she owns tells only what goes with it."""
    passes = []
    for asked in SUREST_LAST:
        interest = {"category": "running-shoes", "events": [did], "provenance": asked}
        campaign = build.campaign(uses=["browse", "purchase"], context={"interest": interest})
        events, at_ease = (build.event(EventType(did)),), build.preferences(comfort_level=3)
        (decision,) = decide(build.facts(campaigns=(campaign,), events=events, preferences=at_ease), build.at)
        passes += [asked] if decision.outcome is Outcome.SEND else []
    assert passes == SUREST_LAST[: SUREST_LAST.index(tells) + 1]


@pytest.mark.parametrize(("provenance", "holds"), SURELY)
def test_an_interest_can_be_asked_to_be_sure(build, provenance, holds):
    """An interest that is known less surely than asked for is none."""
    condition = {"interest": {"category": "running-shoes", "provenance": provenance}}
    decision = decide(build.facts(campaigns=(build.campaign(context=condition),)), build.at)[0]
    assert (decision.outcome is Outcome.SEND) is holds


def test_her_language_is_spoken(build):
    """The most specific wording that fits her locale is taken; who speaks none of them gets the main one."""
    languages = {"de": {"title": "Hallo", "body": "Offen."}, "de-CH": {"title": "Grüezi", "body": "Offen."}}
    campaign = build.campaign(context={}, uses=[], content={"title": "Hello", "body": "Open.", "languages": languages})

    def title(locale):
        facts = build.facts(campaigns=(campaign,), customer=CustomerFacts("Europe/Berlin", locale=locale))
        return decide(facts, build.at)[0].payload.title

    said = {locale: title(locale) for locale in ("de-CH", "de_AT", "DE", "fr", "den", None)}
    assert said == {"de-CH": "Grüezi", "de_AT": "Hallo", "DE": "Hallo", "fr": "Hello", "den": "Hello", None: "Hello"}


FALLBACKS = [
    # Without a store, `default` names another thing, and `if` another sentence.
    ("At {{ store.name | default: 'our place' }}", "At our place"),
    ("{% if store.name %}At {{ store.name }}{% else %}Near you{% endif %}", "Near you"),
    # Nothing to fall back on: silence.
    ("At {{ store.name }}", None),
    ("{% unless store.name %}{{ store.name | upcase }}{% endunless %}", None),
]


@pytest.mark.parametrize(("title", "written"), FALLBACKS)
def test_a_missing_fact_can_be_fallen_back_on(build, title, written):
    """A text with a fallback is written; one without says nothing rather than a sentence with a hole."""
    campaign = build.campaign(context={}, uses=[], content={"title": title, "body": "Hello"})
    decision = decide(build.facts(store=None, campaigns=(campaign,)), build.at)[0]
    assert (decision.payload.title if decision.payload else None) == written
    assert written or decision.reason is Reason.CONTENT_FAILED


def test_at_a_place_without_a_store_nobody_has_been_here_before(build):
    """A visit to a store is not one to a geofence that belongs to none."""
    facts = {"store": None, "visits": visits(build, 1)}
    assert about(build, {"visits": {"min_count": 1}}, **facts).reason is Reason.CONTEXT_NOT_MET
    here = StoreFacts("s1", "Harbour Street", "Europe/Berlin")
    assert about(build, {"visits": {"min_count": 1}}, **{**facts, "store": here}).outcome is Outcome.SEND
    assert msgspec.json.encode(about(build, {"visits": {"max_count": 3}}, **facts))
