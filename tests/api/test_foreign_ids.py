"""The whole route table, called by everybody who is not Ada, with Ada's ids: nothing of hers is shown or changed."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
import pytest_asyncio
from conftest import Client, fix

from geoservice.api.routing import Route
from geoservice.app import all_routes
from geoservice.vocabulary import Role

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADA, MALLORY = "ada-marked-9b2c", "mallory"
PHONE = "ada-phone-9b2c"
ROUTES = [route for route in all_routes(steerable=False) if route.roles != frozenset()]
CUSTOMERS = [route for route in ROUTES if route.roles is None]
OPERATORS = [route for route in ROUTES if route.roles]


def named(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hers(shared) -> dict[str, str]:
    """Ids of what is Ada's, by the name of the table: a phone, a message, a decision, an erasure, an alias."""
    await shared.set_up_store()
    await shared.set_up_campaign()
    await shared.opt_in(ADA, device_id=PHONE)
    await shared.browse(ADA)
    await shared.walk_in(ADA, device_id=PHONE)
    await shared.delivered(1)
    await shared.settled()
    await shared.ok("POST", f"/v1/customers/{ADA}/aliases", {"alias": "ada-alias-9b2c"}, who=await shared.key("server"))
    (message,) = await shared.sql("select message_id, decision_id from messages where customer_id = $1", ADA)
    (transition,) = await shared.sql("select transition_id, visit_id from transitions where customer_id = $1", ADA)
    return {
        "customer": ADA, "device": PHONE, "alias": "ada-alias-9b2c", "message": message["message_id"],
        "decision": message["decision_id"], "transition": transition["transition_id"], "visit": transition["visit_id"],
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keys(shared) -> dict[Role, dict[str, str]]:
    """A key of each role."""
    return {role: await shared.key(role.value) for role in Role}


async def on_record(client: Client) -> dict[str, list[str]]:
    """Everything that is stored under Ada's id, read in one query: there are many tables, and this is asked often."""
    rooms = ["customers", *(row["room"] for row in await client.sql("select room::text from customer_tables()"))]
    rows = [f"select '{room}' as room, t::text as row from {room} t where customer_id = $1" for room in rooms]
    found = await client.sql(" union all ".join(rows), ADA)
    return {room: sorted(each["row"] for each in found if each["room"] == room) for room in rooms}


def secrets_of(hers: dict[str, str]) -> list[str]:
    return [*hers.values(), f"token-{ADA}-{PHONE}"]


def shown(answer: Any, asked: str, hers: dict[str, str]) -> list[str]:
    """What of Ada's an answer shows that the question did not have."""
    text = (
        answer.body.decode("utf-8", "replace") if isinstance(answer.body, bytes) else orjson.dumps(answer.body).decode()
    )
    text += str(dict(answer.headers))
    return [secret for secret in secrets_of(hers) if secret in text and secret not in asked]


def bodies_of(route: Route, hers: dict[str, str]) -> list[Any]:
    if route.body is None:
        return [None]
    return [
        {},
        {"customer_id": ADA, "device_id": PHONE},
        {"platform": "ios", "push_token": "m"},
        {"granted": False, "notice_version": "1"},
        {"topics": {"sneakers": False}},
        {"device_id": PHONE, "pings": []},
        {"events": []},
        {"event": "stop"},
        {"alias": hers["alias"]},
        {"birth_year": 2015},
    ]


def paths_of(route: Route, hers: dict[str, str]) -> list[str]:
    if "{" not in route.path:
        queries = ("", f"?customer_id={ADA}", f"?device_id={PHONE}", f"?customer_id={ADA}&device_id={PHONE}")
        return [route.path + query for query in (queries if route.query is not None else queries[:1])]
    others = {"purpose": "location", "alias": hers["alias"]}
    return [
        re.sub(
            r"\{(\w+)\}",
            lambda name, value=value: value if name[1] == "id" else others.get(name[1], "thing"),
            route.path,
        )
        for value in hers.values()
    ]


@named(CUSTOMERS)
async def test_another_customer_reaches_nothing_of_hers(shared, hers, route):
    """Mallory, with Ada's ids in paths, queries and bodies: no route shows or changes anything of Ada's."""
    before = await on_record(shared)
    for path in paths_of(route, hers):
        for body in bodies_of(route, hers):
            answer = await shared.call(route.method, path, body, who=shared.customer(MALLORY))
            assert answer.status < 500, (path, body, answer.body)
            assert not shown(answer, f"{path} {body}", hers), (path, body)
    assert await on_record(shared) == before


@named(OPERATORS)
async def test_the_wrong_role_reaches_nothing_of_hers(shared, hers, keys, route):
    """A key whose role is not the route's gets a 403, whatever ids it names, and nothing changes."""
    before = await on_record(shared)
    for role in set(Role) - set(route.roles):
        who = keys[role] | {"Access-Reason": "because"}
        for path in paths_of(route, hers):
            answer = await shared.call(route.method, path, bodies_of(route, hers)[-1], who=who)
            assert answer.status == 403, (role, path)
            assert not shown(answer, path, hers)
    assert await on_record(shared) == before


@named([route for route in OPERATORS if route.method == "GET"])
async def test_without_a_reason_she_is_not_named(shared, hers, keys, route):
    """A key of the right role that gives no reason sees nothing of Ada's by name, in no list and under no id."""
    for role in route.roles:
        for path in paths_of(route, hers):
            if role is Role.SERVER and "/v1/customers/" in path:
                continue  # the shop's servers know their customers
            answer = await shared.call("GET", path, who=keys[role])
            assert answer.status < 500
            left = {"transition", "decision"} if answer.status == 200 else set()  # these ids name nobody
            seen = set(shown(answer, path, hers)) - {hers[name] for name in left}
            assert not seen, (role, path, seen)


async def test_a_batch_of_somebody_else_is_her_own(shared, hers):
    """Ada's recorded batch, replayed by Mallory under the same ids, is Mallory's: without consent it is dropped."""
    assert hers["device"] == PHONE
    before = await on_record(shared)
    batch = {"device_id": PHONE, "pings": [fix(shared.now, 53.55, 10.0)]}
    answer = await shared.ok("POST", "/v1/pings", batch, who=shared.customer(MALLORY))
    assert [item["reason"] for item in answer["ignored"]] == ["no_location_consent"]
    assert await on_record(shared) == before
