"""Whether dead tokens may be retired. Pure.

A few phones in a hundred lose their token between two messages. When the share jumps, the fault is more likely ours or
the provider's (a wrong project, a bad day at Firebase) than that of the phones, and retiring would lose addresses that
are good. So retiring stops, loudly, until the share is ordinary again.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LOOKED_AT: Final = 100
"""The newest answers that count."""
SUSPICIOUS_FROM: Final = 20
"""Fewer dead tokens than this among them are no jump, whatever their share."""
STOP_ABOVE: Final = 0.30
RESUME_BELOW: Final = 0.15


class PruningGuard:
    """Watches the share of dead tokens among the newest answers about a token."""

    def __init__(self) -> None:
        self._newest: deque[bool] = deque(maxlen=LOOKED_AT)
        self.stopped = False

    @property
    def share(self) -> float:
        """Dead tokens among the newest answers, 0 to 1."""
        return sum(self._newest) / len(self._newest) if self._newest else 0.0

    def observe(self, *, dead: bool) -> bool:
        """Note one answer about a token; returns whether it may be retired."""
        self._newest.append(dead)
        if self.stopped:
            self.stopped = self.share >= RESUME_BELOW
        else:
            self.stopped = sum(self._newest) >= SUSPICIOUS_FROM and self.share > STOP_ABOVE
        return dead and not self.stopped
