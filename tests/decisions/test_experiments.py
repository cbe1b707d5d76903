"""Holdouts and variants: drawn by lot, kept, and alike but for the message."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from geoservice.decisions.campaigns import Experiment, Variant
from geoservice.decisions.decide import decide
from geoservice.decisions.experiments import LOTS, arm_of, lot_of, pseudonym
from geoservice.decisions.facts import CustomerFacts
from geoservice.errors import Invalid

WORDING = {"title": "Dry inside", "body": "Come in"}


def experiment(**changes):
    return {"holdout_percent": 0, "variants": {"short": {"content": WORDING}}, **changes}


def decisions(build, arm=None, **changes):
    one = build.campaign(priority=1, experiment=experiment(**changes))
    other = build.campaign("other")
    customer = CustomerFacts("Europe/Berlin", customer_id="ada")
    arms = {} if arm is None else {"shoes": arm}
    facts = build.facts(campaigns=(one, other), salt="s", arms=arms, customer=customer)
    return {decision.campaign_id: decision for decision in decide(facts, build.at)}


def test_the_lot_is_what_it_says():
    """SHA-256 of salt, pseudonym and experiment, modulo 10,000: anybody with the salt can check it."""
    digest = hashlib.sha256(b"salt\nname\nexperiment").digest()
    assert lot_of("salt", "name", "experiment") == int.from_bytes(digest, "big") % 10_000


def test_lots_are_fair_and_independent():
    """Of 20,000 customers each tenth of the lots holds a tenth, and two experiments share no order."""
    names = [pseudonym("salt", f"c{n}") for n in range(20_000)]
    first = [lot_of("salt", name, "a") for name in names]
    assert all(abs(size - 2_000) < 200 for size in Counter(lot // 1_000 for lot in first).values())
    both = sum(lot < 1_000 and lot_of("salt", name, "b") < 1_000 for name, lot in zip(names, first, strict=True))
    assert 120 < both < 280


def test_arms_have_their_shares():
    """A tenth is held out; the rest is split by weight, to the lot."""
    content = Variant(None)
    arms = Experiment(holdout_percent=10, variants={"b": content, "c": Variant(None, weight=2)}, base_weight=1)
    sizes = Counter(arm_of(arms, lot) for lot in range(LOTS))
    assert sizes == {"holdout": 1_000, "base": 2_250, "b": 2_250, "c": 4_500}


def test_a_held_out_winner_blocks_the_runners_up(build):
    """Her ghost wins the moment: the campaign is held out, and the runner-up is outranked as it would have been."""
    found = decisions(build, arm="holdout")
    assert [found[each].reason for each in ("shoes", "other")] == ["held_out", "outranked"]
    assert found["shoes"].takes_slot
    assert found["shoes"].payload is None


def test_only_the_winner_draws(build):
    """A campaign that is outranked or refused assigns nobody to an arm."""
    found = decisions(build, holdout_percent=0)
    assert found["shoes"].draw.is_new
    assert found["other"].draw is None


def test_the_first_draw_stays(build):
    """Whatever the shares are now, she stays in the arm that she drew."""
    found = decisions(build, arm="base", holdout_percent=90)["shoes"]
    assert (found.outcome, found.draw.arm, found.draw.is_new) == ("send", "base", False)


def test_a_variant_has_its_own_words(build):
    """The arm decides on title and body."""
    assert decisions(build, arm="short")["shoes"].payload.title == "Dry inside"
    assert decisions(build, arm="base")["shoes"].payload.title == "Running shoes at Harbour Street"


def test_a_variant_that_cannot_be_written_lets_the_next_speak(build):
    """The moment is not lost with a variant that says something delicate."""
    delicate = {"short": {"content": {"title": "Pregnant?", "body": "Come in"}}}
    found = decisions(build, arm="short", variants=delicate)
    assert (found["shoes"].reason, found["other"].outcome) == ("lock_screen", "send")


def test_what_is_wrong_in_a_variant_points_into_it(build):
    """Errors in a variant's content carry its place; the names of the fixed arms are taken."""
    wrong = {"short": {"content": {"title": "{{ nobody }}", "body": "x"}}, "base": {"content": WORDING}}
    with pytest.raises(Invalid) as refused:
        build.campaign(experiment={"variants": wrong})
    assert [(detail.path, detail.code) for detail in refused.value.details] == [
        ("experiment.variants.short.content.title", "template_variable"),
        ("experiment.variants.base", "reserved"),
    ]
