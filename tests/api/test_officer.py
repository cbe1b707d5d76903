"""A customer who writes a letter instead of using the app: the officer looks her up, exports her, erases her."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import orjson
import pytest
from conftest import Client, environment

LETTER = {"Access-Reason": "letter of 3 March by ada, known as web-77 in the shop"}
ALIAS = "web-77"


async def have_ada(client: Client) -> dict[str, str]:
    """Let Ada have lived, under two ids; gives an officer's key with a reason."""
    await client.set_up_store()
    await client.set_up_campaign()
    await client.opt_in("ada")
    await client.browse("ada")
    await client.walk_in("ada")
    await client.delivered(1)
    await client.settled()
    server = await client.key("server")
    await client.ok("PUT", f"/v1/customers/{ALIAS}", {"loyalty_tier": "gold"}, who=server)
    await client.ok("GET", f"/v1/decisions?customer_id={ALIAS}", who=await client.key("support") | LETTER)
    await client.ok("POST", "/v1/customers/ada/aliases", {"alias": ALIAS}, who=server)
    return await client.key("officer") | LETTER


async def record(client: Client, customer_id: str) -> list[tuple[str, str]]:
    """What is on record about a person, as the officer reads it."""
    who = await client.key("officer") | {"Access-Reason": "yearly check"}
    items = (await client.ok("GET", f"/v1/audit?customer_id={customer_id}", who=who))["items"]
    return [(item["action"], item["customer_id"]) for item in items if item["action"] != "read audit"]


async def test_every_id_of_hers_finds_her(service):
    """Transitions, decisions, export and the record of who looked are found by the app's id and by the till's."""
    officer = await have_ada(service)
    for path in ("/v1/transitions", "/v1/decisions"):
        hers = await service.ok("GET", f"{path}?customer_id=ada", who=officer)
        assert hers["items"]
        assert await service.ok("GET", f"{path}?customer_id={ALIAS}", who=officer) == hers
    for each in ("ada", ALIAS):
        whole = await service.ok("GET", f"/v1/customers/{each}/export", who=officer)
        assert (whole["export"]["customer_id"], whole["complete"]) == ("ada", True)
        assert len(whole["data"]["messages"]) == 1
    looks = await record(service, ALIAS)
    assert looks == await record(service, "ada")
    assert ("read decisions", ALIAS) in looks  # looked up before anybody knew that it was she
    assert looks.count(("read transitions", "ada")) == 2
    assert looks.count(("exported customer", "ada")) == 2


@pytest.mark.parametrize("whose", ["ada", ALIAS])
async def test_an_officer_erases_a_customer(service, whose):
    """By any of her ids an officer erases her as she could herself; on record is who did it and why, of nobody."""
    officer = await have_ada(service)
    answer = await service.call("DELETE", f"/v1/customers/{whose}", who=officer)
    assert (answer.status, answer.body["state"]) == (200, "done")
    officer |= {"Access-Reason": "is it done?"}
    receipt = await service.ok("GET", answer.headers["Location"], who=officer)
    assert (receipt["id"], receipt["state"]) == (answer.body["id"], "done")
    rows = await service.sql("select t::text from audit_log t union all select t::text from customers t")
    assert not [row["t"] for row in rows if ",ada," in row["t"] or ALIAS in row["t"]]
    erased = [e for e in await record(service, "ada") if e[0] == "erased customer"]
    assert len(erased) == 1
    assert erased[0][1].startswith("erased:")
    (row,) = await service.sql("select * from audit_log where action = 'erased customer'")
    assert (row["actor"], row["subject"]) == ("officer of a test", answer.body["id"])
    assert row["reason"].startswith("letter of 3 March")
    for each in ("ada", ALIAS):
        await service.call("GET", f"/v1/decisions?customer_id={each}", who=officer)
        assert (await service.call("GET", f"/v1/customers/{each}/export", who=officer)).status == 404
        assert (await service.call("DELETE", f"/v1/customers/{each}", who=officer)).status == 404
    names = {row["customer_id"] for row in await service.sql("select customer_id from audit_log")} - {None}
    assert all(name.startswith("erased:") for name in names)


@pytest.mark.parametrize(("method", "path"), [("GET", "/export"), ("DELETE", ""), ("GET", "/erasures/e1")])
async def test_it_takes_an_officer_and_a_reason(service, method, path):
    """Without the role or without a reason nothing is shown, nothing is erased, and nobody learns who is known."""
    await service.opt_in("ada")
    officer = await service.key("officer")
    for whose in ("ada", "nobody"):
        for role in ("ops", "server", "support"):
            who = await service.key(role) | LETTER
            assert (await service.call(method, f"/v1/customers/{whose}{path}", who=who)).status == 403
        answer = await service.call(method, f"/v1/customers/{whose}{path}", who=officer)
        assert (answer.status, answer.body["code"]) == (403, "access_reason_missing")
    assert await service.sql("select from customers where customer_id = 'ada'")
    assert (await service.call(method, f"/v1/customers/nobody{path}", who=officer | LETTER)).status == 404


async def test_an_export_that_nobody_reads_ends_quietly(service, tmp_path):
    """A pipe that is closed before the export is all read ends it, without a traceback."""
    await have_ada(service)
    env = os.environ | environment(service.app.settings.database_url, None, tmp_path)
    command = [sys.executable, "-m", "geoservice", "customers", "export", "ada", "--reason", "her letter"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, env=env, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


async def test_the_officer_can_do_it_without_http(service, tmp_path):
    """The command line exports and erases one customer, too, with a reason that is put on record."""
    await have_ada(service)
    env = os.environ | environment(service.app.settings.database_url, None, tmp_path)

    def run(*arguments: str) -> Any:
        command = [sys.executable, "-m", "geoservice", "customers", *arguments, "--reason", "her letter"]
        return subprocess.run(command, env=env, capture_output=True, check=False)

    target = tmp_path / "ada.json"
    done = run("export", ALIAS, "--output", str(target))
    assert done.returncode == 0, done.stderr
    assert target.stat().st_mode & 0o077 == 0
    assert orjson.loads(target.read_bytes())["export"]["customer_id"] == "ada"
    done = run("erase", ALIAS)
    assert done.returncode == 0, done.stderr
    assert not await service.sql("select from customers where customer_id in ('ada', $1)", ALIAS)
    rows = await service.sql("select action, reason from audit_log where actor = 'cli' order by audit_id")
    assert [tuple(row) for row in rows] == [
        ("exported customer", "her letter"), ("erased customer", "her letter"),
    ]  # fmt: skip
