"""One transition, one customer, several campaigns: what is sent, what is not, and what stands on record."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import product
from time import process_time

import msgspec
import pytest

from geoservice.decisions.campaigns import CampaignState
from geoservice.decisions.decide import Outcome, decide
from geoservice.decisions.facts import GeofenceFacts, QuietHours, RetailerDefaults, StoreFacts
from geoservice.decisions.message import CONTENT_LIMIT_B
from geoservice.decisions.reasons import Gate, Reason
from geoservice.vocabulary import EventType, GeofenceKind, Purpose, TransitionKind, to_jsonable
from geoservice.workflows.directory import Store


def only(decisions):
    assert len(decisions) == 1
    return decisions[0]


def test_the_shoe_story_sends_one_message(build):
    """She looked at running shoes, a week later she passes the store, and gets one message about them."""
    decision = only(decide(build.facts(), build.at))
    assert decision.outcome is Outcome.SEND
    assert decision.reason is None
    assert decision.payload.title == "Running shoes at Harbour Street"
    assert decision.payload.body == "You looked 7 days ago; they are here."
    assert decision.payload.deep_link == "shop://store/map"


def test_every_message_says_why_in_plain_words(build):
    """The explanation names what she did, where she is and since when she allowed it."""
    why = only(decide(build.facts(), build.at)).why
    assert why.summary == (
        "You looked at running shoes on 15 November and you are near our Harbour Street store. "
        "You allowed offers by location on 1 November."
    )
    assert why.data_used == [
        "2 product views in running shoes, the last on 15 November",
        "your phone's place: it entered the area “Harbour Street approach” on 22 November at 14:00",
    ]
    assert [consent.purpose for consent in why.consents] == [
        Purpose.LOCATION,
        Purpose.MARKETING_PUSH,
        Purpose.PERSONALISATION,
    ]
    assert "sneakers" in why.how_to_change


def test_days_in_the_explanation_are_her_own(build):
    """A look at 23:30 UTC was on the next day for a customer in Berlin."""
    late = datetime(2025, 11, 15, 23, 30, tzinfo=UTC)
    facts = build.facts(events=(build.event(occurred_at=late), build.event(occurred_at=late)))
    assert "on 16 November" in only(decide(facts, build.at)).why.summary


def test_a_campaign_without_context_explains_the_place_alone(build):
    """Where nothing but the place was used, the explanation names nothing else."""
    campaign = build.campaign(context={}, uses=[], content={"title": "Hello", "body": "We are open."})
    why = only(decide(build.facts(campaigns=(campaign,), events=()), build.at)).why
    assert why.summary == ("You are near our Harbour Street store. You allowed offers by location on 1 November.")


def test_every_check_is_on_record_even_after_a_refusal(build):
    """Ops see all gates of a refused campaign, and the reason is the first that refused."""
    facts = build.facts(preferences=build.preferences(topics={}), events=())
    decision = only(decide(facts, build.at))
    gates = [check.gate for check in decision.checks]
    assert gates == [gate for gate in Gate if gate is not Gate.CHOICE]
    assert decision.reason is Reason.TOPIC_OFF
    refused = {check.gate: check.reason for check in decision.checks if not check.passed}
    assert refused[Gate.CONTEXT] is Reason.CONTEXT_NOT_MET


def test_a_decision_can_be_stored_as_json(build):
    """Everything in a decision turns into JSON, whatever became of it."""
    for facts in (build.facts(), build.facts(store=None, events=())):
        msgspec.json.encode(to_jsonable(decide(facts, build.at)))


RANKS = [
    # Priority beats everything else.
    ({"priority": 1}, {"priority": 0}, "one"),
    ({"priority": 0}, {"priority": 1}, "two"),
    ({"priority": 1}, {"context": {"interest": {"category": "socks", "events": ["carted"]}}}, "one"),
    # With the same priority, what she put in her basket is stronger than what she looked at.
    ({"context": {"interest": {"category": "socks", "events": ["carted"]}}}, {}, "one"),
    # With the same strength, the fresher interest wins.
    ({"context": {"interest": {"category": "hats", "events": ["product_viewed"]}}}, {}, "one"),
    # All else equal, the campaign id decides, so that the same facts always give the same answer.
    ({}, {}, "one"),
]


@pytest.mark.parametrize(("one", "two", "winner"), RANKS)
def test_at_most_one_campaign_wins(build, one, two, winner):
    """Of several campaigns that fit, one is sent and the others are on record as outranked."""
    campaigns = (build.campaign("two", **two), build.campaign("one", **one))
    events = (
        *build.facts().events,
        build.event(EventType.CARTED, build.looked_at - timedelta(days=2), "socks"),
        build.event(EventType.PRODUCT_VIEWED, build.looked_at + timedelta(days=2), "hats"),
    )
    decisions = decide(build.facts(campaigns=campaigns, events=events), build.at)
    assert [decision.campaign_id for decision in decisions] == ["one", "two"]
    outcomes = {decision.campaign_id: (decision.outcome, decision.reason) for decision in decisions}
    loser = "two" if winner == "one" else "one"
    assert outcomes[winner] == (Outcome.SEND, None)
    assert outcomes[loser] == (Outcome.SUPPRESS, Reason.OUTRANKED)


def test_the_order_of_the_facts_does_not_matter(build):
    """The same campaigns and events in another order give the same decisions."""
    campaigns = tuple(build.campaign(name) for name in "abc")
    facts = build.facts(campaigns=campaigns)
    mirrored = msgspec.structs.replace(facts, campaigns=campaigns[::-1], events=facts.events[::-1])
    assert decide(facts, build.at) == decide(mirrored, build.at)


EXPIRIES = [
    # Nothing else in the way: ten minutes after she arrived.
    ({}, {}, timedelta(minutes=10)),
    # Her quiet hours begin at 14:06 local time.
    ({"quiet": QuietHours(time(14, 6), time(15))}, {}, timedelta(minutes=6)),
    # The retailer's quiet hours begin at 14:04.
    ({"house": QuietHours(time(14, 4), time(15))}, {}, timedelta(minutes=4)),
    # The store closes at 14:20; the last quarter of an hour is no time to call her in.
    ({"hours": "Mo-Sa 09:00-14:20"}, {}, timedelta(minutes=5)),
    # The offer ends in three minutes.
    ({}, {"valid_until": "2025-11-22T13:03:00Z"}, timedelta(minutes=3)),
]


@pytest.mark.parametrize(("world", "changes", "lives"), EXPIRIES)
def test_a_message_expires_with_its_moment(build, world, changes, lives):
    """A message that could not be sent in time is not sent at all."""
    decision = only(
        decide(
            build.facts(
                campaigns=(build.campaign(**changes),),
                preferences=build.preferences(quiet_hours=world.get("quiet")),
                retailer=RetailerDefaults(quiet_hours=world.get("house")),
                store=StoreFacts("s1", "Harbour Street", "Europe/Berlin", world.get("hours")),
            ),
            build.at,
        )
    )
    assert decision.outcome is Outcome.SEND
    assert decision.expires_at == build.at + lives


def test_missing_opening_hours_pass_and_say_so(build):
    """A store without opening hours on record does not block, and the record tells."""
    facts = build.facts(store=StoreFacts("s1", "Harbour Street", "Europe/Berlin"))
    decision = only(decide(facts, build.at))
    assert decision.outcome is Outcome.SEND
    store = next(check for check in decision.checks if check.gate is Gate.STORE)
    assert store.facts["opening_hours"] == "not on record"


@pytest.mark.parametrize(
    ("place", "reason"),
    [((53.55, 10.0), Reason.STORE_CLOSED), ((48.2, 16.37), None)],
    ids=["Hamburg", "Vienna"],
)
def test_a_store_is_closed_on_the_public_holidays_of_its_country(build, place, reason):
    """In the afternoon of 3 October: Germany celebrates, Austria does not."""
    at = build.at.replace(month=10, day=3)
    looked = build.event(occurred_at=at - timedelta(days=1))
    store = Store("s1", "Harbour Street", *place, "Europe/Berlin", "Mo-Su 09:00-20:00; PH off")
    facts = build.facts(transition=build.transition(at=at), events=(looked, looked), store=store.facts)
    assert only(decide(facts, at)).reason is reason


def test_a_store_that_never_closes_is_decided_about_at_once(build):
    """Hours that name every day around the clock hold nobody up while we look for an end that never comes."""
    store = StoreFacts("s1", "Harbour Street", "Europe/Berlin", "Mo-Su 00:00-24:00")
    began = process_time()
    decision = only(decide(build.facts(store=store), build.at))
    assert process_time() - began < 0.1
    assert next(check for check in decision.checks if check.gate is Gate.STORE).facts["closes_at"] == "not within sight"


def test_what_is_remembered_of_a_text_is_said_of_nothing_else(build):
    """Versions of a campaign, stores and days in turns: each message has its own words, place and day."""
    campaigns = {
        body: build.campaign(version=version, content={"title": "{{ store.name }}", "body": body})
        for version, body in enumerate(["{{ interest.days_ago }} days ago", "{{ interest.days_ago }} days since"], 1)
    }
    for days, store, body in product((0, 1), ("Harbour Street", "Market Square"), campaigns):
        at, place = build.at + timedelta(days=days), StoreFacts("s1", store, "Europe/Berlin")
        facts = build.facts(campaigns=(campaigns[body],), store=place, transition=build.transition(at=at))
        payload = only(decide(facts, at)).payload
        assert (payload.title, payload.body) == (store, body.replace("{{ interest.days_ago }}", str(7 + days)))


def test_a_delay_defers_and_then_sends(build):
    """A campaign that waits five minutes after the arrival decides again then."""
    facts = build.facts(campaigns=(build.campaign(trigger={"after_s": 300}),))
    early = only(decide(facts, build.at))
    assert (early.outcome, early.until) == (Outcome.DEFER, build.at + timedelta(minutes=5))
    assert only(decide(facts, early.until)).outcome is Outcome.SEND


def test_a_purchase_in_one_category_leaves_another_interest_alive(build):
    """Having bought shoes silences shoes, not the jackets that the same campaign is also about."""
    condition = {
        "any": [
            {"interest": {"category": "running-shoes"}},
            {"interest": {"category": "jackets"}},
        ]
    }
    events = (
        build.event(EventType.PURCHASED, build.looked_at + timedelta(days=1)),
        build.event(category="jackets"),
        build.event(),
    )
    decision = only(decide(build.facts(campaigns=(build.campaign(context=condition),), events=events), build.at))
    assert decision.outcome is Outcome.SEND
    assert decision.payload.title == "Jackets at Harbour Street"


def test_a_failure_in_one_campaign_silences_only_that_one(build):
    """One broken campaign is on record as an internal error and the other still speaks."""
    good = build.campaign("good")
    broken = msgspec.structs.replace(build.campaign("broken"), condition="not a condition")
    bad, fine = decide(build.facts(campaigns=(good, broken)), build.at)
    assert (bad.outcome, bad.reason) == (Outcome.SUPPRESS, Reason.INTERNAL_ERROR)
    assert fine.outcome is Outcome.SEND


def test_unusable_facts_never_send(build):
    """Opening hours that nobody can read silence every campaign, and the record says so."""
    facts = build.facts(store=StoreFacts("s1", "Harbour Street", "Europe/Berlin", "whenever"))
    assert only(decide(facts, build.at)).reason is Reason.INTERNAL_ERROR


LISTENING = [
    # The trigger's kind of moment and kind of place.
    ({}, TransitionKind.ENTER, GeofenceKind.APPROACH, True),
    ({}, TransitionKind.EXIT, GeofenceKind.APPROACH, False),
    ({}, TransitionKind.ENTER, GeofenceKind.STORE, False),
    # One of its tags is enough, and none is not.
    ({"tags": ["city", "mall"]}, TransitionKind.ENTER, GeofenceKind.APPROACH, True),
    ({"tags": ["mall"]}, TransitionKind.ENTER, GeofenceKind.APPROACH, False),
    # Only these geofences.
    ({"geofence_ids": ["f1"]}, TransitionKind.ENTER, GeofenceKind.APPROACH, True),
    ({"geofence_ids": ["f2"]}, TransitionKind.ENTER, GeofenceKind.APPROACH, False),
    # A trigger for any place still never listens in a sensitive one.
    ({"geofence_kind": None}, TransitionKind.ENTER, GeofenceKind.SENSITIVE, False),
    # The end of a presence by silence triggers nothing.
    ({"on": "exit"}, TransitionKind.LOST, GeofenceKind.APPROACH, False),
]


@pytest.mark.parametrize(("trigger", "moment", "place", "listens"), LISTENING)
def test_a_campaign_decides_only_about_its_own_moments(build, trigger, moment, place, listens):
    """A campaign that does not listen to a transition has no decision about it."""
    facts = build.facts(
        campaigns=(build.campaign(trigger=trigger),),
        transition=build.transition(kind=moment),
        geofence=GeofenceFacts("f1", "somewhere", place, ("city",)),
    )
    assert bool(decide(facts, build.at)) is listens


def test_an_exit_message_speaks_of_leaving(build):
    """After an exit the explanation says that she left, and the message may wait until quiet hours begin."""
    facts = build.facts(
        campaigns=(build.campaign(trigger={"on": "exit"}),),
        transition=build.transition(kind=TransitionKind.EXIT),
    )
    decision = only(decide(facts, build.at))
    assert "you have just left our Harbour Street store" in decision.why.summary
    assert decision.expires_at == datetime(2025, 11, 22, 20, 0, tzinfo=UTC)


def test_what_is_sent_fits_the_provider(build):
    """The size on record is the size of the message that is sent, with room for the envelope."""
    decision = only(decide(build.facts(), build.at))
    render = next(check for check in decision.checks if check.gate is Gate.RENDER)
    assert render.facts == {"size_b": len(msgspec.json.encode(decision.payload)), "limit_b": CONTENT_LIMIT_B}


@pytest.mark.parametrize("state", [CampaignState.DRAFT, CampaignState.PAUSED])
def test_only_live_campaigns_speak(build, state):
    """Drafts and paused campaigns send nothing, whoever asks them."""
    facts = build.facts(campaigns=(build.campaign(state=state.value),))
    assert only(decide(facts, build.at)).reason is Reason.CAMPAIGN_NOT_LIVE
