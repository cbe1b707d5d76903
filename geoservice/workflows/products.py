"""What the shop's other systems tell: products, stock, and that they are still there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import asyncpg
import msgspec
from msgspec import Meta

from geoservice.decisions.facts import ProductFacts, ShopFacts
from geoservice.decisions.served import Feed
from geoservice.errors import ErrorDetail, Invalid, NotFound
from geoservice.geofencing.screening import EARLIEST
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Category, Id, Instant

RELATED_MAX: Final = 200
"""Variants, substitutes and complements of one product, each."""

CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""A feed whose clock runs this far ahead is believed to speak of now."""

WEB_SHOP: Final = ""
"""Stands for the store of feeds that belong to none."""

_sql = Queries("products")

Variant = Annotated[str, Meta(min_length=1, max_length=64)]
Variants = Annotated[tuple[Variant, ...], Meta(max_length=RELATED_MAX)]
Products = Annotated[tuple[Id, ...], Meta(max_length=RELATED_MAX)]


class ProductBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product: what it is called, where it belongs, what does as well, and what goes with it."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    category: Category
    line: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    variants: Variants = ()
    substitutes: Products = ()
    complements: Products = ()


class Product(ProductBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product with its id."""

    id: Id


class StockItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces of a product, or of one variant of it."""

    product_id: Id
    quantity: Annotated[int, Meta(ge=0, le=10_000_000)]
    variant: Variant | None = None


class StockBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``PUT /v1/stores/{id}/stock``; ``as_of`` is when it was counted, now if left out."""

    items: Annotated[list[StockItem], Meta(max_length=50_000)]
    as_of: Instant | None = None


# Products ---------------------------------------------------------------------------------------------------


async def save_products(database: Database, products: Sequence[Product], at: datetime) -> int:
    """Create or replace products, all or none; raises Invalid with everything that is wrong."""
    problems = [problem for i, product in enumerate(products) for problem in _problems(product, i)]
    seen: set[str] = set()
    for i, product in enumerate(products):
        if product.id in seen:
            problems.append(ErrorDetail(f"products[{i}].id", "duplicate", "stands here twice"))
        seen.add(product.id)
    if problems:
        raise Invalid("These products cannot be stored as they are; nothing was changed.", details=problems)

    async def work(connection: Connection) -> int:
        return await _sql.save_products.run(
            connection,
            product_ids=[product.id for product in products],
            names=[product.name for product in products],
            categories=[product.category for product in products],
            lines=[product.line for product in products],
            more=[
                {"variants": p.variants, "substitutes": p.substitutes, "complements": p.complements} for p in products
            ],
            at=at,
        )

    return await database.run(work)


def _problems(product: Product, index: int) -> Iterable[ErrorDetail]:
    for name in ("substitutes", "complements"):
        if product.id in getattr(product, name):
            yield ErrorDetail(f"products[{index}].{name}", "itself", "a product cannot name itself")


async def product(database: Database, product_id: str) -> asyncpg.Record:
    """Give one product; raises NotFound."""
    async with database.connection() as connection:
        row = await _sql.product.row(connection, product_id=product_id)
    if row is None:
        raise NotFound("There is no such product.")
    return row


async def products(database: Database, *, after: str, limit: int) -> list[asyncpg.Record]:
    """List products by id."""
    async with database.connection() as connection:
        return await _sql.products.fetch(connection, after=after, limit=limit)


async def delete_product(database: Database, product_id: str) -> None:
    """Forget a product; raises NotFound."""
    async with database.transaction() as connection:
        if not await _sql.delete_product.run(connection, product_id=product_id):
            raise NotFound("There is no such product.")


# Stock ------------------------------------------------------------------------------------------------------


async def save_stock(database: Database, store_id: str, body: StockBody, *, replace: bool, at: datetime) -> int:
    """Take what a store's stock system counted, and note that it spoke; returns how many counts were news."""
    as_of = refuse_impossible(body.as_of, at)
    keys = [(item.product_id, item.variant or "") for item in body.items]
    often = Counter(keys)
    problems = [
        ErrorDetail(f"items[{i}]", "duplicate", "stands here twice") for i, key in enumerate(keys) if often[key] > 1
    ]
    if problems:
        raise Invalid("This stock cannot be stored as it is; nothing was changed.", details=problems)

    async def work(connection: Connection) -> int:
        if not await _sql.store_exists.value(connection, store_id=store_id):
            raise NotFound("There is no such store.")
        if replace:
            await _sql.clear_stock.run(connection, store_id=store_id)
        stored = await _sql.save_stock.run(
            connection,
            store_id=store_id,
            product_ids=[product_id for product_id, _ in keys],
            variants=[variant for _, variant in keys],
            quantities=[item.quantity for item in body.items],
            as_of=as_of,
        )
        if stored:
            await _sql.note_stock_report.run(connection, store_id=store_id, counts=stored)
        await _sql.set_feed.run(connection, feed=Feed.STOCK.value, store_id=store_id, heard_at=as_of)
        return stored

    return await database.run(work)


def refuse_impossible(as_of: datetime | None, at: datetime) -> datetime:
    """Read when something was counted; raises Invalid for a time that has not come, or before the year 2000."""
    if as_of is not None and as_of > at + CLOCK_TOLERANCE:
        detail = ErrorDetail("as_of", "in_the_future", "as_of is more than 2 minutes ahead of the server's clock")
        raise Invalid("Nobody can have counted that yet.", details=[detail])
    if as_of is not None and as_of < EARLIEST:
        detail = ErrorDetail("as_of", "long_ago", "as_of is before the year 2000")
        raise Invalid("Nobody can have counted that so long ago.", details=[detail])
    return at if as_of is None else min(as_of, at)


async def stock(
    database: Database, store_id: str, *, product_id: str | None, after: tuple[str, str], limit: int
) -> list[asyncpg.Record]:
    """List a store's stock by product and variant; raises NotFound."""
    async with database.connection() as connection:
        if not await _sql.store_exists.value(connection, store_id=store_id):
            raise NotFound("There is no such store.")
        return await _sql.stock.fetch(
            connection,
            store_id=store_id,
            product_id=product_id,
            after_product=after[0],
            after_variant=after[1],
            limit=limit,
        )


# Feeds ------------------------------------------------------------------------------------------------------


async def note_sales(database: Database, store_ids: Collection[str | None], at: datetime) -> None:
    """Note that the tills of these stores spoke, and the web shop for events without a store, where connected."""
    stores = sorted(store_id for store_id in set(store_ids) if store_id is not None)
    shop = [WEB_SHOP] if None in store_ids else []
    async with database.connection() as connection:
        for feed, names in ((Feed.TILL, stores), (Feed.SHOP, shop)):
            if names:
                await _sql.note_feed.run(connection, feed=feed.value, store_ids=names, heard_at=at)


async def set_feed(database: Database, feed: Feed, store_id: str | None, as_of: datetime) -> None:
    """Connect a feed, or note that it is alive although it has nothing to tell."""
    async with database.transaction() as connection:
        await _sql.set_feed.run(connection, feed=feed.value, store_id=store_id or WEB_SHOP, heard_at=as_of)


async def forget_feed(database: Database, feed: Feed, store_id: str | None) -> None:
    """Stop relying on a feed, for example of a store that closed; raises NotFound."""
    async with database.transaction() as connection:
        if not await _sql.forget_feed.run(connection, feed=feed.value, store_id=store_id or WEB_SHOP):
            raise NotFound("This feed was never heard of.")


async def feeds(database: Database) -> list[asyncpg.Record]:
    """List every feed with the time it was last heard of."""
    async with database.connection() as connection:
        return await _sql.feeds.fetch(connection)


# For decisions ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Shop:
    """What a batch of decisions may know of products, stock and feeds."""

    products: dict[str, ProductFacts] = field(default_factory=dict)
    stock: dict[str, dict[tuple[str, str], int]] = field(default_factory=dict)
    feeds: dict[str, dict[str, datetime]] = field(default_factory=dict)

    def facts(self, store_id: str | None, product_ids: Iterable[str]) -> ShopFacts:
        """Pick out what concerns one store and one customer's products."""
        here = store_id or WEB_SHOP
        return ShopFacts(
            {product_id: self.products[product_id] for product_id in product_ids if product_id in self.products},
            self.stock.get(here, {}),
            self.feeds.get(WEB_SHOP, {}) | self.feeds.get(here, {}),
        )


async def load_shop(
    connection: Connection, store_ids: Sequence[str], product_ids: Sequence[str], *, with_stock: bool
) -> Shop:
    """Load what decisions about these stores and products may know."""
    shop = Shop()
    if product_ids:
        for row in await _sql.products_of.fetch(connection, product_ids=product_ids):
            shop.products[row["product_id"]] = _product_facts(row)
    if with_stock and product_ids:
        for row in await _sql.stock_of.fetch(connection, store_ids=store_ids, product_ids=product_ids):
            shop.stock.setdefault(row["store_id"], {})[row["product_id"], row["variant"]] = row["quantity"]
    for row in await _sql.feeds_of.fetch(connection, store_ids=store_ids):
        shop.feeds.setdefault(row["store_id"], {})[row["feed"]] = row["heard_at"]
    return shop


def _product_facts(row: Any) -> ProductFacts:
    return ProductFacts(
        row["product_id"],
        row["name"],
        row["category"],
        row["line"],
        frozenset(row["variants"]),
        frozenset(row["substitutes"]),
        frozenset(row["complements"]),
    )
