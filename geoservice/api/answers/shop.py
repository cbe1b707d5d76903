"""Products, stock and feeds: what the shop reports."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from geoservice.decisions.served import Feed


class ProductAnswer(Struct, omit_defaults=True):
    """A product."""

    id: str
    name: str
    category: str
    line: str | None = None
    variants: list[str] = []
    substitutes: list[str] = []
    complements: list[str] = []


class ProductsAnswer(Struct, omit_defaults=True):
    """Products by id; ``next`` is ``after`` of the following page."""

    items: list[ProductAnswer]
    next: str | None = None


class StoredAnswer(Struct):
    """How many were stored."""

    stored: int


class StockAnswer(Struct, omit_defaults=True):
    """So many pieces, counted when; without a variant, of the product as a whole."""

    product_id: str
    quantity: int
    as_of: datetime
    variant: str | None = None


class StocksAnswer(Struct, omit_defaults=True):
    """A store's stock by product and variant; ``next`` is ``after`` of the following page."""

    items: list[StockAnswer]
    next: str | None = None


class FeedAnswer(Struct, omit_defaults=True):
    """A feed, when it was last heard of, and whether it has been silent for too long."""

    feed: Feed
    heard_at: datetime
    stale: bool
    store_id: str | None = None


class FeedsAnswer(Struct):
    """Every feed that was ever heard of."""

    items: list[FeedAnswer]
