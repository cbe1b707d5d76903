"""What can be said of a customer without looking at what she did: visits, attributes, loyalty tier. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from geoservice.decisions.conditions import Attribute, Circumstance, LoyaltyTier, Scalar, Visits
from geoservice.decisions.facts import Facts


class Found(Struct, frozen=True):
    """Whether a circumstance holds, on what: for the record, and in the words of a "why"."""

    holds: bool
    record: dict[str, Any]
    words: str


class Circumstances:
    """The circumstances of one customer, each looked at once."""

    def __init__(self, facts: Facts, at: datetime) -> None:
        self._facts = facts
        self._at = at
        self._found: dict[Circumstance, Found] = {}

    def look(self, circumstance: Circumstance) -> Found:
        """Whether it holds, and on what."""
        found = self._found.get(circumstance)
        if found is None:
            found = self._found[circumstance] = self._find(circumstance)
        return found

    def _find(self, circumstance: Circumstance) -> Found:
        if isinstance(circumstance, Visits):
            return self._visits(circumstance)
        if isinstance(circumstance, Attribute):
            return self._attribute(circumstance)
        return self._tier(circumstance)

    def _visits(self, asked: Visits) -> Found:
        facts, since = self._facts, self._at - timedelta(days=asked.within_days)
        here = facts.store.store_id if facts.store else None
        count = sum(
            since <= visit.started_at <= self._at
            and visit.visit_id != facts.visit_id
            and (asked.store == "any" or (here is not None and visit.store_id == here))
            for visit in facts.visits
        )
        enough = asked.min_count is None or count >= asked.min_count
        few_enough = asked.max_count is None or count <= asked.max_count
        where = None if asked.store == "any" else facts.store.name if facts.store else facts.geofence.name
        record = {"visits": count, "store": asked.store, "within_days": asked.within_days}
        words = facts.sentences.earlier_visits(count, where, asked.within_days)
        return Found(enough and few_enough, record, words)

    def _attribute(self, asked: Attribute) -> Found:
        value = self._facts.customer.attributes.get(asked.name)
        holds = (
            value is not None
            and (asked.equals is None or _same(value, asked.equals))
            and (not asked.any_of or any(_same(value, each) for each in asked.any_of))
            and (asked.at_least is None or (_is_number(value) and value >= asked.at_least))
            and (asked.at_most is None or (_is_number(value) and value <= asked.at_most))
        )
        record = {"attribute": asked.name, "value": "not on record" if value is None else value}
        return Found(holds, record, self._facts.sentences.attribute.format(name=asked.name))

    def _tier(self, asked: LoyaltyTier) -> Found:
        tier = self._facts.customer.loyalty_tier
        record = {"loyalty_tier": tier or "not on record"}
        say = self._facts.sentences
        words = say.loyalty_tier.format(tier=tier) if tier else say.no_loyalty_tier
        return Found(tier in asked.any_of, record, words)


def _same(value: object, wanted: Scalar) -> bool:
    """Equal, and yes is not 1."""
    return isinstance(value, bool) is isinstance(wanted, bool) and value == wanted


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
