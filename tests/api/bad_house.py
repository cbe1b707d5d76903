"""What tests of bad input share: every route that takes a body, bytes on the wire, and what an answer may show."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from conftest import Client

from geoservice.api.routing import SMALL_BODY, Route
from geoservice.app import all_routes

WITH_BODY = [route for route in all_routes(steerable=True) if route.body is not None]
SMALL = [route for route in WITH_BODY if route.body_max == SMALL_BODY]
INNARDS = ("Traceback", 'File "', "Error(", "Exception", "msgspec", "aiohttp", "asyncpg", "bytearray(", "b'", "orjson")
"""Words that only somebody with the source should ever read."""


def named(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


def path_of(route: Route) -> str:
    return (
        route.path.replace("{id}", "thing")
        .replace("{purpose}", "location")
        .replace("{alias}", "other")
        .replace("{feed}", "till")
        .replace("{erasure_id}", "receipt")
    )


def credentials(client: Client, route: Route) -> dict[str, str]:
    return client.customer("eve") if route.roles is None else client.ops


async def send(client: Client, route: Route, body: bytes, **headers: str) -> Any:
    return await post(client, path_of(route), body, credentials(client, route), route.method, **headers)


async def post(client: Client, path: str, body: Any, who: dict[str, str], method: str = "POST", **headers: str) -> Any:
    """Send a body of any size."""
    data = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_UTC_Z)
    headers = {"Content-Type": "application/json"} | who | headers
    async with client.session.request(method, client.app.url + path, data=io.BytesIO(data), headers=headers) as answer:
        raw_answer = await answer.read()
        json = orjson.loads(raw_answer) if "json" in answer.content_type else raw_answer
        return SimpleNamespace(status=answer.status, headers=answer.headers, body=json)


def refused(answer: Any, *statuses: int) -> None:
    """Check a problem document with a code, which shows nothing of the inside."""
    assert answer.status in statuses, (answer.status, answer.body)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["code"].replace("_", "").isalpha()
    shows_nothing(answer)


def shows_nothing(answer: Any) -> None:
    text = str(answer.body)
    assert [word for word in INNARDS if word in text] == []


async def raw(client: Client, data: bytes, timeout_s: float = 5) -> bytes:
    """Send bytes and read until the other side hangs up, or the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.app.address[1])
    received = b""
    try:
        writer.write(data)
        async with asyncio.timeout(timeout_s):
            while chunk := await reader.read(65_536):
                received += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return received


def head(route: str, *lines: str) -> bytes:
    return "\r\n".join([f"{route} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


@contextmanager
def soon(within_s: float = 5.0) -> Iterator[None]:
    """Check that what is done inside does not hold the loop, in which the service runs, for longer than that.

    The time of its thread counts: on a busy machine the clock on the wall says little, so that has a minute.
    """
    began, started = time.thread_time(), time.monotonic()
    yield
    assert time.thread_time() - began < within_s
    assert time.monotonic() - started < 60


async def alive(client: Client, within_s: float = 5.0) -> None:
    """Check that somebody else is answered, and soon."""
    with soon(within_s):
        assert (await client.call("GET", "/healthz")).status == 200
        assert (await client.call("GET", "/v1/me/consents", who=client.customer("bystander"))).status == 200


def authorised(client: Client) -> str:
    return "Authorization: " + client.customer("eve")["Authorization"]
