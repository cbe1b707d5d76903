"""Rate, window and pruning as tables: how many may begin, and whether dead tokens may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoservice.push.pace import BURST_S, RAMP_FROM, TokenBucket, Window
from geoservice.push.pruning import LOOKED_AT, SUSPICIOUS_FROM, PruningGuard


def sent_within(bucket: TokenBucket, from_s: float, seconds: float, step_s: float = 0.05) -> int:
    """How many begin when everything that may begin does."""
    return sum(bucket.take(10_000, from_s + n * step_s) for n in range(1, round(seconds / step_s) + 1))


@pytest.mark.parametrize(
    ("second", "share"),
    [(0, 0.20), (15, 0.40), (30, 0.60), (45, 0.80), (60, 1.0), (600, 1.0)],
)
def test_the_rate_ramps_up_over_a_minute(second, share):
    """A sender begins with a fifth of its rate and has all of it after 60 s."""
    assert TokenBucket(1_000, 0.0).rate_per_s(second) == pytest.approx(1_000 * share)


def test_the_rate_holds_second_by_second():
    """However often it is asked, no second brings more than the rate and one burst."""
    bucket = TokenBucket(1_000, 0.0)
    sent_within(bucket, 0.0, 120.0)
    for second in range(120, 130):
        assert sent_within(bucket, second, 1.0) == pytest.approx(1_000, rel=0.3)


def test_senders_of_one_account_share_its_rate():
    """Three senders have a third each, at once when others join, and the whole again when they have ended."""
    bucket = TokenBucket(900, 0.0)
    sent_within(bucket, 0.0, 120.0)
    bucket.share(3, 120.0)
    assert bucket.rate_per_s(120.0) == 300
    assert sent_within(bucket, 120.0, 1.0) <= 300 + 300 * BURST_S
    bucket.share(1, 121.0)
    assert bucket.rate_per_s(121.0) == 900


def test_the_ramp_begins_anew_after_an_idle_minute_and_when_told():
    """Firebase has to see the rate grow again after a pause, and after it said that it is too much."""
    bucket = TokenBucket(1_000, 0.0)
    sent_within(bucket, 0.0, 100.0)
    assert bucket.rate_per_s(100.0) == 1_000
    bucket.slow_down(100.0)
    assert bucket.rate_per_s(100.0) == 1_000 * RAMP_FROM
    sent_within(bucket, 100.0, 100.0)
    bucket.take(1, 400.0)
    assert bucket.rate_per_s(400.0) == 1_000 * RAMP_FROM


def test_a_slow_rate_is_not_no_rate():
    """Even one push a second is one push a second."""
    bucket = TokenBucket(1, 0.0)
    assert 60 <= sent_within(bucket, 60.0, 90.0) <= 92


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 300), st.booleans()), max_size=60))
def test_tokens_are_never_made_of_nothing(steps):
    """Whatever is asked, given back and when, tokens stay between none and a burst and what was given back."""
    bucket, now_s = TokenBucket(400, 0.0), 0.0
    for pause_s, wanted, unused in steps:
        now_s += pause_s
        taken = bucket.take(wanted, now_s)
        assert 0 <= taken <= wanted
        if unused:
            bucket.give_back(taken)
        assert -1e-6 <= bucket.tokens(now_s) <= 100


# The window ---------------------------------------------------------------------------------------------------------


def answers(window: Window, count: int, *, well: bool | None = True, now_s: float = 0.0) -> None:
    for _ in range(count):
        window.done(well=well, now_s=now_s)


def test_the_window_doubles_while_it_is_full_and_answers_are_good():
    """With more to send than places, each round of good answers doubles the places, up to the largest."""
    window, limits = Window(), []
    while len(limits) < 6:
        limits.append(window.limit)
        answers(window, window.take(10_000))
    assert limits == [64, 128, 256, 512, 512, 512]


def test_the_window_does_not_grow_unused():
    """Good answers to a few messages say nothing about many: the places stay as they are."""
    window = Window()
    for _ in range(100):
        answers(window, window.take(10))
    assert window.limit == Window.FIRST


def test_the_window_halves_once_a_second_when_answers_are_bad():
    """A hundred bad answers at once halve the places once; a long illness leaves a few."""
    window = Window()
    window.take(64)
    answers(window, 64, well=False, now_s=1.0)
    assert (window.limit, window.under_way) == (32, 0)
    for second in range(2, 20):
        answers(window, window.take(1), well=False, now_s=float(second))
    assert window.limit == Window.SMALLEST


def test_an_outright_refusal_leaves_the_window_as_it_is():
    """A 503 or a refused connection says nothing about how many calls the provider bears: the breaker sees to it."""
    window = Window()
    window.take(64)
    answers(window, 64, well=None)
    assert (window.limit, window.under_way) == (64, 0)


# Pruning ------------------------------------------------------------------------------------------------------------


def retired(guard: PruningGuard, *dead: bool) -> int:
    return sum(guard.observe(dead=each) for each in dead)


def test_the_ordinary_share_of_dead_tokens_is_retired():
    """A few phones in a hundred are wiped every day: all their tokens go."""
    guard = PruningGuard()
    assert retired(guard, *([True] + [False] * 9) * 50) == 50
    assert not guard.stopped


def test_a_jump_stops_retiring():
    """When every token is suddenly dead, fewer than twenty are lost before it stops."""
    guard = PruningGuard()
    assert retired(guard, *[True] * 1_000) == SUSPICIOUS_FROM - 1
    assert guard.stopped


def test_retiring_resumes_when_the_share_is_ordinary_again():
    """After a bad day at the provider, dead tokens are retired again by themselves."""
    guard = PruningGuard()
    retired(guard, *[True] * LOOKED_AT)
    assert retired(guard, *[False] * (LOOKED_AT - 16)) == 0
    assert guard.stopped
    retired(guard, *[False] * 10)
    assert not guard.stopped
    assert retired(guard, True) == 1


def test_a_handful_of_dead_tokens_is_no_jump():
    """In a small shop the first five messages may well find five dead tokens."""
    guard = PruningGuard()
    assert retired(guard, *[True] * 5) == 5
