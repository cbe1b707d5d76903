"""What customers read of us is in their language, as far as there is a file of it, and complete in each."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import pytest
from conftest import CAMPAIGN

from geoservice.decisions.attention import Level
from geoservice.decisions.sentences import ENGLISH, Sentences, Whereabouts
from geoservice.workflows.languages import language_of, languages
from geoservice.workflows.records import CUSTOMERS, EVIDENCE

TRANSLATED = sorted(set(languages()) - {"en"})
SAME = {"day_of_another_year"}
"""Fields that may be the same in two languages."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a structure, by its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}.{key}")
    else:
        for n, each in enumerate(value):
            yield from leaves(each, f"{path}[{n}]")


def texts_of(sentences: Sentences) -> dict[str, str]:
    return dict(leaves(msgspec.to_builtins(sentences)))


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_there_is_german():
    """German is among the languages."""
    assert "de" in TRANSLATED


@pytest.mark.parametrize("tag", TRANSLATED)
def test_every_sentence_exists_in_each_language(tag):
    """A language has every sentence and reason that English has, each with the same facts, none left in English."""
    english, other = texts_of(ENGLISH), texts_of(languages()[tag].sentences)
    assert other.keys() == english.keys()
    assert {path for path in english if places(other[path]) != places(english[path])} == set()
    assert all(text.strip() for text in other.values())
    assert [path for path, text in other.items() if text == english[path] and len(text.split()) > 2] == []


@pytest.mark.parametrize("tag", TRANSLATED)
def test_every_record_is_introduced_in_each_language(tag):
    """Each kind of record about a customer, and what outlives her erasure, is explained in every language."""
    records = languages()[tag].records
    assert set(records) == {kept.table for kept in (*CUSTOMERS, *EVIDENCE)}
    for kept in (*CUSTOMERS, *EVIDENCE):
        assert places(records[kept.table][1]) == places(kept.until), kept.table
        assert records[kept.table][0] != kept.why


@pytest.mark.parametrize(
    ("locale", "month"),
    [("de", "März"), ("de-AT", "März"), ("de_DE", "März"), ("DE", "März"), ("en-GB", "March"), ("xx", "March"),
     (None, "March"), ("", "March")],
)  # fmt: skip
def test_a_locale_finds_its_language(locale, month):
    """A region's language is that of the language, and whoever speaks one that we do not is told in English."""
    assert language_of(locale).sentences.date(date(2026, 3, 4), date(2026, 3, 5)).endswith(month)


@pytest.mark.parametrize("tag", sorted(languages()))
def test_every_sentence_can_be_filled_in(tag):
    """No sentence is left with a hole, whatever is said in it."""
    say = languages()[tag].sentences
    said = [
        *(say.place(store, "Ring", where) for where in Whereabouts for store in (None, "Harbour", "Our big Store")),
        *(say.earlier_visits(count, store, 30) for count in (0, 1, 2, 9) for store in (None, "Harbour")),
        *(say.budget(Level(n, days), own) for n in (0, 1, 2) for days in (1, 3) for own in (None, 0, 1)),
        say.date(date(2025, 12, 31), date(2026, 1, 1)),
    ]
    assert not [text for text in said if "{" in text or not text]


async def test_a_preview_reads_as_she_will(service):
    """Who writes a campaign sees the dates of each wording in the language of the wording."""
    texts = {"title": "t", "body": "{{ interest.date }}"}
    content = {**texts, "languages": {"de": texts, "fr": texts}}
    answer = await service.ok("POST", "/v1/campaigns/shoes/preview", {**CAMPAIGN, "content": content}, who=service.ops)
    said = {each.get("language"): each["body"] for each in answer["previews"]}
    assert said == {None: "2 March", "de": "2. März", "fr": "2 March"}


async def test_a_german_customer_reads_german(service):
    """Why she got it, why not, how often, and what is on record of her: in the language of her phone."""
    await service.set_up_store()
    await service.set_up_campaign(content={
        "title": "Your shoes", "body": "Seen on {{ interest.date }}.",
        "languages": {"de": {"title": "Ihre Schuhe", "body": "Gesehen am {{ interest.date }}."}},
    })  # fmt: skip
    for who, locale in (("greta", "de-DE"), ("fleur", "fr-FR")):
        await service.opt_in(who)
        phone = {"platform": "android", "push_token": f"token-{who}-phone", "locale": locale}
        await service.ok("PUT", "/v1/devices/phone", phone, who=service.customer(who))
        await service.browse(who)
        await service.walk_in(who)
        await service.settled()
    (hers,) = (await service.ok("GET", "/v1/me/messages", who=service.customer("greta")))["items"]
    assert hers["body"] == "Gesehen am 1. März."
    assert hers["why"]["summary"] == (
        "Sie haben sich am 1. März „running shoes“ angesehen, "
        "und Sie sind in der Nähe unserer Filiale „Harbour Street“. "
        "Angebote nach Ihrem Standort haben Sie am 4. März erlaubt."
    )
    assert hers["why"]["data_used"][0] == "2 angesehene Produkte in „running shoes“, zuletzt am 1. März"
    assert hers["why"]["how_to_change"].startswith("In den Einstellungen der App")
    (others,) = (await service.ok("GET", "/v1/me/messages", who=service.customer("fleur")))["items"]
    assert others["why"]["summary"].startswith("You looked at running shoes on 1 March and you are near our Harbour")

    attention = await service.ok("GET", "/v1/me/attention", who=service.customer("greta"))
    assert attention["sentence"] == "Wir schicken Ihnen höchstens 2 Nachrichten am Tag."
    export = await service.ok("GET", "/v1/me/export", who=service.customer("greta"))
    assert {each["name"]: each["kept"] for each in export["index"]}["events"] == "400 Tage"

    await service.ok("PATCH", "/v1/me/preferences", {"topics": {"sneakers": False}}, who=service.customer("greta"))
    await service.pass_time(hours=3)
    await service.walk_in("greta")
    await service.settled()
    refused = [each for each in await service.decisions("greta") if each["reason"] == "topic_off"]
    assert refused
    assert {each["customer_sentence"] for each in refused} == {"Sie haben dieses Thema nicht eingeschaltet."}
    left = await service.ok("DELETE", "/v1/me", who=service.customer("greta"))
    assert any("verschlüsselte" in kept["why"] for kept in left["kept"])
