"""Which observations of a request may move presence, and what becomes of the others. Pure.

The rules, in their order, for the fixes of one device:

1. More than 2 minutes in the future: rejected; the phone's clock is wrong, and believing it would block the device.
2. Before the year 2000: rejected; the phone's clock is wrong.
3. Exactly 0°, 0°: rejected; it is what a phone without a position sends.
4. A mock position: ignored.
5. The same id as a recent one, or the same time and place: a duplicate.
6. Older than, or as old as, the newest fix that was processed: out of order, changes nothing.
7. Everything else goes on, in the order of ``recorded_at``: an offline buffer is replayed as it happened.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

from geoservice.errors import ErrorDetail
from geoservice.vocabulary import Fix, Ignored

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
FUTURE_TOLERANCE: Final = timedelta(minutes=2)
KEY_BYTES: Final = 8
REMEMBERED_KEYS: Final = 32
"""So many ids are kept with the device itself; repetitions of older ones are found by their time."""

Indexed = tuple[int, Fix]
"""A fix and its index in the request's list."""


@dataclass(slots=True)
class Screened:
    """What became of the fixes of one request."""

    kept: list[Fix] = field(default_factory=list)
    duplicates: int = 0
    ignored: list[tuple[int, Ignored]] = field(default_factory=list)
    rejected: list[tuple[int, ErrorDetail]] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """Identities of what was kept: of times and places, and of ids."""
    ids: list[bytes] = field(default_factory=list)
    recent_keys: bytes = b""
    newest_at: datetime | None = None


_pack = struct.Struct("<ddd").pack


def id_key(item_id: str) -> bytes:
    """Hash an item's id to 8 bytes."""
    return blake2b(item_id.encode(), digest_size=KEY_BYTES).digest()


def place_key(fix: Fix) -> bytes:
    """Hash time and place to 8 bytes: what is the same in both is the same observation, whatever its id."""
    return blake2b(_pack(fix.recorded_at.timestamp(), fix.lat, fix.lon), digest_size=KEY_BYTES).digest()


def stale(fixes: Sequence[Indexed], newest_at: datetime | None) -> list[datetime]:
    """List the times of the fixes that are not newer than the newest: only for them old receipts are needed."""
    return (
        [] if newest_at is None else [fix.recorded_at for _, fix in fixes if EARLIEST <= fix.recorded_at <= newest_at]
    )


def screen(
    fixes: Sequence[Indexed],
    *,
    newest_at: datetime | None,
    recent_keys: bytes,
    known_keys: Collection[bytes],
    now: datetime,
) -> Screened:
    """Apply the rules above to the fixes of one request of one device.

    ``recent_keys`` are the newest ids joined, ``known_keys`` those of old receipts around the stale fixes' times.
    """
    result = Screened(recent_keys=recent_keys, newest_at=newest_at)
    latest = now + FUTURE_TOLERANCE
    seen = set(known_keys)
    for index, fix in sorted(fixes, key=_recorded_at):
        if fix.recorded_at > latest:
            result.rejected.append((index, _IN_THE_FUTURE))
        elif fix.recorded_at < EARLIEST:
            result.rejected.append((index, _LONG_AGO))
        elif fix.lat == 0 == fix.lon:
            result.rejected.append((index, _NOWHERE))
        elif fix.mock:
            result.ignored.append((index, Ignored.MOCK))
        else:
            _take(index, fix, seen, result)
    # The newest ids stay with the device.
    result.recent_keys = (recent_keys + b"".join(result.ids))[-REMEMBERED_KEYS * KEY_BYTES :]
    return result


def _recorded_at(item: Indexed) -> datetime:
    return item[1].recorded_at


def _take(index: int, fix: Fix, seen: set[bytes], result: Screened) -> None:
    own = b"" if fix.id is None else id_key(fix.id)
    place = place_key(fix)
    if own in seen or place in seen or (own and _remembers(result.recent_keys, own)):
        result.duplicates += 1
        return
    if result.newest_at is not None and fix.recorded_at <= result.newest_at:
        result.ignored.append((index, Ignored.OUT_OF_ORDER))
        return
    seen.add(place)
    result.keys.append(place)
    if own:
        seen.add(own)
        result.keys.append(own)
        result.ids.append(own)
    result.kept.append(fix)
    result.newest_at = fix.recorded_at


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
