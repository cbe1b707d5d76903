"""Check 10: from a campaign's templates and the facts to the payload that the phone gets. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from geoservice.decisions.campaigns import Texts
from geoservice.decisions.checks import Check, check
from geoservice.decisions.context import Match
from geoservice.decisions.days import Days
from geoservice.decisions.facts import Facts
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.sensitive import readable_by_anybody
from geoservice.decisions.templates import TemplateError, render

PROVIDER_LIMIT_B: Final = 4_096
ENVELOPE_B: Final = 1_024
"""Set aside for what the push adapter adds: token, message id, collapse key, TTL and platform blocks."""

CONTENT_LIMIT_B: Final = PROVIDER_LIMIT_B - ENVELOPE_B

Values = dict[str, str | int]


class Payload(Struct, frozen=True, omit_defaults=True):
    """What the message says; the push adapter adds the message id."""

    title: str
    body: str
    deep_link: str | None = None
    image_url: str | None = None
    data: dict[str, str] = {}


@lru_cache(maxsize=4_096)
def in_words(category: str) -> str:
    """A category as people write it: ``running-shoes`` becomes running shoes."""
    return category.replace("-", " ").replace("_", " ")


def place_values(facts: Facts) -> Values:
    """The variables that every campaign of a decision shares."""
    values: Values = {"geofence.name": facts.geofence.name}
    if facts.store is not None:
        values["store.name"] = facts.store.name
    return values


def interest_values(match: Match, place: Values, days: Days) -> Values:
    """Those of the place, and the variables about the strongest matched interest."""
    looked = days.of(match.last_at)
    return {
        **place,
        "interest.category": in_words(match.interest.category),
        "interest.count": len(match.events),
        "interest.days_ago": looked.ago,
        "interest.date": looked.english,
        "interest.date in her language": looked.words,
    }


def render_check(texts: Texts, values: Values) -> tuple[Check, Payload | None]:
    """Check 10: every text can be written, fits the provider's limit, and may be read by whoever sees the phone."""
    if texts.language is None:
        return _rendered(texts, tuple(map(values.get, texts.variables)))
    return _rendered(
        texts, tuple([values.get(_IN_HER_LANGUAGE.get(name, ""), values.get(name)) for name in texts.variables])
    )


_IN_HER_LANGUAGE: Final = {"interest.date": "interest.date in her language"}
"""For wordings of a language: values that hold words of ours."""


@lru_cache(maxsize=4_096)
def _rendered(texts: Texts, read: tuple[str | int | None, ...]) -> tuple[Check, Payload | None]:
    """The same few store names, categories and day counts come again and again."""
    values = {name: value for name, value in zip(texts.variables, read, strict=True) if value is not None}
    try:
        payload = written(texts, values)
    except TemplateError as error:
        return check(Gate.RENDER, [Reason.CONTENT_FAILED], {"problem": str(error)}), None
    size_b = payload_size_b(payload)
    used: dict[str, object] = {"size_b": size_b, "limit_b": CONTENT_LIMIT_B}
    if texts.language is not None:
        used["language"] = texts.language
    refusals = [Reason.CONTENT_TOO_LONG] if size_b > CONTENT_LIMIT_B else []
    word = readable_by_anybody(payload.title, payload.body)
    if word is not None:
        refusals.append(Reason.LOCK_SCREEN)
        used["word"] = word
    return check(Gate.RENDER, refusals, used), None if refusals else payload


def payload_size_b(payload: Payload) -> int:
    """Bytes of the payload as JSON in UTF-8."""
    return len(_ENCODER.encode(payload))


_ENCODER: Final = msgspec.json.Encoder()


def written(texts: Texts, values: Values) -> Payload:
    """Write every text; raises TemplateError."""
    title, body = render(texts.title, values).strip(), render(texts.body, values).strip()
    if not title or not body:
        raise TemplateError("the title or the body came out empty")
    return Payload(
        title=title,
        body=body,
        deep_link=None if texts.deep_link is None else render(texts.deep_link, values),
        image_url=texts.image_url,
        data={key: render(template, values) for key, template in texts.data},
    )
