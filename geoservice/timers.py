"""Ticks. What is due lives in PostgreSQL; a tick claims its slot there, so any number of processes may tick."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from geoservice.errors import Unavailable
from geoservice.storage.database import Database
from geoservice.workflows.upkeep import claim_slot

_PATIENCE_S: Final = 10.0

Tick = Callable[[], Awaitable[object]]

_log = structlog.get_logger(__name__)


class Timers:
    """Runs each tick every so many seconds, in whichever process claims the slot first, or in each of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[asyncio.Task[None]] = set()
        # A tick that comes late, or several that were missed, mean: look once, now.
        self._scheduler: Final = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(_report, EVENT_JOB_ERROR)

    def every(self, seconds: int, name: str, tick: Tick, *, in_each: bool = False) -> None:
        """Add a tick; the first comes at once. ``in_each``: every process runs it, for what it tells of itself."""
        self._scheduler.add_job(
            self._run,
            "interval",
            seconds=seconds,
            args=(seconds, name, tick, in_each),
            next_run_time=datetime.now(UTC),
        )

    async def _run(self, seconds: int, name: str, tick: Tick, in_each: bool) -> None:
        # In a task of its own: the scheduler cancels what it started when it shuts down, in mid-statement.
        task = asyncio.ensure_future(self._tick(seconds, name, tick, in_each=in_each))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)

    async def _tick(self, seconds: int, name: str, tick: Tick, *, in_each: bool) -> None:
        try:
            if in_each or await claim_slot(self._database, name, seconds):
                await tick()
        except Unavailable as error:
            _log.warning("tick_skipped", timer=name, reason=error.detail)

    def start(self) -> None:
        """Begin to tick, on the running event loop."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Tick no more, and wait for the ticks under way."""
        self._scheduler.pause()
        if self._running:
            await asyncio.wait(self._running, timeout=_PATIENCE_S)
        self._scheduler.shutdown(wait=False)


def _report(event: JobExecutionEvent) -> None:
    _log.error("tick_failed", error=type(event.exception).__name__, exc_info=event.exception)
