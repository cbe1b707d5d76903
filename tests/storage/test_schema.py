"""What the database itself refuses, and how it comes to be."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from conftest import NOON, environment, running, with_database

from geoservice.errors import NotReady
from geoservice.storage.migrate import LOCK_WAIT_S, current_revision, is_migrated, migrate, newest_revision
from geoservice.storage.migrations import VERSIONS
from geoservice.vocabulary import MESSAGE_MOVES, MessageState
from geoservice.workflows.records import CUSTOMERS, EVIDENCE

NO_CUSTOMER_FIRST = {
    "audit_log": "the record of who looked outlives the customer, and is read by time",
    "api_keys": "keys are the retailer's",
}


@pytest.fixture
async def connection(database_url) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def empty_database_url(postgres) -> AsyncIterator[str]:
    connection = await asyncpg.connect(postgres)
    await connection.execute("create database nothing_yet")
    yield with_database(postgres, "nothing_yet")
    await connection.execute("drop database nothing_yet with (force)")
    await connection.close()


async def add_message(connection: asyncpg.Connection, message_id: str, state: str) -> None:
    await connection.execute(
        "insert into customers (customer_id, created_at) values ('ada', $1) on conflict do nothing", NOON
    )
    await connection.execute(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, purposes, payload,
                                 why, state, reserved_at, not_before, expires_at)
           values ('ada', $1, 'd', 'c', 't', 'push', '{}', '{}', '{}', $2, $3, $3, $4)""",
        message_id, state, NOON, NOON + timedelta(minutes=10),
    )  # fmt: skip


async def test_the_table_of_moves_is_the_one_of_the_code(connection):
    """A message moves in the database exactly as the code's table says."""
    rows = await connection.fetch("select from_state, to_state from message_moves")
    written = {(str(before), str(after)) for before, many in MESSAGE_MOVES.items() for after in many}
    assert {tuple(row) for row in rows} == written


async def test_a_message_moves_by_the_table_only(connection):
    """Every move that is not in the table is refused; a finished message never changes its state."""
    numbers = itertools.count()
    for before, after in itertools.permutations(MessageState, 2):
        message_id = f"m{next(numbers)}"
        await add_message(connection, message_id, before.value)
        move = connection.execute("update messages set state = $1 where message_id = $2", after.value, message_id)
        if after in MESSAGE_MOVES[before]:
            await move
        else:
            with pytest.raises(asyncpg.RaiseError, match=f"cannot move from {before} to {after}"):
                await move
    finished = [state for state in MessageState if not MESSAGE_MOVES[state]]
    assert set(finished) == {"accepted", "failed", "expired", "cancelled"}


async def test_consents_are_evidence(connection):
    """A consent record cannot be changed afterwards."""
    await connection.execute("insert into customers (customer_id, created_at) values ('ada', $1)", NOON)
    await connection.execute(
        """insert into consents (customer_id, purpose, granted, notice_version, recorded_at)
           values ('ada', 'location', true, '1', $1)""",
        NOON,
    )
    with pytest.raises(asyncpg.RaiseError, match="consents is append-only"):
        await connection.execute("update consents set granted = false")


async def test_the_audit_log_is_evidence(connection):
    """Who looked stays on record as it was written."""
    await connection.execute("insert into audit_log (at, actor, action) values ($1, 'ada', 'read')", NOON)
    with pytest.raises(asyncpg.RaiseError, match="audit_log is append-only"):
        await connection.execute("update audit_log set actor = 'nobody'")


async def test_what_a_customer_owns_is_keyed_by_customer(connection):
    """Every table with a customer leads its primary key with the customer, so that it can be spread by customer."""
    rows = await connection.fetch(
        """select c.relname as table, (
               select a.attname from pg_index i
               join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
               where i.indrelid = c.oid and i.indisprimary) as first
           from pg_class c
           join pg_attribute owner on owner.attrelid = c.oid and owner.attname = 'customer_id'
           where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace"""
    )
    first = {row["table"]: row["first"] for row in rows if row["table"] not in NO_CUSTOMER_FIRST}
    assert {"devices", "messages", "consents", "transitions"} <= first.keys()
    assert set(first.values()) == {"customer_id"}, first


GRANDFATHERED = "0014"
"""Migrations up to here came before anybody had much data."""

INDEX = re.compile(
    r"((?:--[^\n]*\n)*)\s*create\s+(?:unique\s+)?index\s+(concurrently\s+)?.*?\bon\s+(\w+)", re.IGNORECASE | re.DOTALL
)
MADE = re.compile(r"create\s+table\s+(\w+)", re.IGNORECASE)


def locking_indexes(sql: str) -> list[str]:
    """Tables that grow with customers and that an index would lock, in a file that does not say why that is no harm."""
    large = {kept.table for kept in (*CUSTOMERS, *EVIDENCE)} - set(MADE.findall(sql))
    found = (INDEX.search(statement) for statement in sql.split(";"))
    return [
        each[3] for each in found if each and each[3].lower() in large and not each[2] and "-- Locks:" not in each[1]
    ]


def test_no_migration_locks_out_writers():
    """An index on a table that grows with customers is made concurrently, or its migration says why that is no harm."""
    files = [path for path in VERSIONS.iterdir() if path.suffix in {".sql", ".py"} and path.name[:4] > GRANDFATHERED]
    assert {path.name: found for path in files if (found := locking_indexes(path.read_text()))} == {}


@pytest.mark.parametrize(
    ("sql", "locks"),
    [
        ("create index a on events (store_id);", True),
        ("alter table x add column y text;\nCREATE UNIQUE INDEX a ON messages (b);", True),
        ("create index a on audit_log using brin (at);", True),
        ('op.execute("create index concurrently a on events (store_id)")', False),
        ("-- Locks: only rows that wait, a few hundred.\ncreate index a on messages (b) where c;", False),
        ("create table events (a text); create index a on events (a);", False),
        ("create index a on stores (name);", False),
    ],
)
def test_the_rule_about_indexes_bites(sql, locks):
    """A plain index on a large table is noticed; a concurrent one, one with a reason and one on a new table are not."""
    assert bool(locking_indexes(sql)) is locks


async def waiting_for_readers(connection: asyncpg.Connection) -> None:
    """Wait until an index is in the making, and waits itself for those who were there before."""
    looks = """select count(*) from pg_stat_activity
               where query like 'create index concurrently%' and wait_event = 'virtualxid'"""
    async with asyncio.timeout(60):
        while not await connection.fetchval(looks):
            await asyncio.sleep(0.01)


VALID = "select indisvalid from pg_index where indexrelid = 'decisions_counted'::regclass"


async def test_an_index_is_made_beside_writers_and_readers(empty_database_url):
    """A long report holds up the index, longer than a lock would be waited for; nobody waits for the index."""
    await migrate(empty_database_url, "0014")
    reader, writer = [await asyncpg.connect(empty_database_url) for _ in range(2)]
    async with reader.transaction(isolation="repeatable_read"):
        await reader.execute("select from decisions")
        several = asyncio.gather(*(migrate(empty_database_url) for _ in range(3)))
        await waiting_for_readers(writer)
        await writer.execute("delete from decisions", timeout=5)
        await asyncio.sleep(LOCK_WAIT_S + 0.1)
        assert not several.done()
    await several
    assert await current_revision(writer) == newest_revision()
    assert await writer.fetchval(VALID) is True
    await reader.close()
    await writer.close()


async def test_a_migration_that_was_cut_off_goes_on(empty_database_url):
    """When the server goes away in the middle, a sentence says so; run again, what was left half done is made anew."""
    await migrate(empty_database_url, "0014")
    reader, other = [await asyncpg.connect(empty_database_url) for _ in range(2)]
    async with reader.transaction(isolation="repeatable_read"):
        await reader.execute("select from decisions")
        migrating = asyncio.create_task(migrate(empty_database_url))
        await waiting_for_readers(other)
        await other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'geoservice migrate'"
        )
        with pytest.raises(NotReady, match="nothing is lost, run it again"):
            await migrating
    assert (await current_revision(other), await other.fetchval(VALID)) == ("0014", False)
    await migrate(empty_database_url)
    assert (await current_revision(other), await other.fetchval(VALID)) == (newest_revision(), True)
    await reader.close()
    await other.close()


async def test_migrating_again_and_at_once_is_harmless(empty_database_url):
    """Four migrators on an empty database, and a fifth afterwards: the tables are there once."""
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    await migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    assert await current_revision(connection) == newest_revision()
    assert await is_migrated(connection)
    rooms = [row["room"] for row in await connection.fetch("select room from directory_revisions order by room")]
    assert rooms == ["campaigns", "geofences", "policy", "stores"]
    await connection.close()


async def test_going_back_to_an_older_version_needs_no_other_tables(connection, database_url):
    """A database that a newer version has migrated is served as it is, and not touched."""
    await connection.execute("update alembic_version set version_num = '9999'")
    await migrate(database_url)
    assert await current_revision(connection) == "9999"
    assert await is_migrated(connection)


async def test_a_migration_finds_its_way_between_transactions(empty_database_url):
    """While somebody reads a table that it must change, it holds up nobody else, and goes on when they are done."""
    await migrate(empty_database_url, "0001")
    reader, other = [await asyncpg.connect(empty_database_url) for _ in range(2)]
    reading = reader.transaction()
    await reading.start()
    await reader.execute("select from messages")
    migrating = asyncio.create_task(migrate(empty_database_url))
    for _ in range(5):
        await asyncio.sleep(0.3)
        await other.execute("select from messages", timeout=30)
    assert not migrating.done()
    await reading.rollback()
    await migrating
    assert await current_revision(other) == newest_revision()
    await reader.close()
    await other.close()


async def test_a_service_waits_for_its_tables(empty_database_url, tmp_path):
    """On an empty database the service starts and says what is missing; after `geoservice migrate` it is ready."""
    settings = environment(empty_database_url, None, tmp_path)
    async with running(settings, None) as client:
        answer = await client.call("GET", "/readyz")
        assert answer.status == 503
        assert answer.body["checks"] == {"database": True, "migrations": False, "catalogue": False}
        assert "The database lacks this version's tables: run `geoservice migrate`." in answer.body["missing"]
        assert (await client.call("GET", "/healthz")).status == 200
        await asyncio.sleep(1.2)  # long enough for everything that looks once a second to have looked
        assert not client.app.failed.is_set()

        command = [sys.executable, "-m", "geoservice", "migrate"]
        done = await asyncio.to_thread(subprocess.run, command, env={**os.environ, **settings}, capture_output=True)
        assert done.returncode == 0, done.stderr
        async with asyncio.timeout(60):
            while (answer := await client.call("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.05)
        assert answer.body["ready"] is True
        await client.set_up_store()
        await client.opt_in("ada")
        assert (await client.walk_in("ada"))["accepted"] == 10
        assert not client.app.failed.is_set()


async def test_a_service_survives_lost_connections(service):
    """When every connection is cut, the service goes on with new ones, and nothing has to be started again."""
    await service.opt_in("ada")
    for _ in range(3):
        await service.sql(
            """select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()"""
        )
        async with asyncio.timeout(60):
            while (await service.call("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
    await service.set_up_store()
    await service.set_up_campaign()
    await service.browse("ada")
    assert (await service.walk_in("ada"))["accepted"] == 10
    await service.delivered(1)
    assert not service.app.failed.is_set()
