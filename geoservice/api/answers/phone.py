"""Answers to the app: what became of what it posted, and where its phones are."""

from __future__ import annotations

from msgspec import Struct

from geoservice.geofencing.track import PresenceState, Proximity
from geoservice.vocabulary import GeofenceKind, Ignored


class IgnoredItem(Struct):
    """An item that was well-formed and changed nothing."""

    index: int
    reason: Ignored


class RejectedItem(Struct):
    """An item that breaks a rule; the others were taken."""

    index: int
    path: str
    code: str
    message: str


class PingsAnswer(Struct):
    """accepted + duplicates + ignored + rejected are the items that were sent."""

    accepted: int
    duplicates: int
    ignored: list[IgnoredItem]
    rejected: list[RejectedItem]


class EventsAnswer(Struct):
    """accepted + duplicates + rejected are the events that were sent."""

    accepted: int
    duplicates: int
    rejected: list[RejectedItem]


class DeviceAnswer(Struct):
    """A registered phone."""

    device_id: str
    registered: bool


class PresenceItem(Struct):
    """One phone at one geofence, by name."""

    device_id: str
    geofence_id: str
    name: str | None
    kind: GeofenceKind | None
    state: PresenceState
    proximity: Proximity | None
    """Of the nearest beacon of the geofence, while one is heard."""


class PresenceAnswer(Struct):
    """Where the service believes the customer's phones are."""

    items: list[PresenceItem]


class CircleItem(Struct):
    """A circle to register with the phone's operating system, under its geofence's id."""

    geofence_id: str
    lat: float
    lon: float
    radius_m: float


class OuterCircle(Struct):
    """The circle around the phone whose exit means: ask again."""

    lat: float
    lon: float
    radius_m: float


class NearbyAnswer(Struct):
    """The nearest circles, nearest first, and the outer one."""

    items: list[CircleItem]
    outer: OuterCircle
