"""A database that answers and does not let the service work: read-only, or with a role that may do too little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from conftest import environment, new_database, running

from geoservice.errors import NotReady
from geoservice.storage.migrate import migrate

STORE = {"name": "City", "lat": 53.5511, "lon": 9.998, "timezone": "Europe/Berlin"}
RIGHTS = "select, insert, update, delete on all tables in schema public"


@pytest.fixture
async def guest(postgres: str) -> AsyncIterator[str]:
    """A role that owns nothing."""
    async with await asyncpg.create_pool(postgres, min_size=1, max_size=1) as pool:
        await pool.execute("create role guest login")
        yield "guest"
        await pool.execute("drop role guest")


async def put_store(client):
    answer = await client.call("PUT", "/v1/stores/city", STORE, who=client.ops)
    return answer.status, answer.body.get("code")


async def warnings(client):
    return (await client.call("GET", "/readyz")).body["warnings"]


async def test_a_database_that_became_read_only_is_told_to_whoever_watches(postgres, fcm, tmp_path):
    """After a failover to a copy, changes get a 503 and readiness says why, until it can be written again."""
    async with new_database(postgres) as url, await asyncpg.create_pool(url, min_size=1, max_size=1) as owner:
        name = await owner.fetchval("select current_database()")
        async with running(environment(url, fcm, tmp_path), fcm) as client:
            everybody = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
            await owner.execute(f"alter database {name} set default_transaction_read_only = on")
            await owner.execute(f"{everybody} and datname = '{name}'")
            assert await put_store(client) == (503, "not_ready")
            assert "database: it refuses to work (ReadOnlySQLTransactionError)." in await warnings(client)
            await owner.execute(f"alter database {name} set default_transaction_read_only = off")
            await owner.execute(f"{everybody} and datname = '{name}'")
            async with asyncio.timeout(10):
                while await put_store(client) != (200, None):
                    await asyncio.sleep(0.05)


async def test_a_role_without_rights_is_told_so_and_ends_nothing(postgres, guest, fcm, tmp_path):
    """Tables that were not granted to its role are a 503 and no crash; once granted, it works without a restart."""
    async with new_database(postgres) as url, await asyncpg.create_pool(url, min_size=1, max_size=1) as owner:
        async with running(environment(url.replace("postgres@", f"{guest}@"), fcm, tmp_path), fcm) as client:
            assert await put_store(client) == (503, "not_ready")
            assert "database: it refuses to work (InsufficientPrivilegeError)." in await warnings(client)
            await owner.execute(f"grant {RIGHTS} to {guest}")
            assert await put_store(client) == (200, None)
            assert not client.app.failed.is_set()
        await owner.execute(f"drop owned by {guest}")


async def test_migrate_as_a_guest_is_refused_with_a_sentence(postgres, guest):
    """Who may not make tables, as is usual since PostgreSQL 15, is told what the role lacks."""
    async with new_database(postgres, template="template0") as url:
        with pytest.raises(NotReady, match="may not make tables here"):
            await migrate(url.replace("postgres@", f"{guest}@"))
