"""From the body of a campaign to one that decisions can evaluate. Pure.

Everything that the types of ``CampaignSpec`` cannot say is checked here, and all problems are told at once, each with
its place in the body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from geoservice.decisions.campaigns import (
    Audience,
    Campaign,
    CampaignSpec,
    CampaignState,
    Content,
    Manner,
    Pace,
    Texts,
    TriggerOn,
    Use,
)
from geoservice.decisions.conditions import (
    BROWSE_EVENTS,
    PURCHASE_EVENTS,
    Attribute,
    Circumstance,
    Interest,
    Leaf,
    LoyaltyTier,
    Visits,
    circumstances,
    interests,
    parse_condition,
    positive_interests,
)
from geoservice.decisions.delicate import personal_in, sensitivity
from geoservice.decisions.links import MAX_URL, is_deep_link, is_image_url
from geoservice.decisions.schedule import Send
from geoservice.decisions.templates import Template, compile_template, reader
from geoservice.errors import ErrorDetail, Invalid
from geoservice.vocabulary import EventType, GeofenceKind

MAX_TITLE, MAX_BODY = 200, 1_000  # characters
_RESERVED_DATA_KEYS: Final = frozenset({"from", "message_type", "message_id"})
"""FCM refuses the first two and every key that starts with google or gcm; the last one is ours."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


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
        delicate={each.category: kind for each in interests(condition) if (kind := sensitivity(each.category))},
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
    variables = tuple(sorted({name for template in used for name in template.variables}))
    return Texts(
        title=title,
        body=body,
        deep_link=deep_link,
        image_url=content.image_url,
        data=data,
        variables=variables,
        read=reader(variables, in_her_language=language is not None),
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
                yield ErrorDetail(path, "undeclared_use", f"asks for this, so uses must declare {use}")
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
            if isinstance(text, str) and (word := personal_in(text)) is not None:
                rule = f"“{word}” would tell what only she may say: ask for an interest that she declares instead"
                yield ErrorDetail(f"{path}.{place}", "sensitive", rule)


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
