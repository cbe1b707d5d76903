"""Routes of the privacy officer: what a customer who wrote a letter could do in the app herself."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from geoservice.api.answers import privacy as answers
from geoservice.api.privacy import OFFICER, send_export, write_erasure
from geoservice.api.routing import Call, Route, answer
from geoservice.workflows import erasure, standing
from geoservice.workflows.languages import language_of


async def get_customer_export(call: Call) -> web.StreamResponse:
    """Give everything on record of one customer, by any of her ids, for an officer who says why."""
    call.reason()  # who may not ask is not told who is known, either
    hers = await standing.known(call.services.database, call.customer_in_path())
    await call.looks_at("exported customer", hers.customer_id)
    return await send_export(call, hers.customer_id)


async def delete_customer(call: Call) -> web.Response:
    """Erase one customer, by any of her ids, for an officer who says why; 202 with a receipt if it takes longer."""
    services = call.services
    order = erasure.Order(call.actor, call.reason())
    hers = await standing.known(services.database, call.customer_in_path())
    done = await erasure.erase(services.database, services.journal, hers.customer_id, services.clock.now(), order=order)
    where = {"Location": f"/v1/customers/{hers.customer_id}/erasures/{done.erasure_id}"}
    return answer(write_erasure(call, done, language_of(None)), status=200 if done.finished_at else 202, headers=where)


async def get_customer_erasure(call: Call) -> web.Response:
    """Tell how far the erasure of one customer is, for an officer who says why."""
    customer_id, erasure_id = call.customer_in_path(), call.id("erasure_id")
    await call.looks_at("read erasure", customer_id, erasure_id)
    done = await erasure.receipt(call.services.database, customer_id, erasure_id)
    return answer(write_erasure(call, done, language_of(None)))


ROUTES: Final = (
    Route(
        "GET",
        "/v1/customers/{id}/export",
        get_customer_export,
        OFFICER,
        answer=answers.ExportAnswer,
        refuses=(404, 422),
        asks_reason=True,
    ),
    Route(
        "DELETE",
        "/v1/customers/{id}",
        delete_customer,
        OFFICER,
        answer=answers.ErasureAnswer,
        also=(202,),
        headers=("Location",),
        refuses=(404, 409, 422),
        asks_reason=True,
    ),
    Route(
        "GET",
        "/v1/customers/{id}/erasures/{erasure_id}",
        get_customer_erasure,
        OFFICER,
        answer=answers.ErasureAnswer,
        refuses=(404, 422),
        asks_reason=True,
    ),
)
