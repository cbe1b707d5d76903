"""Presence is wrong as seldom as promised, on simulated phones whose errors are those of real ones."""

from __future__ import annotations

import pytest

from geoservice.bench.presence import counting, in_force, judge
from geoservice.bench.run import GOALS, LIMITS

PHONES = 300


@pytest.mark.parametrize("radius_m", [60.0, 150.0])
def test_presence_keeps_its_promises(radius_m):
    """Neighbours are not customers, those who walk through are noticed, and nobody leaves by jitter."""
    measured = judge(in_force, radius_m, PHONES)
    for key, value in measured.items():
        assert value >= GOALS.get(("presence", key), 0), key
        assert value <= LIMITS.get(("presence", key), 100), key


def test_the_simulation_can_fail():
    """A rule that counts witnesses takes every third neighbour for a customer."""
    assert judge(counting, 60.0, PHONES)["false_enter_1h_pct"] > 20
