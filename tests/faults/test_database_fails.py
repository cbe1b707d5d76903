"""PostgreSQL restarts, crashes, hangs up, refuses, is full, and makes transactions fail: messages survive it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from fault_house import House, house
from verdict import Found, verdict

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

A_LITTLE = {"kind": "accept", "delay_s": 0.05, "times": None}


async def all_known(ours: House, customers: list[str], *, doubtful: int) -> Found:
    """What was under way when it happened may be in doubt, at most so many; all others were accepted."""
    await ours.left_to_leases()
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


@pytest.mark.long
@pytest.mark.usefixtures("careless")
async def test_what_was_answered_survives_a_crash_of_postgresql(home, postgres_server):
    """The whole server is killed while messages and opt-outs go on: nothing is said twice, no opt-out is lost.

    Its administrator has told it that commits need not wait for the disk; the service does not let that hold.
    """
    customers = await home.crowd(400)
    before = (await home.provider.counts())["accepted"]
    await home.provider.script(A_LITTLE)
    said: dict[str, tuple[datetime, set[str]]] = {}
    async with home.arriving(customers), asyncio.TaskGroup() as leaving:
        for number, customer_id in enumerate(customers[::2]):
            leaving.create_task(opt_out(home, customer_id, 0.02 * number, said))
        for accepted in (40, 120):
            await home.provider.until(accepted=before + accepted)
            os.kill(postgres_server.pid, signal.SIGKILL)
            await postgres_server.stop()
            await postgres_server.start()
    await home.left_to_leases()
    await home.end_leases()
    await home.at_rest()
    found = await verdict(home, customers)
    assert found.states.keys() <= {"accepted", "unknown", "cancelled"}
    for row in await home.sql(_LAST_ANSWERS, list(said)):
        assert not row["granted"], "her opt-out was answered, and is gone"
    owner = {row["message_id"]: row["customer_id"] for row in found.rows}
    for push in await home.provider.accepted(before):
        answered_at, in_flight = said.get(owner.get(push["message_id"], ""), (datetime.max.replace(tzinfo=UTC), set()))
        assert datetime.fromisoformat(push["received_at"]) <= answered_at or push["message_id"] in in_flight


@pytest_asyncio.fixture(loop_scope="module")
async def careless(home: House) -> AsyncIterator[None]:
    """A server that promises commits up to ten seconds before they are safe, to whoever does not ask for more."""
    name = urlsplit(home.database_url).path.lstrip("/")
    for what in (f"alter database {name} set synchronous_commit = off", "alter system set wal_writer_delay = '10s'"):
        await home.sql(what)
    await home.sql("select pg_reload_conf()")
    await home.sql(_END_SESSIONS)  # what is opened from now on has it
    yield
    for what in (f"alter database {name} reset synchronous_commit", "alter system reset wal_writer_delay"):
        await home.sql(what)
    await home.sql("select pg_reload_conf()")
    await home.sql(_END_SESSIONS)


async def opt_out(ours: House, customer_id: str, after_s: float, said: dict[str, tuple[datetime, set[str]]]) -> None:
    """Withdraw, as often as it takes to get an answer; note when it came, and what it named."""
    await asyncio.sleep(after_s)
    no, who = {"granted": False, "notice_version": "1"}, ours.service.customer(customer_id)
    while (answer := await ours.service.call("PUT", "/v1/me/consents/marketing_push", no, who=who)).status != 200:
        assert answer.status == 503, answer.body
        await asyncio.sleep(0.1)
    said[customer_id] = datetime.now(UTC), set(answer.body["in_flight"])


_LAST_ANSWERS = """
select distinct on (customer_id) customer_id, granted from consents
where customer_id = any($1) and purpose = 'marketing_push' order by customer_id, consent_id desc
"""


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


@pytest.mark.long
async def test_connections_to_the_database_that_lead_nowhere_are_given_up(home):
    """A firewall forgets all connections to it without a word: others are opened, and what waits goes out."""
    customers = await home.crowd(20)
    home.database_way.forget()
    await home.arrive(customers)
    await home.in_state("accepted", customers)
    await verdict(home, customers)


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
        await home.left_to_leases(10)
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
