"""When to stop asking a provider, and when to ask again: a circuit breaker. Pure.

Two rules. While it is closed every call may begin; a streak of illness as long as the table says opens it. While it is
open none may begin; when its time is over (10 s at most) it is half-open: a few calls go out as probes, and the first
answer decides. Each time that a probe fails it stays open for longer.

What kind of illness it is decides how careful a probe must be: a provider that refuses outright may be asked often, one
that leaves us in doubt costs a message each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from geoservice.push import outcomes


class BreakerState(StrEnum):
    """Whether calls may begin."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Illness(StrEnum):
    """What is wrong with the provider, or with our account there."""

    REFUSING = "refusing"
    DOUBTFUL = "doubtful"
    THIRD_PARTY = "third_party"
    MISCONFIGURED = "misconfigured"


class Care(Struct, frozen=True):
    """How an illness is treated; seconds."""

    streak: int
    """So many in a row open the breaker."""
    first_open_s: float
    longest_open_s: float
    probes: int
    """So many calls may be out at once while it is half-open."""


CARE: Final[dict[Illness, Care]] = {
    # 503, no connection, no access token: nothing was sent, so asking costs nothing.
    Illness.REFUSING: Care(streak=10, first_open_s=0.25, longest_open_s=1.0, probes=32),
    # 500, cut, no answer in time: each probe may cost a message its one chance.
    Illness.DOUBTFUL: Care(streak=5, first_open_s=1.0, longest_open_s=10.0, probes=1),
    # The APNs key kept at Firebase is wrong: iPhones only, so what Android phones get in between ends the streak.
    Illness.THIRD_PARTY: Care(streak=5, first_open_s=5.0, longest_open_s=10.0, probes=1),
    # Our key, our rights, our project: no message will do better than this one.
    Illness.MISCONFIGURED: Care(streak=1, first_open_s=5.0, longest_open_s=10.0, probes=1),
}


def illness_of(outcome: outcomes.Outcome) -> Illness | None:
    """What an outcome says about the provider; None when it is well, or busy with us alone (quota)."""
    match outcome:
        case outcomes.RetryLater(reason="unavailable"):
            return Illness.REFUSING
        case outcomes.NotSent(reason) if reason != outcomes.SENDER_CLOSED:
            return Illness.REFUSING
        case outcomes.InDoubt():
            return Illness.DOUBTFUL
        case outcomes.CredentialsRefused(reason="third_party_auth"):
            return Illness.THIRD_PARTY
        case outcomes.CredentialsRefused() | outcomes.WrongProject():
            return Illness.MISCONFIGURED
        case _:
            return None


class Breaker:
    """The machine. Times are monotonic seconds; ``jitter`` gives 0 to 1, so that processes do not probe in step."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self.state = BreakerState.CLOSED
        self.illness: Illness | None = None
        """Why it is not closed."""
        self.until_s = 0.0
        self._jitter = jitter
        self._streak = 0
        self._times_opened = 0
        self._probes_out = 0

    def permits(self, wanted: int, now_s: float) -> int:
        """How many calls may begin now, of those wanted; they count as begun."""
        if self.state is BreakerState.OPEN and now_s >= self.until_s:
            self.state, self._probes_out = BreakerState.HALF_OPEN, 0
        if self.state is BreakerState.CLOSED:
            return wanted
        if self.state is BreakerState.OPEN or self.illness is None:
            return 0
        permitted = min(wanted, CARE[self.illness].probes - self._probes_out)
        self._probes_out += permitted
        return permitted

    def give_back(self, unused: int) -> None:
        """Take back permits for which there was nothing to send."""
        self._probes_out = max(0, self._probes_out - unused)

    def observe(self, illness: Illness | None, now_s: float) -> None:
        """Learn from one answer. While it is open, late answers of calls that began before change nothing."""
        if self.state is BreakerState.OPEN:
            return
        if illness is None:
            self.state, self.illness = BreakerState.CLOSED, None
            self._streak = self._times_opened = 0
            return
        self._streak += 1
        if self.state is BreakerState.HALF_OPEN or self._streak >= CARE[illness].streak:
            self._open(illness, now_s)

    def close(self) -> None:
        """Close by other evidence than a message: a check of the account that went well."""
        self.state, self.illness = BreakerState.CLOSED, None
        self._streak = self._times_opened = 0

    def _open(self, illness: Illness, now_s: float) -> None:
        care = CARE[illness]
        longest_s = min(care.longest_open_s, care.first_open_s * 2 ** min(self._times_opened, 10))
        self.state, self.illness = BreakerState.OPEN, illness
        self.until_s = now_s + longest_s * (0.5 + self._jitter() / 2)
        self._times_opened += 1
        self._streak = 0
