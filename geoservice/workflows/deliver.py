"""Claim -> last look -> push -> outcome: at most once when in doubt.

A message is claimed under a lease (committed), enters `sending` right before the call (committed), and leaves it with
what the provider said, fenced by the claim. A sender that dies in between loses its lease: what was only claimed goes
back to pending; what was `sending` is `unknown`, because the provider may have it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg
import structlog

from geoservice.clock import Clock
from geoservice.errors import GeoserviceError
from geoservice.push import outcomes
from geoservice.push.port import OutgoingPush, PushSender
from geoservice.storage.database import UNREACHABLE, Database
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry import tracing
from geoservice.telemetry.metrics import PUSH_SECONDS, PUSHES
from geoservice.vocabulary import MessageState, Platform

CHANNEL: Final = "geoservice_outbox"
IN_FLIGHT: Final = 64
"""Calls under way at once, and so the most that one claim takes."""
LEASE_S: Final = 60.0
"""Longer than the longest call; on the database's clock."""
RESENDS_MAX: Final = 5
"""So often a message in doubt is tried again, if its campaign says `resend`."""
BACKOFF_MAX_S: Final = 30.0
_POLL_S: Final = 1.0

_sql = Queries("deliver")
_log = structlog.get_logger(__name__)


class Deliver:
    """The sender: one a process, any number of processes."""

    def __init__(self, database: Database, push: PushSender, clock: Clock) -> None:
        self._database = database
        self._push = push
        self._clock = clock
        self._woken = asyncio.Event()
        self._free = IN_FLIGHT
        self._calls: set[asyncio.Task[None]] = set()
        self._claims: set[str] = set()
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    def wake(self, *_: object) -> None:
        """Look at once; the callback of LISTEN."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due until cancelled."""
        listener: asyncpg.Connection | None = None
        self._idle.clear()
        try:
            while not self._stopping:
                self._woken.clear()
                try:
                    if listener is None or listener.is_closed():
                        listener = await self._database.listen(CHANNEL, self.wake)
                    busy = await self.send_due()
                except (GeoserviceError, asyncpg.PostgresError, *UNREACHABLE) as error:
                    _log.warning("delivery_paused", error=type(error).__name__)
                    busy = False
                    await asyncio.sleep(_POLL_S)
                if not busy:
                    await self._rest()
        finally:
            self._idle.set()
            if listener is not None:
                listener.terminate()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await self._woken.wait()

    async def drain(self, timeout_s: float) -> None:
        """Claim no more, finish the calls under way, give back what is claimed but has not begun."""
        self._stopping = True
        self._woken.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        if self._calls:
            await asyncio.wait(self._calls, timeout=timeout_s)
        if self._claims:
            async with self._database.connection() as connection:
                await _sql.release_claims.run(connection, claim_ids=list(self._claims))

    async def send_due(self) -> bool:
        """Claim up to the free slots and begin to send them; return whether there may be more at once."""
        free = self._free
        if free == 0:
            return False
        claim_id = str(uuid4())
        self._claims.add(claim_id)
        at = self._clock.now()
        lease = {"claim_id": claim_id, "lease_s": LEASE_S, "at": at}
        try:
            claimed = await self._claim(free, lease)
            if claimed:
                rows = await self._database.run(lambda connection: _begin(connection, lease, claimed))
                self._start(claim_id, rows)
        finally:
            # After an error its lease gives it back; listed for ever, an outage would add one every second.
            self._claims.discard(claim_id)
        return claimed == free

    async def _claim(self, free: int, lease: dict[str, Any]) -> int:
        """Take what is due, then what may be sent again; tell how much."""
        async with self._database.connection() as connection:
            claimed = len(await _sql.claim.fetch(connection, limit=free, **lease))
            if claimed < free:
                again = {"limit": free - claimed, "max_attempts": RESENDS_MAX}
                claimed += len(await _sql.resend_unknown.fetch(connection, **again, **lease))
        return claimed

    def _start(self, claim_id: str, rows: Sequence[asyncpg.Record]) -> None:
        for row in rows:
            self._free -= 1
            task = asyncio.create_task(self._send(claim_id, row))
            self._calls.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._free += 1
        if self._free == IN_FLIGHT // 2:
            self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease will run out and the message becomes `unknown`.
            _log.error("delivery_failed", error=type(error).__name__, exc_info=error)

    async def _send(self, claim_id: str, row: asyncpg.Record) -> None:
        started = time.perf_counter()
        with tracing.continued(
            "push", row["trace"], kind="client", message_id=row["message_id"], attempt=row["attempts"]
        ) as span:
            outcome = await self._push.send(_outgoing(row, self._clock.now()))
            span.note(outcome=type(outcome).__name__)
        PUSH_SECONDS.observe(time.perf_counter() - started)
        PUSHES.labels(type(outcome).__name__).inc()
        await self._complete(claim_id, row, outcome)

    async def _complete(self, claim_id: str, row: asyncpg.Record, outcome: outcomes.Outcome) -> None:
        at = self._clock.now()
        values = settle(outcome, attempts=row["attempts"], expires_at=row["expires_at"], at=at)
        key = {"customer_id": row["customer_id"], "message_id": row["message_id"]}
        # Tried again when somebody holds the row: else the lease would run out, and what is known become unknown.
        await self._database.run(
            lambda connection: _sql.complete.value(connection, claim_id=claim_id, at=at, **key, **values)
        )
        if isinstance(outcome, outcomes.TokenDead):
            async with self._database.connection() as connection:
                await _sql.retire_token.run(
                    connection,
                    customer_id=row["customer_id"],
                    device_id=row["device_id"],
                    token_set_at=row["token_set_at"],
                )


async def _begin(connection: Connection, lease: dict[str, Any], claimed: int) -> list[asyncpg.Record]:
    """Take the last look, and settle what it refuses; what this returns may go out once it is committed."""
    rows = await _sql.begin_sending.fetch(connection, **lease)
    if len(rows) < claimed:
        await _sql.settle_unsendable.run(connection, claim_id=lease["claim_id"], at=lease["at"])
    return rows


def settle(outcome: outcomes.Outcome, *, attempts: int, expires_at: datetime, at: datetime) -> dict[str, Any]:
    """Turn what the provider said into the message's next state."""
    values: dict[str, Any] = {
        "state": MessageState.FAILED,
        "accepted_at": None,
        "finished_at": at,
        "not_before": at,
        "provider_message_id": None,
        "failure": None,
    }
    match outcome:
        case outcomes.Accepted(provider_message_id):
            values |= {
                "state": MessageState.ACCEPTED,
                "accepted_at": at,
                "provider_message_id": provider_message_id,
            }
        case outcomes.InDoubt(reason):
            values |= {"state": MessageState.UNKNOWN, "failure": reason, "not_before": _backoff(attempts, at)}
        case outcomes.RetryLater(after_s, reason):
            values |= _retry(after_s, reason, attempts, expires_at, at)
        case outcomes.NotSent(reason):
            values |= _retry(None, reason, attempts, expires_at, at)
        case outcomes.TokenDead(kind):
            values |= {"failure": kind}
        case outcomes.CredentialsRefused(reason) | outcomes.WrongProject(reason):
            # Not this message's fault: it waits for somebody to mend the settings, as long as it makes sense.
            values |= _retry(BACKOFF_MAX_S, reason, attempts, expires_at, at)
        case outcomes.Rejected(reason):
            values |= {"failure": reason}
    return values | {"state": values["state"].value}


def _retry(after_s: float | None, reason: str, attempts: int, expires_at: datetime, at: datetime) -> dict[str, Any]:
    """Wait as told and a little longer, else with full jitter; give up when the wait ends too late."""
    told = None if after_s is None else at + timedelta(seconds=after_s * random.uniform(1, 1.2))  # noqa: S311 - no secret
    not_before = told or _backoff(attempts, at)
    if not_before >= expires_at:
        return {"failure": reason}
    return {
        "state": MessageState.RETRY_WAIT,
        "finished_at": None,
        "not_before": not_before,
        "failure": reason,
    }


def _backoff(attempts: int, at: datetime) -> datetime:
    longest_s = min(BACKOFF_MAX_S, 0.5 * 2 ** min(attempts, 10))
    return at + timedelta(seconds=random.uniform(0, longest_s))  # noqa: S311 - no secret


def _outgoing(row: asyncpg.Record, at: datetime) -> OutgoingPush:
    payload = row["payload"]
    return OutgoingPush(
        message_id=row["message_id"],
        campaign_id=row["campaign_id"],
        title=payload["title"],
        body=payload["body"],
        deep_link=payload.get("deep_link"),
        image_url=payload.get("image_url"),
        data=payload.get("data") or {},
        collapse_key=row["campaign_id"],
        expires_at=row["expires_at"],
        ttl_s=max(0, int((row["expires_at"] - at).total_seconds())),
        platform=Platform(row["platform"]) if row["platform"] else None,
        push_token=row["push_token"],
        fid=row["fid"],
    )
