"""What the kernel and a cluster's folder tell of the server that runs there, and the way to its socket."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import stat
import struct
from pathlib import Path
from typing import Final
from urllib.parse import quote

from geoservice.errors import SettingsError

SOCKET: Final = ".s.PGSQL.5432"

SUPERUSER: Final = "postgres"

SOCKET_PATH_MAX_BYTES: Final = 103
"""sockaddr_un holds 108 bytes on Linux and 104 on BSDs, the closing NUL included."""

NO_SUCH_PID: Final = 2**31 - 2
"""Above every kernel's largest pid, below PostgreSQL's idea of a bogus one."""


def listener_pid(cluster: Path) -> int | None:
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
            return _pid_in(pid_file(cluster))
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


def pid_file(cluster: Path) -> list[str]:
    """``postmaster.pid``: pid, folder, start, port, socket folder, address, shared memory, status."""
    return _lines(cluster / "postmaster.pid")


def _pid_in(lines: list[str]) -> int | None:
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def server_status(cluster: Path, pid: int) -> str:
    """``starting``, ``ready`` or ``stopping``; empty while the file is not that server's, or not complete."""
    lines = pid_file(cluster)
    return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else ""


def command_line(pid: int) -> list[str] | None:
    """The words a process was started with; empty for a zombie or a stranger's, None where nobody can say."""
    if not Path("/proc/self/cmdline").exists():
        return None
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def defuse(lock: Path, cluster_name: str) -> None:
    """Make a left-over lock file name a pid that cannot exist, when its pid is now somebody else's.

    After a restart of a container pids begin anew, and PostgreSQL takes any living process of its user for
    its predecessor. The file is kept for its line on shared memory: by it PostgreSQL finds orphans of a
    killed server that still write.
    """
    lines = _lines(lock)
    pid = _pid_in(lines)
    words = None if pid is None else command_line(pid)
    if words is not None and f"cluster_name={cluster_name}" not in words:
        lock.write_text("\n".join([str(NO_SUCH_PID), *lines[1:]]) + "\n")


def cluster_name(cluster: Path) -> str:
    """Shown in the process list, and the mark by which a server is known as this folder's."""
    return "geoservice-" + hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]


# The way to its socket --------------------------------------------------------------------------------------


def dsn_of(cluster: Path) -> str:
    """Every part is written out, so that PGPORT and the like in the environment change nothing."""
    return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(_socket_dir(cluster)))}&port=5432"


def _socket_dir(cluster: Path) -> Path:
    """The cluster, or a short private link to it where the path is too long for a socket or odd in a URL."""
    plain = re.fullmatch(r"[A-Za-z0-9/._+-]+", str(cluster))
    if plain and len(os.fsencode(cluster / SOCKET)) <= SOCKET_PATH_MAX_BYTES:
        return cluster
    link = short_dir(cluster) / "s"
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


def short_dir(cluster: Path) -> Path:
    """Where the short link to a cluster lies, if it needs one."""
    # /tmp itself, as TMPDIR may be just as long, and differ between the service and a command beside it.
    return Path("/tmp") / f"geoservice-{os.geteuid()}-{cluster_name(cluster)[-12:]}"  # noqa: S108 -- 0700, checked


def forget_short_link(cluster: Path) -> None:
    """Remove the short link, if there is one."""
    short = short_dir(cluster)
    with contextlib.suppress(OSError):
        (short / "s").unlink()
        short.rmdir()
