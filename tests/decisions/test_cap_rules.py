"""The retailer's cap rules: what they count together, and in which window."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from geoservice.decisions.decide import decide
from geoservice.decisions.facts import RetailerDefaults
from geoservice.decisions.limits import slot_window_s
from geoservice.decisions.policy import Calendar, CapRule, CapScope
from geoservice.vocabulary import Channel

BERLIN = ZoneInfo("Europe/Berlin")
H, DAY = timedelta(hours=1), timedelta(days=1)

WINDOWS = [
    # A calendar day is also any 24 hours: 23:00 and 00:30 are one evening.
    ({"calendar": "day"}, "2026-03-03T23:00", "2026-03-04T00:30", True),
    ({"calendar": "day"}, "2026-03-04T00:30", "2026-03-04T23:59", True),
    ({"calendar": "day"}, "2026-03-03T12:00", "2026-03-04T12:00", False),
    # The week begins on Monday, also at the turn of the year.
    ({"calendar": "week"}, "2026-03-02T08:00", "2026-03-08T23:00", True),
    ({"calendar": "week"}, "2026-03-01T23:00", "2026-03-02T08:00", False),
    ({"calendar": "week"}, "2025-12-30T08:00", "2026-01-03T08:00", True),
    ({"calendar": "month"}, "2026-03-01T00:00", "2026-03-31T23:00", True),
    ({"calendar": "month"}, "2026-02-28T23:00", "2026-03-01T00:00", False),
    # Any so many seconds, whatever the calendar says.
    ({"within_s": 3600}, "2026-03-04T12:00", "2026-03-04T12:59", True),
    ({"within_s": 3600}, "2026-03-04T12:00", "2026-03-04T13:00", False),
]


@pytest.mark.parametrize(("window", "when", "at", "counts"), WINDOWS)
def test_windows_are_local_calendars_or_any_span(window, when, at, counts):
    """Days, weeks and months are those of her clock; a span is any span of that length."""
    window = {key: Calendar(value) if key == "calendar" else value for key, value in window.items()}
    rule = CapRule(CapScope.GLOBAL, 1, **window)
    local = [datetime.fromisoformat(each).replace(tzinfo=BERLIN) for each in (when, at)]
    assert rule.counts(*local, BERLIN) is counts


def reason(build, rule, **slot):
    retailer = RetailerDefaults(min_gap_s=0, cooldown_s=0, same_product_s=0, caps=(rule,))
    slots = (build.slot(30 * H, **slot),) if slot else ()
    (decision,) = decide(build.facts(retailer=retailer, slots=slots, events=build.looks()), build.at)
    return decision.reason


WEEK = {"within_s": 7 * 86_400}
SCOPES = [
    (CapRule(CapScope.GLOBAL, 1, **WEEK), {"campaign_id": "x"}, True),
    (CapRule(CapScope.TOPIC, 1, **WEEK), {"topic": "sneakers"}, True),
    (CapRule(CapScope.TOPIC, 1, **WEEK), {"topic": "hats"}, False),
    (CapRule(CapScope.TOPIC, 1, of="hats", **WEEK), {"topic": "sneakers"}, False),
    (CapRule(CapScope.CAMPAIGN, 1, **WEEK), {"campaign_id": "shoes"}, True),
    (CapRule(CapScope.CAMPAIGN, 1, **WEEK), {"campaign_id": "x"}, False),
    (CapRule(CapScope.STORE, 1, **WEEK), {"store_id": "s1"}, True),
    (CapRule(CapScope.STORE, 1, of="s2", **WEEK), {"store_id": "s1"}, False),
    (CapRule(CapScope.PRODUCT, 1, of="shoe", **WEEK), {"product_id": "shoe", "campaign_id": "shoes"}, True),
    (CapRule(CapScope.GLOBAL, 1, channel=Channel.INBOX, **WEEK), {"campaign_id": "x"}, False),
    (CapRule(CapScope.GLOBAL, 1, channel=Channel.PUSH, **WEEK), {"campaign_id": "x"}, True),
    # A rule for one channel neither counts what went by another, nor holds for it.
    (CapRule(CapScope.GLOBAL, 1, channel=Channel.PUSH, **WEEK), {"channel": Channel.INBOX}, False),
    (CapRule(CapScope.GLOBAL, 1, channel=Channel.INBOX, **WEEK), {"channel": Channel.INBOX}, False),
    (CapRule(CapScope.GLOBAL, 0, channel=Channel.INBOX, **WEEK), {}, False),
    # Zero means never, also for whoever has had nothing.
    (CapRule(CapScope.TOPIC, 0, of="sneakers", **WEEK), {}, True),
    (CapRule(CapScope.TOPIC, 0, of="hats", **WEEK), {}, False),
]


@pytest.mark.parametrize(("rule", "slot", "refused"), SCOPES)
def test_a_rule_counts_what_its_scope_says(build, rule, slot, refused):
    """A rule counts the messages of the same topic, campaign, store or product, by its channel; 0 means never."""
    assert (reason(build, rule, **slot) == "cap_rule") is refused


def test_enough_messages_are_loaded_for_every_rule():
    """The longest rule decides how far back messages are loaded."""
    rule = CapRule(CapScope.GLOBAL, 1, within_s=200 * 86_400)
    assert slot_window_s([], RetailerDefaults(caps=(rule,))) == 201 * 86_400
