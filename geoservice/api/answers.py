"""What the service answers, as types: the OpenAPI document is made of them, and tests hold the answers to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from geoservice.api.schemas import QuietHoursBody
from geoservice.decisions.campaigns import CampaignSpec
from geoservice.decisions.decide import Outcome
from geoservice.decisions.reasons import Gate
from geoservice.decisions.served import Feed
from geoservice.geofencing.track import PresenceState, Proximity
from geoservice.vocabulary import (
    Channel,
    GeofenceKind,
    Ignored,
    MessageEvent,
    MessageState,
    Purpose,
    Source,
    TransitionKind,
)
from geoservice.workflows.notices import Notice


class ErrorPlace(Struct, omit_defaults=True):
    """One thing that is wrong in a body: where, which rule, in words."""

    path: str
    code: str
    message: str
    feature: str | None = None


class Problem(Struct, omit_defaults=True):
    """An error (RFC 9457). ``code`` is stable; the sentences may change."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ErrorPlace] = []


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


class ConsentItem(Struct, omit_defaults=True):
    """The record in force for one purpose."""

    purpose: Purpose
    granted: bool
    notice_version: str | None = None
    language: str | None = None
    source: str | None = None
    os_permission: str | None = None
    jurisdiction: str | None = None
    controller: str | None = None
    data_used: list[str] | None = None
    recorded_at: datetime | None = None


class ConsentsAnswer(Struct):
    """Every purpose; one that was never answered is not granted."""

    items: list[ConsentItem]


class ConsentChanged(Struct):
    """A consent as it holds now; message ids that the change cancelled, and that may be with the provider already."""

    purpose: Purpose
    granted: bool
    notice_version: str
    recorded_at: datetime
    cancelled: list[str]
    in_flight: list[str]


class ExportHead(Struct):
    """Whose data these are, and when they were read."""

    customer_id: str
    made_at: datetime
    format: int


class RecordKind(Struct, omit_defaults=True):
    """One kind of record: why it is kept and how long; in an export also how many there are."""

    name: str
    why: str
    kept: str
    records: int | None = None


class ExportAnswer(Struct):
    """Everything on record of a customer; ``complete`` stands last."""

    export: ExportHead
    index: list[RecordKind]
    data: dict[str, list[dict[str, Any]]]
    complete: bool


class ErasureAnswer(Struct):
    """A receipt: how far the erasure is, messages that the push provider may have already, and what must be kept."""

    id: str
    state: Literal["running", "done"]
    requested_at: datetime
    finished_at: datetime | None
    in_flight: list[str]
    kept: list[RecordKind]


class AliasAnswer(Struct):
    """An id that was joined."""

    customer_id: str
    alias: str


class AliasItem(Struct):
    """An id of hers elsewhere."""

    alias: str
    joined_at: datetime


class AliasesAnswer(Struct):
    """Her ids elsewhere."""

    items: list[AliasItem]


class NoticeAnswer(Notice, frozen=True, kw_only=True):
    """A notice as it was published."""

    version: str
    published_at: datetime


class NoticesAnswer(Struct):
    """Every published notice, newest first."""

    items: list[NoticeAnswer]


class AuditItem(Struct, omit_defaults=True):
    """Who did or read what; ``before`` and ``after`` of a change, whole."""

    id: str
    at: datetime
    actor: str
    action: str
    key_id: str | None = None
    customer_id: str | None = None
    subject: str | None = None
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class AuditAnswer(Struct, omit_defaults=True):
    """The record, oldest first; ``next`` is ``after`` of the following page."""

    items: list[AuditItem]
    next: str | None = None


class PreferencesAnswer(Struct):
    """The settings in force; null means the retailer's default."""

    topics: dict[str, bool]
    channels: dict[Channel, bool]
    quiet_hours: QuietHoursBody | None
    daily_cap: int | None
    comfort_level: int
    snooze_until: datetime | None
    timezone: str | None
    privacy_signal: bool
    interests: dict[str, bool]


class PreferencesChanged(PreferencesAnswer):
    """The settings as they hold now, and the message ids that the change cancelled or came too late for."""

    cancelled: list[str]
    in_flight: list[str]


class ConsentUsed(Struct):
    """A consent that a message rests on."""

    purpose: Purpose
    since: datetime
    notice_version: str


class WhyAnswer(Struct):
    """Why you got this, in plain words."""

    summary: str
    data_used: list[str]
    consents: list[ConsentUsed]
    how_to_change: str


class TimelineItem(Struct):
    """One thing that happened to a message: decided, a state, or what the phone and she did with it."""

    at: datetime
    what: str
    detail: str | None


class MessageAnswer(Struct):
    """A message to the customer; ``timeline`` is its life, oldest first."""

    id: str
    campaign_id: str
    topic: str
    channel: Channel
    state: MessageState
    at: datetime
    accepted_at: datetime | None
    expires_at: datetime
    store_id: str | None
    title: str
    body: str
    deep_link: str | None
    image_url: str | None
    why: WhyAnswer
    timeline: list[TimelineItem]


class AnyMessageAnswer(MessageAnswer):
    """A message as support sees it: whose it is, what was tried, why it ended."""

    customer_id: str
    decision_id: str
    device_id: str | None
    attempts: int
    in_doubt: bool
    provider_message_id: str | None
    failure: str | None


class StopItem(Struct):
    """A stop in force: `all`, `channel:` or `campaign:` with its name."""

    scope: str
    at: datetime
    actor: str
    reason: str | None


class StopsAnswer(Struct):
    """Every stop in force."""

    items: list[StopItem]


class StopAnswer(StopItem):
    """A stop in force; ``in_flight`` messages had left before it."""

    in_flight: int


class FeedbackAnswer(Struct):
    """What is on record: the first report of an event holds."""

    id: str
    event: MessageEvent
    at: datetime
    repeated: bool


class MessagesAnswer(Struct, omit_defaults=True):
    """Messages, newest first; ``next`` is ``before`` of the following page."""

    items: list[MessageAnswer]
    next: str | None = None


class StoreAnswer(Struct, omit_defaults=True):
    """A store."""

    id: str
    name: str
    lat: float
    lon: float
    timezone: str
    opening_hours: str | None = None
    address: str | None = None
    muted_until: datetime | None = None


class StoresAnswer(Struct):
    """Every store."""

    items: list[StoreAnswer]


class ChangedIds(Struct):
    """The first ids of each kind of change."""

    created: list[str]
    changed: list[str]
    removed: list[str]


class ImportAnswer(Struct, omit_defaults=True):
    """What an upload did, or would do."""

    version: int
    created: int
    changed: int
    unchanged: int
    removed: int
    ids: ChangedIds
    warnings: list[ErrorPlace]
    dry_run: bool = False


class Feature(Struct, tag_field="type", tag="Feature"):
    """A GeoJSON Feature (RFC 7946)."""

    id: str
    geometry: dict[str, Any]
    properties: dict[str, Any]


class FeatureCollection(Struct, tag_field="type", tag="FeatureCollection"):
    """A GeoJSON FeatureCollection (RFC 7946)."""

    features: list[Feature]


class VersionItem(Struct):
    """One publication of geofences, and how many it changed."""

    version: int
    published_at: datetime
    actor: str
    summary: dict[str, int]


class VersionsAnswer(Struct, omit_defaults=True):
    """Publications of geofences, newest first; ``next`` is ``before`` of the following page."""

    items: list[VersionItem]
    next: str | None = None


class ChangeItem(Struct):
    """One geofence that a publication touched; null where it was not there."""

    geofence_id: str
    change: Literal["created", "changed", "removed"]
    before: Feature | None
    after: Feature | None


class VersionAnswer(VersionItem, omit_defaults=True, kw_only=True):
    """One publication, and what it changed, by id; ``next`` is ``after`` of the following page."""

    items: list[ChangeItem]
    next: str | None = None


class CampaignAnswer(CampaignSpec, frozen=True, kw_only=True):
    """A campaign in its newest version; since when it is live, and why it paused itself, if it did."""

    id: str
    version: int
    live_since: datetime | None = None
    paused_because: str | None = None


class CampaignVersion(CampaignSpec, frozen=True, kw_only=True):
    """A campaign as it was from ``at`` on, until its next version."""

    id: str
    version: int
    at: datetime


class CampaignVersionsAnswer(Struct, omit_defaults=True):
    """Versions, newest first; ``next`` is ``before`` of the following page."""

    items: list[CampaignVersion]
    next: str | None = None


class MuteAnswer(Struct):
    """Until when nothing is sent about a store; null when it is not muted."""

    id: str
    muted_until: datetime | None


class CampaignsAnswer(Struct):
    """Every campaign."""

    items: list[CampaignAnswer]


class ProductAnswer(Struct, omit_defaults=True):
    """A product."""

    id: str
    name: str
    category: str
    line: str | None = None
    variants: list[str] = []
    substitutes: list[str] = []
    complements: list[str] = []


class ProductsAnswer(Struct, omit_defaults=True):
    """Products by id; ``next`` is ``after`` of the following page."""

    items: list[ProductAnswer]
    next: str | None = None


class StoredAnswer(Struct):
    """How many were stored."""

    stored: int


class StockAnswer(Struct, omit_defaults=True):
    """So many pieces, counted when; without a variant, of the product as a whole."""

    product_id: str
    quantity: int
    as_of: datetime
    variant: str | None = None


class StocksAnswer(Struct, omit_defaults=True):
    """A store's stock by product and variant; ``next`` is ``after`` of the following page."""

    items: list[StockAnswer]
    next: str | None = None


class FeedAnswer(Struct, omit_defaults=True):
    """A feed, when it was last heard of, and whether it has been silent for too long."""

    feed: Feed
    heard_at: datetime
    stale: bool
    store_id: str | None = None


class FeedsAnswer(Struct):
    """Every feed that was ever heard of."""

    items: list[FeedAnswer]


class CustomerAnswer(Struct):
    """What the shop knows was stored."""

    id: str
    stored: bool


class TransitionItem(Struct, omit_defaults=True):
    """A phone and a geofence; ids of persons only for whoever asked for one customer."""

    id: str
    geofence_id: str
    kind: TransitionKind
    at: datetime
    confidence: float
    source: Source
    late: bool
    initial: bool
    assumed: bool
    undecided: bool
    customer_id: str | None = None
    device_id: str | None = None
    visit_id: str | None = None


class TransitionsAnswer(Struct, omit_defaults=True):
    """Transitions as they were stored; ``next`` is ``after`` of the following page."""

    items: list[TransitionItem]
    next: str | None = None


class CheckAnswer(Struct):
    """One gate's result, with the facts that it used."""

    gate: Gate
    passed: bool
    reason: str | None
    facts: dict[str, Any]


class DecisionAnswer(Struct, omit_defaults=True):
    """What one campaign did about one transition, with every check."""

    id: str
    transition_id: str
    campaign_id: str
    campaign_version: int
    geofence_id: str
    outcome: Outcome
    reason: str | None
    checks: list[CheckAnswer]
    at: datetime
    sentence: str | None = None
    customer_sentence: str | None = None
    customer_id: str | None = None
    store_id: str | None = None
    visit_id: str | None = None
    message_id: str | None = None
    message_state: MessageState | None = None
    payload: dict[str, Any] | None = None
    why: WhyAnswer | None = None
    failure: str | None = None
    provider_message_id: str | None = None


class DecisionsAnswer(Struct, omit_defaults=True):
    """Decisions as they were taken; ``next`` is ``after`` of the following page."""

    items: list[DecisionAnswer]
    next: str | None = None


class HealthAnswer(Struct):
    """The process is alive."""

    status: str


class ReadyAnswer(Struct):
    """Whether requests can be served; what is missing, in sentences, and what keeps messages from going out."""

    ready: bool
    checks: dict[str, bool]
    missing: list[str]
    warnings: list[str]


class ClockAnswer(Struct):
    """The business time."""

    now: datetime
