"""What must not be concluded from somebody's shopping, and what must not stand on a lock screen."""

from __future__ import annotations

from datetime import timedelta

import pytest

from geoservice.decisions.decide import decide
from geoservice.decisions.delicate import personal_in, sensitive_in, sensitivity
from geoservice.decisions.reasons import Reason
from geoservice.decisions.taxonomy import ATTRIBUTES as DELICATE_ATTRIBUTES
from geoservice.decisions.taxonomy import PHRASES, STEMS, TAXONOMY, Sensitivity
from geoservice.vocabulary import EventType

CATEGORIES = [
    # Listed as ordinary, in whichever spelling.
    ("running-shoes", None),
    ("Running Shoes", None),
    ("running_shoe", None),
    ("Health & Beauty", None),
    ("kosher-salt", None),
    # Listed as delicate.
    ("pregnancy-tests", "pregnancy"),
    ("Maternity Clothing", "pregnancy"),
    ("compression-stockings", "health"),
    ("prayer-rugs", "faith"),
    # Of a path every level counts, and the delicate one wins.
    ("Baby > Breast pumps > Accessories", "pregnancy"),
    ("Shoes > Running shoes", None),
    # Not listed: one delicate word is enough, in any language we know.
    ("maternity-jeans", "pregnancy"),
    ("Schwangerschaftsmode", "pregnancy"),
    ("diabetic-socks", "health"),
    ("debt-collection-games", "debt"),
    ("criminal-law-advice", "offences"),
    ("Paroles de chansons", None),
    ("hoverboards", None),
    ("", None),
]


@pytest.mark.parametrize(("category", "kind"), CATEGORIES)
def test_categories_are_judged_by_the_list_and_unknown_ones_by_their_words(category, kind):
    """A listed category is what the list says; any other is delicate as soon as one of its words is."""
    assert sensitivity(category) == kind


def test_the_taxonomy_is_large_and_every_class_has_categories_and_words():
    """At least 150 retail categories, and for every class of what is delicate both a list and words."""
    assert len(TAXONOMY) >= 150
    assert set(TAXONOMY.values()) == {None, *Sensitivity}
    assert STEMS.keys() == PHRASES.keys() == DELICATE_ATTRIBUTES.keys() == set(Sensitivity)


def test_no_ordinary_category_is_taken_for_a_delicate_one():
    """The list is consistent: each entry is found as itself."""
    assert {name: sensitivity(name) for name in TAXONOMY} == TAXONOMY


TEXTS = [
    ("Your running shoes are here", None),
    ("Medicine balls, 20 % off", None),
    ("Meet us in Church Street", None),
    ("Your pregnancy test is here", "pregnancy test"),
    ("Everything for your compression stockings", "compression stocking"),
    ("Get out of DEBT", "debt"),
    ("Kondome im Angebot", "kondome"),
    ("Ein Ratgeber zur Psychotherapie", "psychotherapie"),
    ("Prodotti per la gravidanza", "gravidanza"),
    ("Umstandsmode im Sale", "umstandsmode"),
    ("Zwangerschapstest", "zwangerschapstest"),
]


@pytest.mark.parametrize(("text", "found"), TEXTS)
def test_a_lock_screen_shows_nothing_delicate(text, found):
    """Title and body are read word by word; what is ordinary as a whole stays so."""
    assert sensitive_in(text) == found


ATTRIBUTES = [
    # One phrase in every spelling that people use for names.
    ("credit_score", "credit score"),
    ("credit-scores", "credit score"),
    ("creditScore", "credit score"),
    ("CREDIT_SCORE", "credit score"),
    ("Credit  score", "credit score"),
    ("creditscore", "creditscore"),
    ("customer.creditScoreBand", "credit score"),
    ("low credit score", "credit score"),
    ("netWorth", "net worth"),
    ("placeOfBirth", "place birth"),
    # One word is enough where it is delicate anywhere, capitals or not.
    ("religion", "religion"),
    ("religious_views", "religious"),
    ("isHIVPositive", "hiv"),
    ("criminalRecord", "criminal"),
    ("police_record", "police record"),
    ("isOnParole", "on parole"),
    ("record_player", None),
    # Some words are so only as the whole name, whatever says whose it is.
    ("income", "income"),
    ("customerIncome", "income"),
    ("is_widowed", "widowed"),
    ("race", "race"),
    ("has_offences", "offence"),
    ("arrest", "arrest"),
    ("race_day_pack", None),
    ("weight_class", None),
    # Neighbours that say nothing.
    ("score", None),
    ("loyalty_score", None),
    ("credit_note", None),
    ("storeCredit", None),
    ("creditCardBrand", None),
    ("network", None),
    ("birth_month", None),
    ("shoe_size", None),
]


@pytest.mark.parametrize(("text", "found"), ATTRIBUTES)
def test_an_attribute_is_refused_in_any_spelling_of_what_it_tells(text, found):
    """However a name is written, what it would tell is seen; what only looks alike is not refused."""
    assert personal_in(text) == found


def test_a_phrase_is_delicate_wherever_it_stands():
    """Two harmless words that are delicate together make a category delicate, and a text unfit for a lock screen."""
    assert sensitivity("Finance > Credit score checks") is Sensitivity.DEBT
    assert sensitive_in("Your credit score is here") == "credit score"
    assert sensitive_in("Your store credit is here, and the score was 2:1") is None


def interest(category):
    return {"interest": {"category": category, "events": ["product_viewed", "declared"]}}


def test_looking_is_not_declaring(build):
    """Two looks at pregnancy tests start nothing; saying that she likes them does, in words that say nothing."""
    campaign = build.campaign(context=interest("pregnancy-tests"), content={"title": "Good news", "body": "Come in"})
    events = (build.event(category="pregnancy-tests"),) * 2
    looked = build.facts(campaigns=(campaign,), events=events)
    assert decide(looked, build.at)[0].reason is Reason.SENSITIVE_CATEGORY
    preferences = build.preferences(interests={"pregnancy-tests": build.looked_at})
    declared = build.facts(campaigns=(campaign,), preferences=preferences)
    (decision,) = decide(declared, build.at)
    assert decision.outcome == "send"
    assert "You told us that you like pregnancy tests on 15 November" in decision.why.summary


def test_a_declared_interest_needs_no_browsing(build):
    """Who says that she likes running shoes is told of them at comfort level 1, without any event."""
    campaign = build.campaign(
        uses=[], context={"interest": {"category": "running-shoes", "events": ["declared"], "min_count": 2}}
    )
    preferences = build.preferences(comfort_level=1, interests={"running-shoes": build.looked_at})
    facts = build.facts(campaigns=(campaign,), preferences=preferences, events=())
    assert [decision.outcome for decision in decide(facts, build.at)] == ["send"]


def test_a_purchase_ends_a_declared_interest(build):
    """She said that she likes running shoes, and then bought a pair."""
    campaign = build.campaign(uses=[], context={"interest": {"category": "running-shoes", "events": ["declared"]}})
    preferences = build.preferences(interests={"running-shoes": build.looked_at})
    bought = build.event(EventType.PURCHASED, build.at)
    facts = build.facts(campaigns=(campaign,), preferences=preferences, events=(bought,))
    assert decide(facts, build.at)[0].reason is Reason.ALREADY_PURCHASED


@pytest.mark.parametrize(("days_ago", "reason"), [(27, Reason.ALREADY_PURCHASED), (29, None)])
def test_a_declared_interest_outlives_an_old_purchase(build, days_ago, reason):
    """What she says she likes counts again when her purchase is older than two windows, whoever else asks for more."""
    day = timedelta(days=1)
    preferences = build.preferences(interests={"running-shoes": build.at - 100 * day})
    bought = build.event(EventType.PURCHASED, build.at - days_ago * day)
    assert decide(build.facts(preferences=preferences, events=(bought,)), build.at)[0].reason is reason
