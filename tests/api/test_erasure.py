"""A customer has herself erased, takes her data along, or is one person under several ids."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from conftest import NOON, Client, environment, fix, running

from geoservice.demo.fcm_stand_in import Answer
from geoservice.workflows import erasure

WHO = "canary-customer-7f3a"
MARKS = (WHO, "canary-device", "canary-token", "canary-event", "canary-order", "canary-alias", "canary-fid")
CONSENT = {"granted": True, "notice_version": "2026-01"}
NOTICE = {
    "texts": {"en": "We use your position to tell you about shoes nearby."},
    "controller": "Strandläufer GmbH", "jurisdiction": "DE", "data_used": ["position", "browse history"],
}  # fmt: skip


async def live(client: Client, who: str = WHO) -> None:
    """Leave something in every table: phone, consents, settings, events, a visit, a message, a look at her."""
    await client.ok("PUT", "/v1/notices/2026-01", NOTICE, who=client.ops)
    await client.set_up_store()
    await client.set_up_campaign()
    await client.opt_in(who, device_id="canary-device")
    await client.ok(
        "PUT", "/v1/devices/canary-device", {"platform": "ios", "push_token": "canary-token", "fid": "canary-fid"},
        who=client.customer(who),
    )  # fmt: skip
    await client.browse(who)
    server = await client.key("server")
    await client.ok("POST", f"/v1/customers/{who}/aliases", {"alias": "canary-alias"}, who=server)
    bought = {
        "type": "purchased",
        "id": "canary-event",
        "occurred_at": NOON - timedelta(days=40),
        "order_id": "canary-order",
    }
    await client.ok("POST", "/v1/customers/canary-alias/events", {"events": [bought]}, who=server)
    await client.walk_in(who, device_id="canary-device")
    await client.delivered(1)
    await client.settled()
    support = await client.key("support") | {"Access-Reason": f"{who} called"}
    (decision,) = (await client.ok("GET", f"/v1/decisions?customer_id={who}", who=support))["items"]
    await client.ok("GET", f"/v1/decisions/{decision['id']}", who=support)


async def everything(client: Client) -> dict[str, str]:
    """Every row of every table that the database has, as text."""
    tables = await client.sql(
        "select relname from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
    )
    found = {}
    for table in (row["relname"] for row in tables):
        (row,) = await client.sql(f"select coalesce(string_agg(t::text, chr(10)), '') as all from \"{table}\" t")
        found[table] = row["all"]
    return found


async def traces_of(client: Client, marks: tuple[str, ...] = MARKS) -> dict[str, list[str]]:
    """Tables in which a mark stands, as it is or as bytes."""
    found = {}
    for table, text in (await everything(client)).items():
        hits = [mark for mark in marks if mark in text or mark.encode().hex() in text]
        if hits:
            found[table] = hits
    return found


# Erased -------------------------------------------------------------------------------------------------------------


async def test_nothing_of_hers_is_left(service):
    """After DELETE /v1/me no table holds her id, her phone, its token, her orders or where she was, under any name."""
    await live(service)
    before = await traces_of(service)
    assert {"customers", "devices", "transitions", "visits", "events", "consents", "preferences"} <= set(before)
    assert {"decisions", "messages", "aliases", "ping_receipts", "audit_log"} <= set(before)
    answer = await service.call("DELETE", "/v1/me", who=service.customer(WHO))
    assert (answer.status, answer.body["state"]) == (200, "done")
    assert await traces_of(service) == {}
    assert service.app_directory.snapshot.stores, "the shop's own tables stay as they were"


async def test_campaigns_forget_who_tested_them(service):
    """Her ids leave the campaigns that name her as a test customer, their versions and the record of their changes."""
    await service.ok("PUT", "/v1/me/consents/location", CONSENT, who=service.customer(WHO))
    server = await service.key("server")
    await service.ok("POST", f"/v1/customers/{WHO}/aliases", {"alias": "canary-alias"}, who=server)
    for testers in ([WHO, "tess"], ["canary-alias", "tess", WHO]):
        await service.set_up_campaign("ours", state="test", test_customers=testers)
    await service.set_up_campaign("hers", state="test", test_customers=[WHO])
    assert {"campaigns", "campaign_versions", "audit_log"} <= set(await traces_of(service))
    await service.ok("DELETE", "/v1/me", who=service.customer(WHO))
    assert await traces_of(service) == {}
    ours, hers = [await service.ok("GET", f"/v1/campaigns/{name}", who=service.ops) for name in ("ours", "hers")]
    assert (ours["state"], ours["test_customers"]) == ("test", ["tess"])
    assert (hers["state"], hers["paused_because"]) == ("paused", "nobody is left to test it")
    async with asyncio.timeout(60):
        while service.app_directory.snapshot.campaigns["hers"].version != hers["version"]:
            await asyncio.sleep(0.01)
    with pytest.raises(asyncpg.RaiseError, match="audit_log is append-only"):
        await service.sql("update audit_log set after = jsonb_set(after, '{body,topic}', '1') where subject = 'ours'")


async def test_what_is_kept_is_said_and_names_nobody(service):
    """What must be kept is the proof of her answers, the record of who looked, and a hash; the answer says so."""
    await live(service)
    answer = await service.ok("DELETE", "/v1/me", who=service.customer(WHO))
    assert {kept["name"] for kept in answer["kept"]} == {"audit_log", "consent_evidence", "erasures", "suppressions"}
    assert all(kept["why"] and kept["kept"] for kept in answer["kept"])
    rows = await service.sql("select * from consent_evidence order by evidence_id")
    assert [(row["purpose"], row["granted"], row["notice_version"]) for row in rows] == [
        (purpose, True, "2026-01") for purpose in ("location", "marketing_push", "personalisation")
    ]
    assert rows[0]["controller"] == NOTICE["controller"]
    looks = await service.sql("select customer_id, action, reason from audit_log where action like 'read %'")
    assert [row["action"] for row in looks] == ["read decisions", "read decision"]
    assert {row["customer_id"][:7] for row in looks} == {"erased:"}
    assert {row["reason"] for row in looks} == {"[erased] called"}


async def test_nothing_is_sent_after_the_answer(service):
    """A message that waits is cancelled by the erasure, one that is under way is named, and neither comes again."""
    await service.set_up_store()
    await service.set_up_campaign()
    for who, answer in ((WHO, Answer("unavailable", retry_after="30")), ("ben", Answer("accept", delay_s=3))):
        service.fcm.script(answer, token=f"token-{who}-phone")
        await service.opt_in(who)
        await service.browse(who)
    await service.walk_in(WHO)
    async with asyncio.timeout(60):
        while not await service.sql("select from messages where state = 'retry_wait'"):
            await asyncio.sleep(0.01)
    await service.set_clock(NOON)
    await service.walk_in("ben")
    async with asyncio.timeout(60):
        while not (rows := await service.sql("select message_id from messages where state = 'sending'")):
            await asyncio.sleep(0.01)
    assert (await service.ok("DELETE", "/v1/me", who=service.customer(WHO)))["in_flight"] == []
    gone = await service.ok("DELETE", "/v1/me", who=service.customer("ben"))
    assert gone["in_flight"] == [rows[0]["message_id"]]
    await service.pass_time(minutes=5)
    await asyncio.sleep(1.5)
    assert len(service.fcm.accepted) <= 1
    assert await service.sql("select from messages") == []
    assert not service.app.failed.is_set()


async def test_a_large_erasure_goes_on_after_the_answer(service, monkeypatch):
    """When there is too much for one request, the answer is a receipt, and the service goes on until it is done."""
    await service.opt_in(WHO)
    await service.sql(
        """insert into events (customer_id, event_id, type, occurred_at, source, received_at)
           select $1, 'e' || n, 'searched', $2, 'app', $2 from generate_series(1, 3000) n""", WHO, NOON,
    )  # fmt: skip
    monkeypatch.setattr(erasure, "SLICE", 100)
    monkeypatch.setattr(erasure, "PATIENCE_S", 0.0)
    answer = await service.call("DELETE", "/v1/me", who=service.customer(WHO))
    assert (answer.status, answer.body["state"]) == (202, "running")
    where = answer.headers["Location"]
    early = await service.call(
        "PUT", "/v1/devices/phone", {"platform": "ios", "push_token": "t"}, who=service.customer(WHO)
    )
    assert (early.status, early.body["code"]) == (409, "erasure_running")
    assert (await service.call("GET", where, who=service.customer("mallory"))).status == 404
    monkeypatch.setattr(erasure, "PATIENCE_S", 10.0)
    async with asyncio.timeout(60):
        while (await service.ok("GET", where, who=service.customer(WHO)))["state"] == "running":
            await asyncio.sleep(0.1)
    assert await traces_of(service, (WHO,)) == {}


async def test_erased_stays_erased(service):
    """What the till, the shop, an old phone or a late queue still send about her is not stored."""
    await live(service)
    await service.ok("DELETE", "/v1/me", who=service.customer(WHO))
    server = await service.key("server")
    event = {"type": "searched", "id": "late", "occurred_at": service.now}
    for path, who in (
        (f"/v1/customers/{WHO}/events", server),
        ("/v1/customers/canary-alias/events", server),
        ("/v1/events", service.customer(WHO)),
    ):
        answer = await service.ok("POST", path, {"events": [event]}, who=who)
        assert (answer["accepted"], answer["duplicates"]) == (0, 0)
        assert [item["code"] for item in answer["rejected"]] == ["customer_erased"]
    refused = await service.call("PUT", f"/v1/customers/{WHO}", {"birth_year": 1990}, who=server)
    assert (refused.status, refused.body["code"]) == (409, "customer_erased")
    ping = await service.ping(WHO, fix(service.now, 53.55, 10.0), device_id="canary-device")
    assert [item["reason"] for item in ping["ignored"]] == ["no_location_consent"]
    assert await traces_of(service) == {}


async def test_she_may_come_back(service):
    """Who signs in again after an erasure is a new customer: nothing from before comes back, new things are stored."""
    await live(service)
    await service.ok("DELETE", "/v1/me", who=service.customer(WHO))
    old, new = service.now - timedelta(days=1), service.now + timedelta(minutes=10)
    await service.set_clock(new)
    await service.ok(
        "PUT", "/v1/devices/canary-device", {"platform": "ios", "push_token": "t"}, who=service.customer(WHO)
    )
    events = [
        {"type": "searched", "id": "old", "occurred_at": old},
        {"type": "searched", "id": "new", "occurred_at": new},
    ]
    answer = await service.ok("POST", "/v1/events", {"events": events}, who=service.customer(WHO))
    assert (answer["accepted"], [item["index"] for item in answer["rejected"]]) == (1, [0])
    assert not any(
        c["granted"] for c in (await service.ok("GET", "/v1/me/consents", who=service.customer(WHO)))["items"]
    )


async def test_erasing_twice_or_nobody_is_harmless(service):
    """Whoever asks again, or was never here, gets a receipt all the same."""
    for _ in range(2):
        assert (await service.ok("DELETE", "/v1/me", who=service.customer(WHO)))["state"] == "done"
    await asyncio.gather(*(service.call("DELETE", "/v1/me", who=service.customer(WHO)) for _ in range(4)))
    assert await traces_of(service, (WHO,)) == {}


async def test_an_erasure_amid_traffic(service):
    """While pings and events of hers rain down, an erasure gets through, and nothing is answered with a 500."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in(WHO)
    stop = asyncio.Event()
    seen: set[int] = set()

    async def rain(n: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            at = service.now
            events = {"events": [{"type": "searched", "id": f"{n}-{count}", "occurred_at": at}]}
            pings = {"device_id": "phone", "pings": [fix(at + timedelta(seconds=count), 53.55, 10.0)]}
            for path, body in (("/v1/events", events), ("/v1/pings", pings)):
                seen.add((await service.call("POST", path, body, who=service.customer(WHO))).status)

    raining = [asyncio.create_task(rain(n)) for n in range(4)]
    await asyncio.sleep(0.3)
    answer = await service.call("DELETE", "/v1/me", who=service.customer(WHO))
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.gather(*raining)
    assert answer.status in {200, 202}
    assert seen <= {202, 503}
    async with asyncio.timeout(60):
        while await traces_of(service, (WHO,)):
            await asyncio.sleep(0.2)


# Taken along --------------------------------------------------------------------------------------------------------


async def test_the_export_has_everything(service):
    """The export names every table that holds something of hers, counts it, says why it is kept, and then gives it."""
    await live(service)
    answer = await service.call("GET", "/v1/me/export", who=service.customer(WHO))
    document = answer.body
    assert (answer.status, document["complete"], document["export"]["customer_id"]) == (200, True, WHO)
    holding = set(await traces_of(service, (WHO,))) - {"audit_log"}
    assert holding <= {name for name, rows in document["data"].items() if rows}
    assert {entry["name"]: entry["records"] for entry in document["index"]} == {
        name: len(rows) for name, rows in document["data"].items()
    }
    assert all(entry["kept"] for entry in document["index"])
    (device,) = document["data"]["devices"]
    assert device["push_token"] == "canary-token"
    assert "53.55" in orjson.dumps(device["track"]).decode()
    assert [event["order_id"] for event in document["data"]["events"] if event["order_id"]] == ["canary-order"]


async def test_the_export_has_nothing_of_others(service):
    """Nobody else's records are in an export, and whoever is unknown gets an empty one."""
    await live(service)
    answer = await service.call("GET", "/v1/me/export", who=service.customer("ben"))
    assert not [mark for mark in MARKS if mark in orjson.dumps(answer.body).decode()]
    assert not any(answer.body["data"].values())


async def test_a_slow_reader_does_not_hold_the_service(service, monkeypatch):
    """A reader who stops reading is cut off, others are told to come back meanwhile, and then it works again."""
    from geoservice.api import privacy

    await service.opt_in(WHO)
    await service.sql(
        """insert into events (customer_id, event_id, type, occurred_at, source, received_at, category)
           select $1, 'e' || n, 'searched', $2, 'app', $2, repeat('x', 60) from generate_series(1, 60000) n""",
        WHO,
        NOON,
    )
    monkeypatch.setattr(privacy, "READER_S", 2.0)
    host, port = service.app.address
    head = (
        f"GET /v1/me/export HTTP/1.1\r\nHost: {host}\r\nAuthorization: {service.customer(WHO)['Authorization']}\r\n\r\n"
    )
    lazy = [await asyncio.open_connection(host, port, limit=1_024) for _ in range(privacy.EXPORTS_AT_ONCE)]
    for _, writer in lazy:
        writer.write(head.encode())
    async with asyncio.timeout(60):
        while (answer := await service.call("GET", "/v1/me/export", who=service.customer("ben"))).status != 503:
            await asyncio.sleep(0.01)
    assert answer.headers["Retry-After"] == "10"
    async with asyncio.timeout(60):
        while (await service.call("GET", "/v1/me/export", who=service.customer("ben"))).status != 200:
            await asyncio.sleep(0.1)
    async with asyncio.timeout(60):
        while privacy._exports._value < privacy.EXPORTS_AT_ONCE:  # a place is free; the other must have been cut, too
            await asyncio.sleep(0.05)
    for reader, writer in lazy:
        text = b""
        try:
            while chunk := await reader.read(65_536):
                text += chunk
        except ConnectionError:
            pass
        writer.close()
        assert b'"complete":true' not in text


# One under several ids ----------------------------------------------------------------------------------------------


async def views(client: Client, customer_id: str) -> list[str]:
    rows = await client.sql("select event_id from events where customer_id = $1 order by event_id", customer_id)
    return [row["event_id"] for row in rows]


async def test_ids_are_joined_and_parted(service):
    """What came in under the web shop's id before and after the join is hers, until the two are parted again."""
    server = await service.key("server")

    async def view(who: str, event_id: str) -> None:
        events = [{"type": "searched", "id": event_id, "occurred_at": NOON}]
        await service.ok("POST", f"/v1/customers/{who}/events", {"events": events}, who=server)

    await view("web-1", "before")
    await view("app-1", "own")
    for _ in range(2):
        await service.ok("POST", "/v1/customers/app-1/aliases", {"alias": "web-1"}, who=server)
    await view("web-1", "after")
    assert await views(service, "app-1") == ["after", "before", "own"]
    assert [a["alias"] for a in (await service.ok("GET", "/v1/customers/app-1/aliases", who=server))["items"]] == [
        "web-1"
    ]
    await service.ok("PUT", "/v1/customers/web-1", {"birth_year": 1990}, who=server)
    assert [
        row["birth_year"] for row in await service.sql("select birth_year from customers where customer_id = 'app-1'")
    ] == [1990]
    assert (await service.call("DELETE", "/v1/customers/app-1/aliases/web-1", who=server)).status == 204
    assert (await service.call("DELETE", "/v1/customers/app-1/aliases/web-1", who=server)).status == 404
    await view("web-1", "later")
    assert (await views(service, "app-1"), await views(service, "web-1")) == (["own"], ["after", "before", "later"])


async def test_what_she_looked_at_in_the_web_shop_counts_near_the_store(service):
    """She looks at shoes under her web id and passes the store with her app: joined, that is one customer."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in(WHO)
    server = await service.key("server")
    events = [
        {"type": "product_viewed", "id": f"v{n}", "occurred_at": NOON - timedelta(days=2), "category": "running-shoes"}
        for n in range(2)
    ]
    await service.ok("POST", "/v1/customers/web-1/events", {"events": events}, who=server)
    await service.ok("POST", f"/v1/customers/{WHO}/aliases", {"alias": "web-1"}, who=server)
    await service.walk_in(WHO)
    await service.delivered(1)


@pytest.mark.parametrize(
    ("alias", "status", "code"),
    [
        ("app-1", 422, "invalid"),
        ("somebody", 409, "alias_in_use"),
        ("theirs", 409, "alias_in_use"),
        ("gone", 409, "customer_erased"),
        ("a b", 422, "invalid"),
    ],
    ids=["her own id", "somebody with a phone", "somebody's alias", "somebody erased", "no id"],
)
async def test_nobody_is_joined_by_mistake(service, alias, status, code):
    """An id that is somebody in her own right, somebody else's, or erased cannot be taken for another name."""
    server = await service.key("server")
    await service.opt_in("somebody")
    await service.ok("POST", "/v1/customers/other/aliases", {"alias": "theirs"}, who=server)
    await service.ok("DELETE", "/v1/me", who=service.customer("gone"))
    answer = await service.call("POST", "/v1/customers/app-1/aliases", {"alias": alias}, who=server)
    assert (answer.status, answer.body["code"]) == (status, code)


async def test_an_alias_signs_in_nowhere(service):
    """A token in the name of an alias opens no second life: phones, consents and settings are the customer's own."""
    server = await service.key("server")
    await service.ok("POST", "/v1/customers/app-1/aliases", {"alias": "web-1"}, who=server)
    who = service.customer("web-1")
    for method, path, body in (
        ("PUT", "/v1/devices/phone", {"platform": "ios", "push_token": "t"}),
        ("PUT", "/v1/me/consents/location", {"granted": True, "notice_version": "1"}),
        ("PATCH", "/v1/me/preferences", {"daily_cap": 1}),
        ("POST", "/v1/pings", {"device_id": "phone", "pings": [fix(NOON, 53.5, 10)]}),
    ):
        answer = await service.call(method, path, body, who=who)
        assert (answer.status, answer.body["code"]) == (409, "is_alias"), path


async def test_after_a_crash_the_erasure_is_finished(database_url, fcm, tmp_path, monkeypatch):
    """A service that ends in the middle of an erasure finishes it when it is started again."""
    settings = environment(database_url, fcm, tmp_path)
    async with running(settings, fcm) as client:
        await client.opt_in(WHO)

        async def broken(*_: Any, **__: Any) -> bool:
            return False

        monkeypatch.setattr(erasure, "_work_off", broken)
        assert (await client.call("DELETE", "/v1/me", who=client.customer(WHO))).status == 202
        monkeypatch.undo()
    async with running(settings, fcm) as client, asyncio.timeout(60):
        while await traces_of(client, (WHO,)):
            await asyncio.sleep(0.1)
