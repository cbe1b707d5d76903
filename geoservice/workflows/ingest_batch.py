"""One micro-batch in one transaction: locked devices, what their observations say, and what became of it.

The devices are locked, all observations screened and matched at once, presence stepped, the few transitions decided;
then everything is written. Whoever calls commits, and only then answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import repeat
from typing import Final, NamedTuple

import msgspec

from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.phone_clock import PhoneClock, read_clock, write_clock
from geoservice.geofencing.screening import Newest, Screened, screen, stale
from geoservice.geofencing.sensitive import touching_sensitive, whereabouts
from geoservice.geofencing.signals import hear
from geoservice.geofencing.track import DeviceTrack, read_track, write_track
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry import tracing
from geoservice.telemetry.metrics import BEACONS_ELSEWHERE, INGEST_STAGE
from geoservice.vocabulary import BeaconSightings, Fix, Ignored, Observation, OsTransition, Transition
from geoservice.workflows.directory import Snapshot
from geoservice.workflows.queue import DeviceKey, IngestReceipt, Submission
from geoservice.workflows.transitions import FRESH_FOR, Told, decide_transitions, due_instant, leave_silently

UPLOAD_PAUSE: Final = timedelta(minutes=10)
"""A phone that uploads its past, and stops for longer than this, has no more of it."""

_sql = Queries("ingest")


class Stored(NamedTuple):
    """What became of a batch; a request that is in neither has to wait, since its device is locked."""

    receipts: dict[Submission, IngestReceipt]
    unknown: set[DeviceKey]
    """Devices that do not exist."""
    left_undecided: bool
    """Whether a customer could not be locked, so that somebody else has to decide what happened to her."""


@dataclass(slots=True)
class _Device:
    """One locked device while its submissions are worked through."""

    allowed: bool
    newest: Newest
    recent_keys: bytes
    track: DeviceTrack
    clock: PhoneClock
    trace: str | None = None
    """Of its latest request."""
    kept: list[Screened] = field(default_factory=list)
    """Its requests that bring anything new."""
    observed: list[Observation] = field(default_factory=list)
    """What is new, in the order in which it came."""
    cuts: list[float] = field(default_factory=list)
    """When (epoch seconds) it was in a sensitive place: presence ends there without a word."""
    left_silently: bool = False
    """Whether a presence ended without a transition, so that its visit is still to be ended."""

    @property
    def changed(self) -> bool:
        """Whether there is anything new to store."""
        return bool(self.kept or self.cuts)


async def store(connection: Connection, snapshot: Snapshot, batch: Sequence[Submission], at: datetime) -> Stored:
    """Work a batch in; the caller's transaction makes it durable."""
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
    left_undecided = False
    if transitions:
        with INGEST_STAGE.labels("decide").time():
            told = [Told(key, each, devices[key].track.fast_at, devices[key].trace) for key, each in transitions]
            left_undecided = await decide_transitions(connection, snapshot, told, at)
    for key, device in devices.items():
        if device.left_silently:
            await leave_silently(connection, key, device.track, at)
    return Stored(receipts, unknown, left_undecided)


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
    if not catalogue.has_sensitive:
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
        device.trace = submission.trace
        if screened.kept:
            device.kept.append(screened)
            device.observed += screened.kept
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
        if snapshot.catalogue.has_sensitive:
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
