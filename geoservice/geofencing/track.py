"""What is remembered of a device between its observations. Pure.

All that later observations depend on is here, so that any batching of them gives the same transitions, also over a
restart. A track is stored as a MessagePack array: a field that is added goes last and has a default, so that tracks
written by older code can be read, and older code skips what it does not know.
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec


class PresenceState(StrEnum):
    """Between one device and one geofence."""

    OUTSIDE = "outside"
    ENTERING = "entering"
    INSIDE = "inside"
    LEAVING = "leaving"


class KnownFix(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of a fix: epoch seconds, degrees, metres; ``speed_mps`` as reported, if it was."""

    at: float
    lon: float
    lat: float
    accuracy_m: float
    speed_mps: float | None = None


class Presence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A device in, or about to enter, a geofence; outside, there is none. Instants are epoch seconds.

    ``witness_at`` is the fix that waits for a second one (entering: inside; leaving: beyond). ``inside_at``
    is the latest fix with p ≥ 0.5, and None while that is the device's latest fix (see
    `DeviceTrack.inside_at`), so that standing still changes nothing here. ``missing_since`` is the first fix
    after it without, ``missing`` their number.
    """

    geofence_id: str
    state: PresenceState
    entered_at: float | None = None
    inside_at: float | None = None
    witness_at: float | None = None
    missing_since: float | None = None
    missing: int = 0


class DeviceTrack(msgspec.Struct, frozen=True, array_like=True):
    """All that is remembered of one device. A new device has ``DeviceTrack()``.

    ``last`` is the latest fix that counted; ``held`` a jump that waits for a witness. Fixes up to
    ``newest_at`` have been seen. ``fast_at`` is when the device last moved faster than 7 m/s. ``presences``
    are sorted by geofence id. ``finest_m`` is the best accuracy of all fixes that counted, infinite before the
    first: whether it is poor for a fence tells whether all of them were. Instants are epoch seconds.
    """

    last: KnownFix | None = None
    held: KnownFix | None = None
    newest_at: float | None = None
    fast_at: float | None = None
    presences: tuple[Presence, ...] = ()
    finest_m: float = math.inf

    def inside_at(self, presence: Presence) -> float | None:
        """The latest fix (epoch seconds) that had p ≥ 0.5 in this geofence."""
        if presence.inside_at is not None or self.last is None:
            return presence.inside_at
        return self.last.at
