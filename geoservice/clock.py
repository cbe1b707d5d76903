"""Time as a part that is chosen, so that a story can be the same at any hour of any day."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Business time. Leases and rate limits use the database's and the machine's own clocks instead."""

    def now(self) -> datetime:
        """Tell the present instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Tell the machine's time."""
        return datetime.now(UTC)


class SteerableClock:
    """A clock for demos and tests: it stands still where it was put, or flows on from there."""

    def __init__(self) -> None:
        self._at = datetime.now(UTC)
        self._since: float | None = time.monotonic()

    def now(self) -> datetime:
        """Tell where the clock was put, plus what has passed since if it flows."""
        if self._since is None:
            return self._at
        return self._at + timedelta(seconds=time.monotonic() - self._since)

    def put(self, at: datetime, *, flows: bool) -> None:
        """Move the clock to ``at`` and let it stand still there, or flow on."""
        self._at = at.astimezone(UTC)
        self._since = time.monotonic() if flows else None
