"""Errors as ``application/problem+json`` (RFC 9457), with a stable ``code`` and places in the body."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
import orjson
import structlog
from aiohttp import web

from geoservice.errors import (
    Invalid,
    MalformedBody,
    RequestError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from geoservice.plain_words import detail_of

CONTENT_TYPE: Final = "application/problem+json"

_log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, code: str, title: str, detail: str, **extra: Any) -> web.Response:
    """Build a problem document."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **extra}
    return web.Response(status=status, body=orjson.dumps(body), content_type=CONTENT_TYPE)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem document; the unexpected ones are logged and say nothing."""
    response = await _answer(request, handler)
    if response.status >= HTTPStatus.BAD_REQUEST and "Expect" in request.headers:
        response.force_close()  # whether the body still comes is up to the other side
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestError as error:
        return _request_problem(error)
    except Unavailable as error:
        response = problem(503, error.code, "Not available right now", error.detail)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    except web.HTTPException as error:
        return _http_problem(error)
    except Exception as error:  # noqa: BLE001 - the last resort; it is logged with its traceback
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # aiohttp, of a file below /docs/static
            return _http_problem(web.HTTPNotFound())
        _log.exception("request_failed", route=_route(request))
        return internal_error()


def internal_error() -> web.Response:
    """Say that it was us, and nothing else."""
    return problem(
        500, "internal_error", "Something went wrong here", "The error has been logged; trying again may work."
    )


def _request_problem(error: RequestError) -> web.Response:
    extra: dict[str, Any] = dict(error.extra)
    if error.details:
        extra["errors"] = msgspec.to_builtins(error.details)
    response = problem(error.status, error.problem_code, error.title, error.detail, **extra)
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = error.challenge
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _http_problem(error: web.HTTPException) -> web.Response:
    """Problems that aiohttp finds itself: unknown route, wrong method, too large, redirects stay as they are."""
    status = HTTPStatus(error.status)
    if status < HTTPStatus.BAD_REQUEST:
        raise error
    code = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "too_large"}.get(
        status, "bad_request"
    )
    response = problem(status, code, status.phrase, status.description or status.phrase)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"


def refuse_invalid(error: msgspec.ValidationError, kind: Any) -> Invalid:
    """Build the 422 for a body that is JSON but not of the kind that the route takes."""
    return Invalid("The body is not what this route takes.", details=[detail_of(error, kind)])


def refuse_malformed(error: orjson.JSONDecodeError | None = None) -> MalformedBody:
    """Build the 400 for a body that is no JSON; it says where, as far as is known, and quotes nothing."""
    where = f": line {error.lineno}, column {error.colno}" if error else ""
    return MalformedBody(f"The body is not valid JSON{where}.", code="malformed_json")
