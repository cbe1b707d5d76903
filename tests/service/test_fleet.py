"""Several processes on one port: real processes, real kills."""

import asyncio
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import orjson
import pytest
from conftest import JWT_SECRET, OPS_KEY, environment

from geoservice.storage.server_door import listener_pid


@asynccontextmanager
async def fleet(database_url, tmp_path, processes=2):
    """Run ``geoservice serve --processes``, as an operator would."""
    settings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GEOSERVICE_")},
        **({"GEOSERVICE_DATABASE_URL": database_url} if database_url else {}),
        "GEOSERVICE_DATA_DIR": str(tmp_path),
        "GEOSERVICE_JWT_SECRET": JWT_SECRET,
        "GEOSERVICE_OPS_KEY": OPS_KEY,
    }
    command = [sys.executable, "-m", "geoservice", "serve", "--port", "0", "--processes", str(processes)]
    process = await asyncio.create_subprocess_exec(*command, env=settings, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        yield SimpleNamespace(url=re.search(r"http://\S+", line)[0], process=process)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(40):
            await process.wait()


def children(pid):
    """The process ids of a process' children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def get(url, path, **headers):
    # A connection of its own for each call, so that the kernel may choose another process.
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as response:
        return response.status, await response.read()


async def test_a_fleet_serves_on_one_port_and_replaces_what_dies(database_url, tmp_path):
    """Two processes answer on one port; one that is killed is started again, and SIGTERM leaves none behind."""
    async with fleet(database_url, tmp_path) as running:
        before = children(running.process.pid)
        assert len(before) == 2
        assert {(await get(running.url, "/readyz"))[0] for _ in range(20)} == {200}
        os.kill(before[0], signal.SIGKILL)
        async with asyncio.timeout(60):
            while len(set(children(running.process.pid)) - {before[0]}) < 2:
                await asyncio.sleep(0.1)
            while (await get(running.url, "/readyz"))[0] != 200:
                await asyncio.sleep(0.1)
        last = children(running.process.pid)
        running.process.terminate()
        assert await running.process.wait() == 0
    assert not [pid for pid in last if Path(f"/proc/{pid}").exists()]


async def test_two_fleets_do_not_share_a_port(database_url, tmp_path):
    """A second fleet on the port of one that runs is refused, instead of taking half of its requests."""
    async with fleet(database_url, tmp_path) as running:
        settings = environment(database_url, None, tmp_path, GEOSERVICE_CLOCK="system")
        port = running.url.rpartition(":")[2]
        command = [sys.executable, "-m", "geoservice", "serve", "--port", port, "--processes", "2"]
        second = await asyncio.to_thread(
            subprocess.run, command, env={**os.environ, **settings}, capture_output=True, check=False, text=True
        )
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.splitlines()[-1] == f"✗ Port {port} cannot be used: Address already in use."
        assert (await get(running.url, "/readyz"))[0] == 200


async def test_a_fleet_whose_parent_is_killed_leaves_nobody_on_the_port(database_url, tmp_path):
    """After a kill -9 of the parent its processes drain and end by themselves: the next version serves alone."""
    async with fleet(database_url, tmp_path) as running:
        orphans = children(running.process.pid)
        running.process.kill()
        async with asyncio.timeout(30):
            while any(Path(f"/proc/{pid}").exists() for pid in orphans):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("processes", [1, 2])
async def test_the_embedded_database_is_started_again_when_it_is_killed(tmp_path, processes):
    """When the embedded PostgreSQL is killed, the same processes serve again soon, alone and as a fleet."""
    async with fleet(None, tmp_path, processes) as running:
        serving = set(children(running.process.pid))
        database = listener_pid(tmp_path / "postgresql")
        os.kill(database, signal.SIGKILL)
        async with asyncio.timeout(30):
            while listener_pid(tmp_path / "postgresql") in {None, database}:
                await asyncio.sleep(0.05)
            while (ready := (await get(running.url, "/readyz"))[0]) != 200:
                assert ready == 503
                await asyncio.sleep(0.05)
        assert serving - {database} <= set(children(running.process.pid))
        running.process.terminate()
        assert await running.process.wait() == 0
    assert listener_pid(tmp_path / "postgresql") is None


async def test_many_may_connect_where_programs_start_with_few_files(database_url, tmp_path):
    """Started with the few open files that systems give by default, a service takes more, as far as it may."""
    few, most = 256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
    try:
        async with fleet(database_url, tmp_path) as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for pid in [running.process.pid, *children(running.process.pid)]:
                assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == min(most, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_fleet_that_cannot_serve_says_so_and_ends(tmp_path):
    """When its processes cannot start, a fleet does not claim to serve, and does not try for ever."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    command = [sys.executable, "-m", "geoservice", "serve", "--port", "0", "--processes", "2"]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    settings = {**os.environ, "GEOSERVICE_DATABASE_URL": nowhere, "GEOSERVICE_DATA_DIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(*command, env=settings, **pipes)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"The database cannot be reached" in err
    assert b"ended before it served" in err
    assert b"never retrieved" not in err


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_port_that_is_taken_is_named(database_url, tmp_path, processes):
    """Whoever starts the service on a port that somebody else has is told so in a sentence, alone and as a fleet."""
    settings = environment(database_url, None, tmp_path, GEOSERVICE_CLOCK="system")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "geoservice", "serve", "--port", str(port), "--processes", processes]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"✗ Port {port} cannot be used: Address already in use."


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
async def test_an_address_that_is_not_this_machines_is_named(database_url, tmp_path, host, processes):
    """Whoever mistypes the address is told of the address, not of the port, alone and as a fleet."""
    settings = environment(database_url, None, tmp_path, GEOSERVICE_CLOCK="system")
    command = [sys.executable, "-m", "geoservice", "serve", "--host", host, "--port", "0", "--processes", processes]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"✗ Address {host} cannot be used: ")


async def test_a_fleet_counts_as_one_in_its_metrics(database_url, tmp_path):
    """Whichever process is scraped, /metrics adds up what all of them did."""
    async with fleet(database_url, tmp_path) as running:
        from geoservice.api.auth import CustomerTokens

        token = CustomerTokens(JWT_SECRET).sign("ada", 60)
        body = orjson.dumps(
            {
                "device_id": "phone",
                "pings": [
                    {"type": "location", "recorded_at": "2026-01-01T00:00:00Z", "lat": 1, "lon": 1, "accuracy_m": 5}
                ],
            }
        )
        for _ in range(10):
            async with (
                aiohttp.ClientSession(
                    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                ) as session,
                session.post(running.url + "/v1/pings", data=body) as response,
            ):
                assert response.status == 202
        _, metrics = await get(running.url, "/metrics")
        assert b'geoservice_pings_total{outcome="no_location_consent"} 10.0' in metrics
