"""The OpenAPI document is the truth: complete, valid, and every answer is as it says."""

from __future__ import annotations

import asyncio
from typing import Any

import jsonschema_rs
import pytest
import pytest_asyncio
import schemathesis
from conftest import Client, ring
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from geoservice.api.openapi import document
from geoservice.api.routing import Route
from geoservice.app import all_routes

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = all_routes(steerable=True)
EXERCISED = [route for route in ROUTES if (route.method, route.path) not in {("PUT", "/v1/clock"), ("GET", "/v1/live")}]
"""All but the one that would take the service to another century, and the one that never ends (see test_live.py)."""

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 8
CUSTOMER = "ada"
LEAVER = "lea"
WRITER = "wilma"
"""Who has herself erased by letter."""


def named(routes: Any) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


# The document -------------------------------------------------------------------------------------------------------


async def test_the_document_is_valid(shared):
    """The document is valid OpenAPI 3.1, and each of its schemas is valid JSON Schema."""
    answer = await shared.call("GET", "/openapi.json")
    assert answer.status == 200
    assert answer.body["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(answer.body).validate()
    for name, schema in answer.body["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name


async def test_the_document_lists_every_route(shared):
    """What can be called is in the document, and nothing else is."""
    paths = (await shared.ok("GET", "/openapi.json"))["paths"]
    listed = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert listed == {(route.method, route.path) for route in ROUTES}


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """Give the operations of the document, by path and method."""
    return document(ROUTES)["paths"]


async def test_every_operation_is_described(documented):
    """Each operation has a name of its own, a sentence, and says what it answers."""
    operations = [each for path in documented.values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        good = {status for status in operation["responses"] if status < "300"}
        assert good in ({"200"}, {"202"}, {"204"}, {"200", "202"})
        assert good == {"204"} or all("content" in operation["responses"][status] for status in good)


@named(ROUTES)
async def test_every_refusal_that_can_be_is_documented(documented, route):
    """Who needs credentials reads of 401, who sends a body of 400, 408, 413, 415 and 422, and so on."""
    operation = documented[route.path][route.method.lower()]
    expected = set()
    if route.roles != frozenset():
        expected |= {"401", "503"}
        assert operation["security"]
    if route.roles:
        expected |= {"403"}
    if "{" in route.path:
        expected |= {"404"}
    if route.body is not None:
        expected |= {"400", "408", "413", "415", "422"}
    if route.query is not None:
        expected |= {"422"}
    assert expected <= set(operation["responses"])
    for status, response in operation["responses"].items():
        if status >= "400" and route.path != "/readyz":
            assert list(response["content"]) == ["application/problem+json"]


@named([route for route in ROUTES if route.path in {"/v1/transitions", "/v1/decisions", "/v1/decisions/{id}"}])
async def test_the_reason_for_access_is_documented(documented, route):
    """Routes that can show one customer's records name the header that asks for the reason."""
    parameters = documented[route.path][route.method.lower()]["parameters"]
    assert ("Access-Reason", "header") in {(each["name"], each["in"]) for each in parameters}


# The answers --------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(shared) -> dict[str, str]:
    """Give ids that exist, by the path in which they stand: Ada has been sent a message."""
    await shared.set_up_store()
    await shared.set_up_campaign(experiment={"holdout_percent": 0})
    await shared.opt_in(CUSTOMER)
    await shared.browse(CUSTOMER)
    await shared.walk_in(CUSTOMER)
    await shared.settled()
    (message,) = (await shared.ok("GET", "/v1/me/messages", who=shared.customer(CUSTOMER)))["items"]
    decision = (await shared.decisions(CUSTOMER))[0]
    erasure = await shared.ok("DELETE", "/v1/me", who=shared.customer(LEAVER))
    await shared.ok("PUT", "/v1/notices/2026-01", {"texts": {"en": "We use your position."}}, who=shared.ops)
    versions = (await shared.ok("GET", "/v1/geofences/versions", who=shared.ops))["items"]
    await shared.ok("PUT", f"/v1/customers/{WRITER}", {}, who=shared.ops)
    return {
        "/v1/stores": "harbour",
        "/v1/geofences": "harbour-approach",
        "/v1/geofences/versions": str(versions[0]["version"]),
        "/v1/campaigns": "shoes",
        "/v1/products": "swift",
        "/v1/devices": "phone",
        "/v1/customers": CUSTOMER,
        "/v1/me/messages": message["id"],
        "/v1/messages": message["id"],
        "/v1/decisions": decision["id"],
        "/v1/me/erasures": erasure["id"],
        "/v1/notices": "2026-01",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def schema(shared) -> Any:
    """Give what schemathesis makes of the document."""
    read = schemathesis.openapi.from_dict(await shared.ok("GET", "/openapi.json"))
    read.config.update(base_url=shared.app.url)
    read.config.generation.update(with_security_parameters=False)
    return read


def parameters_of(route: Route, known: dict[str, str]) -> dict[str, str] | None:
    if "{purpose}" in route.path:
        return {"purpose": "insights"}
    if "{feed}" in route.path:
        return {"feed": "till"}
    if "{erasure_id}" in route.path:
        return {"id": LEAVER, "erasure_id": known["/v1/me/erasures"]}
    if (route.method, route.path) == ("DELETE", "/v1/customers/{id}"):
        return {"id": WRITER}
    others = {"alias": "web-1"} if "{alias}" in route.path else {}
    return {"id": known[route.path.partition("/{")[0]]} | others if "{id}" in route.path else None


async def restore(client: Client) -> None:
    """Put back what an earlier test may have deleted."""
    who = client.customer(CUSTOMER)
    await client.ok("PUT", "/v1/devices/phone", {"platform": "android", "push_token": "t"}, who=who)
    fences = {"type": "FeatureCollection", "features": [ring("harbour", 53.55, 10.0)]}
    await client.ok("POST", "/v1/geofences/import", fences, who=client.ops)
    await client.set_up_campaign(experiment={"holdout_percent": 0})
    await client.ok("PUT", "/v1/products/swift", {"name": "Swift", "category": "running-shoes"}, who=client.ops)
    await client.ok("PUT", "/v1/feeds/till", {"store_id": "harbour"}, who=client.ops)
    await client.ok("POST", f"/v1/customers/{CUSTOMER}/aliases", {"alias": "web-1"}, who=client.ops)


def credentials(client: Client, route: Route) -> dict[str, str]:
    if route.path == "/v1/me" or route.path.startswith("/v1/me/erasures"):
        return client.customer(LEAVER)
    if route.roles is None:
        return client.customer(CUSTOMER)
    return client.ops if route.roles else {}


@named(EXERCISED)
async def test_every_answer_is_as_documented(shared, known, schema, route):
    """Whatever is sent, right or wrong, the answer has a documented status, type, headers and form, and is no 5xx."""
    await restore(shared)
    operation = schema[route.path][route.method]
    real = parameters_of(route, known)
    # Hypothesis tries words that it finds in the code, such as the ids of those whom other tests need.
    strangers = (route.method, route.path) != ("DELETE", "/v1/customers/{id}")
    who = credentials(shared, route)
    statuses = await asyncio.to_thread(exercise, operation, real, who, strangers=strangers)
    if real is not None or "{" not in route.path:
        assert {200, 202, 204} & statuses or route.path in HARD_TO_GUESS, statuses


HARD_TO_GUESS = {
    "/v1/feeds/{feed}",
    "/v1/stores/{id}",
    "/v1/campaigns/{id}",
    "/v1/campaigns/{id}/dry-run",
    "/v1/campaigns/{id}/preview",
    "/v1/geofences/{id}",
    "/v1/geofences/import",
}
"""Bodies with time zones, templates and sound geometry: seldom right by chance, and tested by hand elsewhere."""


def exercise(operation: Any, real: dict[str, str] | None, who: dict[str, str], *, strangers: bool) -> set[int]:
    """Send right and wrong requests, to things that are there and to some that are not; gives the statuses seen."""
    seen: set[int] = set()

    def check(case: Any) -> None:
        response = case.call(headers=who)
        seen.add(response.status_code)
        assert response.status_code < 500, (response.status_code, response.text, case.as_curl_command())
        case.validate_response(response, checks=CHECKS)

    def run(mode: GenerationMode, parameters: dict[str, str] | None) -> None:
        cases = operation.as_strategy(generation_mode=mode, path_parameters=parameters)
        modest = settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        modest(given(cases)(check))()

    run(GenerationMode.POSITIVE, real)
    if real is not None and strangers:
        run(GenerationMode.POSITIVE, None)
    if operation.body or operation.query:
        run(GenerationMode.NEGATIVE, real)
    return seen
