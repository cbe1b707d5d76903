"""Conditions of a campaign: what must be true of a customer's own doings before a message makes sense. Pure.

A condition is JSON: ``{"interest": {...}}``, ``{"visits": {...}}``, ``{"attribute": {...}}`` or
``{"loyalty_tier": [...]}``, combined with ``{"all": [...]}``, ``{"any": [...]}`` and ``{"not": {...}}``. An empty
object is always true. ``parse_condition`` reads it once, when a campaign is uploaded, and names everything that is
wrong in it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from geoservice.errors import ErrorDetail
from geoservice.plain_words import detail_of
from geoservice.vocabulary import Category, EventType

MAX_DEPTH: Final = 5
"""Levels of ``all``, ``any`` and ``not``; nobody reads deeper ones right."""

MAX_CONDITIONS: Final = 50
"""Conditions in one campaign, all levels together."""

BROWSE_EVENTS: Final = frozenset({EventType.PRODUCT_VIEWED, EventType.WISHLISTED, EventType.CARTED, EventType.SEARCHED})
"""Events that a campaign may read only when it declares ``browse``."""

PURCHASE_EVENTS: Final = frozenset({EventType.PURCHASED, EventType.REVIEWED})
"""Events that tell what she owns; a campaign may read them only when it declares ``purchase``."""


class Surely(StrEnum):
    """How surely an interest is known, from the least."""

    INFERRED = "inferred"
    BOUGHT_WITH = "bought_with"
    VIEWED = "viewed"
    CARTED = "carted"
    WISHLISTED = "wishlisted"
    DECLARED = "declared"


class Interest(Struct, frozen=True, gc=False, forbid_unknown_fields=True, cache_hash=True):
    """At least ``min_count`` of these events in the category within the last ``within_days`` days.

    ``not_purchased`` stays silent when she bought in the category meanwhile. It only ever prevents a message,
    so it needs no declared use of purchases; of an interest in what she owns it says nothing. ``provenance`` asks
    for an interest that is known at least so surely.
    """

    category: Category
    events: Annotated[tuple[EventType, ...], Meta(min_length=1, max_length=len(EventType))] = (
        EventType.PRODUCT_VIEWED,
        EventType.WISHLISTED,
        EventType.CARTED,
    )
    min_count: Annotated[int, Meta(ge=1, le=1_000)] = 1
    within_days: Annotated[int, Meta(ge=1, le=365)] = 14
    not_purchased: bool = True
    provenance: Surely | None = None

    @property
    def ends_with_purchase(self) -> bool:
        """Whether buying ends it: not when it is about what she owns."""
        return self.not_purchased and not PURCHASE_EVENTS.issuperset(self.events)


class Visits(Struct, frozen=True, gc=False, forbid_unknown_fields=True, cache_hash=True):
    """How often she has been here lately, or in any store; the present visit does not count."""

    min_count: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    max_count: Annotated[int, Meta(ge=0, le=1_000)] | None = None
    within_days: Annotated[int, Meta(ge=1, le=365)] = 30
    store: Literal["here", "any"] = "here"


Text = Annotated[str, Meta(max_length=200)]
Scalar = bool | int | float | Text


class Attribute(Struct, frozen=True, gc=False, forbid_unknown_fields=True, cache_hash=True):
    """What the shop knows of her under this name. Every comparison given must hold; no such attribute: false."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    equals: Scalar | None = None
    any_of: Annotated[tuple[Scalar, ...], Meta(max_length=100)] = ()
    at_least: float | None = None
    at_most: float | None = None


class LoyaltyTier(Struct, frozen=True, gc=False, cache_hash=True):
    """She is in one of these tiers of the loyalty programme."""

    any_of: tuple[str, ...]


class AllOf(Struct, frozen=True, gc=False, cache_hash=True):
    """Every part holds; with no part at all it holds always."""

    parts: tuple[Condition, ...]


class AnyOf(Struct, frozen=True, gc=False, cache_hash=True):
    """At least one part holds."""

    parts: tuple[Condition, ...]


class Not(Struct, frozen=True, gc=False, cache_hash=True):
    """The part does not hold."""

    part: Condition


Circumstance = Visits | Attribute | LoyaltyTier
"""What can be said of her without looking at what she did."""

Condition = Interest | Visits | Attribute | LoyaltyTier | AllOf | AnyOf | Not

ALWAYS: Final = AllOf(())
"""The empty condition."""


def interests(condition: Condition) -> Iterator[Interest]:
    """Every interest that the condition looks at, in the order it is written."""
    return (leaf for leaf in leaves(condition) if isinstance(leaf, Interest))


def circumstances(condition: Condition) -> Iterator[Circumstance]:
    """Everything else that the condition looks at, in the order it is written."""
    return (leaf for leaf in leaves(condition) if isinstance(leaf, Circumstance))


def leaves(condition: Condition) -> Iterator[Interest | Circumstance]:
    """What the condition is combined from."""
    if isinstance(condition, Interest | Circumstance):
        yield condition
    elif isinstance(condition, Not):
        yield from leaves(condition.part)
    else:
        for part in condition.parts:
            yield from leaves(part)


def positive_interests(condition: Condition) -> Iterator[Interest]:
    """The interests outside of any ``not``: only these can speak for a message."""
    if isinstance(condition, Interest):
        yield condition
    elif isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from positive_interests(part)


class _Reader:
    """Reads one condition and collects the problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[ErrorDetail] = []
        self.leaf_paths: list[tuple[str, Leaf]] = []
        self._seen = 0

    def read(self, raw: object, path: str, depth: int) -> Condition:
        self._seen += 1
        if self._seen > MAX_CONDITIONS:
            if self._seen == MAX_CONDITIONS + 1:
                self._problem(path, "too_many", f"at most {MAX_CONDITIONS} conditions")
            return ALWAYS
        if depth > MAX_DEPTH:
            return self._problem(path, "too_deep", f"conditions nest at most {MAX_DEPTH} levels deep")
        if not isinstance(raw, dict):
            return self._problem(path, "type", "a condition is an object")
        if not raw and depth == 1:
            return ALWAYS
        if len(raw) != 1 or (word := next(iter(raw))) not in _WORDS:
            return self._problem(path, "condition", f"a condition has exactly one key, of: {', '.join(_WORDS)}")
        return _WORDS[word](self, raw[word], f"{path}.{word}", depth)

    def _interest(self, raw: object, path: str, _depth: int) -> Condition:
        interest: Condition = self._leaf(raw, path, Interest)
        return interest

    def _visits(self, raw: object, path: str, _depth: int) -> Condition:
        visits: Condition = self._leaf(raw, path, Visits)
        if isinstance(visits, Visits):
            if visits.min_count is None and visits.max_count is None:
                return self._problem(path, "empty", "says nothing: give min_count, max_count or both")
            if visits.min_count is not None and visits.max_count is not None and visits.min_count > visits.max_count:
                return self._problem(f"{path}.max_count", "order", "must not be less than min_count")
        return visits

    def _attribute(self, raw: object, path: str, _depth: int) -> Condition:
        attribute: Condition = self._leaf(raw, path, Attribute)
        if isinstance(attribute, Attribute) and attribute == Attribute(attribute.name):
            return self._problem(path, "empty", "says nothing: give equals, any_of, at_least or at_most")
        return attribute

    def _loyalty_tier(self, raw: object, path: str, _depth: int) -> Condition:
        tiers = self._leaf(raw, path, _Tiers)
        return LoyaltyTier(tiers) if isinstance(tiers, tuple) else ALWAYS

    def _leaf(self, raw: object, path: str, kind: Any) -> Any:
        try:
            leaf = msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            found = detail_of(error, kind, path)
            return self._problem(found.path, "invalid", found.message)
        self.leaf_paths.append((path, LoyaltyTier(leaf) if isinstance(leaf, tuple) else leaf))
        return leaf

    def _parts(self, raw: object, path: str, depth: int) -> tuple[Condition, ...]:
        if not isinstance(raw, list) or not raw:
            self._problem(path, "type", "a list of at least one condition")
            return ()
        return tuple(self.read(part, f"{path}[{i}]", depth + 1) for i, part in enumerate(raw[: MAX_CONDITIONS + 1]))

    def _all(self, raw: object, path: str, depth: int) -> Condition:
        return AllOf(self._parts(raw, path, depth))

    def _any(self, raw: object, path: str, depth: int) -> Condition:
        return AnyOf(self._parts(raw, path, depth))

    def _not(self, raw: object, path: str, depth: int) -> Condition:
        return Not(self.read(raw, path, depth + 1))

    def _problem(self, path: str, code: str, message: str) -> Condition:
        self.problems.append(ErrorDetail(path=path, code=code, message=message))
        return ALWAYS


Leaf = Interest | Circumstance
_Tiers = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(min_length=1, max_length=100)]

_WORDS: Final[dict[str, Callable[[_Reader, object, str, int], Condition]]] = {
    "interest": _Reader._interest,  # noqa: SLF001  the table belongs to the class
    "visits": _Reader._visits,  # noqa: SLF001
    "attribute": _Reader._attribute,  # noqa: SLF001
    "loyalty_tier": _Reader._loyalty_tier,  # noqa: SLF001
    "all": _Reader._all,  # noqa: SLF001
    "any": _Reader._any,  # noqa: SLF001
    "not": _Reader._not,  # noqa: SLF001
}


def parse_condition(
    raw: dict[str, Any], path: str = "context"
) -> tuple[Condition, list[tuple[str, Leaf]], list[ErrorDetail]]:
    """Read a condition: itself, what it is combined from with the paths in the body, and what is wrong."""
    reader = _Reader()
    condition = reader.read(raw, path, 1)
    return condition, reader.leaf_paths, reader.problems
