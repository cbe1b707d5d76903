"""Caps that hold for any sequence of moments, and quiet hours that are right when clocks change."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.decisions.attention import Told
from geoservice.decisions.decide import Outcome, decide
from geoservice.decisions.facts import CustomerFacts, QuietHours, RetailerDefaults, Slot
from geoservice.decisions.limits import Usage, counts_at, slot_window_s
from geoservice.decisions.quiet_hours import is_quiet, next_quiet_start, quiet_until
from geoservice.decisions.reasons import Reason
from geoservice.vocabulary import FREED, MessageState

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
DAY = timedelta(hours=24)
NO_OTHER_LIMITS = RetailerDefaults(quiet_hours=None, min_gap_s=0, cooldown_s=0, per_visit=1_000)
AROUND_A_CLOCK_CHANGE = [
    datetime(2025, 3, 29, tzinfo=UTC),  # Berlin skips an hour
    datetime(2025, 10, 25, tzinfo=UTC),  # Berlin has an hour twice
    datetime(2025, 11, 1, tzinfo=UTC),  # New York has an hour twice
    datetime(2025, 4, 5, tzinfo=UTC),  # Lord Howe has half an hour twice
]

# A step: minutes until the next arrival, seconds until the provider answers, and what becomes of the message.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 900),
        st.integers(0, 590),
        st.sampled_from([MessageState.ACCEPTED, MessageState.ACCEPTED, MessageState.FAILED]),
    ),
    max_size=25,
)


def sent_by(build, start, zone, cap, steps):
    """Play arrivals through decide; messages stay open until the provider answers. Instants of acceptance."""
    at, messages = start, []
    campaign = build.campaign(context={}, uses=[], content=PLAIN)
    for minutes, answer_s, fate in steps:
        at += timedelta(minutes=minutes)
        facts = build.facts(
            transition=build.transition(at=at),
            campaigns=(campaign,),
            customer=CustomerFacts(zone),
            store=None,
            visit_id=None,
            retailer=msgspec.structs.replace(NO_OTHER_LIMITS, daily_cap=cap),
            slots=tuple(as_seen(message, at) for message in messages),
        )
        decision = decide(facts, at)[0]
        if decision.outcome is Outcome.SEND:
            messages.append((at, at + timedelta(seconds=answer_s), fate, decision.expires_at))
    return [answered for _, answered, fate, _ in messages if fate is MessageState.ACCEPTED]


PLAIN = {"title": "Hello", "body": "We are open.", "deep_link": None}


def as_seen(message, at):
    reserved_at, answered_at, fate, expires_at = message
    state = fate if answered_at <= at else MessageState.SENDING
    return Slot(
        message_id="m",
        campaign_id="shoes",
        topic="sneakers",
        state=state,
        reserved_at=reserved_at,
        expires_at=expires_at,
        accepted_at=answered_at if state is MessageState.ACCEPTED else None,
    )


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(AROUND_A_CLOCK_CHANGE), st.sampled_from(ZONES), st.integers(0, 4), STEPS)
def test_the_daily_cap_is_never_exceeded(build, start, zone, cap, steps):
    """However she comes and the provider answers, no day and no 24 hours hold more than the cap."""
    accepted = sent_by(build, start, zone, cap, steps)
    by_day = Counter(each.astimezone(ZoneInfo(zone)).date() for each in accepted)
    assert max(by_day.values(), default=0) <= cap
    for first in accepted:
        assert sum(first <= each < first + DAY for each in accepted) <= cap


def test_a_cap_of_two_really_lets_two_through(build):
    """The cap is a limit, not a ban: two of three arrivals on one day get a message."""
    steps = [(60, 1, MessageState.ACCEPTED)] * 3
    assert len(sent_by(build, build.at, "Europe/Berlin", 2, steps)) == 2


def test_on_a_day_of_25_hours_the_calendar_day_holds_too(build):
    """On the day when Berlin's clocks go back, 24 hours after the first message it is still the same day."""
    first = datetime(2025, 10, 25, 22, 0, tzinfo=UTC)  # midnight
    at = first + timedelta(hours=24, minutes=5)  # 23:05 of the same day
    slot = build.slot(accepted_at=first, reserved_at=first, expires_at=first + timedelta(minutes=10))
    usage = Usage(build.facts(slots=(slot,)), ZoneInfo("Europe/Berlin"), at)
    assert (usage.rolling, usage.today) == (0, 1)


def test_a_budget_of_one_a_day_holds_for_a_day_of_25_hours(build):
    """Three messages that nobody answered leave one a day: not two on the day when the clocks go back."""
    first = datetime(2025, 10, 25, 22, 0, tzinfo=UTC)  # midnight
    at = first + timedelta(hours=24, minutes=5)  # 23:05 of the same day
    slot = build.slot(accepted_at=first, reserved_at=first, expires_at=first + timedelta(minutes=10))
    missed = tuple(Told(f"m{n}", at - n * DAY) for n in (2, 3, 4))
    campaign = build.campaign(context={}, uses=[], content=PLAIN)
    facts = build.facts(
        transition=build.transition(at=at),
        campaigns=(campaign,),
        store=None,
        slots=(slot,),
        told=missed,
        retailer=NO_OTHER_LIMITS,
    )
    assert decide(facts, at)[0].reason is Reason.ATTENTION_BUDGET


OWN_LIMITS = [
    # The retailer's gap is two hours, and its cooldown a week.
    ({"min_gap_s": 3_600}, "other", timedelta(minutes=90), None),
    ({"min_gap_s": 4 * 3_600}, "other", timedelta(hours=3), Reason.MIN_GAP),
    ({"min_gap_s": 0}, "other", timedelta(0), None),
    ({"cooldown_s": 3 * 86_400}, "shoes", 4 * DAY, None),
    ({"cooldown_s": 14 * 86_400}, "shoes", 8 * DAY, Reason.CAMPAIGN_COOLDOWN),
]


@pytest.mark.parametrize(("limits", "of", "ago", "reason"), OWN_LIMITS)
def test_a_campaigns_own_limits_replace_the_retailers(build, limits, of, ago, reason):
    """Gap and cooldown of a campaign hold for it instead of the retailer's, whether they are longer or shorter."""
    slots = (build.slot(ago, campaign_id=of),)
    assert decide(build.facts(campaigns=(build.campaign(limits=limits),), slots=slots), build.at)[0].reason is reason


CAPS = [
    # The retailer allows two, she has not said anything.
    (2, None, 2),
    # Her own limit is lower.
    (2, 1, 1),
    # Her own limit cannot raise the retailer's.
    (2, 5, 2),
    # Nothing at all.
    (2, 0, 0),
]


@pytest.mark.parametrize(("retailer", "own", "cap"), CAPS)
def test_the_stricter_cap_wins(build, retailer, own, cap):
    """The customer's own cap can only lower the retailer's."""
    facts = build.facts(retailer=RetailerDefaults(daily_cap=retailer), preferences=build.preferences(daily_cap=own))
    assert Usage(facts, ZoneInfo("UTC"), build.at).cap == cap


def test_a_slot_counts_while_its_fate_is_open(build):
    """A message under way counts as now, a doubtful one from its expiry, a failed one not at all."""
    at, ago = build.at, timedelta(hours=1)
    under_way = build.slot(ago, MessageState.SENDING, expires_at=at + timedelta(minutes=1))
    overdue = build.slot(ago, MessageState.SENDING)
    doubtful = build.slot(ago, MessageState.UNKNOWN)
    assert counts_at(under_way, at) == at
    assert counts_at(overdue, at) == counts_at(doubtful, at) == at - ago + timedelta(minutes=10)
    assert all(counts_at(build.slot(ago, state), at) is None for state in FREED)


def test_enough_messages_are_loaded_for_every_limit(build):
    """The window for loading messages covers the longest limit and the life of a message before it."""
    day_s = 86_400
    retailer = RetailerDefaults(same_product_s=0)
    assert slot_window_s([build.campaign()], retailer) == 14 * day_s + day_s
    assert slot_window_s([build.campaign()], RetailerDefaults()) == 30 * day_s + day_s
    assert slot_window_s([build.campaign(limits={"cooldown_s": 30 * day_s})], retailer) == 31 * day_s
    assert slot_window_s([build.campaign(limits={"per_customer": 1})], retailer) > 365 * day_s
    assert slot_window_s([], RetailerDefaults(min_gap_s=0, cooldown_s=0, same_product_s=0)) == 15 * day_s


def q(start, end):
    return QuietHours(time.fromisoformat(start), time.fromisoformat(end))


QUIET = [
    # Across midnight: the start is quiet, the end is not.
    ("Europe/Berlin", q("21:00", "08:00"), "2025-11-22T20:59:59+01:00", False),
    ("Europe/Berlin", q("21:00", "08:00"), "2025-11-22T21:00:00+01:00", True),
    ("Europe/Berlin", q("21:00", "08:00"), "2025-11-23T07:59:59+01:00", True),
    ("Europe/Berlin", q("21:00", "08:00"), "2025-11-23T08:00:00+01:00", False),
    # Within one day.
    ("Europe/Berlin", q("12:00", "14:00"), "2025-11-22T13:00:00+01:00", True),
    ("Europe/Berlin", q("12:00", "14:00"), "2025-11-22T23:00:00+01:00", False),
    # Equal start and end mean none.
    ("Europe/Berlin", q("08:00", "08:00"), "2025-11-22T08:00:00+01:00", False),
    # Berlin skips 02:00 to 03:00 on 30 March: an end at 02:30 moves to 03:00, the next time that exists.
    ("Europe/Berlin", q("22:00", "02:30"), "2025-03-30T00:59:59+00:00", True),
    ("Europe/Berlin", q("22:00", "02:30"), "2025-03-30T01:00:00+00:00", False),
    # A start at 02:30 moves there, too.
    ("Europe/Berlin", q("02:30", "05:00"), "2025-03-30T00:59:59+00:00", False),
    ("Europe/Berlin", q("02:30", "05:00"), "2025-03-30T01:00:00+00:00", True),
    # Berlin has 02:00 to 03:00 twice on 26 October: both are quiet.
    ("Europe/Berlin", q("02:00", "03:00"), "2025-10-26T00:30:00+00:00", True),
    ("Europe/Berlin", q("02:00", "03:00"), "2025-10-26T01:30:00+00:00", True),
    ("Europe/Berlin", q("02:00", "03:00"), "2025-10-26T02:00:00+00:00", False),
    # Half-hour zones: 21:00 in Kolkata is 15:30 UTC; Lord Howe's clock changes by half an hour.
    ("Asia/Kolkata", q("21:00", "08:00"), "2025-11-22T15:29:59+00:00", False),
    ("Asia/Kolkata", q("21:00", "08:00"), "2025-11-22T15:30:00+00:00", True),
    ("Australia/Lord_Howe", q("21:00", "08:00"), "2025-11-22T10:00:00+00:00", True),
    ("Australia/Lord_Howe", q("21:00", "08:00"), "2025-11-22T21:00:00+00:00", False),
]


@pytest.mark.parametrize(("zone", "hours", "at", "quiet"), QUIET)
def test_quiet_hours_follow_her_clock(zone, hours, at, quiet):
    """It is quiet exactly when the clock on her wall says so."""
    assert is_quiet(hours, ZoneInfo(zone), datetime.fromisoformat(at)) is quiet


NEXT = [
    # This evening, tomorrow at noon, and at once when it is quiet already.
    ("Europe/Berlin", q("21:00", "08:00"), "2025-11-22T14:00:00+01:00", "2025-11-22T21:00:00+01:00"),
    ("Europe/Berlin", q("12:00", "13:00"), "2025-11-22T14:00:00+01:00", "2025-11-23T12:00:00+01:00"),
    ("Europe/Berlin", q("21:00", "08:00"), "2025-11-22T23:00:00+01:00", "2025-11-22T23:00:00+01:00"),
    # A start that the clock skips falls on the end of the gap.
    ("Europe/Berlin", q("02:30", "05:00"), "2025-03-30T00:10:00+00:00", "2025-03-30T01:00:00+00:00"),
    # Between the two hours from 02:00 to 02:30, quiet begins again when the clock goes back.
    ("Europe/Berlin", q("22:00", "02:30"), "2025-10-26T00:45:00+00:00", "2025-10-26T01:00:00+00:00"),
    # Six in the evening in New York after the clocks went back is an hour later in UTC than the day before.
    ("America/New_York", q("18:00", "19:00"), "2025-11-01T23:30:00+00:00", "2025-11-02T23:00:00+00:00"),
]


@pytest.mark.parametrize(("zone", "hours", "at", "start"), NEXT)
def test_the_next_quiet_start_is_known(zone, hours, at, start):
    """A message ends where her next quiet hours begin."""
    found = next_quiet_start(hours, ZoneInfo(zone), datetime.fromisoformat(at))
    assert found == datetime.fromisoformat(start)


UNTIL = [
    # Not quiet; hers; hers within the retailer's; the retailer's after hers, and hers again after that.
    (q("21:00", "08:00"), None, "2025-11-22T14:00:30+01:00", "2025-11-22T14:00:30+01:00"),
    (q("21:00", "08:00"), None, "2025-11-22T23:00:30+01:00", "2025-11-23T08:00:00+01:00"),
    (q("21:00", "23:00"), q("20:00", "07:00"), "2025-11-22T22:00:00+01:00", "2025-11-23T07:00:00+01:00"),
    (q("21:00", "07:00"), q("06:00", "09:00"), "2025-11-22T22:00:00+01:00", "2025-11-23T09:00:00+01:00"),
    (q("06:00", "05:00"), q("04:00", "05:30"), "2025-11-22T22:00:00+01:00", "2025-11-23T05:30:00+01:00"),
    # Together they leave no minute.
    (q("09:00", "21:00"), q("21:00", "09:00"), "2025-11-22T14:00:00+01:00", None),
    (q("05:00", "04:30"), q("04:00", "05:00"), "2025-11-22T14:00:00+01:00", None),
    # An end that the clock skips falls on the end of the gap; one that it shows twice is the first of the two.
    (q("22:00", "02:30"), None, "2025-03-29T23:00:00+01:00", "2025-03-30T03:00:00+02:00"),
    (q("22:00", "02:30"), None, "2025-10-25T23:00:00+02:00", "2025-10-26T02:30:00+02:00"),
]


@pytest.mark.parametrize(("own", "house", "at", "until"), UNTIL)
def test_the_end_of_quiet_hours_is_known(build, own, house, at, until):
    """It is the first instant that is quiet neither for her nor for the retailer, if there is one."""
    facts = build.facts(preferences=build.preferences(quiet_hours=own), retailer=RetailerDefaults(quiet_hours=house))
    found = quiet_until(facts, ZoneInfo("Europe/Berlin"), datetime.fromisoformat(at))
    assert found == (None if until is None else datetime.fromisoformat(until))


times = st.times().map(lambda t: t.replace(second=0, microsecond=0, tzinfo=None))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ZONES), st.builds(QuietHours, times, times), st.integers(0, 6 * 24 * 60), st.data())
def test_no_quiet_minute_lies_before_the_next_quiet_start(zone_name, hours, minute, data):
    """The next quiet start is quiet, and no minute between now and then is."""
    zone = ZoneInfo(zone_name)
    at = data.draw(st.sampled_from(AROUND_A_CLOCK_CHANGE)) - DAY + timedelta(minutes=minute)
    start = next_quiet_start(hours, zone, at)
    # Quiet hours of which the clock skips every minute come a day later, or, within the horizon, not at all.
    if start is None:
        start = at + DAY
    else:
        assert is_quiet(hours, zone, start)
    minutes = int((start - at) / timedelta(minutes=1))
    between = (at + timedelta(minutes=each) for each in range(minutes))
    assert not any(is_quiet(hours, zone, each) for each in between)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES), st.lists(st.builds(QuietHours, times, times), max_size=2), st.integers(0, 8_640), st.data()
)
def test_every_minute_before_the_end_of_quiet_hours_is_quiet(build, zone_name, hours, minute, data):
    """Until then it is quiet for her or for the retailer, and then for neither; no end means a whole quiet day."""
    zone = ZoneInfo(zone_name)
    at = data.draw(st.sampled_from(AROUND_A_CLOCK_CHANGE)) - DAY + timedelta(minutes=minute)
    own, house = (*hours, None, None)[:2]
    facts = build.facts(preferences=build.preferences(quiet_hours=own), retailer=RetailerDefaults(quiet_hours=house))
    until = quiet_until(facts, zone, at)
    if until is None:
        until = at + DAY
    else:
        assert not any(is_quiet(each, zone, until) for each in hours)
    minutes = (at + timedelta(minutes=each) for each in range(int((until - at) / timedelta(minutes=1))))
    assert all(any(is_quiet(each, zone, instant) for each in hours) for instant in minutes)
