"""Claim -> last look -> send -> outcome: at most once when in doubt.

A message is claimed under a lease (committed), enters `sending` right before the call (committed), and leaves it with
what the provider said, fenced by the claim. A sender that dies in between loses its lease: what was only claimed goes
back to pending; what was `sending` is `unknown`, because the provider may have it.

How many may begin is the channel's governor's word: while the provider is away or our account refused, messages wait as
`pending`, and a timer ends those whose moment passes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import asyncpg
import structlog

from geoservice.clock import Clock
from geoservice.errors import GeoserviceError, Unavailable
from geoservice.push import outcomes
from geoservice.push.governor import Governor
from geoservice.push.port import OutgoingPush
from geoservice.storage.database import UNREACHABLE, Database
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry import tracing
from geoservice.telemetry.metrics import ENDED, TOKENS_RETIRED, from_zero
from geoservice.vocabulary import Channel, Platform
from geoservice.workflows.settling import Completer, Completion, settle
from geoservice.workflows.stopping import GATE

NOTICES: Final = "geoservice_outbox"
SENDER: Final = "geoservice sender"
"""What the database calls the connection that a sender listens on."""
COUNT_EVERY_S: Final = 1.0
CLAIM_MAX: Final = 50
"""So many messages are claimed at once: each claim costs two commits, however many it takes."""
START_AT_ONCE: Final = 4
START_EVERY_S: Final = 0.002
"""So few calls begin at once: those that begin together are answered together, and hold up the event loop twice."""
LEASE_S: Final = 60.0
"""Longer than the longest call; on the database's clock."""
STALLED_S: Final = LEASE_S / 3
"""A call that has not begun so long after its last look does not begin: with all that it may wait for (an access token,
an answer, another token, another answer) it must be over before the lease is."""
RESENDS_MAX: Final = 5
"""So often a message in doubt is tried again, if its campaign says `resend`."""
_POLL_S: Final = 1.0
_SOON_S: Final = 0.01

from_zero(TOKENS_RETIRED, [(kind,) for kind in outcomes.DeadToken])
_sql = Queries("deliver")
_log = structlog.get_logger(__name__)


class Deliver:
    """The sender: one a process, any number of processes."""

    def __init__(self, database: Database, governors: Sequence[Governor], clock: Clock) -> None:
        self._database = database
        self._governors = governors
        self._clock = clock
        self._completer = Completer(database, clock)
        self._woken = asyncio.Event()
        self._look_at_s: dict[Channel, float] = {}
        """When to look at a channel again, unless somebody wakes us; a busy one does not make the others look."""
        self._calls: set[asyncio.Task[None]] = set()
        self._claims: set[str] = set()
        self._count_at_s = 0.0
        """When to count the senders again."""
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
                if self._woken.is_set():
                    self._woken.clear()
                    self._look_at_s.clear()
                try:
                    if listener is None or listener.is_closed():
                        listener = await self._database.listen(NOTICES, self.wake, application=SENDER)
                    await self._share(listener)
                    rest_s = await self._look()
                except (GeoserviceError, asyncpg.PostgresError, *UNREACHABLE) as error:
                    _log.warning("delivery_paused", error=type(error).__name__)
                    if listener is not None and isinstance(error, TimeoutError):
                        listener.terminate()  # its way is dead without a word, and would stay so
                    rest_s = _POLL_S
                    await asyncio.sleep(_POLL_S)
                if rest_s:
                    await self._rest(rest_s)
        finally:
            self._idle.set()
            if listener is not None:
                listener.terminate()

    def problems(self) -> list[str]:
        """What keeps messages from going out, a sentence for each channel."""
        return [problem for governor in self._governors if (problem := governor.problem()) is not None]

    async def store_outcomes(self) -> None:
        """Store what became of messages until cancelled."""
        await self._completer.run()

    async def _share(self, connection: Connection) -> None:
        """Hold each channel to our part of its pace: the account is one, however many processes send."""
        if time.monotonic() < self._count_at_s:
            return
        senders = await _sql.senders.value(connection, application=SENDER)
        for governor in self._governors:
            governor.share(max(1, senders))
        self._count_at_s = time.monotonic() + COUNT_EVERY_S

    async def _look(self) -> float:
        """Send what is due on each channel whose turn it is; return in how many seconds to look again."""
        for governor in self._governors:
            if time.monotonic() >= self._look_at_s.get(governor.channel, 0.0):
                again_s = await self.send_due(governor)
                self._look_at_s[governor.channel] = time.monotonic() + again_s
        return max(0.0, min(self._look_at_s.values()) - time.monotonic())

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def drain(self, timeout_s: float) -> None:
        """Claim no more, finish the calls under way, give back what is claimed but has not begun."""
        self._stopping = True
        self._woken.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
                while self._calls:
                    await asyncio.wait(self._calls)
                await self._completer.drained()
        if self._claims:
            async with self._database.connection() as connection:
                await _sql.release_claims.run(connection, claim_ids=list(self._claims))

    async def send_due(self, governor: Governor) -> float:
        """Begin to send what is due and permitted on a channel; return in how many seconds to look again."""
        if governor.is_crowded(CLAIM_MAX):
            return _SOON_S
        permitted = governor.take(CLAIM_MAX)
        if not permitted:
            return min(_POLL_S, max(_SOON_S, governor.wait_s()))
        claim_id = str(uuid4())
        self._claims.add(claim_id)
        claimed, rows = 0, list[asyncpg.Record]()
        try:
            lease = {"claim_id": claim_id, "lease_s": LEASE_S, "at": self._clock.now()}
            claimed = await self._claim(permitted, governor.channel, lease)
            began_s = time.monotonic()
            if claimed:
                rows, held = await self._database.run(lambda connection: _begin(connection, lease, claimed))
                if held:
                    self._later(self._give_up(claim_id))
        except (GeoserviceError, asyncpg.PostgresError, *UNREACHABLE):
            await self._give_up(claim_id)
            raise
        finally:
            self._claims.discard(claim_id)
            governor.give_back(permitted - len(rows))
        if rows:
            self._later(self._start(governor, claim_id, rows, began_s))
        if claimed < permitted:
            return _POLL_S
        return 0.0 if permitted == CLAIM_MAX else _SOON_S

    async def _claim(self, permitted: int, channel: Channel, lease: dict[str, Any]) -> int:
        """Take what is due, then what may be sent again; tell how much."""
        lease = {**lease, "channel": channel.value}

        async def work(connection: Connection) -> int:
            claimed = len(await _sql.claim.fetch(connection, limit=permitted, **lease))
            if claimed < permitted:
                again = {"limit": permitted - claimed, "resends_max": RESENDS_MAX}
                claimed += len(await _sql.resend_unknown.fetch(connection, **again, **lease))
            return claimed

        return await self._database.run(work)

    async def _give_up(self, claim_id: str) -> None:
        """Put back what was claimed and cannot be begun; when even that fails, its lease does it in a minute."""
        with suppress(GeoserviceError, asyncpg.PostgresError, *UNREACHABLE):
            await self._database.run(lambda connection: _sql.release_claims.run(connection, claim_ids=[claim_id]))

    async def _start(self, governor: Governor, claim_id: str, rows: Sequence[asyncpg.Record], began_s: float) -> None:
        for number, row in enumerate(rows):
            if number and number % START_AT_ONCE == 0:
                await asyncio.sleep(START_EVERY_S)
            self._later(self._send(governor, claim_id, row, began_s))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease will run out and the message becomes `unknown`.
            _log.error("delivery_failed", error=type(error).__name__, exc_info=error)

    async def _send(self, governor: Governor, claim_id: str, row: asyncpg.Record, began_s: float) -> None:
        outcome: outcomes.Outcome
        push = _outgoing(row, self._clock.now())
        if push is None or time.monotonic() - began_s > STALLED_S:
            governor.give_back(1)
            outcome = outcomes.NotSent("stalled") if push is not None else outcomes.Rejected("unreadable_payload")
        else:
            with tracing.continued(
                "push", row["trace"], kind="client", message_id=row["message_id"], attempt=row["attempts"]
            ) as span:
                outcome = await governor.send(push)
                span.note(outcome=type(outcome).__name__)
        elsewhere = None
        if governor.may_retire(outcome) and isinstance(outcome, outcomes.TokenDead):
            elsewhere = await self._retire(row, outcome)
        at = self._clock.now()
        settled = settle(
            outcome,
            attempts=row["attempts"],
            expires_at=row["expires_at"],
            at=at,
            elsewhere=elsewhere is not None,
        )
        self._completer.add(
            Completion(
                customer_id=row["customer_id"],
                message_id=row["message_id"],
                claim_id=claim_id,
                device_id=elsewhere or row["device_id"],
                settled=settled,
                give_up_at_s=began_s + LEASE_S,
            )
        )

    async def _retire(self, row: asyncpg.Record, dead: outcomes.TokenDead) -> str | None:
        """Forget a dead address, unless the phone registered another since; give a phone of hers that has one."""
        key = {"customer_id": row["customer_id"], "device_id": row["device_id"]}

        async def work(connection: Connection) -> tuple[int, str | None]:
            retired = await _sql.retire_token.run(connection, token_set_at=row["token_set_at"], **key)
            if not retired:
                return 0, row["device_id"]  # it has a new address: this phone is worth another try
            return retired, await _sql.elsewhere.value(connection, **key)

        try:
            retired, elsewhere = await self._database.run(work)
        except (Unavailable, asyncpg.PostgresError, *UNREACHABLE):
            return None  # the next message will find it dead again
        TOKENS_RETIRED.labels(dead.kind.value).inc(retired)
        return elsewhere


async def _begin(connection: Connection, lease: dict[str, Any], claimed: int) -> tuple[list[asyncpg.Record], int]:
    """Take the last look, and settle what it refuses; what this returns may go out once it is committed.

    Beside it, how many somebody else holds at the moment: these must not make the others wait.
    """
    await _sql.share_the_gate.value(connection, gate=GATE)
    rows = await _sql.begin_sending.fetch(connection, **lease)
    settled = []
    if len(rows) < claimed:
        settled = await _sql.settle_unsendable.fetch(connection, claim_id=lease["claim_id"], at=lease["at"])
        for row in settled:
            if row["state"] != "pending":
                ENDED.labels(row["state"], row["failure"]).inc()
    return rows, claimed - len(rows) - len(settled)


def _outgoing(row: asyncpg.Record, at: datetime) -> OutgoingPush | None:
    """Make the push of a row; None when its payload is not one, which must cost no other message anything."""
    payload = row["payload"]
    if not isinstance(payload, dict) or not {"title", "body"} <= payload.keys():
        return None
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
        analytics_label=row["campaign_id"].replace(":", "_")[:50],
    )
