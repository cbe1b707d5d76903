"""Routes of the shop's other systems: products, stock, and the feeds that tell of both."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from geoservice.api.answers import shop as answers
from geoservice.api.given_back import GivenBack
from geoservice.api.routing import Call, Route, answer
from geoservice.decisions.served import Feed
from geoservice.errors import ErrorDetail, Invalid, NotFound
from geoservice.vocabulary import Id, Instant, Role
from geoservice.workflows import products
from geoservice.workflows.geofences import Mode

SHOP: Final = frozenset({Role.OPS, Role.SERVER})
PRODUCTS_MAX: Final = 5_000
PRODUCTS_BODY: Final = 8 * 1024 * 1024
STOCK_BODY: Final = 8 * 1024 * 1024


class ProductsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``PUT /v1/products``: many at once, all or none."""

    products: Annotated[list[products.Product], Meta(max_length=PRODUCTS_MAX)]


class FeedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``PUT /v1/feeds/{feed}``: alive, although there is nothing to tell. Without a store, the web shop's."""

    store_id: Id | None = None
    as_of: Instant | None = None


class ProductsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/products``; ``after`` is the ``next`` of an earlier page."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    after: str = ""


class StockQuery(ProductsQuery, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/stores/{id}/stock``; ``after`` is the ``next`` of an earlier page."""

    product_id: Id | None = None


class StockModeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``PUT /v1/stores/{id}/stock``: ``replace`` forgets what the body does not name."""

    mode: Mode = "merge"


class FeedQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``DELETE /v1/feeds/{feed}``."""

    store_id: Id | None = None


_product_body = GivenBack(products.ProductBody, answers.ProductAnswer)
_products_body = msgspec.json.Decoder(ProductsBody)
_stock_body = msgspec.json.Decoder(products.StockBody)
_feed_body = msgspec.json.Decoder(FeedBody)


# Products ---------------------------------------------------------------------------------------------------


async def put_product(call: Call) -> web.Response:
    """Create or replace a product."""
    product_id = call.id()
    body = await call.body(_product_body)
    product = products.Product(id=product_id, **msgspec.structs.asdict(body))
    try:
        await products.save_products(call.services.database, [product], call.services.clock.now())
    except Invalid as error:  # the body is one product, not a list
        details = [msgspec.structs.replace(d, path=d.path.removeprefix("products[0].")) for d in error.details]
        raise Invalid("This product cannot be stored as it is.", details=details) from None
    return answer(_write_product({"product_id": product_id, **msgspec.structs.asdict(body)}))


async def put_products(call: Call) -> web.Response:
    """Create or replace many products, all or none."""
    body = await call.body(_products_body)
    stored = await products.save_products(call.services.database, body.products, call.services.clock.now())
    return answer({"stored": stored})


async def get_product(call: Call) -> web.Response:
    """Give one product."""
    return answer(_write_product(await products.product(call.services.database, call.id())))


async def get_products(call: Call) -> web.Response:
    """List products by id."""
    query = call.query(ProductsQuery)
    rows = await products.products(call.services.database, after=query.after, limit=query.limit + 1)
    body: dict[str, Any] = {"items": [_write_product(row) for row in rows[: query.limit]]}
    if len(rows) > query.limit:
        body["next"] = rows[query.limit - 1]["product_id"]
    return answer(body)


async def delete_product(call: Call) -> web.Response:
    """Forget a product."""
    await products.delete_product(call.services.database, call.id())
    return web.Response(status=204)


def _write_product(row: Any) -> dict[str, Any]:
    body = {key: value for key, value in dict(row).items() if value}
    return {"id": body.pop("product_id"), **body}


# Stock ------------------------------------------------------------------------------------------------------


async def put_stock(call: Call) -> web.Response:
    """Take what a store's stock system counted."""
    query = call.query(StockModeQuery)
    body = await call.body(_stock_body)
    services = call.services
    stored = await products.save_stock(
        services.database, call.id(), body, replace=query.mode == "replace", at=services.clock.now()
    )
    return answer({"stored": stored})


async def get_stock(call: Call) -> web.Response:
    """List a store's stock by product and variant."""
    query = call.query(StockQuery)
    product_id, _, variant = query.after.partition(" ")  # ids hold no space
    rows = await products.stock(
        call.services.database,
        call.id(),
        product_id=query.product_id,
        after=(product_id, variant),
        limit=query.limit + 1,
    )
    body: dict[str, Any] = {"items": [_write_stock(row) for row in rows[: query.limit]]}
    if len(rows) > query.limit:
        last = rows[query.limit - 1]
        body["next"] = f"{last['product_id']} {last['variant']}"
    return answer(body)


def _write_stock(row: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(row).items() if key != "variant" or value}


# Feeds ------------------------------------------------------------------------------------------------------


async def put_feed(call: Call) -> web.Response:
    """Connect a feed, or say that it is alive although it has nothing to tell."""
    feed = _feed(call)
    body = await call.body(_feed_body)
    _refuse_wrong_store(feed, body.store_id)
    as_of = products.refuse_impossible(body.as_of, call.services.clock.now())
    await products.set_feed(call.services.database, feed, body.store_id, as_of)
    return await get_feeds(call)


async def delete_feed(call: Call) -> web.Response:
    """Stop relying on a feed."""
    feed, query = _feed(call), call.query(FeedQuery)
    await products.forget_feed(call.services.database, feed, query.store_id)
    return web.Response(status=204)


async def get_feeds(call: Call) -> web.Response:
    """List the feeds, when each was last heard of, and which have been silent for too long."""
    services = call.services
    oldest = services.clock.now() - timedelta(seconds=services.directory.snapshot.retailer.feed_silent_s)
    items = [
        {
            "feed": row["feed"],
            "heard_at": row["heard_at"],
            "stale": row["heard_at"] < oldest,
            **({"store_id": row["store_id"]} if row["store_id"] else {}),
        }
        for row in await products.feeds(services.database)
    ]
    return answer({"items": items})


def _feed(call: Call) -> Feed:
    try:
        return Feed(call.request.match_info["feed"])
    except ValueError:
        raise NotFound("Feeds are till, shop and stock.") from None


def _refuse_wrong_store(feed: Feed, store_id: str | None) -> None:
    if (feed is Feed.SHOP) == (store_id is not None):
        detail = ErrorDetail("store_id", "feed_store", "tills and stock belong to a store, the web shop to none")
        raise Invalid("This is no such feed.", details=[detail])


ROUTES: Final = (
    Route("PUT", "/v1/products/{id}", put_product, SHOP, body=_product_body.type, answer=answers.ProductAnswer),
    Route("GET", "/v1/products/{id}", get_product, SHOP, answer=answers.ProductAnswer),
    Route("DELETE", "/v1/products/{id}", delete_product, SHOP, status=204),
    Route("PUT", "/v1/products", put_products, SHOP, PRODUCTS_BODY, body=ProductsBody, answer=answers.StoredAnswer),
    Route("GET", "/v1/products", get_products, SHOP, query=ProductsQuery, answer=answers.ProductsAnswer),
    Route(
        "PUT",
        "/v1/stores/{id}/stock",
        put_stock,
        SHOP,
        STOCK_BODY,
        body=products.StockBody,
        query=StockModeQuery,
        answer=answers.StoredAnswer,
    ),
    Route("GET", "/v1/stores/{id}/stock", get_stock, SHOP, query=StockQuery, answer=answers.StocksAnswer),
    Route("PUT", "/v1/feeds/{feed}", put_feed, SHOP, body=FeedBody, answer=answers.FeedsAnswer),
    Route("DELETE", "/v1/feeds/{feed}", delete_feed, SHOP, query=FeedQuery, status=204),
    Route("GET", "/v1/feeds", get_feeds, SHOP, answer=answers.FeedsAnswer),
)
