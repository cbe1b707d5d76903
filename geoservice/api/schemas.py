"""What goes over the wire: the bodies that are checked, and lists in which one bad item costs no good one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from geoservice.api.routing import decode, refuse_no_json
from geoservice.decisions.decide import Outcome
from geoservice.decisions.reasons import Reason
from geoservice.errors import ErrorDetail, TooLarge
from geoservice.plain_words import detail_of
from geoservice.vocabulary import (
    Category,
    Channel,
    CustomerId,
    EventType,
    Id,
    Instant,
    Latitude,
    Longitude,
    Observation,
    OsPermission,
    Platform,
    in_utc,
)
from geoservice.workflows.geofences import Mode
from geoservice.workflows.policy import LocalTime
from geoservice.workflows.queue import IngestReceipt

PINGS_MAX: Final = 5_000
PINGS_BODY: Final = 2 * 1024 * 1024
EVENTS_MAX: Final = 1_000
EVENTS_BODY: Final = 512 * 1024
UPLOAD_BODY: Final = 256 * 1024 * 1024

Zone = Annotated[str, Meta(min_length=1, max_length=64)]
ShortText = Annotated[str, Meta(min_length=1, max_length=64)]


class DeviceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``PUT /v1/devices/{device_id}``."""

    platform: Platform
    push_token: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    app_version: ShortText | None = None
    timezone: Zone | None = None
    locale: Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)] | None = None
    fid: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    os_location_permission: OsPermission = OsPermission.UNKNOWN


class PingsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/pings``."""

    device_id: Id
    pings: Annotated[list[Observation], Meta(max_length=PINGS_MAX)]
    sent_at: Instant | None = None

    def __post_init__(self) -> None:
        if self.sent_at is not None:
            in_utc(self.sent_at)


class _PingsEnvelope(Struct, frozen=True, forbid_unknown_fields=True):
    device_id: Id
    pings: list[msgspec.Raw]
    sent_at: Instant | None = None

    def __post_init__(self) -> None:
        if self.sent_at is not None:
            in_utc(self.sent_at)


class NearbyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/geofences/nearby``: where the phone is, and how many regions it can watch."""

    lat: Latitude
    lon: Longitude
    accuracy_m: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    limit: Annotated[int, Meta(ge=2, le=100)] = 20


class EventBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that a customer did."""

    type: EventType
    occurred_at: Instant
    id: Id | None = None
    product_id: Id | None = None
    category: Category | None = None
    quantity: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    price: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    store_id: Id | None = None
    order_id: Id | None = None
    variant: ShortText | None = None

    def __post_init__(self) -> None:
        if self.type is EventType.DECLARED:
            raise ValueError("declared is no event: interests are set with PATCH /v1/me/preferences")


class EventsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/events`` and ``POST /v1/customers/{id}/events``."""

    events: Annotated[list[EventBody], Meta(max_length=EVENTS_MAX)]


class _EventsEnvelope(Struct, frozen=True, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


NoticeVersion = Annotated[str, Meta(min_length=1, max_length=64)]


class ConsentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``PUT /v1/me/consents/{purpose}``."""

    granted: bool
    notice_version: NoticeVersion
    language: ShortText | None = None
    source: Annotated[str, Meta(max_length=200)] | None = None
    os_permission: OsPermission | None = None


class QuietHoursBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Half-open [start, end); may wrap midnight; equal means none."""

    start: LocalTime
    end: LocalTime


class PreferencesBody(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``PATCH /v1/me/preferences``: a merge patch; null gives a setting back to its default."""

    topics: dict[ShortText, bool | None] | UnsetType = UNSET
    channels: dict[Channel, bool | None] | UnsetType = UNSET
    quiet_hours: QuietHoursBody | UnsetType | None = UNSET
    daily_cap: Annotated[int, Meta(ge=0)] | UnsetType | None = UNSET
    comfort_level: Annotated[int, Meta(ge=1, le=3)] | UnsetType | None = UNSET
    snooze_until: Instant | UnsetType | None = UNSET
    timezone: Zone | UnsetType | None = UNSET
    privacy_signal: bool | UnsetType | None = UNSET
    interests: dict[Category, bool | None] | UnsetType = UNSET


Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number that JSON's readers and the database agree on."""


class CustomerBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``PUT /v1/customers/{id}``: what the shop knows; what is left out stays."""

    timezone: Zone | None = None
    locale: ShortText | None = None
    birth_year: Annotated[int, Meta(ge=1900, le=2100)] | None = None
    loyalty_tier: ShortText | None = None
    attributes: Annotated[dict[str, str | Number | float | bool], Meta(max_length=100)] | None = None


class FeatureBody(Struct, tag_field="type", tag="Feature"):
    """A GeoJSON Feature: a Polygon, a MultiPolygon, or a Point with the property ``radius_m``.

    For the document only: uploads are checked feature by feature, with all that is wrong said at once.
    """

    geometry: dict[str, Any]
    properties: dict[str, Any] | None = None
    id: str | int | None = None


class FeatureCollectionBody(Struct, tag_field="type", tag="FeatureCollection"):
    """A GeoJSON FeatureCollection; ids stand in the features or in their properties."""

    features: list[FeatureBody]


GEOJSON: Final = ("application/geo+json", "application/json")
CSV: Final = "text/csv"


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a query string that every list has."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class MessagesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/me/messages``; ``before`` is the ``next`` of an earlier page."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: str | None = None


class FeedbackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/me/messages/{id}/feedback``; ``at`` is when it happened, for a phone that reports late."""

    event: Literal["delivered", "opened", "dismissed", "helpful", "creepy", "stop"]
    at: Instant | None = None

    def __post_init__(self) -> None:
        if self.at is not None:
            in_utc(self.at)


class StopQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which stop: of one campaign, of one channel, or neither for the one of everything."""

    campaign_id: Id | None = None
    channel: Channel | None = None

    def __post_init__(self) -> None:
        if self.campaign_id is not None and self.channel is not None:
            raise ValueError("name a campaign or a channel, not both")


class StopBody(StopQuery, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/stop``."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class Lookup(Page, frozen=True, forbid_unknown_fields=True):
    """The part of a query string that lists of records about customers have."""

    customer_id: CustomerId | None = None
    since: Instant | None = None

    def __post_init__(self) -> None:
        if self.since is not None:
            in_utc(self.since)


class TransitionsQuery(Lookup, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/transitions``."""

    device_id: Id | None = None


class DecisionsQuery(Lookup, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/decisions``."""

    campaign_id: Id | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    store: Id | None = None
    until: Instant | None = None
    order: Literal["oldest", "newest"] = "oldest"
    """Which come first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until is not None:
            in_utc(self.until)


class ImportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/geofences/import``."""

    dry_run: bool = False
    mode: Mode = "merge"
    make_valid: bool = False
    confirm_removed: Annotated[int, Meta(ge=0)] | None = None


class VersionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``GET …/versions`` of geofences and of a campaign; ``before`` is the ``next`` of an earlier page."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 2**63 - 1


class ChangesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/geofences/versions/{id}``; ``after`` is the ``next`` of an earlier page."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z0-9._:\-]*$(?!\n)")] = ""


class RestoreQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/geofences/versions/{id}/restore``."""

    dry_run: bool = False


# Lists with item-level errors -------------------------------------------------------------------------------------

Item = TypeVar("Item")
Head = TypeVar("Head")
Rejections = Sequence[tuple[int, ErrorDetail]]


class ItemDecoder(Generic[Item]):
    """Decodes a list of items at once; only when that fails, one by one, so that a bad one is named and left out."""

    def __init__(self, whole: type[Any], envelope: type[Any], item: Any, items: str, items_max: int) -> None:
        self._whole = msgspec.json.Decoder(whole)
        self._envelope = msgspec.json.Decoder(envelope)
        self._item: msgspec.json.Decoder[Item] = msgspec.json.Decoder(item)
        self._items = items
        self._items_max = items_max

    def decode(self, body: bytes) -> tuple[Any, list[tuple[int, Item]], list[tuple[int, ErrorDetail]]]:
        """Give the envelope, the good items with their indexes, and what is wrong with the others."""
        try:
            whole = self._whole.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self._one_by_one(body)
        return whole, list(enumerate(getattr(whole, self._items))), []

    def _one_by_one(self, body: bytes) -> tuple[Any, list[tuple[int, Item]], list[tuple[int, ErrorDetail]]]:
        refuse_no_json(body)  # what the envelope leaves raw has not been looked at
        envelope = decode(self._envelope, body)
        if len(getattr(envelope, self._items)) > self._items_max:
            raise TooLarge(f"This route takes at most {self._items_max} {self._items} at once.")
        good: list[tuple[int, Item]] = []
        bad: list[tuple[int, ErrorDetail]] = []
        for index, raw in enumerate(getattr(envelope, self._items)):
            try:
                good.append((index, self._item.decode(raw)))
            except msgspec.ValidationError as error:
                bad.append((index, detail_of(error)))
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                bad.append((index, ErrorDetail("", "malformed_json", "This item cannot be read.")))
        return envelope, good, bad


pings: Final[ItemDecoder[Observation]] = ItemDecoder(PingsBody, _PingsEnvelope, Observation, "pings", PINGS_MAX)
events: Final[ItemDecoder[EventBody]] = ItemDecoder(EventsBody, _EventsEnvelope, EventBody, "events", EVENTS_MAX)


def rejected(items: Rejections) -> list[dict[str, Any]]:
    """Write rejected items as the API does, by index."""
    return [
        {"index": index, "path": detail.path, "code": detail.code, "message": detail.message}
        for index, detail in sorted(items, key=lambda item: item[0])
    ]


def write_receipt(receipt: IngestReceipt, bad: Rejections = ()) -> dict[str, Any]:
    """Write what became of the items of one request, ``bad`` ones that never got so far included."""
    return {
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "ignored": [{"index": index, "reason": reason.value} for index, reason in sorted(receipt.ignored)],
        "rejected": rejected([*bad, *receipt.rejected]),
    }


def page(rows: list[Any], limit: int, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Write a list; ``next`` is the value of ``after`` for the following page, if there is one."""
    body: dict[str, Any] = {"items": [write(row) for row in rows[:limit]]}
    if len(rows) > limit:
        body["next"] = str(rows[limit - 1]["seq"])
    return body


def as_json(row: Any, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Write a database row; what is null is left out."""
    return {
        key: value.isoformat() if isinstance(value, date | time) and not isinstance(value, datetime) else value
        for key, value in dict(row).items()
        if value is not None and key not in without
    }
