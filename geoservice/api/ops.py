"""Routes of store operations, servers and support."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import msgspec
from aiohttp import web

from geoservice.api import schemas
from geoservice.api.answers import records as answers
from geoservice.api.answers.phone import EventsAnswer
from geoservice.api.given_back import GivenBack
from geoservice.api.mobile import refuse_unknown_zone, take_events
from geoservice.api.routing import Call, Route, answer
from geoservice.decisions.reasons import REASONS, Reason
from geoservice.errors import Forbidden, NotFound
from geoservice.vocabulary import Role
from geoservice.workflows import customers, operating, publishing, standing
from geoservice.workflows.directory import load_store, load_stores
from geoservice.workflows.languages import language_of

OPS: Final = frozenset({Role.OPS})
SERVER: Final = frozenset({Role.SERVER})
READERS: Final = frozenset({Role.OPS, Role.SUPPORT, Role.OFFICER})

_store_body = GivenBack(publishing.StoreBody, answers.StoreAnswer)
_customer_body = msgspec.json.Decoder(schemas.CustomerBody)


# Stores -----------------------------------------------------------------------------------------------------


async def put_store(call: Call) -> web.Response:
    """Create or replace a store."""
    body = await call.body(_store_body)
    store = await publishing.save_store(call.services.database, call.id(), body, call.services.clock.now())
    return answer(_write_store(store))


async def get_stores(call: Call) -> web.Response:
    """List every store."""
    async with call.services.database.connection() as connection:
        stores = await load_stores(connection)
    return answer({"items": [_write_store(store) for store in stores.values()]})


async def get_store(call: Call) -> web.Response:
    """Give one store."""
    async with call.services.database.connection() as connection:
        return answer(_write_store(await load_store(connection, call.id())))


def _write_store(store: Any) -> dict[str, Any]:
    body = {key: value for key, value in asdict(store).items() if value is not None}
    return {"id": body.pop("store_id"), **body}


# Customers, from the shop's servers -------------------------------------------------------------------------


async def put_customer(call: Call) -> web.Response:
    """Note what the shop knows of a customer."""
    body = await call.body(_customer_body)
    refuse_unknown_zone(body.timezone)
    customer_id = call.customer_in_path()
    await customers.update_customer(
        call.services.database, customer_id, call.services.clock.now(), **msgspec.structs.asdict(body)
    )
    return answer({"id": customer_id, "stored": True})


async def post_customer_events(call: Call) -> web.Response:
    """Take what a customer did in the web shop or at the till."""
    return await take_events(call, call.customer_in_path(), source=call.actor.name, from_shop=True)


# Looking up -------------------------------------------------------------------------------------------------


async def get_transitions(call: Call) -> web.Response:
    """List transitions; of one customer only with a reason."""
    query = call.query(schemas.TransitionsQuery)
    hers = await _permit(call, "read transitions", query.customer_id, names_one=query.device_id is not None)
    filters = msgspec.structs.asdict(query) | {"limit": query.limit + 1, "customer_id": hers}
    rows = await operating.transitions(call.services.database, **filters)
    hidden = _hidden(call, query.customer_id)
    return answer(schemas.page(rows, query.limit, lambda row: _write_transition(row, hidden)))


def _write_transition(row: Any, hidden: frozenset[str]) -> dict[str, Any]:
    body = schemas.as_json(row, without=hidden | {"seq"})
    return {"id": body.pop("transition_id"), **body}


async def get_decisions(call: Call) -> web.Response:
    """List decisions; of one customer only with a reason."""
    query = call.query(schemas.DecisionsQuery)
    hers = await _permit(call, "read decisions", query.customer_id)
    filters = msgspec.structs.asdict(query) | {"limit": query.limit + 1, "customer_id": hers}
    find = operating.newest_decisions if filters.pop("order") == "newest" else operating.decisions
    rows = await find(call.services.database, **filters)
    hidden = _hidden(call, query.customer_id)
    return answer(schemas.page(rows, query.limit, lambda row: write_decision(row, hidden) | _names(call, row)))


async def get_decision(call: Call) -> web.Response:
    """Give one decision with every check, and what became of its message."""
    row = await operating.decision(call.services.database, call.id())
    if row is None:
        raise NotFound("There is no such decision.")
    await call.looks_at("read decision", row["customer_id"], row["decision_id"])
    return answer(write_decision(row) | _names(call, row))


def write_decision(row: Any, hidden: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Write a decision, its reason in words; of nobody by name, without the facts that tell who."""
    body = schemas.as_json(row, without=hidden | {"seq", "locale"})
    if hidden:
        body["checks"] = [{**check, "facts": {}} for check in body["checks"]]
    reason = body.get("reason")
    text = REASONS[Reason(reason)] if reason in set(Reason) else None
    words = {}
    if text and reason:
        hers = language_of(row["locale"]).sentences.reasons
        words = {"sentence": text.ops, "customer_sentence": hers.get(Reason(reason), text.customer)}
    return {"id": body.pop("decision_id"), **body, "reason": reason, **words}


def _names(call: Call, row: Any) -> dict[str, str]:
    """What the geofence and the store are called now, if they are still there."""
    snapshot = call.services.directory.snapshot
    fence, store = snapshot.fence(row["geofence_id"]), snapshot.stores.get(row["store_id"])
    return ({"geofence_name": fence.name} if fence else {}) | ({"store_name": store.name} if store else {})


async def _permit(call: Call, action: str, customer_id: str | None, *, names_one: bool = False) -> str | None:
    """Put a look at one customer on record, and give the id that her records are under, whichever was asked for."""
    if customer_id is not None:
        await call.looks_at(action, customer_id)
        return await standing.own_id(call.services.database, customer_id)
    if names_one:
        raise Forbidden("A device is somebody's: name its customer_id too.", code="customer_id_missing")
    return None


def _hidden(call: Call, customer_id: str | None) -> frozenset[str]:
    """Whoever did not ask for one customer, with a reason, is told nobody's name."""
    named = customer_id is not None or call.actor.key_id is None
    return frozenset() if named else frozenset({"customer_id", "device_id", "visit_id", "message_id"})


ROUTES: Final = (
    Route("PUT", "/v1/stores/{id}", put_store, OPS, body=_store_body.type, answer=answers.StoreAnswer),
    Route("GET", "/v1/stores", get_stores, OPS, answer=answers.StoresAnswer),
    Route("GET", "/v1/stores/{id}", get_store, OPS, answer=answers.StoreAnswer),
    Route("PUT", "/v1/customers/{id}", put_customer, SERVER, body=schemas.CustomerBody, answer=answers.CustomerAnswer),
    Route(
        "POST",
        "/v1/customers/{id}/events",
        post_customer_events,
        SERVER,
        schemas.EVENTS_BODY,
        body=schemas.EventsBody,
        answer=EventsAnswer,
        status=202,
    ),
    Route(
        "GET",
        "/v1/transitions",
        get_transitions,
        READERS,
        query=schemas.TransitionsQuery,
        answer=answers.TransitionsAnswer,
        asks_reason=True,
    ),
    Route(
        "GET",
        "/v1/decisions",
        get_decisions,
        READERS,
        query=schemas.DecisionsQuery,
        answer=answers.DecisionsAnswer,
        asks_reason=True,
    ),
    Route("GET", "/v1/decisions/{id}", get_decision, READERS, answer=answers.DecisionAnswer, asks_reason=True),
)
