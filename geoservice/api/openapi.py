"""The OpenAPI 3.1 document, made from the route table and the types that check requests."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from geoservice import __version__
from geoservice.api.answers.problems import Problem
from geoservice.api.routing import Route
from geoservice.vocabulary import CustomerId, Id, Purpose

_REF: Final = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")

_PROBLEMS: Final = {
    400: "The body cannot be read.",
    401: "No credentials, or ones that do not hold.",
    403: "Not allowed with these credentials.",
    404: "No such thing, or not the caller's.",
    408: "The body did not come in time.",
    409: "Clashes with what is there.",
    412: "Changed since it was read.",
    413: "More than this route takes.",
    415: "A content type that this route does not read.",
    422: "Well-formed, but against a rule; `errors` says where.",
    429: "Too often; Retry-After says when again.",
    503: "Not now; Retry-After says when.",
}
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Location": {"description": "Where to ask again.", "required": True, "schema": {"type": "string"}},
    "ETag": {"description": "The version of what was answered.", "required": True, "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"required": True, "schema": {"type": "string"}},
}
_NOT_ALL_YET: Final = {202: "Begun; it goes on after this answer.", 503: "Not everything is there."}
_PROBLEM_HEADERS: Final = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
_TAKEN: Final[dict[str, dict[str, str]]] = {
    "If-Match": {"description": "The ETag that was read; 412 when it was changed since."},
    "If-None-Match": {"description": "`*` creates only; 412 when it is there already."},
    "Last-Event-ID": {"description": "The id of the last event that came; it goes on after that one."},
}
_ACCESS_REASON: Final = {
    "name": "Access-Reason",
    "in": "header",
    "required": False,
    "description": "Why one customer's records are read; put on record. Keys of support and officers must say it.",
    "schema": {"type": "string"},
}


def document(routes: Sequence[Route], title: str = "geoservice") -> dict[str, Any]:
    """Describe these routes; every answer that they can give is in it."""
    types = [kind for route in routes for kind in (route.body, route.query, route.answer) if kind is not None]
    types += [Problem, Id, CustomerId, Purpose]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Location-triggered push notifications: helpful at the right place and moment, silent "
            "otherwise. Errors are problem documents (RFC 9457) with a stable `code`.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "customer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "password": {"type": "http", "scheme": "basic", "description": "The customer's token as the password."},
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
            },
        },
    }


def _operation(route: Route, schemas: dict[Any, dict[str, Any]], components: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": summary.rstrip("."),
        "tags": [_tag(route)],
        "responses": _responses(route, schemas),
        "security": _security(route),
    }
    if description:
        operation["description"] = description
    if parameters := [*_path_parameters(route, schemas), *_query_parameters(route, schemas, components)]:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": schemas[route.body]} for kind in route.body_types},
        }
    return operation


def _tag(route: Route) -> str:
    if route.roles is None:
        return "app and customer"
    return "store operations and servers" if route.roles else "service"


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.roles is None:
        return [{name: []} for name in (("customer", "password") if route.basic else ("customer",))]
    return [{"key": sorted(role.value for role in route.roles)}] if route.roles else []


def _responses(route: Route, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    content = {} if route.answer is None else {"content": {route.answer_type: {"schema": schemas[route.answer]}}}
    good = {str(route.status): {"description": "Done.", **content, **_headers(route.headers)}}
    for status in sorted(_statuses(route)):
        good[str(status)] = {
            "description": _PROBLEMS[status],
            "content": {"application/problem+json": {"schema": schemas[Problem]}},
            **_headers((_PROBLEM_HEADERS[status],) if status in _PROBLEM_HEADERS else ()),
        }
    for status in route.also:
        good[str(status)] = {"description": _NOT_ALL_YET[status], **content}
    return good


def _headers(names: tuple[str, ...]) -> dict[str, Any]:
    return {"headers": {name: _HEADERS[name] for name in names}} if names else {}


def _statuses(route: Route) -> Iterable[int]:
    found = set(route.refuses)
    if route.roles is None or route.roles:
        found |= {401, 429, 503}
    if route.roles:
        found.add(403)
    if "{" in route.path:
        found.add(404)
    if route.body is not None:
        found |= {400, 408, 413, 415, 422}
    if route.query is not None:
        found.add(422)
    return found


def _path_parameters(route: Route, schemas: dict[Any, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        kind: Any = Purpose if name == "purpose" else Id
        if route.path.startswith("/v1/customers/"):
            kind = CustomerId
        yield {"name": name, "in": "path", "required": True, "schema": schemas[kind]}
    if route.asks_reason:
        yield _ACCESS_REASON
    for name in route.takes:
        yield {"name": name, "in": "header", "required": False, "schema": {"type": "string"}} | _TAKEN[name]


def _query_parameters(
    route: Route, schemas: dict[Any, dict[str, Any]], components: dict[str, Any]
) -> Iterable[dict[str, Any]]:
    if route.query is None:
        return
    name = schemas[route.query]["$ref"].rpartition("/")[2]
    schema = components[name]
    for parameter, its_schema in schema["properties"].items():
        yield {
            "name": parameter,
            "in": "query",
            "required": parameter in schema.get("required", ()),
            "schema": its_schema,
        }
