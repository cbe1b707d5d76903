"""The database beside the service: its tables, its restore, the settings that lead to it."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop

from geoservice.clock import SystemClock
from geoservice.commands.command_line import command, out, settings_in_force
from geoservice.config import Settings, shown
from geoservice.errors import NotReady
from geoservice.storage.database import ACTING, Acting, Database, open_pool
from geoservice.storage.embedded import EmbeddedPostgres, attach
from geoservice.storage.journal import Journal
from geoservice.workflows import restore


def add_to(commands: Any) -> None:
    """Add the commands of this file."""
    command(commands, "migrate", _migrate, "bring the database to this version's tables")
    command(commands, "config", _config, "print the settings in force, secrets masked")
    check = command(commands, "restore-check", _restore_check, "make a restored database fit to be served")
    check.add_argument(
        "--journal",
        action="append",
        type=Path,
        metavar="DIR",
        help="a journal to apply, once for each machine that served (default: GEOSERVICE_JOURNAL_DIR)",
    )


async def dsn_in_force(settings: Settings) -> str:
    """Find the configured database, or the one that a running service started; raises NotReady."""
    if settings.database_url is not None:
        return settings.database_url
    dsn = await asyncio.to_thread(attach, settings.data_dir)
    if dsn is None:
        raise NotReady(
            f"No service runs in {settings.data_dir}: start `geoservice serve` first, or set GEOSERVICE_DATABASE_URL."
        )
    return dsn


def with_database(work: Callable[[Database], Awaitable[int | None]]) -> int:
    """Do ``work`` on the service's database; what it changes is on record as done by the command."""

    async def run() -> int:
        dsn = await dsn_in_force(settings_in_force())
        pool = await open_pool(dsn, size=2, application="geoservice cli")
        async with pool:
            ACTING.set(Acting("cli", None, SystemClock().now()))
            return await work(Database(pool, dsn)) or 0

    return uvloop.run(run())


def _migrate(_: argparse.Namespace) -> None:
    async def run() -> None:
        await _migrate_to_head(await dsn_in_force(settings_in_force()))

    uvloop.run(run())
    out.print("[green]✓[/] the database has this version's tables")


async def _migrate_to_head(dsn: str) -> None:
    from geoservice.storage.migrate import migrate  # noqa: PLC0415 - the other commands do not need Alembic

    await migrate(dsn)


def _config(_: argparse.Namespace) -> None:
    for setting, value in shown(settings_in_force()):
        out.print(f"[bold]{setting.name}[/] = {value}", soft_wrap=True)


def _restore_check(arguments: argparse.Namespace) -> None:
    settings = settings_in_force()
    journals = [Journal.kept_in(folder) for folder in arguments.journal or [settings.journal_dir]]

    async def run() -> restore.Report:
        async with AsyncExitStack() as stack:
            dsn = settings.database_url
            if dsn is None:  # no service may run, so nobody else has started the database
                server = EmbeddedPostgres(settings.data_dir)
                stack.push_async_callback(server.stop)
                dsn = await server.start()
                await _migrate_to_head(dsn)
            pool = await stack.enter_async_context(await open_pool(dsn, size=2, application="geoservice cli"))
            return await restore.restore_check(Database(pool, dsn), journals, SystemClock().now())

    report = uvloop.run(run())
    for name, count in dataclasses.asdict(report).items():
        out.print(f"  {count:>6} {name.replace('_', ' ')}")
    out.print("[green]✓[/] the database can be served")
