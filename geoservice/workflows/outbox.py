"""The outbox seen as a whole, once a second: what is over, what was lost, what waits for too long."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

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


class Outbox:
    """Keeps the outbox moving whatever the senders do: paused, stopped or dead."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._said_late_at_s: float | None = None

    async def tick(self) -> None:
        """Expire what is too late, take back what a dead sender left behind, count, and say what waits too long."""
        at = self._clock.now()
        async with self._database.connection() as connection:
            while expired := await _sql.expire.run(connection, at=at, limit=EXPIRED_AT_ONCE):
                ENDED.labels(MessageState.EXPIRED.value, "expired").inc(expired)
                if expired < EXPIRED_AT_ONCE:
                    break
            await _sql.recover_leases.run(connection, at=at)
            rows = await _sql.open_states.fetch(connection, at=at)
            stops = [row["scope"] for row in await _sql.stops.fetch(connection)]
        counts = {row["state"]: row["messages"] for row in rows}
        for state in (*DELIVERABLE, MessageState.SENDING):
            MESSAGES.labels(state.value).set(counts.get(state.value, 0))
        SENDING_STOPPED.set(len(stops))
        oldest = min((row["oldest_due"] for row in rows if row["state"] != "sending" and row["oldest_due"]), default=at)
        self._watch_age(oldest, at, sum(counts.values()), stops)

    def _watch_age(self, oldest: datetime, at: datetime, waiting: int, stops: list[str]) -> None:
        """Say when messages begin to wait for too long, again each minute, and when it is over."""
        age_s = (at - oldest).total_seconds()
        OLDEST_DUE.set(age_s)
        now_s = time.monotonic()
        if age_s > LATE_S:
            if self._said_late_at_s is None or now_s - self._said_late_at_s >= SAY_AGAIN_S:
                self._said_late_at_s = now_s
                _log.error("delivery_late", oldest_due_s=round(age_s), messages=waiting, stops=stops)
        elif self._said_late_at_s is not None:
            self._said_late_at_s = None
            _log.info("delivery_on_time", messages=waiting)
