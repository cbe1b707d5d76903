"""How often one caller may call: a token bucket each, in memory, of this process alone."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import Final

from geoservice.errors import TooManyRequests

BURST_S: Final = 2.0
"""Seconds' worth of requests that may come at once, after a pause of as long."""
REMEMBERED: Final = 100_000
"""Callers; whoever called longest ago is forgotten first, and after a pause of BURST_S there is nothing to remember."""


class RateLimit:
    """``per_s`` requests a second for each caller, 0 for any number.

    Of each bucket only one number is kept: the instant at which it would be full again (the generic cell rate
    algorithm, ITU-T I.371).
    """

    def __init__(self, per_s: int) -> None:
        self._gap_s = 1 / per_s if per_s else 0.0
        self._full_at: OrderedDict[str | tuple[str, str], float] = OrderedDict()

    def spend(self, caller: str | tuple[str, str]) -> None:
        """Take one from the caller's bucket; raises TooManyRequests when it is empty."""
        if not self._gap_s:
            return
        now = time.monotonic()
        full_at = max(self._full_at.get(caller, now), now) + self._gap_s
        wait_s = full_at - now - max(BURST_S, self._gap_s)
        if wait_s > self._gap_s * 1e-6:  # sums of fractions are never quite right
            raise TooManyRequests("Slower, please.", retry_after_s=math.ceil(wait_s))
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        if len(self._full_at) > REMEMBERED:
            self._full_at.popitem(last=False)
