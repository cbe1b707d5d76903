"""The live view: every transition and decision as it commits, in every process, once, and of nobody by name."""
# ruff: noqa: D102 - the names of helpers say what they do

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import msgspec
import orjson
import pytest
from conftest import Client, environment, running
from hypothesis import given
from hypothesis import strategies as st

from geoservice.api.watching import LiveNews
from geoservice.errors import Invalid
from geoservice.storage.database import Database, open_pool
from geoservice.workflows import live
from geoservice.workflows.live import Numbers

# Numbers that come to light out of order -----------------------------------------------------------------------------


class Tables:
    """A table as PostgreSQL shows it: numbers drawn in order, rows seen when their transaction commits."""

    def __init__(self) -> None:
        self.numbers = 0
        self.next_xid = 10
        self.open: dict[int, list[int]] = {}
        self.committed: list[int] = []

    def begin(self) -> None:
        self.open[self.next_xid] = []
        self.next_xid += 1

    def draw(self, which: int, count: int) -> None:
        if self.open:
            xid = sorted(self.open)[which % len(self.open)]
            self.open[xid] += range(self.numbers + 1, self.numbers + 1 + count)
            self.numbers += count

    def end(self, which: int, *, commits: bool) -> None:
        if self.open:
            rows = self.open.pop(sorted(self.open)[which % len(self.open)])
            self.committed += rows if commits else []

    def look(self, numbers: Numbers, at_once: int) -> list[int]:
        gaps = [(gap.low, gap.high) for gap in numbers.gaps]
        found = sorted(
            row for row in self.committed if row > numbers.top or any(low <= row <= high for low, high in gaps)
        )
        told = found[:at_once]
        oldest = min(self.open, default=self.next_xid)
        numbers.note(told, oldest=oldest, next_=self.next_xid, all_seen=len(told) < at_once)
        return told


STEPS = st.lists(
    st.one_of(
        st.just(("begin",)),
        st.tuples(st.just("draw"), st.integers(0, 5), st.integers(1, 4)),
        st.tuples(st.just("commit"), st.integers(0, 5)),
        st.tuples(st.just("roll back"), st.integers(0, 5)),
        st.tuples(st.just("look"), st.integers(1, 5)),
        st.just(("come back",)),
    ),
    max_size=80,
)


@given(STEPS)
def test_whatever_the_order_of_commits_each_row_is_told_once(steps):
    """However transactions overlap, commit late or roll back, and wherever a viewer comes back: all rows, each once."""
    tables, numbers, told = Tables(), Numbers(0), []
    for name, *values in steps:
        if name == "begin":
            tables.begin()
        elif name == "draw":
            tables.draw(*values)
        elif name in ("commit", "roll back"):
            tables.end(*values, commits=name == "commit")
        elif name == "look":
            told += tables.look(numbers, *values)
        else:
            numbers = live.read_place(f"t{numbers}.d0").transitions
    while tables.open:
        tables.end(0, commits=True)
    while new := tables.look(numbers, 7):
        told += new
    assert sorted(told) == sorted(tables.committed)
    tables.look(numbers, 1_000)
    assert numbers.gaps == [], "a number that can come no more is not waited for"


@pytest.mark.parametrize("text", ["", "x", "t1", "t1.d", "t-1.d2", "t1~.d2", "t1~5-.d1", "d1.t2", "t9" * 40])
async def test_a_place_that_was_never_told_is_refused(text):
    """A place that this service has not told is refused, not guessed at."""
    with pytest.raises(Invalid):
        live.read_place(text)


# The stream ----------------------------------------------------------------------------------------------------------


class Viewer:
    """Somebody who watches: the events as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.last: str | None = None
        self.items: list[dict[str, Any]] = []
        self.skipped = False

    async def next(self) -> LiveNews:
        event = None
        data = b""
        while line := await self.response.content.readline():
            field, _, value = line.rstrip(b"\n").partition(b": ")
            if field == b"id":
                self.last = value.decode()
            elif field == b"event":
                event = value
            elif field == b"data":
                data = value
            elif not line.strip() and event == b"news":
                news = msgspec.json.decode(data, type=LiveNews)
                self.items += orjson.loads(data)["items"]
                self.skipped |= news.skipped
                return news
        raise ConnectionError("the stream has ended")

    async def until(self, count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        async with asyncio.timeout(timeout_s):
            while len(self.items) < count:
                await self.next()
        return self.items


@asynccontextmanager
async def watching(client: Client, last: str | None = None, who: Any = None) -> AsyncIterator[Viewer]:
    headers = dict(who or client.ops) | ({"Last-Event-ID": last} if last else {})
    async with client.session.get(f"{client.app.url}/v1/live", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        viewer = Viewer(response)
        await viewer.next()
        yield viewer


@asynccontextmanager
async def two_processes(database_url: str, tmp_path: Any) -> AsyncIterator[tuple[Client, Client]]:
    settings = environment(database_url, None, tmp_path)
    async with running(settings, None) as one, running(settings, None) as other:
        yield one, other


async def test_a_transition_is_seen_with_its_decision(service):
    """Somebody comes to the store: the enter and what was decided about it are seen, by the names of the places."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("ada")
    await service.browse("ada")
    async with watching(service) as viewer:
        await service.walk_in("ada")
        transition, decision = await viewer.until(2)
    assert (transition["type"], transition["kind"]) == ("transition", "enter")
    assert transition["geofence_name"] == "Around harbour"
    assert (decision["type"], decision["outcome"], decision["campaign_id"]) == ("decision", "send", "shoes")
    assert decision["transition_id"] == transition["id"]


async def test_nobody_is_named_and_no_place_but_the_geofence(service):
    """What a viewer gets holds no customer, no phone, no visit, no message and no coordinate."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("ada-marked", device_id="phone-marked")
    async with watching(service) as viewer:
        await service.walk_in("ada-marked", device_id="phone-marked")
        items = await viewer.until(2)
    hidden = {"customer_id", "device_id", "visit_id", "message_id", "checks", "lat", "lon", "who"}
    assert all(hidden.isdisjoint(item) for item in items)
    text = orjson.dumps(items).decode()
    (visit,) = await service.sql("select visit_id from visits")
    for secret in ("marked", visit["visit_id"], "53.5", "10.0"):
        assert secret not in text


async def test_only_operations_watch(service):
    """The live view is for the role ops; customers, support and strangers are turned away."""
    for role in ("support", "officer", "server"):
        assert (await service.call("GET", "/v1/live", who=await service.key(role))).status == 403
    assert (await service.call("GET", "/v1/live")).status == 401
    assert (await service.call("GET", "/v1/live", who=service.customer("ada"))).status == 401
    assert (await service.call("GET", "/v1/live", who=service.ops | {"Last-Event-ID": "t1"})).status == 422
    async with watching(service, who=await service.key("ops")):
        pass


async def test_what_another_process_decides_is_seen_here(database_url, tmp_path):
    """A viewer of one process sees what happens in the other one, and goes on there where she was."""
    async with two_processes(database_url, tmp_path) as (one, other):
        await one.set_up_store()
        await other.wait_until_matching("harbour-approach")
        for customer_id in ("ada", "bea", "cyd"):
            await one.opt_in(customer_id)
        async with watching(one) as viewer:
            await other.walk_in("ada")
            await viewer.until(1)
        await other.walk_in("bea")
        async with watching(other, viewer.last) as later:
            await one.set_clock(other.now)
            await one.walk_in("cyd")
            await later.until(2)
    ids = [item["id"] for item in [*viewer.items, *later.items]]
    assert len(ids) == len(set(ids)) == 3
    assert not later.skipped


async def test_whoever_was_away_for_long_is_told_that_something_is_left_out(service):
    """A viewer who comes back after too much has happened begins anew, and knows it."""
    await service.sql("select setval(pg_get_serial_sequence('transitions', 'seq'), $1)", live.RESUMED_AT_MOST + 100)
    await add_transitions(service.app.settings.database_url, ["newest"])
    async with watching(service, "t1.d0") as viewer:
        assert viewer.skipped
        assert viewer.items == []


ADD = """insert into transitions (customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source,
                                  late, initial, assumed, recorded_at, engaged_at)
         select 'ada', t, 'phone', 'harbour-approach', 'enter', now(), 1, 'fix', false, false, false, now(), now()
         from unnest($1::text[]) t"""


async def add_transitions(dsn: str, ids: list[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(ADD, ids)
    finally:
        await connection.close()


async def test_rows_of_long_and_failed_transactions_are_told_once(service):
    """Twelve writers at once, some slow, some that fail: a viewer who comes back again and again is told each row once.

    One transaction stays open all the while, with a number below all others, and commits last.
    """
    dsn = service.app.settings.database_url
    patient = await asyncpg.connect(dsn)
    slow = patient.transaction()
    chance = random.Random(7)  # noqa: S311 - which transactions are slow is no secret
    committed = ["last"]

    async def write(writer: int) -> None:
        connection = await asyncpg.connect(dsn)
        for turn in range(12):
            ids = [f"{writer}-{turn}-{n}" for n in range(chance.randint(1, 30))]
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(ADD, ids)
            await asyncio.sleep(chance.uniform(0, 0.05))
            if chance.random() < 0.2:
                await transaction.rollback()
            else:
                committed.extend(ids)
                await transaction.commit()
        await connection.close()

    seen: list[str] = []
    last = None
    async with watching(service) as viewer:
        last = viewer.last
    await slow.start()
    await patient.execute(ADD, ["last"])
    writers = asyncio.gather(*map(write, range(12)))
    while not writers.done():
        async with watching(service, last) as viewer:
            try:
                async with asyncio.timeout(2):
                    await viewer.next()
            except TimeoutError:  # the writers have ended meanwhile, and nothing more comes
                continue
            seen += [item["id"] for item in viewer.items]
            last = viewer.last
    await writers
    await slow.commit()
    await patient.close()
    async with watching(service, last) as viewer:
        await viewer.until(len(committed) - len(seen))
        seen += [item["id"] for item in viewer.items]
    assert sorted(seen) == sorted(committed)


async def test_a_viewer_who_does_not_read_is_cut_and_holds_nobody_up(database_url, fcm, tmp_path):
    """Whoever takes nothing is hung up on; another viewer and the phones do not notice."""
    settings = environment(database_url, fcm, tmp_path, GEOSERVICE_CONNECTION_IDLE_S="1")
    async with running(settings, fcm) as client:
        await client.set_up_store()
        await client.opt_in("ada")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(client.app.address)
            key = client.ops["Authorization"]
            deaf.sendall(f"GET /v1/live HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
            async with watching(client) as viewer:
                await viewers(client, 2)
                reading = asyncio.create_task(viewer.until(40 * 500 + 1, timeout_s=60))
                for n in range(40):
                    await add_transitions(database_url, [f"{'x' * 90}-{n}-{i}" for i in range(500)])
                await client.walk_in("ada")
                await reading
                await viewers(client, 1)


async def viewers(client: Client, count: int, timeout_s: float = 60) -> None:
    """Wait until the service counts so many."""
    async with asyncio.timeout(timeout_s):
        while f"geoservice_live_viewers {count}.0".encode() not in (await client.call("GET", "/metrics")).body:
            await asyncio.sleep(0.05)


async def test_no_more_viewers_than_a_process_can_serve(service):
    """One viewer too many is asked to come later, and there is room again when one has gone."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        service.session, before = session, service.session
        open_ = [watching(service) for _ in range(live.VIEWERS)]
        for each in open_:
            await each.__aenter__()
        refused = await service.call("GET", "/v1/live", who=service.ops)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
        for each in open_:
            await each.__aexit__(None, None, None)
        service.session = before


async def test_a_stop_sends_viewers_away_at_once(database_url, fcm, tmp_path):
    """A service that stops does not wait for whoever watches: the stream ends, and she knows where she was."""
    async with aiohttp.ClientSession() as session:
        async with running(environment(database_url, fcm, tmp_path), fcm) as client:
            headers = client.ops
            response = await session.get(f"{client.app.url}/v1/live", headers=headers)
            viewer = Viewer(response)
            await viewer.next()
        with pytest.raises(ConnectionError):
            await viewer.next()
        assert viewer.last == "t0.d0"


async def test_the_view_survives_a_database_that_goes_away(service):
    """When the database is away the stream ends, and going on where one was works as soon as it is back."""
    async with watching(service) as viewer:
        name = service.app.settings.database_url.partition("?")[0].rsplit("/", 1)[1]
        others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()"
        await service.sql(others, name)
        await add_transitions(service.app.settings.database_url, ["after"])
        with pytest.raises((ConnectionError, TimeoutError)):
            await viewer.until(2, timeout_s=3)
    last = viewer.last
    if not viewer.items:
        async with watching(service, last) as again:
            assert [item["id"] for item in await again.until(1)] == ["after"]


@pytest.mark.long
async def test_a_revoked_key_watches_no_longer(service):
    """A key that is revoked while it watches is sent away within seconds."""
    who = await service.key("ops")
    async with watching(service, who=who) as viewer:
        await service.sql("update api_keys set revoked_at = now()")
        with pytest.raises(ConnectionError):
            await viewer.until(1, timeout_s=60)


async def test_looking_costs_the_same_however_much_is_stored(database_url):
    """A look reads what is new by the numbers' index, never the whole table."""
    async with await open_pool(database_url, size=1) as pool:
        database = Database(pool, database_url)
        await add_transitions(database_url, [str(n) for n in range(5_000)])
        await pool.execute("analyze transitions")
        place = await live.begin(database)
        plan = await pool.fetchval(
            f"explain (format json) {live._sql.transitions.sql}", place.transitions.top, [3], [4], 500
        )
        assert "Seq Scan" not in str(plan)
        await add_transitions(database_url, ["new"])
        found = await live.look(database, place)
        assert [row["transition_id"] for row in found.transitions] == ["new"]
        assert not await live.look(database, place)
