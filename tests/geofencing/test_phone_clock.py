"""A phone's clock is learnt from when its requests say that they were sent."""

from __future__ import annotations

import pytest

from geoservice.geofencing.phone_clock import PhoneClock, read_clock, write_clock

YEAR_S = 365.25 * 86_400.0


@pytest.mark.parametrize(
    ("differences_s", "offset_s"),
    [
        pytest.param([3_600.0], 3_600.0, id="A clock that is an hour slow is known from the first request on."),
        pytest.param([-3_600.0], -3_600.0, id="One that is an hour fast, too."),
        pytest.param([59.0], 0.0, id="Less than a minute is what a network does."),
        pytest.param([3_600.0, 3_570.0, 3_659.0], 3_600.0, id="So is less than a minute around the one in force."),
        pytest.param([7_200.0, 3_600.0, 7_200.0], 3_600.0, id="The smallest counts: nothing comes before it was sent."),
        pytest.param([0.0, *[3_600.0] * 7], 0.0, id="It counts for eight requests."),
        pytest.param([0.0, *[3_600.0] * 8], 3_600.0, id="Then the clock was put back."),
        pytest.param([-8_000 * YEAR_S], 0.0, id="The year 9999 is no clock, and makes no other instant now."),
        pytest.param([2_000 * YEAR_S, 100.0], 100.0, id="Nor is the year 1; the next request is learnt from."),
        pytest.param([26 * YEAR_S], 26 * YEAR_S, id="A phone that woke up in 2000 is."),
    ],
)
def test_what_is_learnt_of_a_clock(differences_s: list[float], offset_s: float) -> None:
    """The smallest of the last eight differences is in force, once it is more than a minute off."""
    clock = PhoneClock()
    for difference_s in differences_s:
        clock = read_clock(write_clock(clock.heard(difference_s)))
    assert clock.offset_s == offset_s
