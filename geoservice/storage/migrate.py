"""Bring a database to the schema that this version needs, and say whether it is there."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from geoservice.errors import NotReady
from geoservice.storage.database import UNREACHABLE, refuse_unsupported, unreachable

if TYPE_CHECKING:
    from sqlalchemy import Connection

PATIENCE_S: Final = 60.0
"""So long a migration tries to get between the transactions of a service that is running."""
LOCK_WAIT_S: Final = 1
"""Whoever waits for a table stops everybody who comes after; so nobody waits for longer."""
_PAUSE_S: Final = 0.2
_MIGRATE_LOCK: Final = 0x6765_6F73  # "geos": one migrator at a time


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def newest_revision() -> str:
    """Name the revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("no migrations are packaged")
    return head


async def current_revision(connection: asyncpg.Connection) -> str | None:
    """Name the revision of this database; None when it has never been migrated."""
    if await connection.fetchval("select to_regclass('alembic_version')") is None:
        return None
    revision: str | None = await connection.fetchval("select version_num from alembic_version")
    return revision


async def is_migrated(connection: asyncpg.Connection) -> bool:
    """Whether the database has the schema of this version, or of a newer one that still serves it."""
    revision = await current_revision(connection)
    # Migrations are forward-only and safe under a running older version, so an unknown revision is a newer one.
    newest, *older = _revisions()
    return revision is not None and (revision == newest or revision not in older)


@cache
def _revisions() -> tuple[str, ...]:
    """Name the revisions of this version, newest first; read once, since every file of a migration is run for it.

    Raises NotReady when there is nothing to be read: a process without a free file handle sees an empty folder.
    """
    found = tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())
    if not found:
        raise NotReady("The migrations cannot be read.")
    return found


async def migrate(dsn: str, revision: str = "head") -> None:
    """Run the missing migrations; safe to call again, from several processes at once, and under a running service.

    The tables of a newer version serve this one, and stay as they are. Raises NotReady.
    """

    async def connect() -> asyncpg.Connection:
        try:
            connection = await asyncpg.connect(
                dsn, server_settings={"application_name": "geoservice migrate", "lock_timeout": f"{LOCK_WAIT_S}s"}
            )
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise unreachable(error) from error
        refuse_unsupported(connection.get_server_version())
        return connection

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await _be_the_only_one(connection)
            await _upgrade_between_others(connection, revision)
            await _release(connection)
    except (*UNREACHABLE, InterfaceError, OperationalError) as error:
        raise NotReady("The database went away; nothing is lost, run it again.") from error
    except (asyncpg.InsufficientPrivilegeError, ProgrammingError) as error:
        if getattr(getattr(error, "orig", error), "sqlstate", None) != asyncpg.InsufficientPrivilegeError.sqlstate:
            raise
        raise NotReady("The role may not make tables here: let it own the database and what is in it.") from error
    finally:
        await engine.dispose()


async def _be_the_only_one(connection: AsyncConnection) -> None:
    """Wait for other migrators, in no transaction: an index made beside writers waits for whatever is open."""
    while not (await connection.exec_driver_sql(f"select pg_try_advisory_lock({_MIGRATE_LOCK})")).scalar():
        await connection.commit()
        await asyncio.sleep(_PAUSE_S)
    await connection.commit()


async def _upgrade_between_others(connection: AsyncConnection, revision: str) -> None:
    """Run the missing migrations, each again when a running service had its tables."""
    give_up_at_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await connection.run_sync(_upgrade, revision)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            await connection.rollback()
            if time.monotonic() > give_up_at_s:
                raise NotReady("Other work holds the tables; nothing is lost, run it again.") from error
            await asyncio.sleep(_PAUSE_S)


def _upgrade(connection: Connection, revision: str) -> None:
    there = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()  # Alembic begins transactions of its own
    if there is not None and there not in _revisions():
        return  # somebody went back to this version
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def _release(connection: AsyncConnection) -> None:
    await connection.commit()
    await connection.exec_driver_sql(f"select pg_advisory_unlock({_MIGRATE_LOCK})")
