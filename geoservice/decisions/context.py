"""From events to interests with provenance, and whether a campaign's condition holds on them. Pure.

Provenance says how surely an event tells an interest: declared > wishlisted > carted > viewed > bought-with >
inferred. A declared interest stands for itself, without any event; a wish list is nearly one ("I want this"); searches
count as views; purchases and reviews tell what she owns, and thereby what goes with it.

An interest ends with a purchase in its category, of a product that she had looked at, or of a substitute for one,
wherever it was made: at a till, in the web shop, in the app.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from operator import attrgetter
from typing import Final

from msgspec import Struct

from geoservice.decisions.circumstances import Circumstances
from geoservice.decisions.conditions import AllOf, AnyOf, Condition, Interest, Not, positive_interests
from geoservice.decisions.facts import ContextEvent, ProductFacts
from geoservice.vocabulary import EventType


class Provenance(IntEnum):
    """How surely an interest is known; higher is surer."""

    INFERRED = 1
    BOUGHT_WITH = 2
    VIEWED = 3
    CARTED = 4
    WISHLISTED = 5
    DECLARED = 6


EVENT_PROVENANCE: Final[dict[EventType, Provenance]] = {
    EventType.DECLARED: Provenance.DECLARED,
    EventType.WISHLISTED: Provenance.WISHLISTED,
    EventType.CARTED: Provenance.CARTED,
    EventType.PRODUCT_VIEWED: Provenance.VIEWED,
    EventType.SEARCHED: Provenance.VIEWED,
    EventType.REVIEWED: Provenance.BOUGHT_WITH,
    EventType.PURCHASED: Provenance.BOUGHT_WITH,
}


class Served(Struct, frozen=True, gc=False):
    """The purchase that ended an interest; ``substitute`` says that she bought something else that does as well."""

    category: str
    bought_at: datetime
    product_id: str | None = None
    substitute: bool = False


class Match(Struct, frozen=True, gc=False):
    """An interest that was found: the events that show it, newest first, and the purchase that ended it, if one did."""

    interest: Interest
    events: tuple[ContextEvent, ...]
    provenance: Provenance
    last_at: datetime
    """When the newest of the events happened."""
    served: Served | None = None

    @property
    def strongest_event(self) -> ContextEvent:
        """The newest event of the surest kind: the one that a "why" names."""
        return next(event for event in self.events if EVENT_PROVENANCE[event.type] is self.provenance)

    @property
    def product_id(self) -> str | None:
        """What a message is about: the product of the newest event of the surest kind that names one."""
        named = [event for event in self.events if event.product_id is not None]
        return max(named, key=lambda event: EVENT_PROVENANCE[event.type]).product_id if named else None


class Evidence(Struct, frozen=True, gc=False):
    """What a condition came to. ``served`` are the interests that a purchase has ended.

    ``holds`` leaves purchases out; ``served`` is filled only when purchases alone turn the condition false.
    """

    holds: bool
    matches: tuple[Match, ...]
    served: tuple[Served, ...] = ()
    strongest: Match | None = None
    """The surest match, then the freshest."""


_NO_EVIDENCE: Final = Evidence(False, ())
_OCCURRED_AT: Final = attrgetter("occurred_at")
_STRENGTH: Final = attrgetter("provenance", "last_at")


class Timeline:
    """A customer's events by category, shared by every campaign that listens to a transition."""

    def __init__(
        self,
        events: Iterable[ContextEvent],
        at: datetime,
        products: Mapping[str, ProductFacts] | None = None,
        declared: Mapping[str, datetime] | None = None,
        circumstances: Circumstances | None = None,
    ) -> None:
        self._at = at
        self._products = products or {}
        self._declared = {each: since for each, since in declared.items() if since <= at} if declared else {}
        self._circumstances = circumstances
        self._looks: dict[Interest, Match | None] = {}
        self._beginnings: dict[int, datetime] = {}
        by_category: dict[str | None, list[ContextEvent]] = defaultdict(list)
        past = sorted(events, key=_OCCURRED_AT, reverse=True)
        if past and past[0].occurred_at > at:
            past = [event for event in past if event.occurred_at <= at]
        for event in past:
            by_category[event.category].append(event)
        self._by_category = by_category
        purchased = EventType.PURCHASED
        self._purchases = [event for event in past if event.type is purchased]

    def evaluate(self, condition: Condition) -> Evidence:
        """Whether the condition holds, on which events, and whether a purchase has served it already."""
        if isinstance(condition, Interest):  # what most conditions are: one interest alone
            match = self._find(condition)
            if match is None:
                return _NO_EVIDENCE
            return Evidence(True, (match,), () if match.served is None else (match.served,), match)
        matches = self._matches(condition)
        strongest = max(matches, key=_STRENGTH, default=None)
        if self._holds(condition, purchases_count=True):
            return Evidence(True, matches, (), strongest)
        if self._holds(condition, purchases_count=False):
            served = tuple([match.served for match in matches if match.served is not None])
            return Evidence(True, matches, served, strongest)
        return Evidence(False, matches, (), strongest)

    def _look(self, interest: Interest) -> Match | None:
        if interest not in self._looks:
            self._looks[interest] = self._find(interest)
        return self._looks[interest]

    def _find(self, interest: Interest) -> Match | None:
        declared_at = self._declared.get(interest.category)
        events = self._shown(interest, interest.within_days)
        if declared_at is not None:
            declaration = ContextEvent(EventType.DECLARED, declared_at, category=interest.category)
            events = sorted((*events, declaration), key=_OCCURRED_AT, reverse=True)
        elif len(events) < interest.min_count:
            return None
        provenance = max([EVENT_PROVENANCE[event.type] for event in events])
        if interest.provenance is not None and provenance < Provenance[interest.provenance.name]:
            return None
        served = self._bought_since(interest, declared_at) if self._purchases and interest.ends_with_purchase else None
        return Match(interest, tuple(events), provenance, events[0].occurred_at, served)

    def _shown(self, interest: Interest, days: int) -> list[ContextEvent]:
        """The events of the last days that show this interest, newest first."""
        of_category = self._by_category.get(interest.category)
        if of_category is None:
            return []
        since = self._beginnings.get(days)
        if since is None:
            since = self._beginnings[days] = self._at - timedelta(days=days)
        kinds = interest.events
        return [event for event in of_category if event.type in kinds and event.occurred_at >= since]

    def _bought_since(self, interest: Interest, declared_at: datetime | None) -> Served | None:
        """The newest purchase that ended the interest, if there is one."""
        # Looks before the window still tell that the purchase came after the interest had begun. Nothing older counts:
        # whether it is loaded is for other campaigns to say.
        days = 2 * interest.within_days
        shown = self._shown(interest, days)
        began_at = max(declared_at, self._at - timedelta(days=days)) if declared_at else shown[-1].occurred_at
        looked_at = {event.product_id for event in shown if event.product_id is not None}
        for bought in self._purchases:
            if bought.occurred_at < began_at:
                return None
            same = bought.category == interest.category or bought.product_id in looked_at
            if same or self._is_substitute(bought.product_id, looked_at):
                return Served(interest.category, bought.occurred_at, bought.product_id, substitute=not same)
        return None

    def _is_substitute(self, bought: str | None, looked_at: Iterable[str]) -> bool:
        if bought is None:
            return False
        named = self._substitutes(bought)
        return any(product_id in named or bought in self._substitutes(product_id) for product_id in looked_at)

    def _substitutes(self, product_id: str) -> frozenset[str]:
        product = self._products.get(product_id)
        return product.substitutes if product is not None else frozenset()

    def _holds(self, condition: Condition, *, purchases_count: bool) -> bool:
        if isinstance(condition, Interest):
            match = self._look(condition)
            return match is not None and not (purchases_count and match.served is not None)
        if isinstance(condition, AllOf):
            return all(self._holds(part, purchases_count=purchases_count) for part in condition.parts)
        if isinstance(condition, AnyOf):
            return any(self._holds(part, purchases_count=purchases_count) for part in condition.parts)
        if isinstance(condition, Not):
            return not self._holds(condition.part, purchases_count=purchases_count)
        assert self._circumstances is not None  # noqa: S101  whoever has such conditions gives them
        return self._circumstances.look(condition).holds

    def _matches(self, condition: Condition) -> tuple[Match, ...]:
        """What speaks for the message: interests found, outside of any ``not``, and not ended by a purchase.

        Ended ones stay only when nothing else is left, so that a refusal can name them.
        """
        found = [match for match in map(self._look, positive_interests(condition)) if match is not None]
        return tuple([match for match in found if match.served is None] or found)
