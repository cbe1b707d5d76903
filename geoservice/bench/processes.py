"""The servers that are measured, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_URL = re.compile(rb"http://([\d.]+):(\d+)")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server process."""

    host: str
    port: int
    pid: int
    data_dir: Path | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def rss_mb(self) -> float:
        """Memory of the service alone, as the kernel counts it (proc(5))."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds used so far by the service and by its PostgreSQL."""
        used = {"service": _cpu_seconds(self.pid)}
        if self.data_dir is not None:
            used["postgresql"] = sum(_cpu_seconds(pid) for pid in _postgres_pids(self.data_dir))
        return used


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children that it waited for (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


def _postgres_pids(data_dir: Path) -> Iterator[int]:
    """The postmaster of the embedded server and its children."""
    pid_file = data_dir / "postgresql" / "postmaster.pid"
    try:
        postmaster = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    yield postmaster
    for children in Path(f"/proc/{postmaster}/task").glob("*/children"):
        yield from map(int, children.read_text().split())


@asynccontextmanager
async def geoservice_server(
    environment: Mapping[str, str], *, port: int = 0, processes: int = 1
) -> AsyncIterator[Server]:
    """Run ``geoservice serve`` with these settings and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GEOSERVICE_")}
    command = [sys.executable, "-m", "geoservice", "serve", "--port", str(port), "--processes", str(processes)]
    async with _process(command, {**inherited, **environment}) as (host, bound, pid):
        yield Server(host, bound, pid, Path(environment["GEOSERVICE_DATA_DIR"]))


@asynccontextmanager
async def empty_server() -> AsyncIterator[Server]:
    """Run an aiohttp handler that reads the body and answers: what HTTP itself costs here."""
    async with _process([sys.executable, "-m", "geoservice.bench.empty"], dict(os.environ)) as (host, port, pid):
        yield Server(host, port, pid)


@asynccontextmanager
async def stand_in_server(credentials: Path) -> AsyncIterator[Server]:
    """Run the stand-in for FCM; its service-account file is written to ``credentials``."""
    command = [sys.executable, "-m", "geoservice.demo.fcm_stand_in", "--credentials", str(credentials)]
    async with _process(command, dict(os.environ)) as (host, port, pid):
        yield Server(host, port, pid)


@asynccontextmanager
async def _process(command: list[str], environment: Mapping[str, str]) -> AsyncIterator[tuple[str, int, int]]:
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None  # noqa: S101 - it was asked for
    try:
        async with asyncio.timeout(60):
            while (match := _URL.search(line := await process.stdout.readline())) is None:
                if not line:
                    raise RuntimeError(f"{' '.join(command[1:])} did not start")
        yield match[1].decode(), int(match[2]), process.pid
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
