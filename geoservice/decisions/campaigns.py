"""Campaigns: when to speak (trigger, conditions), what to say (content), how often (limits). Pure.

``CampaignSpec`` is the body of ``PUT /v1/campaigns/{id}``. ``compile_campaign`` checks everything that its
types cannot, says all problems at once, and gives a ``Campaign`` that decisions can evaluate without parsing
anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from geoservice.decisions.conditions import (
    BROWSE_EVENTS,
    PURCHASE_EVENTS,
    Attribute,
    Circumstance,
    Condition,
    Interest,
    Leaf,
    LoyaltyTier,
    Visits,
    circumstances,
    interests,
    parse_condition,
    positive_interests,
)
from geoservice.decisions.delicate import sensitive_in
from geoservice.decisions.links import MAX_URL, is_deep_link, is_image_url
from geoservice.decisions.schedule import AskAgain, Schedule, Send
from geoservice.decisions.templates import Template, compile_template
from geoservice.errors import ErrorDetail, Invalid
from geoservice.vocabulary import Channel, CustomerId, EventType, GeofenceKind, Id, Instant, Transition, TransitionKind

if TYPE_CHECKING:  # facts.py holds campaigns, so it cannot be imported here at run time
    from geoservice.decisions.facts import GeofenceFacts

DAY_S: Final = 86_400
HOUR: Final = timedelta(hours=1)
MAX_TITLE, MAX_BODY = 200, 1_000  # characters

_RESERVED_DATA_KEYS: Final = frozenset({"from", "message_type", "message_id"})
"""FCM refuses the first two and every key that starts with google or gcm; the last one is ours."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


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
    """What a message says, checked: its templates, and all the variables that they read."""

    title: Template
    body: Template
    deep_link: Template | None
    image_url: str | None
    data: tuple[tuple[str, Template], ...]
    variables: tuple[str, ...]
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
        return _TRANSITION[self.spec.trigger.on] is transition.kind and self.listens_at(geofence)

    def listens_at(self, geofence: GeofenceFacts) -> bool:
        """Whether anything that happens here can start the campaign. Sensitive places start none."""
        trigger = self.spec.trigger
        return (
            geofence.kind is not GeofenceKind.SENSITIVE
            and (trigger.geofence_kind is None or trigger.geofence_kind is geofence.kind)
            and (not trigger.geofence_ids or geofence.geofence_id in trigger.geofence_ids)
            and (not trigger.store_ids or geofence.store_id in trigger.store_ids)
            and (not trigger.tags or not set(trigger.tags).isdisjoint(geofence.tags))
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


def compile_campaign(
    campaign_id: str, version: int, spec: CampaignSpec, live_since: datetime | None = None
) -> Campaign:
    """Check the body and make it ready; raises Invalid with every problem that it has."""
    condition, leaf_paths, problems = parse_condition(spec.context)
    readable = not problems
    problems += _text_problems(spec)
    problems += _trigger_problems(spec)
    problems += _uses_problems(spec, leaf_paths)
    problems += _delicate_problems(leaf_paths)
    problems += _link_problems(spec.content)
    problems += _schedule_problems(spec)
    if spec.in_stock is not None and readable and not any(positive_interests(condition)):
        problems.append(ErrorDetail("in_stock", "needs_interest", "only an interest names a product to look for"))
    if spec.limits.ramp_up_h is not None and spec.limits.hourly_ceiling is None:
        problems.append(ErrorDetail("limits.ramp_up_h", "needs_ceiling", "there is no hourly_ceiling to grow to"))
    if spec.state is CampaignState.TEST and not spec.test_customers:
        problems.append(ErrorDetail("test_customers", "empty", "a campaign in test speaks to these customers only"))
    if spec.valid_from and spec.valid_until and spec.valid_from >= spec.valid_until:
        problems.append(ErrorDetail("valid_until", "order", "must be later than valid_from"))

    templates: dict[str, Template] = {}
    for path, source in _sources(spec.content):
        templates[path], wrong = compile_template(source, path)
        problems += wrong
    if readable and not any(
        positive_interests(condition)
    ):  # a condition that cannot be read may have meant an interest
        problems += _unmet_variables(templates)
    variants = _variants(campaign_id, version, spec, problems)
    if problems:
        raise Invalid("This campaign cannot be used as it is.", details=problems)
    audience = Audience(spec.topic, frozenset(map(Use, spec.uses)), spec.channels)
    pace = Pace(
        spec.trigger.on,
        spec.trigger.after_s,
        spec.schedule.send,
        spec.schedule.days or 0,
        frozenset(spec.schedule.ask_again),
    )
    return Campaign(
        campaign_id=campaign_id,
        version=version,
        spec=spec,
        audience=audience,
        pace=pace,
        manner=Manner(audience, pace, spec.limits),
        condition=condition,
        interests=tuple(interests(condition)),
        circumstances=tuple(circumstances(condition)),
        texts=_texts(spec.content, templates, None),
        other_texts={tag.lower(): _texts(spec.content, templates, tag) for tag in spec.content.languages},
        unconditional=spec.state is CampaignState.LIVE
        and (spec.valid_from, spec.valid_until, spec.limits.hourly_ceiling) == (None, None, None)
        and not (spec.schedule.weekdays or spec.schedule.dates),
        live_since=live_since,
        variants=variants,
    )


def _variants(campaign_id: str, version: int, spec: CampaignSpec, problems: list[ErrorDetail]) -> dict[str, Campaign]:
    """Compile each variant as the campaign that it would be; what is wrong in it points into it."""
    found: dict[str, Campaign] = {}
    for name, variant in (spec.experiment.variants if spec.experiment else {}).items():
        path = f"experiment.variants.{name}"
        if name in RESERVED_ARMS:
            problems.append(ErrorDetail(path, "reserved", "this name is taken by an arm of every experiment"))
        try:
            alone = msgspec.structs.replace(spec, content=variant.content, experiment=None)
            found[name] = compile_campaign(campaign_id, version, alone)
        except Invalid as error:
            inside = [detail for detail in error.details if detail.path.startswith("content.")]
            problems += [msgspec.structs.replace(detail, path=f"{path}.{detail.path}") for detail in inside]
    return found


RESERVED_ARMS: Final = frozenset({"holdout", "base"})


def _texts(content: Content, templates: dict[str, Template], language: str | None) -> Texts:
    wording = "content" if language is None else f"content.languages.{language}"
    title, body = templates[f"{wording}.title"], templates[f"{wording}.body"]
    deep_link = templates.get("content.deep_link")
    data = tuple((key, templates[f"content.data.{key}"]) for key in content.data)
    used = [title, body, *([deep_link] if deep_link else []), *(template for _, template in data)]
    return Texts(
        title=title,
        body=body,
        deep_link=deep_link,
        image_url=content.image_url,
        data=data,
        variables=tuple(sorted({name for template in used for name in template.variables})),
        language=language,
    )


def _sources(content: Content) -> Iterator[tuple[str, str]]:
    yield "content.title", content.title
    yield "content.body", content.body
    if content.deep_link is not None:
        yield "content.deep_link", content.deep_link
    for key, value in content.data.items():
        yield f"content.data.{key}", value
    for tag, wording in content.languages.items():
        yield f"content.languages.{tag}.title", wording.title
        yield f"content.languages.{tag}.body", wording.body


def _text_problems(spec: CampaignSpec) -> Iterator[ErrorDetail]:
    texts = {
        "name": (spec.name, 200),
        "topic": (spec.topic, 64),
        "content.title": (spec.content.title, MAX_TITLE),
        "content.body": (spec.content.body, MAX_BODY),
    }
    for tag, wording in spec.content.languages.items():
        if not _LANGUAGE.fullmatch(tag):
            yield ErrorDetail(f"content.languages.{tag[:64]}", "language", "a language tag such as de or fr-CH")
        texts[f"content.languages.{tag}.title"] = wording.title, MAX_TITLE
        texts[f"content.languages.{tag}.body"] = wording.body, MAX_BODY
    for path, (text, longest) in texts.items():
        if not text.strip():
            yield ErrorDetail(path, "empty", "must not be empty")
        elif len(text) > longest:
            yield ErrorDetail(path, "too_long", f"at most {longest} characters")


def _trigger_problems(spec: CampaignSpec) -> Iterator[ErrorDetail]:
    if spec.trigger.geofence_kind is GeofenceKind.SENSITIVE:
        yield ErrorDetail("trigger.geofence_kind", "sensitive", "sensitive places never start a message")
    if spec.trigger.after_s and spec.trigger.on is TriggerOn.CROSSED:
        yield ErrorDetail("trigger.after_s", "not_supported", "someone who only crossed is gone: use enter or exit")


def _schedule_problems(spec: CampaignSpec) -> Iterator[ErrorDetail]:
    schedule, trigger = spec.schedule, spec.trigger
    if (schedule.send is Send.DAYS_LATER) is not (schedule.days is not None):
        yield ErrorDetail("schedule.days", "days", "comes with days_later, and only with it")
    if schedule.send is not Send.NOW and trigger.after_s is not None and trigger.on is not TriggerOn.DWELL:
        yield ErrorDetail("trigger.after_s", "two_waits", f"the schedule says {schedule.send} already")
    if schedule.send is Send.LATER_TODAY and Use.BROWSE not in spec.uses:
        rule = f"her usual hour is read from what she did in the app, so uses must declare {Use.BROWSE}"
        yield ErrorDetail("schedule.send", "undeclared_use", rule)
    if schedule.ask_again and schedule.send is Send.NOW and trigger.after_s == 0:
        yield ErrorDetail("schedule.ask_again", "no_wait", "nothing is asked again when nothing waits")


def _uses_problems(spec: CampaignSpec, paths: list[tuple[str, Leaf]]) -> Iterator[ErrorDetail]:
    for i, use in enumerate(spec.uses):
        if use not in set(Use):
            yield ErrorDetail(f"uses[{i}]", "unknown", f"known uses: {', '.join(Use)}")
    for path, leaf in paths:
        if not isinstance(leaf, Interest):
            use = _CIRCUMSTANCE_USE[type(leaf)]
            if use not in spec.uses:
                yield ErrorDetail(path, "undeclared_use", f"so uses must declare {use}")
            continue
        for i, event in enumerate(leaf.events):
            needed = _needed_use(event)
            if needed is not None and needed not in spec.uses:
                rule = f"reads {event}, so uses must declare {needed}"
                yield ErrorDetail(f"{path}.events[{i}]", "undeclared_use", rule)


_CIRCUMSTANCE_USE: Final[dict[type[Circumstance], Use]] = {
    Visits: Use.VISITS,
    Attribute: Use.PROFILE,
    LoyaltyTier: Use.LOYALTY,
}


def _delicate_problems(paths: list[tuple[str, Leaf]]) -> Iterator[ErrorDetail]:
    """An attribute is never declared by her, so none may tell of health, faith, debt ... by its name or its value."""
    for path, leaf in paths:
        if not isinstance(leaf, Attribute):
            continue
        said = {"name": leaf.name, "equals": leaf.equals, **{f"any_of[{i}]": v for i, v in enumerate(leaf.any_of)}}
        for place, text in said.items():
            if isinstance(text, str) and (word := sensitive_in(_HUMP.sub(" ", text))) is not None:
                rule = f"“{word}” would tell what only she may say: ask for an interest that she declares instead"
                yield ErrorDetail(f"{path}.{place}", "sensitive", rule)


_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
"""Where isPregnant becomes two words."""


def _needed_use(event: EventType) -> Use | None:
    if event in BROWSE_EVENTS:
        return Use.BROWSE
    return Use.PURCHASE if event in PURCHASE_EVENTS else None


def _link_problems(content: Content) -> Iterator[ErrorDetail]:
    image, link = content.image_url, content.deep_link
    if image is not None and not is_image_url(image):
        rule = f"an https address of a public host, without templates, ≤ {MAX_URL} characters"
        yield ErrorDetail("content.image_url", "url", rule)
    if link is not None and not is_deep_link(link):
        yield ErrorDetail("content.deep_link", "url", "https with a literal host, or the app's own scheme")
    for key in content.data:
        if not key or key in _RESERVED_DATA_KEYS or key.startswith(("google", "gcm")):
            yield ErrorDetail(f"content.data.{key}", "reserved", "this key is reserved by the push provider or by us")


def _unmet_variables(templates: dict[str, Template]) -> Iterator[ErrorDetail]:
    for path, template in templates.items():
        for name in template.variables:
            if name.startswith("interest."):
                yield ErrorDetail(path, "template_variable", f"{name} needs a context with an interest")
