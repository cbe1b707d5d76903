"""The commands that a shell runs against the service's database: what they do, print and refuse."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from catalogue_house import around, collection, ids, published
from conftest import JWT_SECRET, OPS_KEY, STORE
from customer_house import messages

pytestmark = pytest.mark.asyncio(loop_scope="module")


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return path


async def test_command_check(shared, command, store, tmp_path):
    """`geofences check` reads files, says what is wrong where, and changes nothing."""
    good = written(tmp_path, "good.geojson", collection(around(store, "file-1"), around(store, "file-2")))
    single = written(tmp_path, "single.geojson", codecs.BOM_UTF8 + orjson.dumps(around(store, "file-3")))
    bad = written(
        tmp_path, "bad.geojson", collection(around(store, "file-4", kind="shop"), around("nowhere", "file-5"))
    )
    before = await published(shared)
    done = await command("geofences", "check", good, single)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 geofences, no errors" in done.stdout

    done = await command("geofences", "check", good, bad)
    assert done.returncode == 1
    assert "2 problems in the upload" in done.stderr
    lines = done.stderr.splitlines()
    assert any("file-4" in line and "properties.kind" in line and "kind_unknown" in line for line in lines)
    assert any("file-5" in line and "properties.store_id" in line and "store_unknown" in line for line in lines)
    assert "Traceback" not in done.stderr
    assert await published(shared) == before


async def test_command_check_without_a_service(command, store, tmp_path):
    """Without a service, `geofences check` still checks what it can, and says what it could not."""
    good = written(tmp_path, "good.geojson", collection(around(store)))
    done = await command("geofences", "check", good, GEOSERVICE_DATABASE_URL="")
    assert done.returncode == 0, done.stderr
    assert "store ids and distances were not checked" in done.stdout


async def test_command_files_that_cannot_be_read(command, tmp_path):
    """A missing file, and one that is no JSON, are each named in a sentence; the exit code is 2."""
    broken = written(tmp_path, "broken.geojson", b'{"type": ')
    for verb in ("check", "import"):
        done = await command("geofences", verb, tmp_path / "none.geojson", broken)
        assert done.returncode == 2
        assert "none.geojson cannot be read" in done.stderr
        assert "broken.geojson is not JSON" in done.stderr


async def test_command_import(shared, command, store, tmp_path):
    """`geofences import` publishes what the API then shows; a dry run and a broken file change nothing."""
    good = written(tmp_path, "good.geojson", collection(around(store, "cli-1"), around(store, "cli-2")))
    bad = written(tmp_path, "bad.geojson", collection(around(store, "cli-3"), around(store, "cli-4", radius_m=-1)))
    before = await published(shared)
    done = await command("geofences", "import", good, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 would be created" in done.stdout
    assert "nothing was changed" in done.stdout
    done = await command("geofences", "import", bad)
    assert done.returncode == 1
    assert "cli-4" in done.stderr
    assert "properties.radius_m" in done.stderr
    assert await published(shared) == before

    done = await command("geofences", "import", good)
    assert done.returncode == 0, done.stderr
    assert "2 created" in done.stdout
    after = await published(shared)
    assert {"cli-1", "cli-2"} <= set(ids(after[0]))
    assert after[1]["items"][0]["actor"] == "cli"
    assert f"version {after[1]['items'][0]['version']}" in done.stdout


async def test_command_keys_create(shared, command):
    """`keys create` prints a key, alone on standard output, that opens what its role may; it is stored as a hash."""
    done = await command("keys", "create", "--role", "server", "--name", "till")
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert re.fullmatch(r"gsk_[0-9a-f]{12}_[\w-]{40,}", key)
    assert key not in done.stderr
    who = {"Authorization": f"Bearer {key}"}
    assert (await shared.call("PUT", "/v1/customers/of-the-till", {"loyalty_tier": "gold"}, who=who)).status == 200
    assert (await shared.call("GET", "/v1/stores", who=who)).status == 403
    rows = await shared.sql("select k::text from api_keys k")
    assert not any(key in row["k"] for row in rows)
    assert (await command("keys", "create", "--role", "king", "--name", "x")).returncode == 2


async def test_command_tables(shared, command, store):
    """However narrow the terminal, `messages list` and `keys list` print each id whole, ready for the next command."""
    await shared.set_up_campaign("listed", trigger={"on": "enter", "geofence_ids": [f"{store}-approach"]})
    await shared.ok("POST", "/v1/geofences/import?mode=replace", collection(around(store)), who=shared.ops)
    await shared.wait_until_matching(f"{store}-approach")
    await shared.opt_in("reader")
    await shared.browse("reader")
    await shared.walk_in("reader", STORE["lat"], STORE["lon"])
    await shared.settled()
    (message,) = await messages(shared, "reader")
    done = await command("messages", "list", "--campaign", "listed", COLUMNS="40")
    (_, line) = done.stdout.splitlines()
    assert line.split()[:4] == [message["message_id"], "listed", "push", "accepted"]
    name = "[the till] of a store with a long name " * 4
    await command("keys", "create", "--role", "server", "--name", name.strip())
    done = await command("keys", "list", COLUMNS="40")
    assert re.search(rf"^[0-9a-f]{{12}}  {re.escape(name.strip())} +server ", done.stdout, re.MULTILINE)


async def test_command_token(shared, command):
    """`token` prints a customer's token that the service takes, and no token for a name that cannot be."""
    done = await command("token", "--customer", "auth0|grace@example.org", "--ttl-s", "60")
    assert done.returncode == 0, done.stderr
    who = {"Authorization": f"Bearer {done.stdout.strip()}"}
    assert (await shared.call("GET", "/v1/me/consents", who=who)).status == 200
    done = await command("token", "--customer", "ada lovelace")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "customer ids have" in done.stderr


async def test_command_explain(shared, command, store):
    """`explain` tells a person why a message was sent, and puts on record who looked; an unknown id is said so."""
    await shared.ok("POST", "/v1/geofences/import?mode=replace", collection(around(store)), who=shared.ops)
    await shared.wait_until_matching(f"{store}-approach")
    await shared.set_up_campaign("explained", trigger={"on": "enter", "geofence_ids": [f"{store}-approach"]})
    await shared.opt_in("eve")
    await shared.browse("eve")
    await shared.walk_in("eve", STORE["lat"], STORE["lon"])
    (decision,) = await shared.decisions("eve")
    done = await command("explain", decision["id"], "--reason", "she asked us")
    assert done.returncode == 0, done.stderr
    for words in ("sent", "explained", "consent", "The shoes are here", "why:"):
        assert words in done.stdout
    (row,) = await shared.sql("select * from audit_log where subject = $1", decision["id"])
    assert (row["actor"], row["customer_id"], row["reason"]) == ("cli", "eve", "she asked us")
    done = await command("explain", "nothing")
    assert done.returncode == 1
    assert "no such decision" in done.stderr


async def test_command_config(command):
    """`config` prints every setting, and no secret."""
    from geoservice.config import SETTINGS

    secret_url = "postgresql://geo:s3cr3t@db.example:5432/geo?sslmode=require"
    done = await command("config", GEOSERVICE_DATABASE_URL=secret_url)
    assert done.returncode == 0, done.stderr
    assert all(f"{setting.name} = " in done.stdout for setting in SETTINGS)
    for secret in (JWT_SECRET, OPS_KEY, "s3cr3t"):
        assert secret not in done.stdout + done.stderr
    assert "db.example" in done.stdout
    done = await command("config", GEOSERVICE_PORT="eighty", GEOSERVICE_OPS_KEY="short")
    assert done.returncode == 2
    assert "GEOSERVICE_PORT must be" in done.stderr
    assert "GEOSERVICE_OPS_KEY must have" in done.stderr
    assert "Traceback" not in done.stderr


async def test_command_migrate(shared, command):
    """`migrate` on a database that is up to date is harmless and says so; an unreachable one is a sentence."""
    done = await command("migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert "this version's tables" in done.stdout
    nowhere = "postgresql://geo:s3cr3t@127.0.0.1:1/geo"
    done = await command("migrate", GEOSERVICE_DATABASE_URL=nowhere)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cr3t" not in done.stderr
    assert "Connection refused" in done.stderr
    no_such = urlsplit(shared.app.settings.database_url)._replace(path="/nothing").geturl()
    done = await command("migrate", GEOSERVICE_DATABASE_URL=no_such)
    assert done.stderr == '✗ The database cannot be reached: database "nothing" does not exist.\n'
    done = await command("keys", "create", "--role", "ops", "--name", "x", GEOSERVICE_DATABASE_URL="")
    assert done.returncode == 1
    assert "start `geoservice serve` first" in done.stderr
