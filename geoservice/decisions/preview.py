"""What a campaign's messages would look like, with facts that are made up for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from geoservice.decisions.campaigns import Campaign, Texts
from geoservice.decisions.conditions import positive_interests
from geoservice.decisions.experiments import BASE
from geoservice.decisions.facts import GeofenceFacts
from geoservice.decisions.message import CONTENT_LIMIT_B, in_words, rendered
from geoservice.decisions.reasons import Reason
from geoservice.decisions.sentences import ENGLISH, Sentences
from geoservice.decisions.templates import SAMPLES, VARIABLES, Values

LOOKED_AGO = timedelta(days=2)


class Preview(Struct, frozen=True, omit_defaults=True):
    """One wording of one arm, as it would be sent; ``refused`` when it would not be."""

    arm: str
    title: str
    body: str
    size_b: int
    """Bytes of what the campaign brings, of ``limit_b`` that there are for it."""
    limit_b: int
    language: str | None = None
    deep_link: str | None = None
    image_url: str | None = None
    data: dict[str, str] = {}
    refused: Reason | None = None
    word: str | None = None
    """The one that must not stand on a lock screen."""


def sample_values(
    campaign: Campaign, fence: GeofenceFacts | None, store_name: str | None, at: datetime
) -> dict[str, str | int]:
    """Give variables their values: of a real place, if there is one, and of somebody who just meets the condition."""
    values: dict[str, str | int] = {name: SAMPLES[name] for name in ("store.name", "geofence.name")}
    if fence is not None:
        values["geofence.name"] = fence.name
    if store_name is not None:
        values["store.name"] = store_name
    for interest in positive_interests(campaign.condition):
        looked = (at - LOOKED_AGO).date()
        values["interest.category"] = in_words(interest.category)
        values["interest.count"] = interest.min_count
        values["interest.days_ago"] = LOOKED_AGO.days
        values["interest.date"] = ENGLISH.date(looked, at.date())
        break
    return values


def previews(
    campaign: Campaign, values: Mapping[str, str | int], at: datetime, spoken: Callable[[str], Sentences]
) -> Iterator[Preview]:
    """Every wording in every arm, the campaign's own first; ``spoken`` gives the sentences of a language."""
    looked = (at - LOOKED_AGO).date()
    for arm, each in {BASE: campaign, **campaign.variants}.items():
        for texts in (each.texts, *each.other_texts.values()):
            say = ENGLISH if texts.language is None else spoken(texts.language)
            yield _preview(arm, texts, (*map(values.get, VARIABLES), say.date(looked, at.date())))


def _preview(arm: str, texts: Texts, values: Values) -> Preview:
    written = rendered(texts, texts.read(values))
    (checked,), payload = written.checked.checks, written.payload
    if payload is None:
        return Preview(arm, "", "", 0, CONTENT_LIMIT_B, language=texts.language, refused=checked.reason)
    return Preview(
        arm,
        payload.title,
        payload.body,
        checked.facts["size_b"],
        CONTENT_LIMIT_B,
        language=texts.language,
        deep_link=payload.deep_link,
        image_url=payload.image_url,
        data=payload.data,
        refused=checked.reason,
        word=checked.facts.get("word"),
    )
