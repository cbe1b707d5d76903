"""What each use of her data needs: her consent, and a comfort level that allows it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from geoservice.decisions.decide import decide
from geoservice.decisions.facts import CustomerFacts, RetailerDefaults
from geoservice.decisions.reasons import Reason
from geoservice.vocabulary import Channel, Purpose

# The use, whether it is personal, and the lowest comfort level that allows it.
USES = [
    ("beacon", False, 1),
    ("loyalty", True, 1),
    ("browse", True, 2),
    ("visits", True, 2),
    ("profile", True, 2),
    ("purchase", True, 3),
]


def reason(build, use, **changes):
    content = {"title": "Hello", "body": "We are open.", "deep_link": None}
    campaign = build.campaign(uses=[use], context={}, content=content)
    return decide(build.facts(campaigns=(campaign,), **changes), build.at)[0].reason


@pytest.mark.parametrize(("use", "personal", "lowest"), USES)
def test_each_use_needs_consent_and_comfort(build, use, personal, lowest):
    """What is personal needs consent to personalisation and no privacy signal; every use needs its comfort level."""
    at_ease = build.preferences(comfort_level=3)
    without = build.consents(Purpose.PERSONALISATION)
    refused = Reason.NO_PERSONALISATION_CONSENT if personal else None
    assert reason(build, use, preferences=at_ease, consents=without) is refused
    signal = build.preferences(comfort_level=3, privacy_signal=True)
    assert reason(build, use, preferences=signal) is (Reason.PRIVACY_SIGNAL if personal else None)
    allowed = [
        level for level in (1, 2, 3) if reason(build, use, preferences=build.preferences(comfort_level=level)) is None
    ]
    assert allowed == list(range(lowest, 4))


def test_the_inbox_needs_no_address(build):
    """A phone that no push can reach shows the message in the app, if she switched that on."""
    unreachable = CustomerFacts("Europe/Berlin", push_reachable=False)
    inbox = build.preferences(channels={Channel.INBOX: True})
    assert reason(build, "browse", customer=unreachable) is Reason.NO_PUSH_ADDRESS
    assert reason(build, "browse", customer=unreachable, preferences=inbox) is None


@pytest.mark.parametrize(("zone", "expected"), [("Europe/Berlin", None), ("Europe/London", Reason.AGE_UNDER_16)])
def test_she_grows_older_by_her_own_calendar(build, zone, expected):
    """Born in 2009: at 23:30 in London on the last day of 2025 it is 2026 in Berlin, and she is 16 for sure."""
    at = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    campaign = build.campaign(uses=[], context={}, content={"title": "Hello", "body": "We are open."})
    facts = build.facts(
        transition=build.transition(at=at),
        campaigns=(campaign,),
        customer=CustomerFacts(zone, birth_year=2009),
        store=None,
        retailer=RetailerDefaults(quiet_hours=None),
    )
    assert decide(facts, at)[0].reason is expected
