"""Every reason for silence: a case that gives it, and its nearest neighbour that does not."""

from __future__ import annotations

import re
from datetime import time, timedelta

import msgspec
import pytest

from geoservice.decisions.attention import Told
from geoservice.decisions.decide import decide
from geoservice.decisions.experiments import lot_of, pseudonym
from geoservice.decisions.facts import (
    CustomerFacts,
    GeofenceFacts,
    ProductFacts,
    QuietHours,
    RetailerDefaults,
    ShopFacts,
    StoreFacts,
)
from geoservice.decisions.policy import CapRule, CapScope
from geoservice.decisions.reasons import REASONS, Reason
from geoservice.vocabulary import Channel, EventType, GeofenceKind, MessageEvent, MessageState, OsPermission, Purpose

S = timedelta(seconds=1)
MIN = timedelta(minutes=1)
H = timedelta(hours=1)
DAY = timedelta(days=1)


def campaign(**changes):
    return lambda b: b.facts(campaigns=(b.campaign(**changes),))


def without(purpose):
    return lambda b: b.facts(consents=b.consents(purpose))


def preferences(**changes):
    return lambda b: b.facts(preferences=b.preferences(**changes))


def customer(**changes):
    return lambda b: b.facts(customer=CustomerFacts("Europe/Berlin", **changes))


def transition(**changes):
    return lambda b: b.facts(transition=b.transition(**changes))


def arrived(ago):
    return lambda b: b.facts(transition=b.transition(at=b.at - ago))


def store(hours):
    return lambda b: b.facts(store=StoreFacts("s1", "Harbour Street", "Europe/Berlin", hours))


def in_test(*names):
    return lambda b: b.facts(
        campaigns=(b.campaign(state="test", test_customers=names),),
        customer=CustomerFacts("Europe/Berlin", customer_id="anna"),
    )


def waited(ago, *, still_there=True, **changes):
    """The campaign has waited since the transition, and was due that long ago."""
    return lambda b: b.facts(
        campaigns=(b.campaign(**changes),),
        transition=b.transition(at=b.at - ago - MIN),
        waited={"shoes": b.at - ago},
        still_there=still_there,
    )


def this_hour(sent, of):
    return lambda b: b.facts(campaigns=(b.campaign(limits={"hourly_ceiling": of}),), sent_this_hour={"shoes": sent})


def muted(left):
    return lambda b: b.facts(
        store=StoreFacts("s1", "Harbour Street", "Europe/Berlin", "Mo-Sa 09:00-20:00", b.at + left)
    )


def later_today(hour, minute):
    """It is that time for her, in a zone where 14:00 in Berlin is that time."""
    zone = {(18, 30): "Asia/Kolkata"}[hour, minute]
    return lambda b: b.facts(campaigns=(b.campaign(schedule={"send": "later_today"}),), customer=CustomerFacts(zone))


def snoozed(left):
    return lambda b: b.facts(preferences=b.preferences(snooze_until=b.at + left))


def bought(after):
    """A purchase this long after the first of the two looks."""
    return lambda b: b.facts(events=(*b.facts().events, b.event(EventType.PURCHASED, b.looked_at - 5 * MIN + after)))


def looked(times):
    return lambda b: b.facts(events=(b.event(),) * times)


def had(*ago, rules=None, **slot):
    """Messages that long ago, with no gap or cooldown in the way unless ``rules`` says otherwise."""
    free = {"min_gap_s": 0, "cooldown_s": 0, **(rules or {})}
    return lambda b: b.facts(slots=tuple(b.slot(each, **slot) for each in ago), retailer=RetailerDefaults(**free))


def fast(ago):
    return lambda b: b.facts(fast_at=b.at - ago)


def limited(n, messages):
    """``messages`` of this very campaign, and ``per_customer`` of n."""
    return lambda b: b.facts(
        campaigns=(b.campaign(limits={"per_customer": n, "cooldown_s": 0}),),
        slots=(b.slot(30 * DAY, campaign_id="shoes"),) * messages,
    )


def two(first_state):
    return lambda b: b.facts(campaigns=(b.campaign("a", state=first_state), b.campaign("shoes")))


def sensitive(category):
    interest = {"interest": {"category": category, "not_purchased": False}}
    return lambda b: b.facts(campaigns=(b.campaign(context=interest),), events=(b.event(category=category),))


def broken(wrong):
    def facts(b):
        one = b.campaign()
        return b.facts(campaigns=(msgspec.structs.replace(one, condition="?") if wrong else one,))

    return facts


def shopped(*events, campaigns=None, slots=(), retailer=None, sizes=None, **shop):
    """She looked at one shoe twice, and this is what the shop's systems say."""

    def facts(b):
        return b.facts(
            events=(*b.looks(), *(event(b) for event in events)),
            shop=ShopFacts(**shop),
            slots=tuple(slot(b) for slot in slots),
            retailer=retailer or RetailerDefaults(),
            customer=CustomerFacts("Europe/Berlin", sizes=sizes or {}),
            **({"campaigns": (b.campaign(**campaigns),)} if campaigns else {}),
        )

    return facts


def buys(product_id):
    """A till that knows products by number only."""
    return lambda b: b.event(EventType.PURCHASED, b.looked_at + DAY, None, product_id=product_id)


def told_of(product_id):
    return lambda b: b.slot(20 * DAY, product_id=product_id)


def stocked(**pieces):
    return {("shoe", variant): quantity for variant, quantity in pieces.items()}


RIVAL = {"rival": ProductFacts("rival", "Rival", "trail-shoes", substitutes=frozenset({"shoe"}))}
HERE = {"in_stock": "size"}


def silent_for(feed, silence, **campaigns):
    def facts(b):
        return shopped(feeds={feed: b.at - silence}, campaigns=campaigns, stock=stocked(s42=1), sizes={"": "s42"})(b)

    return facts


def answered(event):
    """Three messages long ago, one of them with this answer, and one message three hours ago."""

    def facts(b):
        told = tuple(Told(f"m{n}", b.at - n * DAY) for n in (5, 6))
        last = Told("m7", b.at - 7 * DAY, ((event, b.at - 7 * DAY + H),))
        free = RetailerDefaults(min_gap_s=0, cooldown_s=0)
        return b.facts(told=(*told, last), slots=(b.slot(3 * H),), retailer=free)

    return facts


def held_out(*, above):
    """A holdout that just takes her lot in, or just does not."""

    def facts(b):
        lot = lot_of("salt", pseudonym("salt", "ada"), "shoes")
        percent = (lot + (1 if above else 0)) / 100
        one = b.campaign(experiment={"holdout_percent": percent})
        return b.facts(campaigns=(one,), salt="salt", customer=CustomerFacts("Europe/Berlin", customer_id="ada"))

    return facts


A_WEEK = CapRule(CapScope.STORE, 1, within_s=7 * 86_400)
SPECIFIC = {"content": {"title": "At {{ store.name }}", "body": "Hello"}}
PLAIN = {"content": {"title": "Hello", "body": "Come in"}}

GONE = GeofenceFacts("f1", "f1", GeofenceKind.APPROACH, in_force=False)

CASES = {
    # A paused campaign says nothing, and says so; a live one speaks.
    Reason.CAMPAIGN_NOT_LIVE: (campaign(state="paused"), campaign(state="live")),
    # A test is for those who are named.
    Reason.NOT_A_TEST_CUSTOMER: (in_test("somebody-else"), in_test("somebody-else", "anna")),
    # What waits is decided by the trigger of today.
    Reason.CAMPAIGN_CHANGED: (
        waited(MIN, trigger={"on": "exit", "after_s": 60}),
        waited(MIN, trigger={"after_s": 60}),
    ),
    # What it is about has to be there still.
    Reason.GEOFENCE_GONE: (
        lambda b: msgspec.structs.replace(waited(MIN)(b), geofence=GONE),
        lambda b: msgspec.structs.replace(waited(MIN)(b), geofence=msgspec.structs.replace(GONE, in_force=True)),
    ),
    # The end of the validity is not part of it; its beginning is.
    Reason.CAMPAIGN_NOT_VALID_NOW: (
        campaign(valid_until="2025-11-22T13:00:00Z"),
        campaign(valid_from="2025-11-22T13:00:00Z"),
    ),
    # It is a Saturday for her.
    Reason.NOT_ON_THIS_DAY: (
        campaign(schedule={"weekdays": ["sun"]}),
        campaign(schedule={"weekdays": ["sat"], "dates": ["2025-11-22"]}),
    ),
    # The ceiling is for all customers together.
    Reason.CAMPAIGN_CEILING: (this_hour(10, of=10), this_hour(9, of=10)),
    # Consents are asked one by one; one that is not needed may be missing.
    Reason.NO_LOCATION_CONSENT: (without(Purpose.LOCATION), without(Purpose.INSIGHTS)),
    Reason.OS_LOCATION_DENIED: (
        customer(os_permission=OsPermission.DENIED),
        customer(os_permission=OsPermission.UNKNOWN),
    ),
    Reason.NO_PUSH_CONSENT: (without(Purpose.MARKETING_PUSH), without(Purpose.ASSOCIATE_SHARING)),
    # A campaign that uses nothing personal needs no consent for personalisation.
    Reason.NO_PERSONALISATION_CONSENT: (
        without(Purpose.PERSONALISATION),
        lambda b: b.facts(
            consents=b.consents(Purpose.PERSONALISATION),
            campaigns=(b.campaign(uses=[], context={}, **SPECIFIC),),
        ),
    ),
    # In the year of the 16th birthday she may still be 15.
    Reason.AGE_UNDER_16: (customer(birth_year=2009), customer(birth_year=2008)),
    # A topic without a record is off.
    Reason.TOPIC_OFF: (preferences(topics={}), preferences(topics={"sneakers": True})),
    # A channel without a record is on.
    Reason.CHANNEL_OFF: (preferences(channels={Channel.PUSH: False}), preferences(channels={})),
    # Without an address nothing can arrive, so nothing is reserved.
    Reason.NO_PUSH_ADDRESS: (customer(push_reachable=False), customer(push_reachable=True)),
    # A snooze ends at its very instant.
    Reason.SNOOZED: (snoozed(S), snoozed(0 * S)),
    # A signal against personalisation does not concern what uses nothing personal.
    Reason.PRIVACY_SIGNAL: (
        preferences(privacy_signal=True),
        lambda b: b.facts(
            preferences=b.preferences(privacy_signal=True), campaigns=(b.campaign(uses=[], context={}, **PLAIN),)
        ),
    ),
    # Browsing with the place needs level 2.
    Reason.COMFORT_LEVEL: (preferences(comfort_level=1), preferences(comfort_level=2)),
    # Nobody is told that we noticed.
    Reason.SENSITIVE_CATEGORY: (sensitive("pregnancy-tests"), sensitive("running-shoes")),
    # The campaign wants two looks.
    Reason.CONTEXT_NOT_MET: (looked(1), looked(2)),
    # A purchase ends the interest that came before it; new interest after a purchase is new.
    Reason.ALREADY_PURCHASED: (bought(DAY), bought(-DAY)),
    # A mute ends at its very instant.
    Reason.STORE_MUTED: (muted(S), muted(0 * S)),
    # A till that names another product of another category ends the interest when that one does as well.
    Reason.SUBSTITUTE_PURCHASED: (shopped(buys("rival"), products=RIVAL), shopped(buys("rival"))),
    # No product twice in 30 days, whichever campaign told of it; another product is another story.
    Reason.SAME_PRODUCT: (shopped(slots=[told_of("shoe")]), shopped(slots=[told_of("hat")])),
    # A day of silence is still a day off; a second more and nobody knows what she has bought.
    Reason.FEED_STALE: (silent_for("till", DAY + S), silent_for("till", DAY)),
    # Somebody else's size is of no use to her.
    Reason.OUT_OF_STOCK: (
        shopped(campaigns=HERE, stock=stocked(s41=3), sizes={"": "s42"}),
        shopped(campaigns=HERE, stock=stocked(s42=1), sizes={"": "s42"}),
    ),
    Reason.STORE_CLOSED: (store("Mo-Sa 09:00-14:00"), store("Mo-Sa 14:00-20:00")),
    # Open for the next 15 minutes is not enough; one minute more is.
    Reason.STORE_CLOSING: (store("Mo-Sa 09:00-14:15"), store("Mo-Sa 09:00-14:16")),
    Reason.TRANSITION_LATE: (arrived(10 * MIN), arrived(10 * MIN - S)),
    Reason.INITIAL_PRESENCE: (transition(initial=True), transition(initial=False)),
    # 180 s after driving she may have parked.
    Reason.DRIVING: (fast(180 * S), fast(181 * S)),
    # One message a visit, of whichever campaign; another visit has its own.
    Reason.VISIT_ALREADY_SERVED: (had(3 * H, visit_id="v1"), had(3 * H, visit_id="v0")),
    Reason.WAITING_FOR_DELAY: (campaign(trigger={"after_s": 60}), campaign(trigger={"after_s": 0})),
    # At 18:30 the hour of those whose habits are unknown is over.
    Reason.NO_LATER_HOUR: (later_today(18, 30), waited(H, schedule={"send": "later_today"})),
    Reason.DEFERRED_TOO_LATE: (
        waited(10 * MIN, trigger={"after_s": 60}),
        waited(10 * MIN - S, trigger={"after_s": 60}),
    ),
    # A message about being there ends when she leaves; one about having been there does not.
    Reason.LEFT_MEANWHILE: (
        waited(MIN, still_there=False, trigger={"after_s": 60}),
        waited(MIN, still_there=False, schedule={"send": "days_later", "days": 1}),
    ),
    # Half-open: the first minute is quiet, the end is not. It is 14:00 for her.
    Reason.QUIET_HOURS_CUSTOMER: (
        preferences(quiet_hours=QuietHours(time(14), time(15))),
        preferences(quiet_hours=QuietHours(time(13), time(14))),
    ),
    Reason.QUIET_HOURS_RETAILER: (
        lambda b: b.facts(retailer=RetailerDefaults(quiet_hours=QuietHours(time(14), time(15)))),
        lambda b: b.facts(retailer=RetailerDefaults(quiet_hours=QuietHours(time(13), time(14)))),
    ),
    # Two a day; one that definitely failed gives its slot back.
    Reason.DAILY_CAP: (had(2 * H, 3 * H), had(2 * H, 3 * H, state=MessageState.FAILED)),
    # 20 hours ago was yesterday, and still within 24 hours.
    Reason.DAILY_CAP_ROLLING: (had(20 * H, 23 * H), had(20 * H, 24 * H)),
    Reason.MIN_GAP: (had(2 * H - S, rules={"min_gap_s": 7200}), had(2 * H, rules={"min_gap_s": 7200})),
    # Another campaign's message does not start this one's cooldown.
    Reason.CAMPAIGN_COOLDOWN: (
        had(6 * DAY, rules={"cooldown_s": 604_800}, campaign_id="shoes"),
        had(6 * DAY, rules={"cooldown_s": 604_800}, campaign_id="other"),
    ),
    Reason.PER_CUSTOMER_LIMIT: (limited(2, 2), limited(2, 1)),
    # One message about this store a week; another store has its own.
    Reason.CAP_RULE: (
        had(3 * DAY, rules={"caps": (A_WEEK,)}, store_id="s1"),
        had(3 * DAY, rules={"caps": (A_WEEK,)}, store_id="s2"),
    ),
    # Three messages that nobody answered: one a day is left of two; an answer to one of them makes it two misses.
    Reason.ATTENTION_BUDGET: (answered(MessageEvent.DISMISSED), answered(MessageEvent.OPENED)),
    # A sentence with a hole is not sent.
    Reason.CONTENT_FAILED: (
        lambda b: b.facts(store=None),
        lambda b: b.facts(store=None, campaigns=(b.campaign(content={"title": "Shoes", "body": "Hi"}),)),
    ),
    Reason.CONTENT_TOO_LONG: (
        campaign(content={"data": {"text": "x" * 3_000}}),
        campaign(content={"data": {"text": "x" * 2_000}}),
    ),
    # Whoever looks at her phone learns nothing; Church Street is an address.
    Reason.LOCK_SCREEN: (
        campaign(content={"title": "Your pregnancy test", "body": "is here"}),
        campaign(content={"title": "Your running shoes", "body": "are in Church Street"}),
    ),
    Reason.OUTRANKED: (two("live"), two("paused")),
    # The same lot: below the share she is held out, at it she is not.
    Reason.HELD_OUT: (held_out(above=True), held_out(above=False)),
    Reason.INTERNAL_ERROR: (broken(wrong=True), broken(wrong=False)),
}


def reason_of_shoes(build, facts):
    decisions = {decision.campaign_id: decision for decision in decide(facts, build.at)}
    return decisions["shoes"].reason


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_has_a_case_and_a_neighbour(build, reason):
    """The case is refused for exactly this reason; its neighbour is sent."""
    case, neighbour = CASES[reason]
    assert reason_of_shoes(build, case(build)) is reason
    assert reason_of_shoes(build, neighbour(build)) is None


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_says_itself_in_words(reason):
    """Every reason has a stable code, a sentence for ops, one for the customer and a docs line."""
    text = REASONS[reason]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", reason.value)
    for sentence in (text.ops, text.customer, text.docs):
        assert sentence[0].isupper() or sentence[0] == "`"
        assert sentence.endswith(".")


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.WAITING_FOR_DELAY])
def test_a_reason_is_given_by_the_gate_that_its_row_names(build, reason):
    """The record shows the refusal at the gate that the table names; waiting alone refuses nothing."""
    decision = next(d for d in decide(CASES[reason][0](build), build.at) if d.campaign_id == "shoes")
    refused = next(check for check in decision.checks if not check.passed)
    assert (refused.gate, refused.reason) == (REASONS[reason].gate, reason)
