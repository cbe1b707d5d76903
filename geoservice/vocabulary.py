"""The words that every room shares: observations, transitions, messages and their states. Pure.

Coordinates are WGS 84 degrees; where they stand in a pair, longitude comes first. Instants are aware datetimes,
in UTC inside the service. Units stand in names: ``_m`` metres, ``_s`` seconds, ``_mps`` metres a second,
``_dbm`` decibel-milliwatts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

# Identifiers ------------------------------------------------------------------------------------------------

# In Python `$` also matches before a newline at the end; the look-ahead takes that back.
Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:\-]+$(?!\n)")]
"""Ids of devices, stores, geofences, campaigns, products, events."""

CustomerId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:\-|@]+$(?!\n)")]
"""Customer ids; the subjects of common identity providers hold ``|`` and ``@``."""

Category = Annotated[str, Meta(min_length=1, max_length=64)]
"""A product category as the retailer writes it, for example ``running-shoes``."""

Instant = Annotated[datetime, Meta(tz=True)]
"""RFC 3339 with an offset; a time without one is refused, since nobody can know what it means."""


def in_utc(at: datetime) -> datetime:
    """Turn an instant to UTC; raises ValueError for one that UTC's calendar does not reach."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant is beyond the calendar") from None


# Observations -----------------------------------------------------------------------------------------------

Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]


class Fix(Struct, frozen=True, gc=False, tag="location", forbid_unknown_fields=True):
    """A position as the phone reports it. ``accuracy_m`` is the radius that holds 68 % of the error.

    ``speed_mps`` and ``course_deg`` below zero mean unknown, as several SDKs write it.
    """

    recorded_at: Instant
    lat: Latitude
    lon: Longitude
    accuracy_m: Annotated[float, Meta(gt=0, le=1_000_000)]
    id: Id | None = None
    speed_mps: Annotated[float, Meta(ge=-1, le=1_000)] | None = None
    course_deg: Annotated[float, Meta(ge=-1, le=360)] | None = None
    altitude_m: Annotated[float, Meta(ge=-20_000, le=100_000)] | None = None
    floor: Annotated[int, Meta(ge=-50, le=300)] | None = None
    mock: bool = False


Rssi = Annotated[int, Meta(ge=-127, le=127)]


class IBeaconSighting(Struct, frozen=True, tag="ibeacon", tag_field="protocol", forbid_unknown_fields=True):
    """One received iBeacon advertisement."""

    uuid: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
    major: Annotated[int, Meta(ge=0, le=65_535)]
    minor: Annotated[int, Meta(ge=0, le=65_535)]
    rssi_dbm: Rssi
    tx_power_dbm: Rssi | None = None


class EddystoneSighting(Struct, frozen=True, tag="eddystone-uid", tag_field="protocol", forbid_unknown_fields=True):
    """One received Eddystone-UID frame; ``tx_power_dbm`` is given at 0 m."""

    namespace: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{20}$")]
    instance: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{12}$")]
    rssi_dbm: Rssi
    tx_power_dbm: Rssi | None = None


class BeaconSightings(Struct, frozen=True, tag="beacons", forbid_unknown_fields=True):
    """What one BLE scan window heard."""

    recorded_at: Instant
    sightings: Annotated[list[IBeaconSighting | EddystoneSighting], Meta(min_length=1, max_length=200)]
    id: Id | None = None


class OsEvent(StrEnum):
    """What the operating system said about a circle that the app registered."""

    ENTER = "enter"
    EXIT = "exit"
    DWELL = "dwell"


class OsTransition(Struct, frozen=True, tag="transition", forbid_unknown_fields=True):
    """A geofence event from the phone's operating system."""

    recorded_at: Instant
    geofence_id: Id
    event: OsEvent
    id: Id | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    accuracy_m: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


Observation = Fix | BeaconSightings | OsTransition


class Ignored(StrEnum):
    """Why an observation changed nothing although it was well-formed."""

    NO_LOCATION_CONSENT = "no_location_consent"
    SENSITIVE_PLACE = "sensitive_place"
    OUT_OF_ORDER = "out_of_order"
    MOCK = "mock"
    SAMPLE = "sample"


# Places and transitions -------------------------------------------------------------------------------------


class GeofenceKind(StrEnum):
    """What a geofence stands for."""

    APPROACH = "approach"
    STORE = "store"
    DEPARTMENT = "department"
    SENSITIVE = "sensitive"


class TransitionKind(StrEnum):
    """What changed between a device and a geofence."""

    ENTER = "enter"
    DWELL = "dwell"
    EXIT = "exit"
    CROSSED = "crossed"
    REMOVED = "removed"
    LOST = "lost"


class Source(StrEnum):
    """Where the evidence for a transition came from."""

    FIX = "fix"
    BEACON = "beacon"
    OS = "os"
    TIMER = "timer"


class Transition(Struct, frozen=True):
    """A device entered, left, stayed in or crossed a geofence.

    ``confidence`` is the share of the deciding fix's error disc inside (enter) or outside (exit) the fence, 0 to 1.
    ``initial`` marks a device that was inside when it was first seen. ``late`` marks one that was reported too
    long after it happened to act on. ``speed_mps`` is the reported speed, else the one implied by the last two
    fixes, else None.
    """

    kind: TransitionKind
    geofence_id: str
    at: datetime
    confidence: float
    source: Source = Source.FIX
    late: bool = False
    initial: bool = False
    assumed: bool = False
    speed_mps: float | None = None


# Customers --------------------------------------------------------------------------------------------------


class Platform(StrEnum):
    """The phone's operating system."""

    ANDROID = "android"
    IOS = "ios"


class OsPermission(StrEnum):
    """The location permission that the phone's operating system reports."""

    ALWAYS = "always"
    WHILE_IN_USE = "while_in_use"
    APPROXIMATE = "approximate"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Purpose(StrEnum):
    """What a customer can consent to, one by one."""

    LOCATION = "location"
    MARKETING_PUSH = "marketing_push"
    PERSONALISATION = "personalisation"
    ASSOCIATE_SHARING = "associate_sharing"
    INSIGHTS = "insights"


class EventType(StrEnum):
    """What a customer did in the app, the web shop or at the till; ``declared`` comes from her preferences only."""

    PRODUCT_VIEWED = "product_viewed"
    WISHLISTED = "wishlisted"
    CARTED = "carted"
    PURCHASED = "purchased"
    SEARCHED = "searched"
    REVIEWED = "reviewed"
    DECLARED = "declared"


class Channel(StrEnum):
    """How a message reaches the customer."""

    PUSH = "push"
    INBOX = "inbox"


class Role(StrEnum):
    """What an API key may do."""

    OPS = "ops"
    SERVER = "server"
    SUPPORT = "support"
    OFFICER = "officer"


# Messages ---------------------------------------------------------------------------------------------------


class MessageState(StrEnum):
    """Where a message is; it is in exactly one of these."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENDING = "sending"
    RETRY_WAIT = "retry_wait"
    ACCEPTED = "accepted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class MessageEvent(StrEnum):
    """A fact about a message after it left. It is no state: a message that was accepted stays accepted."""

    DELIVERED = "delivered"
    OPENED = "opened"
    DISMISSED = "dismissed"
    HELPFUL = "helpful"
    CREEPY = "creepy"
    STOP = "stop"
    VISITED = "visited"
    CONVERTED = "converted"


MESSAGE_MOVES: Final[dict[MessageState, frozenset[MessageState]]] = {
    # Reserved: it holds its cap slot and waits for a sender.
    MessageState.PENDING: frozenset({MessageState.CLAIMED, MessageState.EXPIRED, MessageState.CANCELLED}),
    # A sender holds it under a lease; nothing has left the house, so a lost lease goes back to pending.
    MessageState.CLAIMED: frozenset(
        {MessageState.SENDING, MessageState.PENDING, MessageState.EXPIRED, MessageState.CANCELLED}
    ),
    # The provider may have it from here on: a lost lease is `unknown`, never pending.
    MessageState.SENDING: frozenset(
        {MessageState.ACCEPTED, MessageState.RETRY_WAIT, MessageState.FAILED, MessageState.UNKNOWN}
    ),
    # The provider definitely did not take it, and there is time left.
    MessageState.RETRY_WAIT: frozenset({MessageState.CLAIMED, MessageState.EXPIRED, MessageState.CANCELLED}),
    # In doubt. Marketing stays here; a campaign that says `resend` may claim it again.
    MessageState.UNKNOWN: frozenset({MessageState.CLAIMED}),
    MessageState.ACCEPTED: frozenset(),
    MessageState.FAILED: frozenset(),
    MessageState.EXPIRED: frozenset(),
    MessageState.CANCELLED: frozenset(),
}
"""Every move that a message may make. The database refuses all others; a test keeps both equal."""

FREED: Final = frozenset({MessageState.FAILED, MessageState.EXPIRED, MessageState.CANCELLED})
"""States that gave the cap slot back: the message definitely did not reach the customer."""

DELIVERABLE: Final = frozenset({MessageState.PENDING, MessageState.CLAIMED, MessageState.RETRY_WAIT})
"""States in which nothing has left the house yet, so that an opt-out can still cancel."""


def to_jsonable(value: object) -> object:
    """Turn structs, enums and datetimes into what JSON has; the one way facts become records."""
    return msgspec.to_builtins(value, enc_hook=str)


def to_json(value: object) -> str:
    """Write the same as text, in one step."""
    return _JSON.encode(value).decode()


_JSON: Final = msgspec.json.Encoder(enc_hook=str)
