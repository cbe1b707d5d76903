"""The circuit breaker as a table: what happens to it, and what it then lets through."""

from __future__ import annotations

import pytest

from geoservice.push import outcomes
from geoservice.push.breaker import CARE, Breaker, BreakerState, Illness, illness_of

LONGEST_S = 10.0


def breaker() -> Breaker:
    """One that draws the longest wait each time."""
    return Breaker(jitter=lambda: 1.0)


def broken(illness: Illness, now_s: float = 0.0) -> Breaker:
    made = breaker()
    for _ in range(CARE[illness].streak):
        made.observe(illness, now_s)
    return made


@pytest.mark.parametrize(
    ("outcome", "illness"),
    [
        # The provider does its work, whatever it thinks of one message.
        (outcomes.Accepted("id"), None),
        (outcomes.TokenDead(outcomes.DeadToken.UNREGISTERED), None),
        (outcomes.TokenDead(outcomes.DeadToken.SENDER_MISMATCH), None),
        (outcomes.Rejected("invalid_payload"), None),
        # It is well, and we are too fast: the pace goes down instead.
        (outcomes.RetryLater(60, "quota_exceeded"), None),
        # Nothing was sent.
        (outcomes.RetryLater(None, "unavailable"), Illness.REFUSING),
        (outcomes.NotSent("connect"), Illness.REFUSING),
        (outcomes.NotSent("dns"), Illness.REFUSING),
        (outcomes.NotSent("token_endpoint"), Illness.REFUSING),
        # We ourselves stopped.
        (outcomes.NotSent(outcomes.SENDER_CLOSED), None),
        # Perhaps it was sent.
        (outcomes.InDoubt("timeout"), Illness.DOUBTFUL),
        (outcomes.InDoubt("http_500"), Illness.DOUBTFUL),
        # It is our account.
        (outcomes.CredentialsRefused("third_party_auth"), Illness.THIRD_PARTY),
        (outcomes.CredentialsRefused("token_refused"), Illness.MISCONFIGURED),
        (outcomes.WrongProject("not_found"), Illness.MISCONFIGURED),
    ],
    ids=str,
)
def test_what_an_outcome_says_of_the_provider(outcome, illness):
    """Each outcome tells whether the provider is well, and if not, what kind of illness it is."""
    assert illness_of(outcome) is illness


@pytest.mark.parametrize("illness", Illness)
def test_a_streak_opens_it(illness):
    """So many failures in a row as the table says open it, not one fewer; then nothing begins."""
    made = breaker()
    for _ in range(CARE[illness].streak - 1):
        made.observe(illness, 0.0)
        assert made.state is BreakerState.CLOSED
    made.observe(illness, 0.0)
    assert (made.state, made.illness) == (BreakerState.OPEN, illness)
    assert made.permits(100, made.until_s - 0.001) == 0


@pytest.mark.parametrize("illness", [i for i in Illness if CARE[i].streak > 1])
def test_a_good_answer_ends_a_streak(illness):
    """Failures that good answers come between do not open it, however many."""
    made = breaker()
    for _ in range(50):
        for _ in range(CARE[illness].streak - 1):
            made.observe(illness, 0.0)
        made.observe(None, 0.0)
    assert made.state is BreakerState.CLOSED
    assert made.permits(100, 0.0) == 100


@pytest.mark.parametrize("illness", Illness)
def test_a_few_probes_decide(illness):
    """When its time is over a few calls go out; one good answer closes it."""
    made = broken(illness)
    now_s = made.until_s
    assert made.permits(100, now_s) == CARE[illness].probes
    assert made.state is BreakerState.HALF_OPEN
    assert made.permits(100, now_s) == 0
    made.observe(None, now_s)
    assert made.state is BreakerState.CLOSED
    assert made.permits(100, now_s) == 100


@pytest.mark.parametrize("illness", Illness)
def test_it_stays_open_longer_each_time_and_never_for_more_than_ten_seconds(illness):
    """Each failed probe makes the next wait longer, up to the table's longest, which is 10 s at most."""
    made, waits_s, now_s = broken(illness), [], 0.0
    for _ in range(12):
        waits_s.append(made.until_s - now_s)
        now_s = made.until_s
        assert made.permits(1, now_s) == 1
        made.observe(illness, now_s)
    assert waits_s == sorted(waits_s)
    assert waits_s[0] == pytest.approx(CARE[illness].first_open_s)
    assert waits_s[-1] == pytest.approx(CARE[illness].longest_open_s)
    assert max(waits_s) <= LONGEST_S


def test_probes_for_which_nothing_was_there_are_given_back():
    """A probe without a message to send is no probe: the next message gets it."""
    made = broken(Illness.DOUBTFUL)
    now_s = made.until_s
    assert made.permits(50, now_s) == 1
    made.give_back(1)
    assert made.permits(50, now_s) == 1


def test_late_answers_do_not_touch_an_open_breaker():
    """Calls that began before it opened still come back; neither good nor bad do they change its time."""
    made = broken(Illness.DOUBTFUL)
    until_s = made.until_s
    for illness in (Illness.DOUBTFUL, None, Illness.REFUSING):
        made.observe(illness, until_s / 2)
    assert (made.state, made.until_s) == (BreakerState.OPEN, until_s)


def test_a_good_check_of_the_account_closes_it():
    """A project that was mended sends again at once, without waiting for a customer's message to try."""
    made = broken(Illness.MISCONFIGURED)
    made.close()
    assert made.permits(10, 0.0) == 10


def test_processes_do_not_probe_in_step():
    """The wait has jitter: between half of it and all of it."""
    waits_s = []
    for jitter in (0.0, 0.5, 1.0):
        made = Breaker(jitter=lambda jitter=jitter: jitter)
        made.observe(Illness.MISCONFIGURED, 0.0)
        waits_s.append(made.until_s)
    assert waits_s == [2.5, 3.75, 5.0]
