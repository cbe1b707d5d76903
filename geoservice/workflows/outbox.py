"""The outbox seen as a whole, once a second: what is over, what was lost, what waits for too long."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import structlog

from geoservice.clock import Clock
from geoservice.storage.database import Database
from geoservice.storage.queries import Queries
from geoservice.telemetry.metrics import ENDED, MESSAGES, OLDEST_DUE, SENDING_STOPPED
from geoservice.vocabulary import DELIVERABLE, MessageState

EXPIRED_AT_ONCE: Final = 5_000
LATE_S: Final = 30.0
"""A message that is due and still waits after this is worth waking somebody."""
SAY_AGAIN_S: Final = 60.0

_sql = Queries("deliver")
_log = structlog.get_logger(__name__)


class Waiting(NamedTuple):
    """For how long the oldest due message has waited, how many are under way, and what is stopped."""

    age_s: float
    messages: int
    stops: list[str]


class Outbox:
    """Keeps the outbox moving whatever the senders do: paused, stopped or dead."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._said_late_at_s: float | None = None

    async def settle(self) -> None:
        """Expire what is too late, take back what a dead sender left behind, and say what waits too long."""
        at = self._clock.now()
        async with self._database.connection() as connection:
            while expired := await _sql.expire.run(connection, at=at, limit=EXPIRED_AT_ONCE):
                ENDED.labels(MessageState.EXPIRED.value, "expired").inc(expired)
                if expired < EXPIRED_AT_ONCE:
                    break
            await _sql.recover_leases.run(connection, at=at)
        self._say_late(await self.count())

    async def count(self) -> Waiting:
        """Count what is under way, in the metrics of this process too: whoever asks it must not hear old news."""
        at = self._clock.now()
        async with self._database.connection() as connection:
            rows = await _sql.open_states.fetch(connection, at=at)
            stops = [row["scope"] for row in await _sql.stops.fetch(connection)]
        counts = {row["state"]: row["messages"] for row in rows}
        for state in (*DELIVERABLE, MessageState.SENDING):
            MESSAGES.labels(state.value).set(counts.get(state.value, 0))
        SENDING_STOPPED.set(len(stops))
        oldest = min((row["oldest_due"] for row in rows if row["state"] != "sending" and row["oldest_due"]), default=at)
        waiting = Waiting((at - oldest).total_seconds(), sum(counts.values()), stops)
        OLDEST_DUE.set(waiting.age_s)
        return waiting

    def _say_late(self, waiting: Waiting) -> None:
        """Say when messages begin to wait for too long, again each minute, and when it is over."""
        now_s = time.monotonic()
        if waiting.age_s > LATE_S:
            if self._said_late_at_s is None or now_s - self._said_late_at_s >= SAY_AGAIN_S:
                self._said_late_at_s = now_s
                _log.error(
                    "delivery_late",
                    oldest_due_s=round(waiting.age_s),
                    messages=waiting.messages,
                    stops=waiting.stops,
                )
        elif self._said_late_at_s is not None:
            self._said_late_at_s = None
            _log.info("delivery_on_time", messages=waiting.messages)
