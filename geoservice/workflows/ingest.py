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
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import repeat
from typing import Final

import msgspec
import structlog

from geoservice.clock import Clock
from geoservice.errors import ErrorDetail, GeoserviceError, Overloaded, Unavailable
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.phone_clock import PhoneClock, read_clock, write_clock
from geoservice.geofencing.screening import Indexed, Newest, Screened, screen, stale
from geoservice.geofencing.sensitive import touching_sensitive, whereabouts
from geoservice.geofencing.signals import hear
from geoservice.geofencing.track import DeviceTrack, read_track, write_track
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry import tracing
from geoservice.telemetry.metrics import BEACONS_ELSEWHERE, INGEST_BATCH, INGEST_PINGS, INGEST_QUEUE, INGEST_STAGE
from geoservice.vocabulary import BeaconSightings, Fix, Ignored, Observation, OsTransition, Transition
from geoservice.workflows.devices import add_device
from geoservice.workflows.directory import Directory, Snapshot
from geoservice.workflows.queue import DeviceKey, IngestQueue, IngestReceipt, Submission
from geoservice.workflows.transitions import FRESH_FOR, Told, decide_transitions, due_instant, leave_silently

BATCH_ITEMS: Final = 2_000
LANES: Final = 1
"""Batches under way at once: more would only make them smaller."""
LINGER_S: Final = 0.008
LINGER_STEPS: Final = 8
_PATIENCE_S: Final = 5.0
"""A device that stays locked by somebody else for this long turns its request away with a 503."""
UPLOAD_PAUSE: Final = timedelta(minutes=10)
"""A phone that uploads its past, and stops for longer than this, has no more of it."""

_sql = Queries("ingest")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Device:
    """One locked device while its submissions are worked through."""

    allowed: bool
    newest: Newest
    recent_keys: bytes
    track: DeviceTrack
    clock: PhoneClock
    screened: list[tuple[Submission, Screened]] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    """When (epoch seconds) it was in a sensitive place: presence ends there without a word."""
    left_silently: bool = False
    """Whether a presence ended without a transition, so that its visit is still to be ended."""

    @property
    def changed(self) -> bool:
        """Whether there is anything new to store."""
        return bool(self.kept or self.cuts)

    @property
    def trace(self) -> str | None:
        """Of its latest request."""
        return self.screened[-1][0].trace if self.screened else None

    @property
    def kept(self) -> list[Screened]:
        return [screened for _, screened in self.screened if screened.kept]

    @property
    def observed(self) -> list[Observation]:
        """What is new, in the order in which it came."""
        return [each for screened in self.kept for each in screened.kept]


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
            receipts, unknown = await self._database.run(lambda connection: self._store(connection, batch))
        except Unavailable as error:
            for submission in batch:
                _refuse(submission, error)
            return []
        except Exception as error:  # noqa: BLE001 - whatever it is, it must cost only the item that raised it
            return await self._isolate(batch, error)
        INGEST_BATCH.observe(time.perf_counter() - started)
        _count(receipts.values())
        for submission, receipt in receipts.items():
            _answer(submission, receipt)
        for submission in batch:
            if submission.key in unknown:
                _refuse(submission, _UnknownDevice())
        return [s for s in batch if s not in receipts and s.key not in unknown]

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

    async def _store(
        self, connection: Connection, batch: Sequence[Submission]
    ) -> tuple[dict[Submission, IngestReceipt], set[DeviceKey]]:
        at, snapshot = self._clock.now(), self._directory.snapshot
        with INGEST_STAGE.labels("lock").time():
            devices, unknown = await _lock(connection, batch)
            known = await _known_keys(connection, batch, devices)
        began_ns = tracing.now_ns()
        with INGEST_STAGE.labels("match").time():
            sensitive = _in_sensitive_places(snapshot, batch, devices)
            receipts = _screen(batch, devices, known, sensitive, at)
            transitions = _step(snapshot, devices, at)
        _trace_match(batch, began_ns)
        with INGEST_STAGE.labels("store").time():
            await _save(connection, devices, at)
        if transitions:
            with INGEST_STAGE.labels("decide").time():
                await self._decide(connection, snapshot, devices, transitions, at)
        for key, device in devices.items():
            if device.left_silently:
                await leave_silently(connection, key, device.track, at)
        return receipts, unknown

    async def _decide(
        self,
        connection: Connection,
        snapshot: Snapshot,
        devices: dict[DeviceKey, _Device],
        transitions: list[tuple[DeviceKey, Transition]],
        at: datetime,
    ) -> None:
        told = [
            Told(key, transition, devices[key].track.fast_at, devices[key].trace) for key, transition in transitions
        ]
        if await decide_transitions(connection, snapshot, told, at):
            self.left_undecided.set()


async def _lock(connection: Connection, batch: Sequence[Submission]) -> tuple[dict[DeviceKey, _Device], set[DeviceKey]]:
    """Lock the devices that are free; tell which ones do not exist."""
    wanted = sorted({submission.key for submission in batch})
    rows = await _sql.lock_devices.fetch(connection, **_columns(wanted))
    devices = {
        (row["customer_id"], row["device_id"]): _Device(
            row["location_allowed"],
            {source: row[column] for source, column in _NEWEST.items() if row[column] is not None},
            row["recent_keys"],
            read_track(row["track"]),
            read_clock(row["clock"]),
        )
        for row in rows
    }
    missing = [key for key in wanted if key not in devices]
    if not missing:
        return devices, set()
    held = await _sql.existing_devices.fetch(connection, **_columns(missing))
    return devices, set(missing) - {(row["customer_id"], row["device_id"]) for row in held}


_NEWEST: Final[dict[type[Observation], str]] = {
    Fix: "newest_at",
    BeaconSightings: "newest_beacons_at",
    OsTransition: "newest_os_at",
}
"""The order mark of each source."""


def _columns(keys: Sequence[DeviceKey]) -> dict[str, list[str]]:
    return {"customer_ids": [key[0] for key in keys], "device_ids": [key[1] for key in keys]}


async def _known_keys(
    connection: Connection, batch: Sequence[Submission], devices: dict[DeviceKey, _Device]
) -> dict[DeviceKey, set[bytes]]:
    """Fetch the identities of what was processed around what is not newer than the newest."""
    spans: dict[DeviceKey, list[datetime]] = {}
    for submission in batch:
        device = devices.get(submission.key)
        if device is not None and (times := stale(submission.observations, device.newest)):
            spans.setdefault(submission.key, []).extend(times)
    if not spans:
        return {}
    keys = list(spans)
    rows = await _sql.receipts_covering.fetch(
        connection,
        **_columns(keys),
        from_ats=[min(spans[key]) for key in keys],
        through_ats=[max(spans[key]) for key in keys],
    )
    known: dict[DeviceKey, set[bytes]] = {}
    for row in rows:
        packed = row["keys"]
        known.setdefault((row["customer_id"], row["device_id"]), set()).update(
            packed[i : i + 8] for i in range(0, len(packed), 8)
        )
    return known


def _in_sensitive_places(
    snapshot: Snapshot, batch: Sequence[Submission], devices: dict[DeviceKey, _Device]
) -> dict[Submission, set[int]]:
    """Name the observations, by index, that may come from a sensitive place."""
    catalogue = snapshot.catalogue
    if not catalogue.sensitive.any():
        return {}
    allowed = [s for s in batch if s.key in devices and devices[s.key].allowed]
    items = [(submission, index) for submission in allowed for index, _ in submission.observations]
    discs = [whereabouts(catalogue, each) for submission in allowed for _, each in submission.observations]
    found: dict[Submission, set[int]] = {}
    for place in touching_sensitive(catalogue, discs):
        submission, index = items[place]
        found.setdefault(submission, set()).add(index)
    return found


def _screen(
    batch: Sequence[Submission],
    devices: dict[DeviceKey, _Device],
    known: dict[DeviceKey, set[bytes]],
    sensitive: dict[Submission, set[int]],
    at: datetime,
) -> dict[Submission, IngestReceipt]:
    receipts: dict[Submission, IngestReceipt] = {}
    for submission in batch:
        device = devices.get(submission.key)
        if device is None:
            continue
        if not device.allowed:
            ignored = [(index, Ignored.NO_LOCATION_CONSENT) for index, _ in submission.observations]
            receipts[submission] = IngestReceipt(ignored=ignored)
            continue
        if submission.sent_at is not None:
            device.clock = device.clock.heard((at - submission.sent_at).total_seconds())
        known_keys = known.setdefault(submission.key, set())
        dropped = sensitive.get(submission, set())
        if dropped:
            device.cuts += _cuts(submission, dropped, device.newest)
        observations = submission.observations
        screened = screen(
            [item for item in observations if item[0] not in dropped] if dropped else observations,
            newest=device.newest,
            recent_keys=device.recent_keys,
            known_keys=known_keys,
            now=at - timedelta(seconds=device.clock.offset_s),
        )
        # The next request of this device in the same batch sees what this one did.
        known_keys.update(screened.keys)
        device.newest, device.recent_keys = screened.newest, screened.recent_keys
        device.screened.append((submission, screened))
        screened.ignored += [(index, Ignored.SENSITIVE_PLACE) for index in dropped]
        receipts[submission] = IngestReceipt(
            len(screened.kept), screened.duplicates, screened.ignored, screened.rejected
        )
    return receipts


def _cuts(submission: Submission, dropped: set[int], newest: Newest) -> list[float]:
    """The instants of what was dropped and is news; an old observation, sent again, ends nothing."""
    return [
        each.recorded_at.timestamp()
        for index, each in submission.observations
        if index in dropped
        and not (type(each) is Fix and each.mock)
        and (type(each) not in newest or each.recorded_at > newest[type(each)])
    ]


def _step(snapshot: Snapshot, devices: dict[DeviceKey, _Device], at: datetime) -> list[tuple[DeviceKey, Transition]]:
    moving = [(key, device) for key, device in devices.items() if device.changed]
    heard = [hear(snapshot.catalogue, device.track, device.observed, device.cuts) for _, device in moving]
    BEACONS_ELSEWHERE.inc(sum(other.elsewhere for other in heard))
    news = [
        News(
            device.track,
            fixes=[each for each in device.observed if type(each) is Fix],
            heard=other.said,
            cuts=device.cuts,
            clock_offset_s=device.clock.offset_s,
            ended=other.ended,
        )
        for (_, device), other in zip(moving, heard, strict=True)
    ]
    steps = advance(snapshot.catalogue, news, (at - FRESH_FOR).timestamp())
    transitions: list[tuple[DeviceKey, Transition]] = []
    for (key, device), other, (track, moved) in zip(moving, heard, steps, strict=True):
        if snapshot.catalogue.sensitive.any():
            told = {transition.geofence_id for transition in moved}
            device.left_silently = not device.track.entered <= track.entered | told
        device.track = msgspec.structs.replace(track, signals=other.signals)
        transitions.extend(zip(repeat(key), moved))
    return transitions


async def _save(connection: Connection, devices: dict[DeviceKey, _Device], at: datetime) -> None:
    changed = [(key, device) for key, device in devices.items() if device.changed]
    if not changed:
        return
    receipts = [(key, screened) for key, device in changed for screened in device.kept]
    await _sql.save.run(
        connection,
        **_columns([key for key, _ in changed]),
        **{f"{column}s": [device.newest.get(source) for _, device in changed] for source, column in _NEWEST.items()},
        recent_keys=[device.recent_keys for _, device in changed],
        tracks=[write_track(device.track) for _, device in changed],
        due_ats=[_look_again_at(device, at) for _, device in changed],
        clocks=[write_clock(device.clock) for _, device in changed],
        receipt_customer_ids=[key[0] for key, _ in receipts],
        receipt_device_ids=[key[1] for key, _ in receipts],
        from_ats=[screened.kept[0].recorded_at for _, screened in receipts],
        through_ats=[screened.kept[-1].recorded_at for _, screened in receipts],
        keys=[b"".join(screened.keys) for _, screened in receipts],
        at=at,
    )


def _look_again_at(device: _Device, at: datetime) -> datetime | None:
    """When time alone may bring something; not while the phone uploads its past, whose rest says what came."""
    due = due_instant(device.track, device.clock)
    if due is None or not device.newest:
        return due
    newest = max(device.newest.values()) + timedelta(seconds=device.clock.offset_s)
    return due if newest >= at - FRESH_FOR else max(due, at + UPLOAD_PAUSE)


def _trace_match(batch: Sequence[Submission], began_ns: int) -> None:
    """Matching is one for the whole batch; every trace in it shows the time, and how many shared it."""
    if tracing.is_on():
        for submission in batch:
            tracing.past("match", submission.trace, began_ns, requests=len(batch))


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
