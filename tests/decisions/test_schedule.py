"""When a message comes: waits, later today, days later; across midnight, zones and changes of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.decisions.brakes import annoys
from geoservice.decisions.campaigns import TriggerOn
from geoservice.decisions.decide import Outcome, decide
from geoservice.decisions.facts import CustomerFacts, GeofenceFacts, QuietHours, RetailerDefaults, StoreFacts
from geoservice.decisions.listening import Listeners
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.schedule import ENOUGH_DOINGS, days_later, later_today
from geoservice.decisions.wall_clock import first_showing, local_midnight_after, showings
from geoservice.vocabulary import GeofenceKind, Source, TransitionKind

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo"]
MIN = timedelta(minutes=1)


def at(text):
    return datetime.fromisoformat(text)


DAYS_LATER = [
    # A week later at the same time, also when the clocks went back or forward meanwhile.
    ("Europe/Berlin", "2025-10-20T18:30:00+02:00", 7, "2025-10-27T18:30:00+01:00"),
    ("Europe/Berlin", "2025-03-24T18:30:00+01:00", 7, "2025-03-31T18:30:00+02:00"),
    # A time that the clock skips that day moves to the next one that it shows.
    ("Europe/Berlin", "2025-03-29T02:30:00+01:00", 1, "2025-03-30T03:00:00+02:00"),
    # A time that the clock shows twice that day is the first of the two.
    ("Europe/Berlin", "2025-10-25T02:30:00+02:00", 1, "2025-10-26T02:30:00+02:00"),
    # Half-hour zones; Lord Howe's clock changes by half an hour.
    ("Asia/Kolkata", "2025-11-22T19:15:00+05:30", 3, "2025-11-25T19:15:00+05:30"),
    ("Australia/Lord_Howe", "2025-04-05T18:00:00+11:00", 1, "2025-04-06T18:00:00+10:30"),
]


@pytest.mark.parametrize(("zone", "start", "days", "due"), DAYS_LATER)
def test_days_later_is_the_same_time_on_her_clock(zone, start, days, due):
    """So many calendar days later her clock shows the same time, whatever happened to it."""
    assert days_later(at(start), days, ZoneInfo(zone)) == at(due)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.dates(date(2024, 1, 1), date(2026, 12, 31)),
    st.times().map(lambda t: t.replace(microsecond=0, second=0, tzinfo=None)),
)
def test_every_local_time_has_an_instant(zone_name, day, local):
    """The first showing is when the clock shows the time, or the end of the gap that skips it; never another day."""
    zone = ZoneInfo(zone_name)
    instant = first_showing(local, day, zone)
    shown = instant.astimezone(zone)
    if showings(local, day, zone):
        assert (shown.date(), shown.time()) == (day, local)
    else:
        before = (instant - timedelta(seconds=1)).astimezone(zone)
        assert (before.date(), before.time()) < (day, local) < (shown.date(), shown.time())


MIDNIGHTS = [
    ("Europe/Berlin", "2025-11-22T14:00:00+01:00", "2025-11-23T00:00:00+01:00"),
    # On the day itself, midnight is the next one.
    ("Europe/Berlin", "2025-11-22T00:00:00+01:00", "2025-11-23T00:00:00+01:00"),
    # Cairo's clock jumps from midnight to one: the day ends where the new one begins.
    ("Africa/Cairo", "2025-04-24T20:00:00+02:00", "2025-04-25T01:00:00+03:00"),
]


@pytest.mark.parametrize(("zone", "now", "end"), MIDNIGHTS)
def test_a_day_ends_at_its_own_midnight(zone, now, end):
    """The end of the local day, also where its midnight does not exist."""
    assert local_midnight_after(ZoneInfo(zone), at(now)) == at(end)


NOON = at("2025-11-22T12:20:00+01:00")


def doings(*hours):
    return [NOON.replace(hour=hour) - timedelta(days=day + 1) for day, hour in enumerate(hours)]


def never(_: time) -> bool:
    return False


LATER = [
    # Mostly at eight in the evening.
    (doings(20, 20, 20, 16, 16), 20),
    # Mornings are over for today: of what is left, the usual hour.
    (doings(9, 9, 9, 9, 17, 17, 19, 19, 19), 19),
    # Of equals the first.
    (doings(15, 15, 15, 21, 21, 21), 15),
    # Too little is known.
    (doings(*[22] * (ENOUGH_DOINGS - 1)), 18),
    ([], 18),
]


@pytest.mark.parametrize(("known", "hour"), LATER)
def test_later_today_is_her_usual_hour(known, hour):
    """The hour of the day, among those left, at which she does most; six in the evening while that is unknown."""
    due = later_today(NOON, known, ZoneInfo("Europe/Berlin"), never)
    assert due.astimezone(ZoneInfo("Europe/Berlin")) == NOON.replace(hour=hour, minute=0)


def test_later_today_is_never_tomorrow():
    """When her day has no hour left, there is no later today."""
    zone = ZoneInfo("Europe/Berlin")
    assert later_today(NOON.replace(hour=23, minute=30), doings(*[23] * 9), zone, never) is None
    assert later_today(NOON.replace(hour=18, minute=0), [], zone, never) is None


def one(build, when, **changes):
    facts = {name: changes.pop(name) for name in list(changes) if name in FACTS}
    return decide(build.facts(campaigns=(build.campaign(**changes),), **facts), when)[0]


FACTS = {
    "geofence",
    "transition",
    "waited",
    "customer",
    "store",
    "still_there",
    "retailer",
    "slots",
    "doings",
    "fast_at",
    "preferences",
}
STORE_FENCE = GeofenceFacts("f1", "Harbour Street", GeofenceKind.STORE, (), "s1", 300)


def test_a_shopper_on_a_mission_is_left_alone(build):
    """Entering a store waits for three minutes inside; a campaign may say otherwise, and other places do not wait."""
    inside = {"geofence": STORE_FENCE}
    assert one(build, build.at, trigger={"geofence_kind": "store"}, **inside).until == build.at + 3 * MIN
    at_once = one(build, build.at, trigger={"geofence_kind": "store", "after_s": 0}, **inside)
    assert at_once.outcome is Outcome.SEND
    assert one(build, build.at).outcome is Outcome.SEND


def test_a_dwell_takes_as_long_as_the_campaign_says(build):
    """The geofence proves five minutes: a campaign for ten waits for the other five, one for five or less does not."""
    stayed = {"geofence": STORE_FENCE, "transition": build.transition(kind=TransitionKind.DWELL)}
    dwell = {"on": "dwell", "geofence_kind": "store"}
    assert one(build, build.at, trigger={**dwell, "after_s": 600}, **stayed).until == build.at + 5 * MIN
    assert one(build, build.at, trigger={**dwell, "after_s": 300}, **stayed).outcome is Outcome.SEND
    assert one(build, build.at, trigger=dwell, **stayed).outcome is Outcome.SEND


def test_what_waits_is_asked_again_but_for_what_held(build):
    """A week later the store may be closed and she may drive; quiet hours and limits count then, and only then."""
    later = {"schedule": {"send": "days_later", "days": 7}}
    closed = StoreFacts("s1", "Harbour Street", "Europe/Berlin", "Mo-Fr 08:00-09:00")
    quiet = RetailerDefaults(quiet_hours=QuietHours(time(13), time(15)))
    # At the trigger: the store counts, quiet hours and limits do not yet.
    assert one(build, build.at, store=closed, **later).reason is Reason.STORE_CLOSED
    capped = (build.slot(timedelta(hours=3)), build.slot(timedelta(hours=4)))
    deferred = one(build, build.at, retailer=quiet, slots=capped, **later)
    assert (deferred.outcome, deferred.reason) == (Outcome.DEFER, Reason.WAITING_FOR_DELAY)
    assert {check.gate for check in deferred.checks}.isdisjoint({Gate.QUIET_HOURS, Gate.LIMITS, Gate.RENDER})
    # When it is due it is the other way round.
    trigger = build.transition(at=build.at - timedelta(days=7))
    due = {"transition": trigger, "waited": {"shoes": build.at}, "still_there": False, "fast_at": build.at}
    assert one(build, build.at, store=closed, **due, **later).outcome is Outcome.SEND
    held = one(build, build.at, retailer=quiet, **due, **later)
    assert (held.outcome, held.reason) == (Outcome.DEFER, Reason.QUIET_HOURS_RETAILER)
    assert one(build, build.at, slots=capped, **due, **later).reason is Reason.DAILY_CAP
    # Unless the campaign asks.
    asking = {"schedule": {**later["schedule"], "ask_again": ["store", "moment"]}}
    assert one(build, build.at, store=closed, **due, **asking).reason is Reason.STORE_CLOSED
    assert one(build, build.at, **due, **asking).reason is Reason.DRIVING


@pytest.mark.parametrize(
    ("hers", "active", "hour"),
    [
        # Most of her evenings are within the retailer's quiet hours, from nine on.
        (None, (22, 22, 22, 21, 21, 21, 20, 20, 19, 19, 19), 19),
        # Her own count as well.
        (QuietHours(time(19), time(20)), (22, 22, 22, *[20] * 5, *[19] * 6), 20),
        (QuietHours(time(15), time(20)), (), None),
    ],
)
def test_later_today_is_an_hour_at_which_a_message_may_come(build, hers, active, hour):
    """Who is up late is told at the most usual hour before quiet hours begin, instead of never."""
    known = tuple(build.at.replace(hour=each - 1) - timedelta(days=day + 1) for day, each in enumerate(active))
    preferences = build.preferences(quiet_hours=hers)
    later = one(build, build.at, schedule={"send": "later_today"}, doings=known, preferences=preferences)
    assert later.until == (None if hour is None else build.at.replace(hour=hour - 1))
    assert later.reason is (Reason.NO_LATER_HOUR if hour is None else Reason.WAITING_FOR_DELAY)


@pytest.mark.parametrize(
    ("hours", "reason"),
    [
        ("Mo-Sa 09:00-14:00", Reason.STORE_CLOSED),
        ("Mo-Sa 09:00-14:15", Reason.STORE_CLOSING),
        ("Mo-Sa 09:00-14:16", None),
    ],
)
def test_nobody_is_called_in_when_the_wait_lasted_until_closing_time(build, hours, reason):
    """She came in time, and the message is due at 14:00: a quarter of an hour must be left then, too."""
    store = StoreFacts("s1", "Harbour Street", "Europe/Berlin", hours)
    came_at = build.at - 20 * MIN
    came = {"transition": build.transition(at=came_at), "store": store, "trigger": {"after_s": 20 * 60}}
    assert one(build, came_at, **came).outcome is Outcome.DEFER
    due = one(build, build.at, waited={"shoes": build.at}, **came)
    assert due.reason is reason
    assert due.expires_at is None or due.expires_at > build.at


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(TransitionKind.ENTER, Reason.LEFT_MEANWHILE), (TransitionKind.CROSSED, None), (TransitionKind.EXIT, None)],
)
def test_only_coming_in_asks_her_to_be_there(build, kind, reason):
    """Who has left by the time her coming is told hears nothing; who crossed or left was not to be there any more."""
    trigger = {"on": kind.value, "geofence_kind": "approach"}
    gone = {"transition": build.transition(kind=kind), "still_there": False}
    assert one(build, build.at, trigger=trigger, **gone).reason is reason
    there = one(build, build.at, trigger=trigger, transition=gone["transition"])
    assert there.until_left is (kind is TransitionKind.ENTER)


HELD = [
    # It is 14:00 for her: quiet hours drop what is about the moment, and hold what comes days later until they end.
    ({"trigger": {"after_s": 0}}, ("13:00", "15:00"), None),
    ({"trigger": {"on": "exit", "after_s": 3600}}, ("13:00", "15:00"), None),
    ({"schedule": {"send": "days_later", "days": 7}}, ("13:00", "15:00"), timedelta(hours=1)),
    ({"schedule": {"send": "days_later", "days": 7}}, ("13:00", "08:00"), timedelta(hours=18)),
    # Later today is never tomorrow.
    ({"schedule": {"send": "later_today"}}, ("13:00", "15:00"), timedelta(hours=1)),
    ({"schedule": {"send": "later_today"}}, ("13:00", "08:00"), None),
]


@pytest.mark.parametrize(("changes", "hours", "wait"), HELD)
def test_quiet_hours_hold_what_is_not_about_the_moment(build, changes, hours, wait):
    """A message about the moment is dropped in quiet hours; one that was meant for later waits until they end."""
    quiet = RetailerDefaults(quiet_hours=QuietHours(*map(time.fromisoformat, hours)))
    kind = TransitionKind.EXIT if changes.get("trigger", {}).get("on") == "exit" else TransitionKind.ENTER
    due = {"transition": build.transition(kind=kind, at=build.at - MIN), "waited": {"shoes": build.at}}
    decision = one(build, build.at, retailer=quiet, **due, **changes)
    assert decision.reason is Reason.QUIET_HOURS_RETAILER
    assert decision.outcome is (Outcome.DEFER if wait else Outcome.SUPPRESS)
    assert decision.until == (build.at + wait if wait else None)


def test_who_comes_at_an_unknown_speed_is_given_a_minute(build):
    """When only the phone said that it came, nobody knows whether she drives: asked once more after 60 s."""
    told = build.transition(source=Source.OS, speed_mps=None)
    waiting = one(build, build.at, transition=told, trigger={"after_s": 0})
    assert (waiting.outcome, waiting.until) == (Outcome.DEFER, build.at + MIN)
    assert one(build, build.at, transition=told, trigger={"after_s": 90}).until == build.at + 1.5 * MIN
    # A speed that is known, by the phone or from where it was before, needs no patience; nor does a beacon in reach.
    for known in ({"source": Source.OS, "speed_mps": 1.0}, {"source": Source.BEACON, "speed_mps": None}):
        walked_in = build.transition(**known)
        assert one(build, build.at, transition=walked_in, trigger={"after_s": 0}).outcome is Outcome.SEND
    # A minute later it is looked at again.
    due = {"transition": build.transition(source=Source.OS, speed_mps=None, at=build.at - MIN)}
    due["waited"] = {"shoes": build.at}
    assert one(build, build.at, trigger={"after_s": 0}, **due).outcome is Outcome.SEND
    fast_since = build.at - 0.5 * MIN
    assert one(build, build.at, trigger={"after_s": 0}, fast_at=fast_since, **due).reason is Reason.DRIVING


def test_a_muted_store_is_silent_also_for_what_waited(build):
    """A mute is asked at the trigger and again when the message is due."""
    muted = StoreFacts("s1", "Harbour Street", "Europe/Berlin", None, build.at + MIN)
    assert one(build, build.at, store=muted).reason is Reason.STORE_MUTED
    due = {"transition": build.transition(at=build.at - 5 * MIN), "waited": {"shoes": build.at}}
    assert one(build, build.at, store=muted, trigger={"after_s": 300}, **due).reason is Reason.STORE_MUTED


def test_a_message_that_would_come_after_the_offer_is_not_even_deferred(build):
    """What is due after the campaign's end, or on a day on which it is silent, is refused at once."""
    week = {"send": "days_later", "days": 7}
    assert one(build, build.at, schedule=week, valid_until="2025-11-29T13:00:00Z").reason is (
        Reason.CAMPAIGN_NOT_VALID_NOW
    )
    assert one(build, build.at, schedule=week, valid_until="2025-11-29T13:00:01Z").outcome is Outcome.DEFER
    assert one(build, build.at, schedule={**week, "weekdays": ["fri"]}).reason is Reason.NOT_ON_THIS_DAY
    assert one(build, build.at, schedule={**week, "weekdays": ["sat"]}).outcome is Outcome.DEFER


def test_what_is_not_about_being_there_keeps_for_hours(build):
    """A message of days later may be decided within two hours of its time, and reach her phone within 23."""
    week = {"schedule": {"send": "days_later", "days": 7}, "retailer": RetailerDefaults(quiet_hours=None)}
    due = {"transition": build.transition(at=build.at - timedelta(days=7)), "waited": {"shoes": build.at}, **week}
    assert one(build, build.at, **due).expires_at == build.at + timedelta(hours=23)
    assert one(build, build.at + 119 * MIN, **due).outcome is Outcome.SEND
    assert one(build, build.at + 120 * MIN, **due).reason is Reason.DEFERRED_TOO_LATE


@pytest.mark.parametrize(("speed_mps", "reason"), [(7.0, None), (7.1, Reason.DRIVING)])
def test_whoever_comes_faster_than_on_a_bicycle_drives(build, speed_mps, reason):
    """Up to 7 m/s she may be on foot or on a bicycle."""
    assert one(build, build.at, transition=build.transition(speed_mps=speed_mps)).reason is reason


def test_driving_is_judged_by_when_she_came(build):
    """A transition told late was in a car if she came in one; asked again later, it is over after three minutes."""
    came = build.transition(at=build.at - 5 * MIN)
    assert one(build, build.at, transition=came, fast_at=came.at).reason is Reason.DRIVING
    waited = {"transition": build.transition(at=came.at, speed_mps=8.0), "waited": {"shoes": build.at}}
    again = {"after_s": 300}, {"ask_again": ["moment"]}
    assert one(build, build.at, **waited, trigger=again[0], schedule=again[1]).outcome is Outcome.SEND
    assert one(build, build.at - 3 * MIN, **waited, trigger=again[0], schedule=again[1]).reason is Reason.DRIVING


def test_days_are_those_of_the_zone_where_she_is(build):
    """At 14:00 on a Saturday in Berlin it is Sunday in Auckland."""
    sunday = {"schedule": {"weekdays": ["sun"]}}
    assert one(build, build.at, **sunday).reason is Reason.NOT_ON_THIS_DAY
    abroad = CustomerFacts("Pacific/Auckland")
    travels = one(build, build.at, customer=abroad, retailer=RetailerDefaults(quiet_hours=None), **sunday)
    assert travels.outcome is Outcome.SEND


CEILINGS = [
    # Ten steps of ten each hour, from the first on, and no more after that.
    (0, 10),
    (59, 10),
    (60, 20),
    (9 * 60, 100),
    (10_000, 100),
]


@pytest.mark.parametrize(("minutes", "ceiling"), CEILINGS)
def test_a_ceiling_ramps_up_while_a_campaign_is_young(build, minutes, ceiling):
    """A mistake is small in the first hours; a campaign without a ramp has its ceiling at once."""
    young = build.campaign(limits={"hourly_ceiling": 100, "ramp_up_h": 10})
    young = msgspec.structs.replace(young, live_since=build.at)
    assert young.ceiling(build.at + minutes * MIN) == ceiling
    assert build.campaign(limits={"hourly_ceiling": 100}).ceiling(build.at) == 100
    assert build.campaign().ceiling(build.at) is None


@pytest.mark.parametrize(
    ("delivered", "complaints", "pauses"), [(200, 4, True), (199, 199, False), (200, 3, False), (1_000, 20, True)]
)
def test_two_in_a_hundred_of_two_hundred_pause_a_campaign(delivered, complaints, pauses):
    """From 200 delivered on, two complaints in a hundred are enough."""
    assert annoys(delivered, complaints) is pauses


def test_a_full_hour_stops_nobody_who_waits(build):
    """The ceiling is of the hour in which the message would go out, not of the one in which she came."""
    full = build.campaign(limits={"hourly_ceiling": 1}, trigger={"after_s": 3_600})
    facts = build.facts(campaigns=(full,), sent_this_hour={"shoes": 1})
    assert decide(facts, build.at)[0].outcome is Outcome.DEFER


TRIGGERS = st.builds(
    lambda on, **chosen: {"on": on.value, **{key: value for key, value in chosen.items() if value}},
    st.sampled_from(TriggerOn),
    geofence_kind=st.sampled_from([None, "approach", "store"]),
    geofence_ids=st.lists(st.sampled_from(["f1", "f2"]), max_size=2),
    store_ids=st.lists(st.sampled_from(["s1", "s2"]), max_size=2),
    tags=st.lists(st.sampled_from(["city", "mall"]), max_size=2),
)
FENCES = st.builds(
    lambda geofence_id, kind, tags, store_id: GeofenceFacts(geofence_id, "somewhere", kind, tuple(tags), store_id),
    st.sampled_from(["f1", "f2"]),
    st.sampled_from(GeofenceKind),
    st.lists(st.sampled_from(["city", "mall"]), max_size=2, unique=True),
    st.sampled_from([None, "s1", "s2"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(TRIGGERS, max_size=6), FENCES, st.sampled_from(TransitionKind))
def test_asking_few_campaigns_finds_all_that_listen(build, triggers, fence, kind):
    """The short way to the campaigns that listen finds exactly those that asking every single one would."""
    campaigns = {}
    for number, trigger in enumerate(triggers):
        spec = {**build.body(), "trigger": trigger}
        campaigns[f"c{number}"] = build.compiled(f"c{number}", spec)
    transition = build.transition(kind=kind, geofence_id=fence.geofence_id)
    found = {campaign.campaign_id for campaign in Listeners(campaigns).of(transition, fence)}
    assert found == {key for key, campaign in campaigns.items() if campaign.listens_to(transition, fence)}


def test_the_story_happens_in_utc_as_well(build):
    """Instants are in UTC whatever the zone that due times were computed in."""
    decision = one(build, build.at, schedule={"send": "days_later", "days": 1})
    assert decision.until.tzinfo is UTC
