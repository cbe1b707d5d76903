"""SIGTERM drains everything, and a rolling restart of two processes loses nothing and says nothing twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from conftest import Client, ServiceProcess, environment, fix, ring, running

from geoservice.demo.fcm_stand_in import Answer, FcmStandIn

LAT, LON = 53.55, 10.0
OPTED_IN = (
    "insert into customers (customer_id, created_at) select c, now() from unnest($1::text[]) c",
    """insert into devices (customer_id, device_id, platform, push_token, location_allowed, registered_at)
       select c, 'phone', 'android', 'token-' || c, true, now() from unnest($1::text[]) c""",
    """insert into consents (customer_id, purpose, granted, notice_version, recorded_at)
       select c, purpose, true, '1', now()
       from unnest($1::text[]) c, unnest('{location,marketing_push}'::text[]) purpose""",
    """insert into preferences (customer_id, body, version, updated_at)
       select c, '{"topics": {"sneakers": true}}', 1, now() from unnest($1::text[]) c""",
)
"""As if every one of them had said yes in the app, without the hundreds of requests."""
SETTINGS = {"GEOSERVICE_CLOCK": "system", "GEOSERVICE_DEFAULT_QUIET_HOURS": "none"}
CALLS = 4
"""So many calls at least one sender has under way at once, before any was answered."""


async def set_up(client: Client, customers: list[str]) -> None:
    """A store that is always open, a campaign for everybody who comes, and customers who allow it."""
    store = {"name": "Harbour", "lat": LAT, "lon": LON, "timezone": "Europe/Berlin"}
    await client.ok("PUT", "/v1/stores/harbour", store, who=client.ops)
    fences = {"type": "FeatureCollection", "features": [ring("harbour", LAT, LON)]}
    await client.ok("POST", "/v1/geofences/import", fences, who=client.ops)
    await client.set_up_campaign(context={}, uses=[])
    for statement in OPTED_IN:
        await client.sql(statement, customers)


def arrival() -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [fix(now - timedelta(seconds=180), LAT + 500 / 111_200, LON), fix(now - timedelta(seconds=5), LAT, LON)]


@pytest.fixture
async def processes(database_url, fcm: FcmStandIn, tmp_path: Path) -> AsyncIterator[list[ServiceProcess]]:
    """Two processes on one database, not started yet."""
    settings = environment(database_url, fcm, tmp_path, **SETTINGS)
    both = [ServiceProcess(settings, tmp_path / f"service-{number}.log") for number in range(2)]
    yield both
    for process in both:
        if process.is_running:
            process.kill()


async def states(client: Client) -> Counter[str]:
    return Counter(row["state"] for row in await client.sql("select state from messages"))


async def takes_newcomers(process: ServiceProcess) -> bool:
    try:
        async with aiohttp.ClientSession() as newcomer, newcomer.get(f"{process.url}/healthz"):
            return True
    except aiohttp.ClientConnectorError:
        return False
    except aiohttp.ClientError:  # it was let in, and the door closed behind it
        return True


async def test_sigterm_lets_everything_finish(processes, database_url, fcm, tmp_path):
    """A request under way is answered, calls under way end and are recorded, what was not begun is left to others."""
    customers = [f"customer-{number}" for number in range(80)]
    async with running(environment(database_url, fcm, tmp_path, **SETTINGS), fcm) as client:
        await set_up(client, customers)
    process = processes[0]
    await process.start()
    fcm.script(Answer(delay_s=3.0, times=2 * len(customers)))
    async with aiohttp.ClientSession() as session:
        client = Client(process, session, fcm)
        await asyncio.gather(*(client.ping(c, *arrival()) for c in customers))
        async with asyncio.timeout(60):
            while fcm.in_flight < CALLS:
                await asyncio.sleep(0.01)

        body = orjson.dumps({"device_id": "phone", "pings": [fix(datetime.now(UTC), LAT, LON)]})
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        head = (
            f"POST /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: {client.customer('customer-0')['Authorization']}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body[:20])
        await writer.drain()
        await asyncio.sleep(0.3)
        process.terminate()
        async with asyncio.timeout(7):
            while await takes_newcomers(process):
                await asyncio.sleep(0.05)
        writer.write(body[20:])
        async with asyncio.timeout(60):
            assert (await reader.readline()).startswith(b"HTTP/1.1 202")
        writer.close()
    assert await asyncio.to_thread(process.wait) == 0, process.log.read_text()

    begun = len(fcm.accepted)
    assert CALLS <= begun < len(customers)
    async with aiohttp.ClientSession() as session:
        client = Client(process, session, fcm)
        assert await states(client) == Counter(accepted=begun, pending=len(customers) - begun)
        taken = list(fcm.accepted)
        fcm.reset()
        await process.start()
        await client.delivered(len(customers) - begun, timeout_s=60)
        await client.settled()
        assert await states(client) == Counter(accepted=len(customers))
    process.stop()
    taken += fcm.accepted
    assert len({push.message_id for push in taken}) == len(taken) == len(customers)


async def test_a_rolling_restart_loses_nothing(processes, database_url, fcm, tmp_path):
    """Two processes are stopped and started in turn while people come: each ping is stored, each message sent once."""
    customers = [f"customer-{number}" for number in range(500)]
    async with running(environment(database_url, fcm, tmp_path, **SETTINGS), fcm) as client:
        await set_up(client, customers)
    await asyncio.gather(*(process.start() for process in processes))
    fcm.script(Answer(delay_s=0.3, times=len(customers)))
    unexpected: list[str] = []
    moved_over = 0

    async with aiohttp.ClientSession() as session:
        clients = [Client(process, session, fcm) for process in processes]

        async def post(number: int, pings: list[dict[str, Any]]) -> dict[str, Any]:
            """Post to one process; when it is going away, to the other one, as a load balancer does."""
            nonlocal moved_over
            who = clients[0].customer(customers[number])
            body = {"device_id": "phone", "pings": pings}
            for attempt in range(400):
                try:
                    answer = await clients[(number + attempt) % 2].call("POST", "/v1/pings", body, who=who)
                except (aiohttp.ClientError, ConnectionError):
                    moved_over += 1
                    await asyncio.sleep(0.02)
                    continue
                if answer.status == 202:
                    return answer.body
                unexpected.append(f"{answer.status} {answer.body}")
            raise AssertionError("no process took it")

        async def come(number: int) -> None:
            for each in arrival():
                stored = await post(number, [each])
                assert stored["accepted"] + stored["duplicates"] == 1

        async def restart() -> None:
            for process in processes:
                await asyncio.sleep(0.5)
                await asyncio.to_thread(process.stop)
                await process.start()

        restarting = asyncio.create_task(restart())
        coming = []
        while not restarting.done() and len(coming) < len(customers):
            coming.append(asyncio.create_task(come(len(coming))))
            await asyncio.sleep(0.08)
        await restarting
        await asyncio.gather(*coming)
        came = customers[: len(coming)]
        await clients[0].delivered(len(came), timeout_s=60)
        await clients[0].settled()
        assert await states(clients[0]) == Counter(accepted=len(came))
        (row,) = await clients[0].sql("select count(*) as receipts from ping_receipts")
        assert row["receipts"] == 2 * len(came)
    for process in processes:
        process.stop()
    assert not unexpected
    assert moved_over, "no request met a process that was away: the test shows nothing"
    assert Counter(push.token for push in fcm.accepted) == Counter(f"token-{c}" for c in came)
