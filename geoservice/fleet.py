"""Several service processes on one port: the kernel spreads connections, PostgreSQL keeps the guarantees.

Every process is a whole service: order per device, caps, claims and timer slots are held by rows and locks, so nothing
has to be agreed between them. The parent owns the embedded database, if there is one, starts again what ends, and
passes SIGTERM on. Each process holds the other end of a pipe from its parent: when that closes, however the parent
ended, it drains and ends, too, and leaves the port to whoever comes next.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import multiprocess

from geoservice.api.server import cannot_listen
from geoservice.config import Settings
from geoservice.errors import NotReady, SettingsError
from geoservice.storage.embedded import EmbeddedPostgres
from geoservice.storage.migrate import migrate

RESTART_AFTER_S: Final = 1.0
PORT_S: Final = 2.0
"""How long a start waits for the port; the processes of a fleet whose parent was killed leave it within a moment."""
GRACE_S: Final = 40.0
"""How long a stop waits for a process to drain before it is killed."""

_log = structlog.get_logger(__name__)


class Fleet:
    """Runs ``count`` processes until told to stop: ``async with Fleet(settings, 2) as fleet``."""

    def __init__(self, settings: Settings, count: int) -> None:
        if settings.clock == "steerable":
            raise SettingsError(["A steerable clock is one process's own: leave --processes 1."])
        self._settings = settings
        self._count = count
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()
        self.port = settings.port
        self.failed = asyncio.Event()
        """Set when processes are looked after no more: the fleet should stop and be started again."""

    @property
    def url(self) -> str:
        """Where the processes answer."""
        host = self._settings.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def __aenter__(self) -> Fleet:  # noqa: PYI034 - final in practice
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._stack.aclose()

    async def _start(self) -> None:
        settings = self._settings
        environment = {
            **os.environ,
            "GEOSERVICE_HOST": settings.host,
            "GEOSERVICE_PORT": str(await self._reserve_port()),
        }
        if settings.database_url is None:
            server = EmbeddedPostgres(settings.data_dir)
            self._stack.push_async_callback(server.stop)
            dsn = await server.start()
            keeper = asyncio.create_task(server.keep())
            keeper.add_done_callback(self._watch)
            self._stack.callback(keeper.cancel)
            await migrate(dsn)
            environment["GEOSERVICE_DATABASE_URL"] = dsn
        metrics = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="geoservice-metrics-"))
        environment["PROMETHEUS_MULTIPROC_DIR"] = metrics
        first: list[asyncio.Future[None]] = [asyncio.Future() for _ in range(self._count)]
        keepers = [asyncio.create_task(self._keep(environment, Path(metrics), serves)) for serves in first]
        self._stack.push_async_callback(self._wait_for, keepers)
        all_serve: asyncio.Task[Any] = asyncio.create_task(asyncio.wait(first))
        await asyncio.wait((all_serve, *keepers), return_when=asyncio.FIRST_COMPLETED)
        all_serve.cancel()
        for keeper in keepers:
            if keeper.done():
                keeper.result()
            keeper.add_done_callback(self._watch)

    async def _reserve_port(self) -> int:
        """Hold the port for the fleet's life without listening: the processes share it, nobody else gets it."""
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        holder = self._stack.enter_context(socket.socket(family))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        address = (self._settings.host, self._settings.port)
        give_up_at_s = time.monotonic() + PORT_S
        while True:
            try:
                # Another fleet would share the port, too, and each get half the requests.
                with socket.socket(family) as alone:
                    alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    alone.bind(address)
                holder.bind(address)
            except OSError as error:
                if time.monotonic() > give_up_at_s:
                    raise cannot_listen(error, *address) from error
                await asyncio.sleep(0.1)
            else:
                self.port = holder.getsockname()[1]
                return self.port

    async def _keep(self, environment: Mapping[str, str], metrics: Path, serves: asyncio.Future[None]) -> None:
        """Run one process, and another one when it ends, until the fleet stops; ``serves``: the first one does.

        Raises NotReady when the first one ends before it serves: what is wrong then will not mend itself.
        """
        while not self._stopping.is_set():
            started = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "geoservice",
                "serve",
                "--share-port",
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None  # noqa: S101 - it was asked for
            if await process.stdout.readline() and not serves.done():  # it says so when it serves
                serves.set_result(None)
            stopping = asyncio.create_task(self._stopping.wait())
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not ended.done():
                await _end(process, ended)
            multiprocess.mark_process_dead(process.pid, str(metrics))  # type: ignore[no-untyped-call]
            if not (self._stopping.is_set() or serves.done()):
                raise NotReady("A process ended before it served; it said why.")
            if not self._stopping.is_set():
                _log.error("process_ended", pid=process.pid, code=process.returncode)
                await asyncio.sleep(max(0.0, RESTART_AFTER_S - (time.monotonic() - started)))

    def _watch(self, keeper: asyncio.Task[None]) -> None:
        if not (self._stopping.is_set() or keeper.cancelled()):
            _log.critical("processes_not_kept", exc_info=keeper.exception())
            self.failed.set()

    async def _wait_for(self, keepers: list[asyncio.Task[None]]) -> None:
        self._stopping.set()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
    """Let it drain; kill it when it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(GRACE_S):
            await asyncio.shield(ended)
    except TimeoutError:
        process.kill()
        await ended
