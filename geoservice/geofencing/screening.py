"""Which observations of a request may move presence, and what becomes of the others. Pure.

The rules, in their order, for the observations of one device:

1. More than 2 minutes in the future: rejected; the phone's clock is wrong, and believing it would block the device.
2. Before the year 2000: rejected; the phone's clock is wrong.
3. Exactly 0°, 0°: rejected; it is what a phone without a position sends.
4. A mock position: ignored.
5. The same id as a recent one, or the same time and content: a duplicate.
6. Older than, or as old as, the newest one of its source (fix, beacon, operating system) that was processed: out of
   order, changes nothing.
7. Everything else goes on, in the order of ``recorded_at``: an offline buffer is replayed as it happened.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import msgspec

from geoservice.errors import ErrorDetail
from geoservice.vocabulary import BeaconSightings, Fix, Ignored, Observation, OsTransition

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
FUTURE_TOLERANCE: Final = timedelta(minutes=2)
KEY_BYTES: Final = 8
REMEMBERED_KEYS: Final = 32
"""So many ids are kept with the device itself; repetitions of older ones are found by their time."""

Indexed = tuple[int, Observation]
"""An observation and its index in the request's list."""

Newest = dict[type[Observation], datetime]
"""The newest observation of each source that was processed."""


@dataclass(slots=True)
class Screened:
    """What became of the observations of one request."""

    kept: list[Observation] = field(default_factory=list)
    duplicates: int = 0
    ignored: list[tuple[int, Ignored]] = field(default_factory=list)
    rejected: list[tuple[int, ErrorDetail]] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """Identities of what was kept: of times and contents, and of ids."""
    ids: list[bytes] = field(default_factory=list)
    recent_keys: bytes = b""
    newest: Newest = field(default_factory=dict)


_pack = struct.Struct("<ddd").pack


def id_key(item_id: str) -> bytes:
    """Hash an item's id to 8 bytes."""
    return blake2b(item_id.encode(), digest_size=KEY_BYTES).digest()


def content_key(observation: Observation) -> bytes:
    """Hash time and content to 8 bytes: what is the same in both is the same observation, whatever its id."""
    content = _CONTENT[type(observation)](observation)
    return blake2b(content, digest_size=KEY_BYTES).digest()


def _of_fix(fix: Fix) -> bytes:
    return _pack(fix.recorded_at.timestamp(), fix.lat, fix.lon)


def _of_scan(heard: BeaconSightings) -> bytes:
    return msgspec.msgpack.encode((heard.recorded_at.timestamp(), heard.sightings))


def _of_event(event: OsTransition) -> bytes:
    return msgspec.msgpack.encode((event.recorded_at.timestamp(), event.geofence_id, event.event))


_CONTENT: Final[Mapping[type[Observation], Callable[[Any], bytes]]] = {
    Fix: _of_fix,
    BeaconSightings: _of_scan,
    OsTransition: _of_event,
}


def stale(observations: Sequence[Indexed], newest: Newest) -> list[datetime]:
    """List the times of what is not newer than the newest of its source: only for them old receipts are needed."""
    return [
        each.recorded_at
        for _, each in observations
        if (newest_at := newest.get(type(each))) is not None and EARLIEST <= each.recorded_at <= newest_at
    ]


def screen(
    observations: Sequence[Indexed],
    *,
    newest: Newest,
    recent_keys: bytes,
    known_keys: Collection[bytes],
    now: datetime,
) -> Screened:
    """Apply the rules above to the observations of one request of one device.

    ``recent_keys`` are the newest ids joined, ``known_keys`` those of old receipts around the stale ones' times.
    """
    result = Screened(recent_keys=recent_keys, newest=dict(newest))
    latest = now + FUTURE_TOLERANCE
    seen = set(known_keys)
    for index, each in sorted(observations, key=_recorded_at):
        if each.recorded_at > latest:
            result.rejected.append((index, _IN_THE_FUTURE))
        elif each.recorded_at < EARLIEST:
            result.rejected.append((index, _LONG_AGO))
        elif not isinstance(each, BeaconSightings) and each.lat == 0 == each.lon:
            result.rejected.append((index, _NOWHERE))
        elif type(each) is Fix and each.mock:
            result.ignored.append((index, Ignored.MOCK))
        else:
            _take(index, each, seen, result)
    # The newest ids stay with the device.
    result.recent_keys = (recent_keys + b"".join(result.ids))[-REMEMBERED_KEYS * KEY_BYTES :]
    return result


def _recorded_at(item: Indexed) -> datetime:
    return item[1].recorded_at


def _take(index: int, observation: Observation, seen: set[bytes], result: Screened) -> None:
    own = b"" if observation.id is None else id_key(observation.id)
    content = content_key(observation)
    if own in seen or content in seen or (own and _remembers(result.recent_keys, own)):
        result.duplicates += 1
        return
    source, at = type(observation), observation.recorded_at
    newest_at = result.newest.get(source)
    # One moment may bring several events, and several beacons one by one, but the phone has one place.
    if newest_at is not None and (at < newest_at or (at == newest_at and source is Fix)):
        result.ignored.append((index, Ignored.OUT_OF_ORDER))
        return
    seen.add(content)
    result.keys.append(content)
    if own:
        seen.add(own)
        result.keys.append(own)
        result.ids.append(own)
    result.kept.append(observation)
    result.newest[source] = at


def _remembers(keys: bytes, key: bytes) -> bool:
    at = keys.find(key)
    while at >= 0 and at % KEY_BYTES:
        at = keys.find(key, at + 1)
    return at >= 0


_IN_THE_FUTURE: Final = ErrorDetail(
    "recorded_at", "in_the_future", "recorded_at is more than 2 minutes ahead of the server's clock"
)
_LONG_AGO: Final = ErrorDetail("recorded_at", "long_ago", "recorded_at is before the year 2000")
_NOWHERE: Final = ErrorDetail("lat", "no_position", "0, 0 is what a phone without a position sends")
