"""Routes of privacy: what a customer takes along or has erased, her ids elsewhere, and what she was told."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from geoservice.api import schemas
from geoservice.api.answers import privacy as answers
from geoservice.api.answers.settings import ConsentsAnswer
from geoservice.api.browsers import ALL_ANSWERS
from geoservice.api.routing import Call, Route, answer
from geoservice.errors import NotFound, Overloaded
from geoservice.vocabulary import CustomerId, Purpose, Role
from geoservice.workflows import aliases, erasure, export, languages, notices, operating
from geoservice.workflows.records import EVIDENCE

SERVER: Final = frozenset({Role.SERVER})
OFFICER: Final = frozenset({Role.OFFICER})
PUBLISHERS: Final = frozenset({Role.OPS, Role.OFFICER})

EXPORTS_AT_ONCE: Final = 2
"""Of one process: each holds a database connection until its reader has it all."""
READER_S: Final = 20.0
"""A reader who takes longer than this for one piece is not waited for."""

_notice_body = msgspec.json.Decoder(notices.Notice)
_exports = asyncio.Semaphore(EXPORTS_AT_ONCE)


class AliasBody(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/customers/{id}/aliases``: her id in another system."""

    alias: CustomerId


_alias_body = msgspec.json.Decoder(AliasBody)


# Her data -----------------------------------------------------------------------------------------------------------


async def get_export(call: Call) -> web.StreamResponse:
    """Give everything on record of her: one JSON document with an index. The last field says that it is complete."""
    return await send_export(call, call.customer_id)


async def send_export(call: Call, customer_id: str) -> web.StreamResponse:
    """Send everything on record of one customer as it is read; raises Overloaded when others are being sent theirs."""
    if _exports.locked():
        raise Overloaded("Others are taking their data along just now; try again shortly.", retry_after_s=10)
    services = call.services
    response = web.StreamResponse(
        headers={
            **ALL_ANSWERS,
            "Content-Type": "application/json",
            "Content-Disposition": 'attachment; filename="export.json"',
            "Cache-Control": "no-store",
        }
    )
    async with _exports:
        pieces = export.export(services.database, services.settings, customer_id, services.clock.now())
        try:
            async for piece in pieces:
                if not response.prepared:  # what fails before the first piece is a problem document still
                    await response.prepare(call.request)
                async with asyncio.timeout(READER_S):
                    await response.write(piece)
        except BaseException as error:
            if not response.prepared:
                raise
            if call.request.transport is not None:
                call.request.transport.abort()  # half a document must not look like a whole one
            if isinstance(error, TimeoutError | ConnectionError):
                return response  # a reader who went away is no error of ours
            raise
        finally:
            await pieces.aclose()
        await response.write_eof()
    return response


async def delete_me(call: Call) -> web.Response:
    """Erase everything about her. From this answer on nothing is sent to her; 202 with a receipt if it takes longer."""
    services = call.services
    language = await languages.language_of_customer(services.database, call.customer_id)
    done = await erasure.erase(services.database, services.journal, call.customer_id, services.clock.now())
    where = {"Location": f"/v1/me/erasures/{done.erasure_id}"}
    return answer(write_erasure(call, done, language), status=200 if done.finished_at else 202, headers=where)


async def get_erasure(call: Call) -> web.Response:
    """Tell how far an erasure is; only to whom it was about."""
    services = call.services
    language = await languages.language_of_customer(services.database, call.customer_id)
    return answer(write_erasure(call, await erasure.receipt(services.database, call.customer_id, call.id()), language))


def write_erasure(call: Call, done: erasure.Erasure, language: languages.Language) -> dict[str, Any]:
    """Write a receipt, with what must be kept and for how long."""
    settings = call.services.settings
    return {
        "id": done.erasure_id,
        "state": "done" if done.finished_at else "running",
        "requested_at": done.requested_at,
        "finished_at": done.finished_at,
        "in_flight": done.in_flight,
        "kept": [export.what_is_kept(kept, settings, language) for kept in EVIDENCE if kept.table != "notices"],
    }


async def get_consent_history(call: Call) -> web.Response:
    """List every answer that she gave for one purpose, newest first, each with what she was told."""
    try:
        purpose = Purpose(call.request.match_info["purpose"])
    except ValueError:
        raise NotFound("There is no such purpose.") from None
    rows = await notices.consent_history(call.services.database, call.customer_id, purpose)
    return answer({"items": [schemas.as_json(row) for row in rows]})


# Her ids elsewhere --------------------------------------------------------------------------------------------------


async def post_alias(call: Call) -> web.Response:
    """Join another id of hers, the web shop's or the till's; what came in under it is hers from now on."""
    body = await call.body(_alias_body)
    customer_id = call.customer_in_path()
    services = call.services
    await aliases.join(services.database, call.actor, customer_id, body.alias, services.clock.now())
    return answer({"customer_id": customer_id, "alias": body.alias})


async def get_aliases(call: Call) -> web.Response:
    """List her other ids."""
    rows = await aliases.aliases(call.services.database, call.customer_in_path())
    return answer({"items": [schemas.as_json(row) for row in rows]})


async def delete_alias(call: Call) -> web.Response:
    """Part another id from her again, with what came in under it."""
    try:
        alias = msgspec.convert(call.request.match_info["alias"], CustomerId)
    except msgspec.ValidationError:
        raise NotFound("She has no such alias.") from None
    services = call.services
    await aliases.part(services.database, call.actor, call.customer_in_path(), alias, services.clock.now())
    return web.Response(status=204)


# What she was told --------------------------------------------------------------------------------------------------


async def put_notice(call: Call) -> web.Response:
    """Publish the words that customers agree to, under a version that cannot be changed afterwards."""
    body = await call.body(_notice_body)
    row = await notices.publish(call.services.database, call.id(), body, call.services.clock.now())
    return answer(schemas.as_json(row))


async def get_notices(call: Call) -> web.Response:
    """List every published notice, newest first."""
    return answer({"items": [schemas.as_json(row) for row in await notices.notices(call.services.database)]})


async def get_notice(call: Call) -> web.Response:
    """Give one published notice."""
    return answer(schemas.as_json(await notices.notice(call.services.database, call.id())))


async def get_my_notice(call: Call) -> web.Response:
    """Give the words in force in every language, for the app to show before it asks for consent."""
    published = await notices.notices(call.services.database)
    if not published:
        raise NotFound("No notice has been published; the app has words of its own.")
    return answer(schemas.as_json(published[0]))


# Who did what --------------------------------------------------------------------------------------------------------


class AuditQuery(schemas.Lookup, frozen=True, forbid_unknown_fields=True):
    """``GET /v1/audit``."""

    actor: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    action: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    subject: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


async def get_audit(call: Call) -> web.Response:
    """List who changed what, from what to what, and who read one customer's records, and why.

    Customers are named, and reasons given, only to whoever says why herself: that is put on record, too.
    """
    query = call.query(AuditQuery)
    named = query.customer_id is not None or "Access-Reason" in call.request.headers or call.actor.key_id is None
    if named:
        await call.looks_at("read audit", query.customer_id)
    filters = msgspec.structs.asdict(query) | {"limit": query.limit + 1}
    rows = await operating.audit_entries(call.services.database, **filters)
    hidden = frozenset() if named else frozenset({"customer_id", "reason"})
    return answer(schemas.page(rows, query.limit, lambda row: _write_entry(row, hidden)))


def _write_entry(row: Any, hidden: frozenset[str]) -> dict[str, Any]:
    body = schemas.as_json(row, without=hidden | {"seq"})
    return {"id": str(row["seq"]), **body}


ROUTES: Final = (
    Route("GET", "/v1/audit", get_audit, OFFICER, query=AuditQuery, answer=answers.AuditAnswer, asks_reason=True),
    Route("GET", "/v1/me/export", get_export, answer=answers.ExportAnswer),
    Route(
        "DELETE", "/v1/me", delete_me, answer=answers.ErasureAnswer, also=(202,), headers=("Location",), refuses=(409,)
    ),
    Route("GET", "/v1/me/notice", get_my_notice, answer=answers.NoticeAnswer, refuses=(404,)),
    Route("GET", "/v1/me/erasures/{id}", get_erasure, answer=answers.ErasureAnswer),
    Route("GET", "/v1/me/consents/{purpose}", get_consent_history, answer=ConsentsAnswer),
    Route(
        "POST",
        "/v1/customers/{id}/aliases",
        post_alias,
        SERVER,
        body=AliasBody,
        answer=answers.AliasAnswer,
        refuses=(409,),
    ),
    Route("GET", "/v1/customers/{id}/aliases", get_aliases, SERVER, answer=answers.AliasesAnswer, refuses=(422,)),
    Route("DELETE", "/v1/customers/{id}/aliases/{alias}", delete_alias, SERVER, status=204, refuses=(422,)),
    Route(
        "PUT",
        "/v1/notices/{id}",
        put_notice,
        PUBLISHERS,
        body=notices.Notice,
        answer=answers.NoticeAnswer,
        refuses=(409,),
    ),
    Route("GET", "/v1/notices", get_notices, PUBLISHERS, answer=answers.NoticesAnswer),
    Route("GET", "/v1/notices/{id}", get_notice, PUBLISHERS, answer=answers.NoticeAnswer),
)
