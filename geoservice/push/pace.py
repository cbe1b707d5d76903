"""How many calls may begin: a token bucket for the rate, a window for the calls under way. Pure.

Times are monotonic seconds, given from outside.
"""

from __future__ import annotations

from typing import Final

RAMP_S: Final = 60.0
"""A provider wants to see the rate grow; this long until all of it may be used."""
RAMP_FROM: Final = 0.2
"""The share of the rate that a bucket starts with."""
BURST_S: Final = 0.25
"""So much of a second's rate may begin at once."""


class TokenBucket:
    """At most ``rate_per_s`` in the long run, less in the first minute, and after an idle one.

    Several senders that live off one account have an equal part of it each.
    """

    def __init__(self, rate_per_s: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._senders = 1
        self._ramp_from_s = self._filled_at_s = self._used_at_s = now_s
        self._tokens = self._burst(now_s)

    def rate_per_s(self, now_s: float) -> float:
        """The rate that holds now."""
        ramped = RAMP_FROM + (1 - RAMP_FROM) * (now_s - self._ramp_from_s) / RAMP_S
        return self._rate_per_s / self._senders * min(1.0, max(RAMP_FROM, ramped))

    def share(self, senders: int, now_s: float) -> None:
        """From now on so many senders live off the rate, this one among them."""
        self._fill(now_s)
        self._senders = senders
        self._tokens = min(self._tokens, self._burst(now_s))

    def tokens(self, now_s: float) -> float:
        """How many may begin now."""
        self._fill(now_s)
        return self._tokens

    def take(self, wanted: int, now_s: float) -> int:
        """How many of those wanted may begin; they are taken."""
        if now_s - self._used_at_s > RAMP_S:
            self.slow_down(now_s)
        self._fill(now_s)
        taken = min(wanted, int(self._tokens))
        self._tokens -= taken
        if taken:
            self._used_at_s = now_s
        return taken

    def give_back(self, unused: int) -> None:
        """Put back what was taken and not used."""
        self._tokens += unused

    def slow_down(self, now_s: float) -> None:
        """Begin the ramp anew: the provider said that it is too much, or has not seen us for a minute."""
        self._fill(now_s)
        self._ramp_from_s = now_s
        self._tokens = min(self._tokens, self._burst(now_s))

    def _fill(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self._filled_at_s)
        self._filled_at_s = max(self._filled_at_s, now_s)
        self._tokens = min(self._burst(now_s), self._tokens + elapsed_s * self.rate_per_s(now_s))

    def _burst(self, now_s: float) -> float:
        return max(1.0, BURST_S * self.rate_per_s(now_s))


class Window:
    """How many calls may be under way: more while answers are good and all places are used, half when they are not.

    The rule is TCP's: one place more for every good answer while there are too few, half at most once a second.
    """

    FIRST: Final = 64
    SMALLEST: Final = 4
    LARGEST: Final = 512

    def __init__(self) -> None:
        self.limit = self.FIRST
        self.under_way = 0
        self._is_short = False
        self._halved_at_s = float("-inf")

    @property
    def free(self) -> int:
        """Places that nobody holds."""
        return max(0, self.limit - self.under_way)

    def take(self, wanted: int) -> int:
        """How many of those wanted get a place."""
        taken = min(wanted, self.free)
        self._is_short = taken < wanted
        self.under_way += taken
        return taken

    def give_back(self, unused: int) -> None:
        """Free places that were taken and not used."""
        self.under_way -= unused

    def done(self, *, well: bool | None, now_s: float) -> None:
        """Free the place of a call that ended; ``well`` is None when its end says nothing about the load."""
        self.under_way -= 1
        if well is None:
            return
        if not well:
            if now_s - self._halved_at_s >= 1.0:
                self.limit, self._halved_at_s = max(self.SMALLEST, self.limit // 2), now_s
        elif self._is_short and self.limit < self.LARGEST:
            self.limit += 1
