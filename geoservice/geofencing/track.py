"""What is remembered of a device between its observations. Pure.

All that later observations depend on is here, so that any batching of them gives the same transitions, also over a
restart. A track is stored as a MessagePack array: a field that is added goes last and has a default, so that tracks
written by older code can be read, and older code skips what it does not know.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

import msgspec

TRUST: Final = 2.0
"""The highest belief (log-odds): 88 %. Whoever has it and is seen inside again stays as he is."""
LOST_S: Final = 6 * 3_600.0
"""Presence of a device that was silent for so long has ended, nobody knows when."""
SEEN_WITHIN_S: Final = 90.0
"""A dwell needs evidence of being inside that is no older, while the phone reports."""


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


class Lately(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a device has been of late: a running mean of its fixes' degrees, and of their accuracies in metres."""

    lon: float
    lat: float
    accuracy_m: float


class Presence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A device in, or about to enter, a geofence; outside, there is none. Instants are epoch seconds.

    ``inside_at`` is the latest evidence of being inside, and None while that is the device's latest fix (see
    `DeviceTrack.inside_at`), so that standing still changes nothing here. ``belief`` is the log-odds of being inside;
    only tracks from before it was kept have none. ``dwell_at`` is when a dwell becomes due; None once it was told.
    ``watched_at`` is when the phone's operating system said itself that it is there: it watches, and will tell of an
    exit.
    """

    geofence_id: str
    state: PresenceState
    entered_at: float | None = None
    inside_at: float | None = None
    belief: float | None = None
    dwell_at: float | None = None
    watched_at: float | None = None

    @property
    def is_there(self) -> bool:
        """Entered, and not yet exited."""
        return self.state is PresenceState.INSIDE or self.state is PresenceState.LEAVING


def is_settled(presence: Presence) -> bool:
    """Whether another fix inside, before a dwell is due, changes nothing."""
    return presence.state is PresenceState.INSIDE and presence.inside_at is None and presence.belief == TRUST


class Proximity(StrEnum):
    """How near the nearest beacon of a geofence is."""

    IMMEDIATE = "immediate"
    NEAR = "near"
    FAR = "far"


Sample = tuple[float, str, int, int]
"""When (epoch seconds), which beacon, RSSI and power at 1 m in dBm."""


class HeardFence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A geofence whose beacons were heard of late; ``last_at`` in epoch seconds."""

    geofence_id: str
    last_at: float
    sightings: int
    proximity: Proximity
    samples: tuple[Sample, ...]


class Signals(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is remembered of a phone's scans, and of its operating system's events.

    ``scan_at`` is the latest scan (epoch seconds), ``intervals_s`` lie between the last ones. ``ended`` are the
    geofences in which beacons or events have ended its presence since the latest fix.
    """

    fences: tuple[HeardFence, ...] = ()
    scan_at: float | None = None
    intervals_s: tuple[float, ...] = ()
    ended: tuple[str, ...] = ()


class DeviceTrack(msgspec.Struct, frozen=True, array_like=True):
    """All that is remembered of one device. A new device has ``DeviceTrack()``.

    ``last`` is the latest fix that counted; ``held`` a jump that waits for a witness. Observations up to
    ``newest_at`` have been seen. ``fast_at`` is when the device last moved faster than 7 m/s. ``presences``
    are sorted by geofence id. ``finest_m`` is the best accuracy of all fixes that counted, infinite before the
    first: whether it is poor for a fence tells whether all of them were. ``lately`` is there as soon as there is a
    ``last``. ``signals`` is what its scans heard. Instants are epoch seconds.
    """

    last: KnownFix | None = None
    held: KnownFix | None = None
    newest_at: float | None = None
    fast_at: float | None = None
    presences: tuple[Presence, ...] = ()
    finest_m: float = math.inf
    lately: Lately | None = None
    signals: Signals = Signals()

    @property
    def entered(self) -> set[str]:
        """The geofences that the device has entered, and not left."""
        return {presence.geofence_id for presence in self.presences if presence.is_there}

    def inside_at(self, presence: Presence) -> float | None:
        """The latest evidence (epoch seconds) of being in this geofence."""
        if presence.inside_at is not None or self.last is None:
            return presence.inside_at
        return self.last.at


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeviceTrack).decode


def write_track(track: DeviceTrack) -> bytes:
    """Write a track as it is stored."""
    return _encode(track)


def read_track(stored: bytes | None) -> DeviceTrack:
    """Read a stored track; None is that of a new device."""
    if stored is None:
        return DeviceTrack()
    track = _decode(stored)
    return _from_older_code(track) if track.lately is None and track.last is not None else track


def _from_older_code(track: DeviceTrack) -> DeviceTrack:
    """A track without beliefs: what was witnesses and their counts stands in the places of belief and dwell."""
    presences = tuple(
        Presence(p.geofence_id, p.state, p.entered_at, p.inside_at, TRUST) for p in track.presences if p.is_there
    )
    last = track.last
    lately = None if last is None else Lately(last.lon, last.lat, last.accuracy_m)
    return msgspec.structs.replace(track, presences=presences, lately=lately)
