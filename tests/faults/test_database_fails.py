"""PostgreSQL restarts, crashes, hangs up, refuses, is full, and makes transactions fail: messages survive it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import asyncpg
import pytest
from fault_house import House, house
from verdict import Found, verdict

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

A_LITTLE = {"kind": "accept", "delay_s": 0.05, "times": None}


async def all_known(ours: House, customers: list[str], *, doubtful: int) -> Found:
    """What was under way when it happened may be in doubt, at most so many; all others were accepted."""
    with suppress(AssertionError):
        await ours.at_rest(20)
    await ours.end_leases()
    await ours.at_rest()
    found = await verdict(ours, customers)
    assert found.states.keys() <= {"accepted", "unknown"}
    assert found.states.total() == len(customers)
    assert found.states["unknown"] <= doubtful
    return found


@pytest.mark.parametrize("how", ["restart", pytest.param("crash", marks=pytest.mark.long)])
async def test_postgresql_starts_again_in_mid_run(home, postgres_server, how):
    """It restarts, or crashes and recovers, while 300 messages are on their way: none is lost, none said twice."""
    customers = await home.crowd(300)
    before = (await home.provider.counts())["accepted"]
    await home.provider.script(A_LITTLE)
    async with home.arriving(customers):
        await home.provider.until(accepted=before + 30)
        await break_it(home, postgres_server, how)
    await all_known(home, customers, doubtful=100)


async def break_it(home, postgres_server, how):
    if how == "restart":
        await postgres_server.stop()
        await asyncio.sleep(0.5)
        await postgres_server.start()
    else:
        (backend,) = await home.sql("select pid from pg_stat_activity where application_name = 'geoservice' limit 1")
        os.kill(backend["pid"], signal.SIGKILL)
        await asyncio.sleep(1)


async def test_every_connection_is_terminated_again_and_again(home):
    """An administrator ends all of the service's sessions five times a second for two seconds: the work goes on."""
    customers = await home.crowd(200)
    await home.provider.script(A_LITTLE)
    async with home.arriving(customers):
        for _ in range(10):
            await asyncio.sleep(0.2)
            await home.sql(_END_SESSIONS)
    await all_known(home, customers, doubtful=100)


@pytest.mark.long
async def test_the_way_to_the_database_is_cut(home):
    """Its connections are reset in mid-run, and for a second nobody answers there."""
    customers = await home.crowd(200)
    before = (await home.provider.counts())["accepted"]
    await home.provider.script(A_LITTLE)
    async with home.arriving(customers):
        await home.provider.until(accepted=before + 20)
        await home.database_way.close()
        await asyncio.sleep(1)
        await home.database_way.open()
    await all_known(home, customers, doubtful=100)


@pytest.mark.parametrize(
    "sqlstate",
    [pytest.param("40001", id="serialization failure"), pytest.param("40P01", id="deadlock", marks=pytest.mark.long)],
)
async def test_transactions_that_fail_are_tried_again(home, sqlstate):
    """One statement in ten that touches messages fails as under contention: every message goes out, once."""
    customers = await home.crowd(100)
    await home.sql(_FAIL.format(sqlstate=sqlstate))
    try:
        await home.arrive(customers)
        with suppress(AssertionError):
            await home.at_rest(10)
    finally:
        await home.sql("drop trigger fails_now_and_then on messages")
    await all_known(home, customers, doubtful=20)


_FAIL = """
do $install$
begin
    create or replace function fail_now_and_then() returns trigger language plpgsql as $$
    begin
        if random() < 0.1 then
            raise exception 'made to fail' using errcode = '{sqlstate}';
        end if;
        return null;
    end $$;
    create trigger fails_now_and_then after insert or update on messages
        for each statement execute function fail_now_and_then();
end $install$
"""


@pytest.mark.long
async def test_a_small_pool_and_a_full_server(postgres, furnished, tmp_path):
    """Two connections serve 300 people; then the server takes no new ones and those two are ended: both pass."""
    async with house(postgres, furnished, tmp_path, GEOSERVICE_DATABASE_POOL_SIZE="2") as ours:
        first = await ours.crowd(300)
        await ours.arrive(first)
        await ours.in_state("accepted", first, timeout_s=180)
        second = await ours.crowd(100)
        async with ours.arriving(second), full_server(ours):
            await asyncio.sleep(2)
        await ours.in_state("accepted", second, timeout_s=180)
        await verdict(ours, [*first, *second])


@asynccontextmanager
async def full_server(ours: House) -> AsyncIterator[None]:
    """End the service's sessions, and take every place that the server has."""
    async with AsyncExitStack() as taken:
        for _ in range(3):  # whoever is quick gets a place that was just freed
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    connection = await asyncpg.connect(ours.database_url)
                    taken.push_async_callback(connection.close)
            await connection.fetch(_END_SESSIONS)
        yield


_END_SESSIONS = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name like 'geoservice%' and datname = current_database()
"""
