"""Check 10: from a campaign's templates and the facts to the payload that the phone gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from geoservice.decisions.campaigns import Texts
from geoservice.decisions.checks import Block, block, check
from geoservice.decisions.context import Match
from geoservice.decisions.days import Days
from geoservice.decisions.facts import Facts
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.sensitive import readable_by_anybody
from geoservice.decisions.templates import TemplateError, Values, render

PROVIDER_LIMIT_B: Final = 4_096
ENVELOPE_B: Final = 1_024
"""Set aside for what the push adapter adds: token, message id, collapse key, TTL and platform blocks."""

CONTENT_LIMIT_B: Final = PROVIDER_LIMIT_B - ENVELOPE_B


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
    return (None if facts.store is None else facts.store.name, facts.geofence.name)


def interest_values(match: Match | None, place: Values, days: Days) -> Values:
    """Those of the place, and the variables about the strongest matched interest."""
    if match is None:
        return (*place, None, None, None, None, None)
    looked = days.of(match.last_at)
    return (*place, in_words(match.interest.category), len(match.events), looked.ago, looked.english, looked.words)


class Rendered(Struct, frozen=True, gc=False):
    """Check 10, and the message, if it could be written at all: what was refused is not to be sent."""

    checked: Block
    payload: Payload | None = None


@lru_cache(maxsize=4_096)  # the same few store names, categories and day counts come again and again
def rendered(texts: Texts, read: Values) -> Rendered:
    """Check 10: every text can be written, fits the provider's limit, and may be read by whoever sees the phone.

    ``read`` is what ``texts.read`` takes of the values.
    """
    values = {name: value for name, value in zip(texts.variables, read, strict=True) if value is not None}
    try:
        payload = _written(texts, values)
    except TemplateError as error:
        return Rendered(block(check(Gate.RENDER, [Reason.CONTENT_FAILED], {"problem": str(error)})))
    size_b = len(_ENCODER.encode(payload))
    used: dict[str, object] = {"size_b": size_b, "limit_b": CONTENT_LIMIT_B}
    if texts.language is not None:
        used["language"] = texts.language
    refusals = [Reason.CONTENT_TOO_LONG] if size_b > CONTENT_LIMIT_B else []
    word = readable_by_anybody(payload.title, payload.body)
    if word is not None:
        refusals.append(Reason.LOCK_SCREEN)
        used["word"] = word
    return Rendered(block(check(Gate.RENDER, refusals, used)), payload)


_ENCODER: Final = msgspec.json.Encoder()


def _written(texts: Texts, values: Mapping[str, str | int]) -> Payload:
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
