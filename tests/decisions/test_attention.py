"""The attention budget: who never responds hears less, who responds hears more, and anybody can check the sum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.decisions.attention import HISTORY_MAX, Level, Told, attention, ladder
from geoservice.vocabulary import MessageEvent

NOON = datetime(2026, 3, 4, 11, 0, tzinfo=UTC)
H, DAY = timedelta(hours=1), timedelta(days=1)
OPEN, HELP, V, B, C, S, X = (
    MessageEvent.OPENED,
    MessageEvent.HELPFUL,
    MessageEvent.VISITED,
    MessageEvent.CONVERTED,
    MessageEvent.CREEPY,
    MessageEvent.STOP,
    MessageEvent.DISMISSED,
)  # fmt: skip


def told(answers, after=H):
    """One message a day, oldest first, each with its answers an hour later."""
    start = NOON - len(answers) * DAY - H
    return [
        Told(f"m{n}", start + n * DAY, tuple((each, start + n * DAY + after) for each in every))
        for n, every in enumerate(answers)
    ]


SILENT = ()
ROWS = [
    # Nothing yet: the retailer's cap.
    ([], Level(2, 1)),
    # Two misses change nothing, three are one step.
    ([SILENT] * 2, Level(2, 1)),
    ([SILENT] * 3, Level(1, 1)),
    ([SILENT] * 6, Level(1, 3)),
    ([SILENT] * 9, Level(1, 7)),
    ([SILENT] * 12, Level(1, 14)),
    # The floor holds for ever; nobody is silenced.
    ([SILENT] * 60, Level(1, 14)),
    # Swiping away is no response.
    ([(X,)] * 3, Level(1, 1)),
    # Any response is a step up, once a message, and never above the cap.
    ([SILENT] * 6 + [(OPEN,)], Level(1, 1)),
    ([SILENT] * 6 + [(HELP,)], Level(1, 1)),
    ([SILENT] * 6 + [(V,)], Level(1, 1)),
    ([SILENT] * 6 + [(B,)], Level(1, 1)),
    ([SILENT] * 6 + [(OPEN, HELP, V, B)], Level(1, 1)),
    ([(OPEN,)] * 5, Level(2, 1)),
    # Creepy and stop are two steps down, once a message.
    ([(C,)], Level(1, 3)),
    ([(S,)], Level(1, 3)),
    ([(C, S)], Level(1, 3)),
    ([(C,), (S,)], Level(1, 14)),
]


@pytest.mark.parametrize(("answers", "level"), ROWS)
def test_the_budget_follows_the_answers(answers, level):
    """Misses go down, responses up, complaints down twice; the ladder ends at one message in 14 days."""
    assert attention(told(answers), 2, NOON).level == level


def test_the_ladder_begins_at_the_cap():
    """From the cap one message less at a time to one a day, then 3, 7 and 14 days; a cap of 0 stays silence."""
    assert ladder(3) == (Level(3, 1), Level(2, 1), Level(1, 1), Level(1, 3), Level(1, 7), Level(1, 14))
    assert ladder(1)[0] == Level(1, 1)
    assert ladder(0) == (Level(0, 1),)


def test_a_message_is_missed_only_after_a_day():
    """Until 24 hours have passed nobody knows yet."""
    message = Told("m", NOON - DAY)
    assert attention([message], 2, NOON - timedelta(seconds=1)).misses == 0
    assert attention([message], 2, NOON).misses == 1


def test_a_late_answer_is_a_miss_and_a_response():
    """An open on the second day: missed it was, and a response it is."""
    late = attention([Told("m", NOON - 2 * DAY, ((OPEN, NOON - 20 * H),))], 2, NOON)
    assert [step.what for step in late.steps] == ["missed", "opened"]


def test_the_arithmetic_can_be_read():
    """Every step names its message, what counted, and where it led."""
    steps = attention(told([SILENT, SILENT, SILENT, (OPEN,)]), 2, NOON).steps
    assert [(step.message_id, step.what, step.misses, step.level) for step in steps] == [
        ("m0", "missed", 1, Level(2, 1)),
        ("m1", "missed", 2, Level(2, 1)),
        ("m2", "missed", 0, Level(1, 1)),
        ("m3", "opened", 0, Level(2, 1)),
    ]


answers = st.lists(st.lists(st.sampled_from([OPEN, HELP, V, B, C, S, X]), max_size=3), max_size=20)


@settings(max_examples=200, deadline=None)
@given(answers, st.integers(0, 4), st.randoms(use_true_random=False))
def test_receipts_may_come_in_any_order(given_answers, cap, rng):
    """However late and disordered the receipts come, the budget is the same; and it is never above the cap."""
    messages = told(given_answers)
    shuffled = rng.sample(messages, len(messages))
    first = attention(messages, cap, NOON)
    assert attention(shuffled, cap, NOON) == first
    assert first.level in ladder(cap)
    assert first.level.messages <= cap


def test_what_is_looked_at_reaches_the_floor():
    """The history that is loaded is long enough to come from the cap to the floor, and stay there."""
    assert attention(told([SILENT] * HISTORY_MAX), 5, NOON).level == Level(1, 14)
