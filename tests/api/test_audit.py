"""Who changed what, from what to what; who looked at whom, and why; and that nobody can unsay it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from conftest import CAMPAIGN, NOON, STORE, Client, environment, ring

REASON = {"Access-Reason": "ticket 4711"}


async def entries(client: Client, **query: str) -> list[dict[str, Any]]:
    officer = await client.key("officer")
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return (await client.ok("GET", f"/v1/audit?{text}", who=officer))["items"]


async def test_changes_are_on_record(service):
    """Stores, campaigns, geofences, keys and notices: who changed them, when, from what to what."""
    ops = await service.key("ops")
    await service.ok("PUT", "/v1/stores/harbour", STORE, who=ops)
    await service.pass_time(minutes=5)
    await service.ok("PUT", "/v1/stores/harbour", STORE | {"name": "New name"}, who=ops)
    made, renamed = await entries(service, subject="harbour")
    assert (made["action"], renamed["action"]) == ("created store", "changed store")
    assert {made["actor"], renamed["actor"]} == {"ops of a test"}
    assert made["key_id"] == renamed["key_id"]
    assert renamed["at"].startswith(f"{NOON + timedelta(minutes=5):%Y-%m-%dT%H:%M}")
    assert "before" not in made
    assert (renamed["before"]["name"], renamed["after"]["name"]) == (STORE["name"], "New name")

    await service.ok("PUT", "/v1/campaigns/shoes", CAMPAIGN, who=ops)
    await service.ok("POST", "/v1/campaigns/shoes/pause", who=ops)
    changed = (await entries(service, subject="shoes"))[-1]
    assert (changed["before"]["state"], changed["after"]["state"]) == ("live", "paused")
    await service.ok("POST", "/v1/campaigns/shoes/resume", who=ops)
    changed = (await entries(service, subject="shoes"))[-1]
    assert (changed["before"]["state"], changed["after"]["state"]) == ("paused", "live")

    await service.ok(
        "POST", "/v1/geofences/import", {"type": "FeatureCollection", "features": [ring("harbour", 53.55, 10)]}, who=ops
    )
    (published,) = await entries(service, action="created%20version%20of%20geofences")
    assert (published["actor"], published["after"]["summary"]["created"]) == ("ops of a test", 1)

    await service.ok("PUT", "/v1/notices/1", {"texts": {"en": "Words."}}, who=ops)
    assert [e["action"] for e in await entries(service, subject="1") if "notice" in e["action"]] == ["created notice"]


async def test_the_retailers_rules_are_on_record(service):
    """Each version of the retailer's rules: who published it, and the one that it replaced."""
    ops = await service.key("ops")
    await service.ok("PUT", "/v1/policy", {"daily_cap": 3}, who=ops)
    await service.ok("PUT", "/v1/policy", {"daily_cap": 1}, who=ops)
    first, second = await entries(service, action="changed%20policy")
    assert "before" not in first
    assert (second["actor"], second["subject"]) == ("ops of a test", "2")
    assert (second["before"]["daily_cap"], second["after"]["daily_cap"]) == (3, 1)


async def test_brakes_are_on_record(service):
    """A stop and its release, a store that is muted and heard again: who, when, why."""
    ops = await service.key("ops")
    await service.ok("PUT", "/v1/stores/harbour", STORE, who=ops)
    await service.ok("POST", "/v1/stop", {"reason": "wrong price"}, who=ops)
    await service.ok("DELETE", "/v1/stop", who=ops)
    stopped, released = await entries(service, subject="all")
    assert (stopped["action"], stopped["actor"], stopped["after"]["reason"]) == (
        "created stop", "ops of a test", "wrong price",
    )  # fmt: skip
    assert (released["action"], released["actor"]) == ("removed stop", "ops of a test")
    await service.ok("POST", "/v1/stores/harbour/mute", who=ops)
    await service.ok("POST", "/v1/stores/harbour/unmute", who=ops)
    _, muted, heard = await entries(service, subject="harbour")
    assert (muted["before"]["muted_until"], muted["after"]["muted_until"] is not None) == (None, True)
    assert (heard["before"]["muted_until"], heard["after"]["muted_until"]) == (muted["after"]["muted_until"], None)


async def test_products_are_on_record(service):
    """Of an upload of products each one that it changed, from what to what; of one that is sent again, nothing."""
    server = await service.key("server")
    shoes = [{"id": f"p{n}", "name": f"Shoe {n}", "category": "running-shoes"} for n in range(3)]
    await service.ok("PUT", "/v1/products", {"products": shoes}, who=server)
    shoes[1] |= {"substitutes": ["p2"]}
    await service.ok("PUT", "/v1/products", {"products": shoes}, who=server)
    await service.ok("DELETE", "/v1/products/p0", who=server)
    assert [e["subject"] for e in await entries(service, action="created%20product")] == ["p0", "p1", "p2"]
    (changed,) = await entries(service, action="changed%20product")
    assert (changed["actor"], changed["subject"]) == ("server of a test", "p1")
    assert (changed["before"]["substitutes"], changed["after"]["substitutes"]) == ([], ["p2"])
    (removed,) = await entries(service, action="removed%20product")
    assert (removed["actor"], removed["before"]["name"]) == ("server of a test", "Shoe 0")


async def test_who_reports_stock_is_on_record(service):
    """Who reports a store's stock is on record once a day, not with every count; feeds when they come and go."""
    server = await service.key("server")
    await service.ok("PUT", "/v1/stores/harbour", STORE, who=service.ops)
    for day in (0, 0, 1):
        await service.pass_time(days=day, minutes=5)
        body = {"items": [{"product_id": "p1", "quantity": 3}]}
        await service.ok("PUT", "/v1/stores/harbour/stock", body, who=server)
    reports = await entries(service, action="reported%20stock")
    assert [(e["actor"], e["subject"], e["after"]) for e in reports] == [
        ("server of a test", "harbour", {"counts": 1})
    ] * 2
    await service.ok("DELETE", "/v1/feeds/stock?store_id=harbour", who=server)
    assert [(e["action"], e["actor"]) for e in await entries(service, subject="stock")] == [
        ("created feed", "server of a test"), ("removed feed", "server of a test"),
    ]  # fmt: skip


async def test_what_changes_nothing_is_no_entry(service):
    """The same store sent again, a key that is used, a customer's own doings leave no entry."""
    for _ in range(3):
        await service.ok("PUT", "/v1/stores/harbour", STORE, who=service.ops)
    await service.opt_in("ada")
    assert [entry["action"] for entry in await entries(service)] == ["created store", "created key"]


async def test_a_customers_request_is_not_the_operators(service):
    """On a connection that operations used before, a customer's request is not put down to them."""
    from geoservice.storage.database import ACTING

    await service.ok("PUT", "/v1/stores/harbour", STORE, who=service.ops)
    assert ACTING.get() is None
    await service.sql("update stores set name = 'Console' where store_id = 'harbour'")
    by = (await entries(service, subject="harbour"))[-1]["actor"]
    assert by.startswith("database user ")


async def test_looks_are_on_record(service):
    """Whoever reads one customer's decisions is on record with name, key and reason; the officer says why she asks."""
    support = await service.key("support")
    await service.ok("GET", "/v1/decisions?customer_id=ada", who=support | REASON)
    (look,) = await entries(service, action="read%20decisions")
    assert (look["actor"], look["key_id"] is not None) == ("support of a test", True)
    assert "customer_id" not in look
    assert "reason" not in look
    officer = await service.key("officer")
    refused = await service.call("GET", "/v1/audit?customer_id=ada", who=officer)
    assert (refused.status, refused.body["code"]) == (403, "access_reason_missing")
    items = (await service.ok("GET", "/v1/audit?customer_id=ada", who=officer | {"Access-Reason": "yearly check"}))[
        "items"
    ]
    assert [(e["action"], e["customer_id"], e["reason"]) for e in items] == [
        ("read decisions", "ada", "ticket 4711"), ("read audit", "ada", "yearly check"),
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["ops", "server", "support"])
async def test_the_record_is_the_officers(service, role):
    """Nobody but a privacy officer reads the record."""
    assert (await service.call("GET", "/v1/audit", who=await service.key(role))).status == 403


async def test_pages_of_the_record(service):
    """The record is read page by page, from an instant on, and a wrong question is refused."""
    for n in range(5):
        await service.ok("PUT", f"/v1/stores/s{n}", STORE, who=service.ops)
    seen, after = [], "0"
    while True:
        page = await service.ok(
            "GET", f"/v1/audit?limit=2&action=created%20store&after={after}", who=await service.key("officer")
        )
        seen += [entry["subject"] for entry in page["items"]]
        if "next" not in page:
            break
        after = page["next"]
    assert seen == [f"s{n}" for n in range(5)]
    assert await entries(service, since="2030-01-01T00:00:00Z") == []
    assert (await service.call("GET", "/v1/audit?who=me", who=await service.key("officer"))).status == 422


async def test_the_record_cannot_be_unsaid(service):
    """No entry can be changed or deleted, not even with the database's own rights."""
    await service.ok("PUT", "/v1/stores/harbour", STORE, who=service.ops)
    for statement in (
        "update audit_log set actor = 'nobody'",
        "delete from audit_log",
        "update audit_log set after = null",
        "update audit_log set customer_id = 'erased:x', before = null, after = null",
        "truncate audit_log",
    ):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await service.sql(statement)


@pytest.fixture
def run(service, tmp_path) -> Callable[..., str]:
    """Run a command on the service's database; its output."""
    env = os.environ | environment(service.app.settings.database_url, None, tmp_path)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "geoservice", *arguments]
        return subprocess.run(command, env=env, capture_output=True, check=True, text=True).stdout.strip()

    return run


async def test_a_key_may_be_called_anything(run):
    """A name with brackets costs nobody the key, nor the list of keys."""
    key = run("keys", "create", "--role", "support", "--name", "[/till] 7")
    assert key.startswith("gsk_")
    assert "[/till] 7" in run("keys", "list")
    assert "[/till] 7" in run("keys", "revoke", key.removeprefix("gsk_").partition("_")[0])


async def test_an_export_is_for_the_eyes_of_who_asked(service, run, tmp_path):
    """The file of an export may be read by its user only, though one was there that others could read."""
    await service.ok("GET", "/v1/me/consents", who=service.customer("ada"))
    await service.opt_in("ada")
    file = tmp_path / "ada.json"
    file.touch(mode=0o666)
    run("customers", "export", "ada", "--reason", "her letter", "--output", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert "ada" in file.read_text()


async def test_keys_are_on_record_without_themselves(service, run):
    """Keys made and revoked on the command line are on record as its doing; no key and no hash is in it."""
    key = run("keys", "create", "--role", "server", "--name", "till")
    key_id = key.removeprefix("gsk_").partition("_")[0]
    run("keys", "revoke", key_id)
    made, revoked = await entries(service, subject=key_id)
    assert (made["actor"], revoked["actor"]) == ("cli", "cli")
    assert (made["after"]["role"], made["after"]["revoked_at"]) == ("server", None)
    assert revoked["after"]["revoked_at"]
    assert "key_hash" not in made["after"]
