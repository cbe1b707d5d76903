"""What the provider said -> the message's next state, stored many at a time.

Completions that come within a few milliseconds share one commit; each is fenced by its own claim. What is known of a
message is not given up lightly: while the database is away it is kept, as long as the message's lease may hold.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from geoservice.clock import Clock
from geoservice.errors import Unavailable
from geoservice.push import outcomes
from geoservice.storage.database import UNREACHABLE, Database
from geoservice.storage.queries import Queries
from geoservice.telemetry.metrics import ENDED, LATE_OUTCOMES
from geoservice.vocabulary import MESSAGE_MOVES, MessageState

BACKOFF_MAX_S: Final = 30.0
BATCH: Final = 200
GATHER_S: Final = 0.01
"""So long a completion waits for others to share its commit."""
AGAIN_S: Final = 0.2

_sql = Queries("deliver")
_log = structlog.get_logger(__name__)


# From an outcome to a state ---------------------------------------------------------------------------------


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message stands after one try."""

    state: MessageState
    not_before: datetime
    accepted_at: datetime | None = None
    finished_at: datetime | None = None
    provider_message_id: str | None = None
    failure: str | None = None


def settle(
    outcome: outcomes.Outcome, *, attempts: int, expires_at: datetime, at: datetime, elsewhere: bool = False
) -> Settled:
    """Turn what the provider said into the message's next state.

    ``elsewhere`` says that the customer has another phone, when this one's address is dead.
    """
    match outcome:
        case outcomes.Accepted(provider_message_id):
            return Settled(
                state=MessageState.ACCEPTED,
                not_before=at,
                accepted_at=at,
                finished_at=at,
                provider_message_id=provider_message_id,
            )
        case outcomes.InDoubt(reason):
            again_at = _backoff(attempts, at)
            return Settled(state=MessageState.UNKNOWN, not_before=again_at, finished_at=at, failure=reason)
        case outcomes.RetryLater(after_s, reason):
            return _retry(after_s, reason, attempts, expires_at, at)
        case outcomes.NotSent(reason):
            return _retry(None, reason, attempts, expires_at, at)
        case outcomes.CredentialsRefused(reason) | outcomes.WrongProject(reason):
            # Not this message's fault: it waits for somebody to mend the settings, as long as it makes sense.
            return _retry(None, reason, attempts, expires_at, at)
        case outcomes.TokenDead(kind):
            return _retry(0, kind.value, attempts, expires_at, at) if elsewhere else _failed(kind.value, at)
        case outcomes.Rejected(reason):
            return _failed(reason, at)


def _failed(reason: str, at: datetime) -> Settled:
    return Settled(state=MessageState.FAILED, not_before=at, finished_at=at, failure=reason)


def _retry(after_s: float | None, reason: str, attempts: int, expires_at: datetime, at: datetime) -> Settled:
    """Wait as told and a little longer, else with full jitter; give up when the wait ends too late."""
    told = None if after_s is None else at + timedelta(seconds=after_s * random.uniform(1, 1.2))  # noqa: S311 - no secret
    not_before = told or _backoff(attempts, at)
    if not_before >= expires_at:
        return _failed(reason, at)
    return Settled(state=MessageState.RETRY_WAIT, not_before=not_before, failure=reason)


def _backoff(attempts: int, at: datetime) -> datetime:
    longest_s = min(BACKOFF_MAX_S, 0.5 * 2 ** min(attempts, 10))
    return at + timedelta(seconds=random.uniform(0, longest_s))  # noqa: S311 - no secret


# Storing it -------------------------------------------------------------------------------------------------


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """One message that leaves `sending`, by the claim that brought it there."""

    customer_id: str
    message_id: str
    claim_id: str
    device_id: str | None
    settled: Settled
    give_up_at_s: float
    """Monotonic; by then its lease is over, and it has been settled without us."""


class Completer:
    """Stores completions; one a process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[Completion] = []
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, completion: Completion) -> None:
        """Store it soon."""
        self._waiting.append(completion)
        self._idle.clear()
        self._filled.set()

    async def drained(self) -> None:
        """Wait until everything is stored."""
        await self._idle.wait()

    async def run(self) -> None:
        """Store what comes until cancelled."""
        while True:
            await self._filled.wait()
            if len(self._waiting) < BATCH:
                await asyncio.sleep(GATHER_S)
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            left = await self._store(batch)
            self._waiting[:0] = left
            if not self._waiting:
                self._filled.clear()
                self._idle.set()
            elif left:
                await asyncio.sleep(AGAIN_S)

    async def _store(self, batch: Sequence[Completion]) -> list[Completion]:
        """Store a batch; gives what should be tried again. One that cannot be stored is parted from the others."""
        try:
            stored = await self._complete(batch)
        except (Unavailable, *UNREACHABLE):
            return _in_time(batch)
        except asyncpg.PostgresError as error:
            if len(batch) == 1:
                # Its lease will run out and the message becomes `unknown`.
                _log.error("completion_lost", message_id=batch[0].message_id, exc_info=error)
                return []
            middle = len(batch) // 2
            return await self._store(batch[:middle]) + await self._store(batch[middle:])
        for each in batch:
            if each.message_id in stored and not MESSAGE_MOVES[each.settled.state] - {MessageState.CLAIMED}:
                ENDED.labels(each.settled.state.value, each.settled.failure or "none").inc()
        return await self._unstored([each for each in batch if each.message_id not in stored])

    async def _unstored(self, completions: Sequence[Completion]) -> list[Completion]:
        """Give those of these that should be tried again; the others came too late."""
        if not completions:
            return []
        try:
            held = await self._held(completions)
        except (Unavailable, asyncpg.PostgresError, *UNREACHABLE):
            return _in_time(completions)
        late = len(completions) - len(held)
        if late:
            LATE_OUTCOMES.inc(late)
            _log.warning("outcomes_late", messages=late, detail="Their leases were lost; they stay as they are.")
        return _in_time([each for each in completions if each.message_id in held])

    async def _complete(self, batch: Sequence[Completion]) -> set[str]:
        rows = await self._database.run(
            lambda connection: _sql.complete.fetch(connection, at=self._clock.now(), **_columns(batch))
        )
        return {row["message_id"] for row in rows}

    async def _held(self, completions: Sequence[Completion]) -> set[str]:
        """Which of these are still ours, and merely held by somebody else at the moment."""
        keys = {
            "customer_ids": [each.customer_id for each in completions],
            "message_ids": [each.message_id for each in completions],
            "claim_ids": [each.claim_id for each in completions],
        }
        async with self._database.connection() as connection:
            return {row["message_id"] for row in await _sql.still_ours.fetch(connection, **keys)}


def _in_time(completions: Sequence[Completion]) -> list[Completion]:
    now_s = time.monotonic()
    return [each for each in completions if each.give_up_at_s > now_s]


def _columns(batch: Sequence[Completion]) -> dict[str, list[Any]]:
    settled = [each.settled for each in batch]
    return {
        "customer_ids": [each.customer_id for each in batch],
        "message_ids": [each.message_id for each in batch],
        "claim_ids": [each.claim_id for each in batch],
        "device_ids": [each.device_id for each in batch],
        "states": [each.state.value for each in settled],
        "accepted_ats": [each.accepted_at for each in settled],
        "finished_ats": [each.finished_at for each in settled],
        "not_befores": [each.not_before for each in settled],
        "provider_message_ids": [each.provider_message_id for each in settled],
        "failures": [each.failure for each in settled],
    }
