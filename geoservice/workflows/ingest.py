"""Pings in, presence and transitions out: one transaction a micro-batch.

Requests put their observations on a bounded queue and wait. A worker takes what is there, locks the devices, screens
and matches all of them at once, steps presence, has the few transitions decided, and commits. Only then are the
requests answered, so an answer means durable. There are a few such lanes, by customer: while one commits, another
matches.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import structlog

from geoservice.clock import Clock
from geoservice.errors import ErrorDetail, GeoserviceError, Overloaded, Unavailable
from geoservice.geofencing.screening import Indexed
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection
from geoservice.telemetry import tracing
from geoservice.telemetry.metrics import INGEST_BATCH, INGEST_PINGS, INGEST_QUEUE, from_zero
from geoservice.vocabulary import Ignored
from geoservice.workflows.devices import add_device
from geoservice.workflows.directory import Directory
from geoservice.workflows.ingest_batch import Stored, store
from geoservice.workflows.queue import DeviceKey, IngestQueue, IngestReceipt, Submission

BATCH_ITEMS: Final = 2_000
LANES: Final = 1
"""Batches under way at once: more would only make them smaller."""
LINGER_S: Final = 0.008
LINGER_STEPS: Final = 8
_PATIENCE_S: Final = 5.0
"""A device that stays locked by somebody else for this long turns its request away with a 503."""

from_zero(INGEST_PINGS, [(outcome,) for outcome in ("accepted", "duplicate", "rejected", *Ignored)])
_log = structlog.get_logger(__name__)


class _UnknownDevice(GeoserviceError):
    """Nobody has heard of this device. Its own request adds it, so that no other request waits for that."""


class Ingest:
    """The micro-batch worker and the door to it."""

    def __init__(self, database: Database, directory: Directory, clock: Clock, queues: Sequence[IngestQueue]) -> None:
        self._database = database
        self._directory = directory
        self._clock = clock
        self._queues = queues
        self.left_undecided = asyncio.Event()
        """Set when a batch could not lock a customer, so that the worker for those looks at once."""

    async def submit(
        self, key: DeviceKey, observations: Sequence[Indexed], sent_at: datetime | None = None
    ) -> IngestReceipt:
        """Wait until these observations are durable, and tell what became of them. Raises Overloaded, NotReady.

        ``sent_at`` is when the phone says that it sent the request, on its own clock.
        """
        if not observations:
            return IngestReceipt()
        # A customer stays on her lane, so that her requests keep their order.
        queue = self._queues[hash(key[0]) % len(self._queues)]
        with tracing.span("ingest", pings=len(observations)) as span:
            return await self._wait_in(queue, key, observations, span.context, sent_at)

    async def _wait_in(
        self,
        queue: IngestQueue,
        key: DeviceKey,
        observations: Sequence[Indexed],
        trace: str | None,
        sent_at: datetime | None,
    ) -> IngestReceipt:
        give_up_at = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up_at:
            answer: asyncio.Future[IngestReceipt] = asyncio.get_running_loop().create_future()
            queue.put(Submission(key, observations, answer, give_up_at, trace, sent_at))
            try:
                return await answer
            except _UnknownDevice:
                if not await add_device(self._database, key, self._clock.now()):  # she had herself erased
                    return IngestReceipt(ignored=[(index, Ignored.NO_LOCATION_CONSENT) for index, _ in observations])
        raise Overloaded("This device is being removed; try again shortly.")

    async def run(self) -> None:
        """Work through the lanes until cancelled: while one commits, another matches."""
        async with asyncio.TaskGroup() as lanes:
            for queue in self._queues:
                lanes.create_task(self._work(queue))

    async def _work(self, queue: IngestQueue) -> None:
        """Work through one lane. No error ends it: each becomes somebody's answer."""
        batch: list[Submission] = []
        while True:
            if len(batch) > 1:
                await _linger(queue, len(batch))
            batch = await queue.take(BATCH_ITEMS)
            INGEST_QUEUE.set(sum(lane.items for lane in self._queues))
            skipped = await self._process(batch)
            if skipped:
                self._put_back(queue, skipped)
            if len(skipped) == len(batch):
                await asyncio.sleep(0.005)  # every device is held by somebody: do not spin

    def _put_back(self, queue: IngestQueue, skipped: Sequence[Submission]) -> None:
        now = time.monotonic()
        for submission in skipped:
            if submission.give_up_at < now:
                _refuse(submission, Overloaded("This device is busy; try again shortly."))
        queue.put_back([s for s in skipped if not s.answer.done()])

    async def _process(self, batch: Sequence[Submission]) -> list[Submission]:
        """Commit a batch; return what has to wait because its device is locked."""
        started = time.perf_counter()
        try:
            stored = await self._database.run(lambda connection: self._store(connection, batch))
        except Unavailable as error:
            for submission in batch:
                _refuse(submission, error)
            return []
        except Exception as error:  # noqa: BLE001 - whatever it is, it must cost only the item that raised it
            return await self._isolate(batch, error)
        INGEST_BATCH.observe(time.perf_counter() - started)
        _count(stored.receipts.values())
        for submission, receipt in stored.receipts.items():
            _answer(submission, receipt)
        for submission in batch:
            if submission.key in stored.unknown:
                _refuse(submission, _UnknownDevice())
        return [s for s in batch if s not in stored.receipts and s.key not in stored.unknown]

    async def _store(self, connection: Connection, batch: Sequence[Submission]) -> Stored:
        stored = await store(connection, self._directory.snapshot, batch, self._clock.now())
        if stored.left_undecided:
            self.left_undecided.set()
        return stored

    async def _isolate(self, batch: Sequence[Submission], error: Exception) -> list[Submission]:
        """Halve a batch that raised until the culprit stands alone; everything else commits."""
        if len(batch) == 1:
            if len(batch[0].observations) == 1:
                _log.error("ingest_item_failed", error=type(error).__name__, exc_info=error)
                _answer(batch[0], _rejected(batch[0]))
            else:
                await self._isolate_items(batch[0])
            return []
        middle = len(batch) // 2
        return [*await self._process(batch[:middle]), *await self._process(batch[middle:])]

    async def _isolate_items(self, whole: Submission) -> None:
        """Store the halves of one request, earlier observations first, and join their receipts."""
        items = sorted(whole.observations, key=lambda item: item[1].recorded_at)
        middle = len(items) // 2
        joined = IngestReceipt()
        for half in (items[:middle], items[middle:]):
            answer: asyncio.Future[IngestReceipt] = asyncio.get_running_loop().create_future()
            part = Submission(whole.key, half, answer, whole.give_up_at, whole.trace, whole.sent_at)
            while await self._process([part]):
                if part.give_up_at < time.monotonic():
                    _refuse(part, Overloaded("This device is busy; try again shortly."))
                    break
                await asyncio.sleep(0.005)
            try:
                joined.add(await answer)
            except (Unavailable, _UnknownDevice) as error:
                _refuse(whole, error)
                return
        _answer(whole, joined)


def _count(receipts: Collection[IngestReceipt]) -> None:
    outcomes = Counter(reason.value for receipt in receipts for _, reason in receipt.ignored)
    outcomes["accepted"] = sum(receipt.accepted for receipt in receipts)
    outcomes["duplicate"] = sum(receipt.duplicates for receipt in receipts)
    outcomes["rejected"] = sum(len(receipt.rejected) for receipt in receipts)
    for outcome, count in outcomes.items():
        INGEST_PINGS.labels(outcome).inc(count)


def _answer(submission: Submission, receipt: IngestReceipt) -> None:
    if not submission.answer.done():  # the client may have hung up
        submission.answer.set_result(receipt)


def _refuse(submission: Submission, error: GeoserviceError) -> None:
    if not submission.answer.done():
        submission.answer.set_exception(error)


async def _linger(queue: IngestQueue, answered: int) -> None:
    """Under load, wait a moment: whoever was just answered asks again at once, and shares the next batch's cost."""
    everybody = queue.requests + answered
    for _ in range(LINGER_STEPS):
        if queue.requests >= everybody:
            return
        await asyncio.sleep(LINGER_S / LINGER_STEPS)


def _rejected(submission: Submission) -> IngestReceipt:
    detail = ErrorDetail("", "internal_error", "this item could not be processed; it has been logged")
    return IngestReceipt(rejected=[(index, detail) for index, _ in submission.observations])
