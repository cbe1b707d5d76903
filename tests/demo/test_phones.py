"""The demo's own routes: phones for whoever opens the page, what reaches them, the time; and nowhere else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import jsonschema_rs
import orjson
import pytest
import pytest_asyncio
import schemathesis
from conftest import fix
from demo_house import demo_house

from geoservice.app import App
from geoservice.demo.fcm_stand_in import Answer
from geoservice.demo.stage import ZONE
from geoservice.demo.walks import walk_past
from geoservice.errors import SettingsError

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORE = "hh-moenckebergstrasse"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with demo_house(postgres, tmp_path_factory.mktemp("phones")) as running:
        yield running


async def walk(demo: Any, phone: Any, *, until_sent: bool = False) -> None:
    """Pass the store, or only until a message is decided; the time goes along, as the page makes it."""
    await demo.client.ok("POST", "/demo/time", {"opening_of": STORE}, who=phone.who)
    for step in walk_past(demo.city.places[STORE], datetime.now(ZONE)):
        now = (await demo.client.ok("POST", "/demo/time", {"forward_s": 50}, who=phone.who))["now"]
        ping = {**step, "recorded_at": now}
        await demo.client.ok("POST", "/v1/pings", {"device_id": "browser", "pings": [ping]}, who=phone.who)
        if until_sent and await demo.client.ok("GET", "/v1/me/messages", who=phone.who) != {"items": []}:
            return


@asynccontextmanager
async def stream(demo: Any, phone: Any, query: str = "") -> AsyncIterator[Any]:
    """What the page reads, as (event, data)."""
    url = f"{demo.url}/demo/stream{query}"
    async with demo.client.session.get(url, headers=phone.who) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield read_events(response)


async def read_events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    kind = ""
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, orjson.loads(value)


async def next_of(events: Any, wanted: str) -> Any:
    async with asyncio.timeout(60):
        async for kind, data in events:
            if kind == wanted:
                return data
    raise AssertionError(f"the stream ended without {wanted}")


# Only in a demo ------------------------------------------------------------------------------------------------------


async def test_a_service_that_is_no_demo_has_none_of_it(shared, demo):
    """Even with a steerable clock and a stand-in, each route of the demo is a 404 in any other service."""
    for route in demo.phones.routes:
        answer = await shared.call(route.method, route.path, {}, who=shared.customer("ada"))
        assert answer.status == 404, route.path
        assert route.path not in (await shared.ok("GET", "/openapi.json"))["paths"]


async def test_no_service_with_a_real_clock_takes_them(demo):
    """A composition that would let strangers move real time does not start."""
    settings = dataclasses.replace(demo.client.app.settings, clock="system")
    with pytest.raises(SettingsError):
        App(settings, demo=demo.phones.routes)


async def test_the_document_of_a_demo_is_valid(demo):
    """The demo's OpenAPI document describes its routes, too."""
    document = await demo.client.ok("GET", "/openapi.json")
    schemathesis.openapi.from_dict(document).validate()
    assert all(map(jsonschema_rs.meta.is_valid, document["components"]["schemas"].values()))
    assert {route.path for route in demo.phones.routes} <= set(document["paths"])


# A phone -------------------------------------------------------------------------------------------------------------


async def test_everybody_gets_a_phone_of_their_own(demo):
    """Each visitor is a new customer unless she says who she is; rubbish is refused in words."""
    first, second = [await demo.client.ok("POST", "/demo/phones", {}) for _ in range(2)]
    assert first["customer_id"] != second["customer_id"]
    again = await demo.client.ok("POST", "/demo/phones", {"customer_id": "lena"})
    assert again["customer_id"] == "lena"
    assert again["push_token"].endswith("lena")
    for wrong in ({"customer_id": "no spaces"}, {"name": "lena"}, []):
        assert (await demo.client.call("POST", "/demo/phones", wrong)).status == 422


async def test_a_push_reaches_her_page_and_nobody_elses(demo):
    """Service, FCM adapter, stand-in, stream: the push comes with its text and our id, to her phone alone."""
    phone, other = await demo.new_phone(), await demo.new_phone()
    async with stream(demo, phone) as hers, stream(demo, other) as theirs:
        await walk(demo, phone)
        push = await next_of(hers, "push")
        assert push["title"] == "Running shoes, just around the corner"
        listed = await demo.client.ok("GET", "/v1/me/messages", who=phone.who)
        assert [each["id"] for each in listed["items"]] == [push["message_id"]]
        await walk(demo, other)
        assert (await next_of(theirs, "push"))["message_id"] != push["message_id"]
    async with stream(demo, phone, f"?after={push['number'] - 1}") as later:
        assert await next_of(later, "push") == push


async def test_she_reads_why_and_why_not(demo):
    """Decisions come in her words, oldest first, and the next question goes on where the last one ended."""
    phone = await demo.new_phone()
    await walk(demo, phone)
    first = await demo.client.ok("GET", "/demo/decisions", who=phone.who)
    sent = [each for each in first["items"] if each["outcome"] == "send"]
    assert [each["campaign"] for each in sent] == ["Near a store after looking at running shoes"]
    await demo.client.ok("POST", "/demo/time", {"forward_s": 86_400}, who=phone.who)
    await walk(demo, phone)
    query = f"/demo/decisions?after={first['after']}"
    second = await demo.client.ok("GET", query, who=phone.who)
    (silence,) = [each for each in second["items"] if each["reason"] == "campaign_cooldown"]
    assert silence["sentence"].endswith(".")
    assert silence["geofence"].startswith("Near ")


# The time ------------------------------------------------------------------------------------------------------------


async def test_time_passes_forward_only_and_every_page_hears_of_it(demo):
    """A week is a week; the pages of all visitors are told; back, or nowhere, is refused."""
    phone, other = await demo.new_phone(), await demo.new_phone()
    async with stream(demo, other) as theirs:
        before = datetime.fromisoformat((await next_of(theirs, "time"))["now"])
        after = await demo.client.ok("POST", "/demo/time", {"forward_s": 7 * 86_400}, who=phone.who)
        passed = datetime.fromisoformat(after["now"]) - before
        assert timedelta(days=7) <= passed < timedelta(days=7, minutes=1)
        told = datetime.fromisoformat((await next_of(theirs, "time"))["now"])
        assert told - before >= timedelta(days=7)
    for wrong in ({"forward_s": -1}, {}, {"forward_s": 1, "opening_of": STORE}):
        assert (await demo.client.call("POST", "/demo/time", wrong, who=phone.who)).status == 422


async def test_she_can_wait_for_the_store_to_open(demo):
    """From any hour it goes to a time at which the store is open and stays so for a walk."""
    phone = await demo.new_phone()
    for hours in (9, 13):
        await demo.client.ok("POST", "/demo/time", {"forward_s": hours * 3_600}, who=phone.who)
        await demo.client.ok("POST", "/demo/time", {"opening_of": STORE}, who=phone.who)
        stores = {each["id"]: each for each in (await demo.client.ok("GET", "/demo/city"))["stores"]}
        now = datetime.fromisoformat((await demo.client.ok("GET", "/demo/time"))["now"])
        assert stores[STORE]["is_open"]
        assert datetime.fromisoformat(stores[STORE]["changes_at"]) - now > timedelta(minutes=30)
    unknown = await demo.client.call("POST", "/demo/time", {"opening_of": "nowhere"}, who=phone.who)
    assert unknown.status == 404


async def test_what_is_on_its_way_arrives_before_a_week_passes(demo):
    """Whoever lets a week pass while a message is under way has it before the week is over."""
    phone = await demo.new_phone()
    demo.fcm.script(Answer(delay_s=0.5), token=phone.push_token)
    await walk(demo, phone, until_sent=True)
    await demo.client.ok("POST", "/demo/time", {"forward_s": 7 * 86_400}, who=phone.who)
    (message,) = (await demo.client.ok("GET", "/v1/me/messages", who=phone.who))["items"]
    assert message["state"] == "accepted"


# The end -------------------------------------------------------------------------------------------------------------


async def test_the_streams_end_with_the_demo(postgres, tmp_path):
    """Open pages do not hold up the end of a demo."""
    async with aiohttp.ClientSession() as session, demo_house(postgres, tmp_path) as demo:
        phone = await demo.client.ok("POST", "/demo/phones", {})
        who = {"Authorization": f"Bearer {phone['token']}"}
        response = await session.get(f"{demo.url}/demo/stream", headers=who)
        events = read_events(response)
        await next_of(events, "time")
        await demo.phones.__aexit__()
        async with asyncio.timeout(60):
            assert [kind async for kind, _ in events if kind == "push"] == []


async def test_a_walk_that_is_not_allowed_leaves_no_trace(demo):
    """Without consent her pings are ignored by name, and no decision about her exists."""
    phone = await demo.client.ok("POST", "/demo/phones", {})
    who = {"Authorization": f"Bearer {phone['token']}"}
    now = datetime.fromisoformat((await demo.client.ok("GET", "/demo/time"))["now"])
    place = demo.city.places[STORE]
    body = {"device_id": "browser", "pings": [fix(now, place.lat, place.lon)]}
    receipt = await demo.client.ok("POST", "/v1/pings", body, who=who)
    assert receipt["ignored"] == [{"index": 0, "reason": "no_location_consent"}]
    assert (await demo.client.ok("GET", "/demo/decisions", who=who))["items"] == []
