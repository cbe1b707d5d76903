"""Everything that a decision may know, as one frozen value. Pure.

A workflow fills it from the database inside the deciding transaction, under the customer's row lock; nothing
that is not in here can influence a message, so every noun in a "why" can be traced to a field of this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Annotated, Any

from msgspec import Meta, Struct

from geoservice.decisions.attention import Told
from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.policy import CapRule
from geoservice.decisions.sentences import ENGLISH, Sentences
from geoservice.vocabulary import (
    Channel,
    EventType,
    GeofenceKind,
    MessageState,
    OsPermission,
    Purpose,
    Transition,
)


class ConsentFact(Struct, frozen=True):
    """The newest record for one purpose. ``since`` is when it was recorded."""

    granted: bool
    since: datetime
    notice_version: str


class QuietHours(Struct, frozen=True, cache_hash=True):
    """Half-open [start, end) in local time; may wrap midnight; start == end means none."""

    start: time
    end: time


class Preferences(Struct, frozen=True):
    """What the customer set. Without an entry a topic and the inbox are off, and push is on."""

    topics: Mapping[str, bool] = {}
    channels: Mapping[Channel, bool] = {}
    quiet_hours: QuietHours | None = None
    daily_cap: Annotated[int, Meta(ge=0)] | None = None
    comfort_level: Annotated[int, Meta(ge=1, le=3)] = 2
    snooze_until: datetime | None = None
    timezone: str | None = None
    privacy_signal: bool = False
    """Global Privacy Control, from her browser or her own hand: nothing personal is used."""
    interests: Mapping[str, datetime] = {}
    """Categories that she said she likes, each since when."""


class RetailerDefaults(Struct, frozen=True):
    """The retailer's rules that hold for every campaign."""

    daily_cap: int = 2
    quiet_hours: QuietHours | None = QuietHours(time(21), time(8))
    min_gap_s: int = 2 * 3600
    cooldown_s: int = 7 * 86400
    per_visit: int = 1
    same_product_s: int = 30 * 86400
    feed_silent_s: int = 86400
    caps: tuple[CapRule, ...] = ()
    version: int = 0
    """Of the policy that operations published; 0 for the settings."""


class CustomerFacts(Struct, frozen=True):
    """The person, as far as messages may depend on her."""

    timezone: str
    """IANA zone in force: preferences, else customer, else device, else store."""
    customer_id: str = ""
    loyalty_tier: str | None = None
    attributes: Mapping[str, Any] = {}
    """What the shop's own systems said of her, by name."""
    locale: str | None = None
    birth_year: int | None = None
    sizes: Mapping[str, str] = {}
    """Her size by category; under the empty name the one for all others."""
    os_permission: OsPermission = OsPermission.UNKNOWN
    push_reachable: bool = True
    """Whether any device of hers has a push token or installation id."""


class StoreFacts(Struct, frozen=True):
    """The store that the geofence belongs to."""

    store_id: str
    name: str
    timezone: str
    opening_hours: str | None = None
    """OSM opening_hours syntax; None when not on record."""
    muted_until: datetime | None = None
    """Until when the people of the store want no message sent about it."""
    place: tuple[float, float] | None = None
    """Latitude and longitude in degrees: they tell which public holidays and which sunset it has."""


class GeofenceFacts(Struct, frozen=True):
    """The geofence that the device entered or left."""

    geofence_id: str
    name: str
    kind: GeofenceKind
    tags: tuple[str, ...] = ()
    store_id: str | None = None
    dwell_s: int | None = None
    """After how long inside a dwell is found."""
    in_force: bool = True
    """False for one that was removed, or whose time was over, while a message waited."""


class ProductFacts(Struct, frozen=True):
    """A product as the shop describes it. Substitutes serve the same need; it is enough that one names the other."""

    product_id: str
    name: str
    category: str
    line: str | None = None
    variants: frozenset[str] = frozenset()
    substitutes: frozenset[str] = frozenset()
    complements: frozenset[str] = frozenset()


class ShopFacts(Struct, frozen=True):
    """What the shop's other systems said of her products and of this store's stock, and when they last spoke."""

    products: Mapping[str, ProductFacts] = {}
    stock: Mapping[tuple[str, str], int] = {}
    """Pieces by product and variant; the empty variant is the product as a whole."""
    feeds: Mapping[str, datetime] = {}
    """When till, stock and web shop were last heard of; one that is not connected is missing."""


class ContextEvent(Struct, frozen=True):
    """One thing she did, from the app, the web shop or the till."""

    type: EventType
    occurred_at: datetime
    product_id: str | None = None
    category: str | None = None
    store_id: str | None = None
    variant: str | None = None


class VisitFact(Struct, frozen=True, gc=False):
    """One of her visits."""

    visit_id: str
    store_id: str | None
    started_at: datetime


class Slot(Struct, frozen=True):
    """A message of this customer that exists already, in any state. Its row is her cap slot.

    ``reserved_at`` is when it was decided, ``accepted_at`` when the provider took it, ``expires_at`` when it
    would have been too late to send it.
    """

    message_id: str
    campaign_id: str
    topic: str
    state: MessageState
    reserved_at: datetime
    expires_at: datetime
    accepted_at: datetime | None = None
    store_id: str | None = None
    geofence_id: str | None = None
    visit_id: str | None = None
    product_id: str | None = None
    channel: Channel = Channel.PUSH


class Facts(Struct, frozen=True):
    """One transition, one customer, and everything that bears on saying something about it."""

    transition: Transition
    geofence: GeofenceFacts
    store: StoreFacts | None
    visit_id: str | None
    customer: CustomerFacts
    consents: Mapping[Purpose, ConsentFact]
    preferences: Preferences
    events: tuple[ContextEvent, ...]
    """Of the longest window that any listening campaign asks for, newest first."""
    slots: tuple[Slot, ...]
    """Messages of the longest window that any limit asks for, newest first."""
    told: tuple[Told, ...] = ()
    """Messages that her phone has shown in the last year, and what she did with them."""
    campaigns: tuple[Campaign, ...] = ()
    """The campaigns that listen to this transition."""
    retailer: RetailerDefaults = RetailerDefaults()
    sentences: Sentences = ENGLISH
    """Of her language."""
    waited: Mapping[str, datetime] = {}
    """Campaigns that have waited since the transition, each with the instant at which it was due."""
    shop: ShopFacts = ShopFacts()
    arms: Mapping[str, str] = {}
    """What she drew in experiments before."""
    salt: str = ""
    """Of the lots; only when a campaign here has an experiment."""
    still_there: bool = True
    """Whether the device is still inside the geofence, as far as its pings have told by now."""
    fast_at: datetime | None = None
    """When the device was last seen faster than walking or cycling allows (7 m/s)."""
    visits: tuple[VisitFact, ...] = ()
    """Of the longest window that any campaign here asks for, newest first, with the present one."""
    doings: tuple[datetime, ...] = ()
    """When she did anything in the app or the shop in the last weeks; only if a campaign asks for her usual hour."""
    sent_this_hour: Mapping[str, int] = {}
    """Messages of campaigns with an hourly ceiling in this clock hour, to all customers."""
