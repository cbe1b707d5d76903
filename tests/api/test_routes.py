"""Every route, whoever calls: who is let in, who is not, and how refusals look."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from typing import Any

import jwt
import pytest
from conftest import JWT_SECRET, NOON, OPS_KEY, Client

from geoservice.api.routing import Route
from geoservice.app import all_routes
from geoservice.vocabulary import Role

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = all_routes(steerable=True)
GUARDED = [route for route in ROUTES if route.roles != frozenset()]
PUBLIC = [route for route in ROUTES if route.roles == frozenset()]
CUSTOMERS = [route for route in ROUTES if route.roles is None]
OPERATORS = [route for route in ROUTES if route.roles]


def named(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


def path_of(route: Route, id_: str = "thing") -> str:
    path = route.path.replace("{id}", id_).replace("{purpose}", "location")
    return path.replace("{alias}", "other").replace("{feed}", "till").replace("{erasure_id}", "receipt")


async def send(client: Client, route: Route, who: dict[str, str], id_: str = "thing") -> Any:
    body = None if route.method in {"GET", "DELETE"} else {}
    return await client.call(route.method, path_of(route, id_), body, who=who)


def refused(answer: Any, status: int, code: str | None = None) -> None:
    """Check one problem document: the status twice, a stable code, words, and nothing else of ours."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["status"] == status
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", answer.body["code"])
    assert answer.body["title"]
    assert answer.body["detail"]
    assert code is None or answer.body["code"] == code, answer.body
    # A challenge without parameters breaks RFC 6750, and clients in Swift on Linux crash on it.
    challenge = answer.headers.get("WWW-Authenticate", "")
    assert challenge.startswith(('Bearer realm="', 'Basic realm="')) if status == 401 else not challenge


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed(secret: str = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> dict[str, str]:
    return bearer(jwt.encode({"sub": "ada", "exp": time.time() + 600} | claims, secret, algorithm))


def unsigned() -> dict[str, str]:
    parts = {"alg": "none", "typ": "JWT"}, {"sub": "ada", "exp": time.time() + 600}
    head, claims = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return bearer(f"{head}.{claims}.")


def bad_tokens() -> dict[str, dict[str, str]]:
    """What does not hold as a customer's token, nor as a key."""
    return {
        "nothing": {},
        "no bearer": {"Authorization": "Basic YWRhOmFkYQ=="},
        "bearer of nothing": {"Authorization": "Bearer "},
        "rubbish": bearer("rubbish"),
        "rubbish that looks like a token": bearer("a.b.c"),
        "rubbish that is no text": bearer("\udcff\udcfe"),
        "a key that nobody made": bearer("gsk_0123456789ab_nobody-made-this-key"),
        "expired": signed(exp=time.time() - 60),
        "unsigned": unsigned(),
        "signed with another secret": signed("another-secret-of-at-least-32-bytes"),
        "signed in another way": signed(JWT_SECRET * 2, "HS512"),
        "nobody's": bearer(jwt.encode({"exp": time.time() + 600}, JWT_SECRET)),
        "of a name that cannot be": signed(sub="ada lovelace"),
        "of a name that is too long": signed(sub="a" * 129),
        "not valid yet": signed(nbf=time.time() + 600),
    }


# Who is let in ------------------------------------------------------------------------------------------------------


@named(GUARDED)
async def test_credentials_that_do_not_hold_are_refused(shared, route):
    """Without credentials that hold, every route answers 401 and says nothing more."""
    for name, who in bad_tokens().items():
        answer = await send(shared, route, who)
        refused(answer, 401)
        assert answer.body["code"] in {"unauthenticated", "token_expired", "invalid_token", "invalid_key"}, name
    if route.roles is None:
        refused(await send(shared, route, signed(exp=time.time() - 60)), 401, "token_expired")


@named(CUSTOMERS)
async def test_a_key_is_no_customer(shared, route):
    """No API key, of whatever role, opens a customer's routes."""
    for who in [shared.ops, *(await keys_of(shared)).values()]:
        refused(await send(shared, route, who), 401, "invalid_token")


@named(OPERATORS)
async def test_a_customer_is_no_operator(shared, route):
    """A customer's token opens no route of the shop."""
    refused(await send(shared, route, shared.customer("ada")), 401, "invalid_key")


_keys: dict[str, dict[str, str]] = {}


async def keys_of(client: Client) -> dict[str, dict[str, str]]:
    if not _keys:
        _keys.update({role.value: await client.key(role.value) for role in Role})
    return _keys


@named(OPERATORS)
async def test_a_key_opens_what_its_role_may(shared, route):
    """A key of the wrong role is told which role is needed; one of the right role gets further."""
    reason = {"Access-Reason": "a test"} if route.asks_reason else {}
    for role, who in (await keys_of(shared)).items():
        answer = await send(shared, route, who | reason)
        if Role(role) in route.roles:
            assert answer.status not in {401, 403, 500}, answer.body
        else:
            refused(answer, 403, "forbidden")
            assert all(needed.value in answer.body["detail"] for needed in route.roles)


@named(PUBLIC)
async def test_public_routes_ask_nobody(shared, route):
    """Health, readiness and metrics answer whoever asks, whatever credentials come along."""
    for who in ({}, bearer("rubbish")):
        assert (await send(shared, route, who)).status == 200


async def test_a_revoked_key_stops_working(shared):
    """A key that was revoked does not hold."""
    who = await shared.key("ops")
    await shared.sql("update api_keys set revoked_at = $1 where revoked_at is null and key_id = $2", NOON, key_id(who))
    refused(await shared.call("GET", "/v1/stores", who=who), 401, "invalid_key")


def key_id(who: dict[str, str]) -> str:
    return who["Authorization"].removeprefix("Bearer gsk_").partition("_")[0]


async def test_a_token_expires_while_it_is_remembered(shared):
    """A token that was good a moment ago is refused from the second in which it expires; clocks may differ by 30 s."""
    for left_s in (1, 5, 25):  # on a busy machine a second is over before the first call
        who = signed(exp=int(time.time()) - 30 + left_s)
        if (await shared.call("GET", "/v1/me/consents", who=who)).status == 200:
            break
    else:
        pytest.fail("it was never taken")
    async with asyncio.timeout(60):
        while (answer := await shared.call("GET", "/v1/me/consents", who=who)).status == 200:
            await asyncio.sleep(0.01)
    refused(answer, 401, "token_expired")


async def test_issuer_and_audience_are_checked_when_set():
    """With an issuer and an audience in the settings, tokens for others do not hold."""
    from geoservice.api.auth import CustomerTokens
    from geoservice.errors import Unauthenticated

    tokens = CustomerTokens(JWT_SECRET, issuer="shop", audience="geoservice")
    assert tokens.customer(tokens.sign("ada", 60)) == "ada"
    for issuer, audience in (("other", "geoservice"), ("shop", "other"), (None, None)):
        other = CustomerTokens(JWT_SECRET, issuer=issuer, audience=audience)
        with pytest.raises(Unauthenticated):
            tokens.customer(other.sign("ada", 60))


# What is somebody else's --------------------------------------------------------------------------------------------


async def test_what_is_another_customers_does_not_exist(shared):
    """A message or a phone of somebody else is answered exactly as one that was never there."""
    await shared.ok(
        "PUT", "/v1/devices/adas-phone", {"platform": "ios", "push_token": "t-ada"}, who=shared.customer("ada")
    )
    await shared.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, purposes, payload,
                                 why, state, reserved_at, not_before, expires_at)
           values ('ada', 'adas-message', 'd', 'c', 't', 'push', '{}', '{"title": "t", "body": "b"}', '{}', 'accepted',
                   $1, $1, $1)""",
        NOON,
    )
    for method, there, nowhere in (
        ("GET", "/v1/me/messages/adas-message", "/v1/me/messages/nowhere"),
        ("DELETE", "/v1/devices/adas-phone", "/v1/devices/nowhere"),
    ):
        hers = await shared.call(method, there, who=shared.customer("ben"))
        refused(hers, 404, "not_found")
        nobodys = await shared.call(method, nowhere, who=shared.customer("ben"))
        assert hers.body == nobodys.body
    assert (await shared.call("GET", "/v1/me/messages/adas-message", who=shared.customer("ada"))).status == 200
    assert (await shared.call("DELETE", "/v1/devices/adas-phone", who=shared.customer("ada"))).status == 204


@named([route for route in ROUTES if "{id}" in route.path and not route.path.startswith("/v1/customers")])
async def test_an_id_that_cannot_be_is_not_found(shared, route):
    """Ids that no id can look like are 404, whatever they are made of."""
    who = shared.customer("ada") if route.roles is None else shared.ops
    bodies = {"PUT /v1/devices/{id}": {"platform": "ios", "push_token": "t"}}
    for id_ in ("a" * 129, "%00", "%F0%9F%91%9F", "%ff", "a%20b", "%27%3B--", "..%5C"):
        body = bodies.get(f"{route.method} {route.path}", {})
        if route.method == "PUT" and not route.path.startswith("/v1/devices"):
            continue  # there the body is looked at first: see the tests of the catalogue
        answer = await shared.call(route.method, path_of(route, id_), body if route.method == "PUT" else None, who=who)
        refused(answer, 404, "not_found")


# What is not there at all -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/pings/",
        "/v1/mine",
        "//v1/pings",
        "/v1/stores/a/b/c",
        "/docs/static/" + 300 * "a",
    ],
    ids=lambda path: path[:20],
)
async def test_an_unknown_path_is_not_found(shared, path):
    """A path that no route has is a problem document, too."""
    refused(await shared.call("GET", path), 404, "not_found")


@named(list(ROUTES))
async def test_a_wrong_method_is_told_the_right_ones(shared, route):
    """A method that a path does not have gets a 405 and the list of those that it has; monitors may send HEAD."""
    path = path_of(route)
    there = {each.method for each in ROUTES if matches(each, path)} | (
        {"HEAD"} if route.roles == frozenset() else set()
    )
    answer = await shared.call("TRACE", path)
    refused(answer, 405, "method_not_allowed")
    assert set(re.split(r", *", answer.headers["Allow"])) == there


def matches(route: Route, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[a-z_]+\}", "[^/]+", route.path), path) is not None


# Query strings and headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=many",
        "after=-1",
        "after=9223372036854775808",
        "after=99999999999999999999999999",
        "since=yesterday",
        "since=2026-03-04T12:00:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "since=9999-12-31T23:59:59-14:00",
        "customer_id=%00",
        "customer_id=",
        "customer_id=" + "a" * 129,
        "customer_id=%ff",
        "nothing=1",
    ],
)
@pytest.mark.parametrize("path", ["/v1/transitions", "/v1/decisions"])
async def test_a_wrong_query_is_refused(shared, path, query):
    """A query string that breaks a rule gets a 422 that names the rule, never an error of ours."""
    refused(await shared.call("GET", f"{path}?{query}", who=shared.ops), 422, "invalid")


@pytest.mark.parametrize(
    "query", ["limit=many", "before=yesterday", "before=2026-03-04T12:00:00,a", "before=,", "after=1",
              "before=0001-01-01T00:00:00%2B14:00,a", "before=2026-03-04T12:00:00%2B00:00,-%20"],
)  # fmt: skip
async def test_a_wrong_query_for_messages_is_refused(shared, query):
    """A page of messages that nobody handed out is refused with a 422."""
    refused(await shared.call("GET", f"/v1/me/messages?{query}", who=shared.customer("ada")), 422, "invalid")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_reason_in_any_encoding_is_put_on_record(shared, encoding):
    """A reason for access with letters beyond ASCII is put on record as it was meant, in either encoding of HTTP."""
    key = (await keys_of(shared))["support"]["Authorization"]
    host, port = shared.app.address
    reader, writer = await asyncio.open_connection(host, port)
    path = f"/v1/decisions?customer_id=zoe-{encoding}"
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: {key}\r\nAccess-Reason: "
    writer.write(head.encode() + "für Zoë".encode(encoding) + b"\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    (row,) = await shared.sql("select reason from audit_log where customer_id = $1", f"zoe-{encoding}")
    assert row["reason"] == "für Zoë"


async def test_no_refusal_repeats_a_secret(shared):
    """What was sent as credentials is nowhere in the answer."""
    for token in (OPS_KEY + "x", "gsk_0123456789ab_nobody-made-this-key", signed("x" * 32)["Authorization"][7:]):
        for path in ("/v1/me/consents", "/v1/stores"):
            assert token not in str((await shared.call("GET", path, who=bearer(token))).body)
