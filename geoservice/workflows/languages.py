"""The languages that customers are spoken to: English, and one for each file in ``geoservice/languages``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from geoservice.decisions.sentences import ENGLISH, Sentences
from geoservice.storage.database import Database
from geoservice.storage.queries import Queries
from geoservice.workflows.records import RECORDS, Kept

FALLBACK: Final = "en"

_sql = Queries("customers")


class Language(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language: what decisions say, and what is kept of her, by table: why, and until when (``{days}``)."""

    sentences: Sentences
    records: Mapping[str, tuple[str, str]]

    def why_kept(self, kept: Kept) -> str:
        """Say why a table is kept."""
        return self.records.get(kept.table, (kept.why, kept.until))[0]

    def kept_until(self, kept: Kept) -> str:
        """Say how a table ends, with ``{days}`` to fill in."""
        return self.records.get(kept.table, (kept.why, kept.until))[1]


@cache
def languages() -> Mapping[str, Language]:
    """Read every language there is, by its tag in lower case."""
    folder = files("geoservice") / "languages"
    spoken = {FALLBACK: Language(ENGLISH, {kept.table: (kept.why, kept.until) for kept in RECORDS.values()})}
    for file in folder.iterdir():
        if file.name.endswith(".json"):
            tag = file.name.removesuffix(".json").lower()
            spoken[tag] = msgspec.json.decode(file.read_bytes(), type=Language)
    return spoken


@lru_cache(maxsize=1_024)
def language_of(locale: str | None) -> Language:
    """The language of a locale such as ``de-AT``: the most specific one that there is, else English."""
    spoken = languages()
    parts = (locale or FALLBACK).replace("_", "-").lower().split("-")
    tags = ("-".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((spoken[tag] for tag in tags if tag in spoken), spoken[FALLBACK])


async def language_of_customer(database: Database, customer_id: str) -> Language:
    """The language of what the shop knows of her, else of her newest phone."""
    async with database.connection() as connection:
        return language_of(await _sql.locale.value(connection, customer_id=customer_id))
