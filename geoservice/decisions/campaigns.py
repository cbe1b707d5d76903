"""Campaigns: when to speak (trigger, conditions), what to say (content), how often (limits). Pure.

``CampaignSpec`` is the body of ``PUT /v1/campaigns/{id}``; ``compiling.compile_campaign`` makes it a ``Campaign`` that
decisions can evaluate without parsing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct

from geoservice.decisions.conditions import Circumstance, Condition, Interest, Visits
from geoservice.decisions.schedule import AskAgain, Schedule, Send
from geoservice.decisions.taxonomy import Sensitivity
from geoservice.decisions.templates import Template, Values
from geoservice.vocabulary import Channel, CustomerId, GeofenceKind, Id, Instant, Transition, TransitionKind

if TYPE_CHECKING:  # facts.py holds campaigns, so it cannot be imported here at run time
    from geoservice.decisions.facts import GeofenceFacts

DAY_S: Final = 86_400
HOUR: Final = timedelta(hours=1)


class CampaignState(StrEnum):
    """Whether a campaign speaks: ``live`` to all, ``test`` to its test customers, the others to nobody.

    A paused campaign still puts on record to whom it would have spoken; a draft leaves no trace.
    """

    DRAFT = "draft"
    TEST = "test"
    LIVE = "live"
    PAUSED = "paused"


class TriggerOn(StrEnum):
    """The moment that a campaign listens to."""

    ENTER = "enter"
    DWELL = "dwell"
    EXIT = "exit"
    CROSSED = "crossed"


class Use(StrEnum):
    """Data that a campaign declares to use; each needs its own consent."""

    BROWSE = "browse"
    PURCHASE = "purchase"
    LOYALTY = "loyalty"
    VISITS = "visits"
    PROFILE = "profile"
    BEACON = "beacon"


class Ambiguous(StrEnum):
    """What happens to a message whose fate is unknown after a lost connection."""

    DROP = "drop"
    RESEND = "resend"


class InStock(StrEnum):
    """What a campaign may ask of the store's stock: a piece of the product that it is about, or one in her size."""

    PRODUCT = "product"
    SIZE = "size"


Seconds = Annotated[int, Meta(ge=0, le=366 * DAY_S)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class Trigger(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """Which transitions start this campaign: all selectors must match; of ids and of tags any one.

    ``after_s`` is how long after an enter or an exit the message comes, for a dwell how long she must be inside.
    Left out, entering a store waits for three minutes, and everything else does not.
    """

    on: TriggerOn
    geofence_kind: GeofenceKind | None = None
    geofence_ids: tuple[Id, ...] = ()
    store_ids: tuple[Id, ...] = ()
    tags: tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...] = ()
    after_s: Annotated[int, Meta(ge=0, le=DAY_S)] | None = None


class Wording(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Title and body in another language."""

    title: str
    body: str


class Content(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What the message says. Title, body, deep link and data values are templates.

    ``languages`` holds title and body in other languages, by tags such as ``de`` or ``fr-CH``; the most specific one
    that fits the customer's locale is taken, else the wording above.
    """

    title: str
    body: str
    deep_link: str | None = None
    image_url: str | None = None
    data: dict[str, str] = {}
    languages: Annotated[dict[str, Wording], Meta(max_length=50)] = {}


class Variant(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another wording, for its share of those who are not held out."""

    content: Content
    weight: Annotated[int, Meta(ge=1, le=1_000)] = 1


class Experiment(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom to leave out, to see what the campaign changes, and which wordings to try."""

    holdout_percent: Annotated[float, Meta(ge=0, le=90)] = 0
    variants: Annotated[dict[Id, Variant], Meta(max_length=10)] = {}
    base_weight: Annotated[int, Meta(ge=1, le=1_000)] = 1
    id: Id | None = None
    """Campaigns with the same one share its arms; the campaign's own id if left out."""


class Limits(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True, cache_hash=True):
    """The campaign's own limits; each replaces the retailer's default of that name.

    Daily caps stay as they are. ``per_customer`` counts over the campaign's life, at most the last year.
    ``hourly_ceiling`` is for all customers together, each clock hour; with ``ramp_up_h`` it grows evenly to that
    over so many hours after the campaign went live.
    """

    min_gap_s: Seconds | None = None
    cooldown_s: Seconds | None = None
    per_visit: Count | None = None
    per_customer: Count | None = None
    hourly_ceiling: Count | None = None
    ramp_up_h: Annotated[int, Meta(ge=1, le=720)] | None = None


class CampaignSpec(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """The body of ``PUT /v1/campaigns/{id}``."""

    name: str
    topic: str
    trigger: Trigger
    content: Content
    state: CampaignState = CampaignState.LIVE
    uses: tuple[str, ...] = ()
    context: dict[str, Any] = {}
    limits: Limits = Limits()
    schedule: Schedule = Schedule()
    test_customers: Annotated[tuple[CustomerId, ...], Meta(max_length=100)] = ()
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    priority: Annotated[int, Meta(ge=-1_000, le=1_000)] = 0
    ambiguous: Ambiguous = Ambiguous.DROP
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=2)] = (Channel.PUSH, Channel.INBOX)
    """In the order in which they are tried; a message goes by one of them."""
    in_stock: InStock | None = None
    experiment: Experiment | None = None


class Audience(Struct, frozen=True, gc=False, cache_hash=True):
    """What consents and preferences are asked about: campaigns with the same of both share those checks."""

    topic: str
    uses: frozenset[Use]
    channels: tuple[Channel, ...]


class Pace(Struct, frozen=True, gc=False, cache_hash=True):
    """How long a campaign waits after which moment: campaigns of the same pace share their timing."""

    on: TriggerOn
    after_s: int | None
    send: Send
    days: int
    ask_again: frozenset[AskAgain]


class Manner(Struct, frozen=True, gc=False, cache_hash=True):
    """Everything about a campaign that does not depend on what she did: those of one manner share most checks."""

    audience: Audience
    pace: Pace
    limits: Limits


class Texts(Struct, frozen=True, gc=False, cache_hash=True):
    """What a message says, checked: its templates, all the variables that they read, and what takes their values."""

    title: Template
    body: Template
    deep_link: Template | None
    image_url: str | None
    data: tuple[tuple[str, Template], ...]
    variables: tuple[str, ...]
    read: Callable[[Values], Values]
    language: str | None = None


class Campaign(Struct, frozen=True, gc=False):
    """A checked campaign, ready to be evaluated."""

    campaign_id: str
    version: int
    spec: CampaignSpec
    audience: Audience
    pace: Pace
    condition: Condition
    interests: tuple[Interest, ...]
    circumstances: tuple[Circumstance, ...]
    delicate: Mapping[str, Sensitivity]
    """The categories of its interests that would tell of health, faith, debt ..., with what they would tell."""
    texts: Texts
    other_texts: Mapping[str, Texts]
    """By language tag in lower case."""
    unconditional: bool
    """Whether it is live for everybody, on every day, at any time, in any number."""
    manner: Manner
    live_since: datetime | None = None
    """Since when it has been live without a break, if it is."""
    variants: Mapping[str, Campaign] = {}
    """The campaign with the content of each variant."""

    @property
    def uses(self) -> frozenset[Use]:
        """The data that it declares to use."""
        return self.audience.uses

    def listens_to(self, transition: Transition, geofence: GeofenceFacts) -> bool:
        """Whether this transition starts the campaign."""
        return _TRANSITION[self.pace.on] is transition.kind and self.listens_at(geofence)

    def listens_at(self, geofence: GeofenceFacts) -> bool:
        """Whether anything that happens here can start the campaign. Sensitive places start none."""
        trigger = self.spec.trigger
        return (
            (not trigger.geofence_ids or geofence.geofence_id in trigger.geofence_ids)
            and (trigger.geofence_kind is None or trigger.geofence_kind is geofence.kind)
            and (not trigger.store_ids or geofence.store_id in trigger.store_ids)
            and (not trigger.tags or not set(trigger.tags).isdisjoint(geofence.tags))
            and geofence.kind is not GeofenceKind.SENSITIVE
        )

    def texts_for(self, locale: str | None) -> Texts:
        """What it says in the language of this locale: the most specific wording that there is."""
        if locale is None:
            return self.texts
        parts = locale.replace("_", "-").lower().split("-")
        tags = ("-".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((self.other_texts[tag] for tag in tags if tag in self.other_texts), self.texts)

    def speaks_to(self, customer_id: str) -> bool:
        """Whether it decides about this customer at all: drafts about nobody, tests about their test customers."""
        state = self.spec.state
        if state is CampaignState.TEST:
            return customer_id in self.spec.test_customers
        return state is not CampaignState.DRAFT

    def ceiling(self, at: datetime) -> int | None:
        """How many messages it may send in the clock hour of ``at``; None means any number."""
        limits = self.spec.limits
        if limits.hourly_ceiling is None or limits.ramp_up_h is None or self.live_since is None:
            return limits.hourly_ceiling
        step = min(max((at - self.live_since) // HOUR + 1, 1), limits.ramp_up_h)
        return -(-limits.hourly_ceiling * step // limits.ramp_up_h)  # rounded up: a ceiling above 0 lets one through

    @property
    def event_window_s(self) -> int:
        """How far back events must be loaded.

        Twice the longest interest, so that a purchase between two looks is seen.
        """
        return 2 * DAY_S * max((interest.within_days for interest in self.interests), default=0)

    @property
    def visit_window_s(self) -> int:
        """How far back visits must be loaded."""
        asked = (each.within_days for each in self.circumstances if isinstance(each, Visits))
        return DAY_S * max(asked, default=0)

    @property
    def slot_window_s(self) -> int:
        """How far back this campaign's own limits look (``limits.slot_window_s`` is for all)."""
        limits = self.spec.limits
        lifetime_s = 0 if limits.per_customer is None else 366 * DAY_S
        return max(limits.min_gap_s or 0, limits.cooldown_s or 0, lifetime_s)


_TRANSITION: Final[dict[TriggerOn, TransitionKind]] = {
    TriggerOn.ENTER: TransitionKind.ENTER,
    TriggerOn.DWELL: TransitionKind.DWELL,
    TriggerOn.EXIT: TransitionKind.EXIT,
    TriggerOn.CROSSED: TransitionKind.CROSSED,
}
