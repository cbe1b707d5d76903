"""The connection pool, and what every connection of it agrees on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

import asyncpg
import orjson
import structlog
from asyncpg.types import ServerVersion

from geoservice.errors import NotReady, Overloaded, SettingsError
from geoservice.telemetry.metrics import DATABASE_REFUSALS

OLDEST: Final = 15
NEWEST_TESTED: Final = 18
"""Major versions of PostgreSQL."""

LOCK_TIMEOUT_MS: Final = 250
"""How long a statement waits for a row that somebody else holds before the transaction is tried again."""

TRANSIENT: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.ForeignKeyViolationError,  # the row that it hangs on was erased between two statements
)
"""Errors after which the same transaction, run again, is expected to work."""

UNREACHABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg raises when a connection breaks in the middle of a statement
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
    TimeoutError,
    OSError,
)
"""Errors that say that the database is away for the moment."""

_AWAY_CLASSES: Final = frozenset({"25", "53", "54", "57", "58", "XX"})
"""SQLSTATE classes that blame the server's state, not the statement: read-only, full, shutting down, broken."""

REFUSED_S: Final = 60.0
"""How long a refusal is told, and how often at most it is a line in the log, which may be on the same full disk."""

_NOT_MIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)

_log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Acting:
    """Who changes something, and the business time: triggers put it on record beside what was changed."""

    name: str
    key_id: str | None
    at: datetime


ACTING: Final[ContextVar[Acting | None]] = ContextVar("acting", default=None)
"""Set for the time of an operator's request or command; every transaction in it tells the database."""

_TELL = """select set_config('geoservice.actor', $1, true), set_config('geoservice.key_id', $2, true),
                  set_config('geoservice.at', $3, true)"""


def _decode(text: str) -> object:
    return orjson.loads(text)


def _encode(value: object) -> str:
    return orjson.dumps(value).decode()


def refuse_unsupported(version: ServerVersion) -> None:
    """Raise SettingsError for a server that lacks what the tables and statements need."""
    if version.major < OLDEST:
        found, tested = f"{version.major}.{version.minor}", f"{OLDEST} to {NEWEST_TESTED}"
        raise SettingsError(
            [f"The database is PostgreSQL {found}; geoservice needs {OLDEST} or newer, and is tested with {tested}."]
        )


_DURABLE = "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
"""What is answered is on the disk, whatever the server's default: a lost `sending` would be sent twice."""


async def _prepare(connection: asyncpg.Connection) -> None:
    refuse_unsupported(connection.get_server_version())
    await connection.execute(_DURABLE)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_encode, decoder=_decode)


async def _keep(_: asyncpg.Connection) -> None:
    """Give a connection back as it is.

    Nothing here changes a session, and asyncpg's own clean-up costs a round trip every time.
    """


def unreachable(error: Exception) -> NotReady:
    """Say why the database cannot be had, in the server's or the system's words; the URL holds a password: not that."""
    words = type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        words = str(error).partition("\n")[0]
    elif isinstance(error, OSError) and error.strerror:
        words = error.strerror
    return NotReady(f"The database cannot be reached: {words}.")


async def open_pool(dsn: str, *, size: int, application: str = "geoservice") -> asyncpg.Pool:
    """Open a pool of at most ``size`` connections to ``dsn``."""
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=min(2, size),
            max_size=size,
            init=_prepare,
            reset=_keep,
            command_timeout=30,
            server_settings={
                "application_name": application,
                "timezone": "UTC",
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": "30000",
                # The plans of these small statements never change; planning them again costs more than it finds.
                "jit": "off",
            },
        )
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise unreachable(error) from error


_KEEPALIVE: Final = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""A listener stands for its process: of a machine that is gone the server shall know within half a minute."""


class Database:
    """Runs transactions; the one place that decides what is tried again."""

    def __init__(self, pool: asyncpg.Pool, dsn: str) -> None:
        self.pool = pool
        self._dsn = dsn
        self._refused: dict[str, float] = {}

    def problems(self) -> list[str]:
        """Say what the server refused in the last minute: it may answer every question and still store nothing."""
        since = time.monotonic() - REFUSED_S
        return [f"database: it refuses to work ({kind})." for kind, at in self._refused.items() if at > since]

    async def listen(
        self, channel: str, callback: Callable[..., None], *, application: str = "geoservice listen"
    ) -> asyncpg.Connection:
        """Open a connection outside the pool that calls back at every notice; the caller terminates it."""
        opening = asyncio.ensure_future(self._open_listener(channel, callback, application))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # asyncpg leaves the socket of a half-made connection open, so this one is made and then ended.
            with suppress(Exception):
                (await opening).terminate()
            raise
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise NotReady("The database is away; try again shortly.") from error

    async def _open_listener(self, channel: str, callback: Callable[..., None], application: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(
            self._dsn, timeout=10, command_timeout=10, server_settings={"application_name": application, **_KEEPALIVE}
        )
        try:
            await connection.add_listener(channel, callback)
        except BaseException:
            connection.terminate()
            raise
        return connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Borrow a connection; an unreachable database is NotReady, with Retry-After."""
        try:
            async with self.pool.acquire(timeout=10) as connection:
                yield connection
        except UNREACHABLE as error:
            if isinstance(error, ValueError):
                raise  # asyncpg's DataError: an argument that cannot be written, not a database that is away
            raise NotReady("The database is away; try again shortly.") from error
        except _NOT_MIGRATED as error:
            raise NotReady("The database lacks this version's tables: run `geoservice migrate`.") from error
        except asyncpg.InsufficientPrivilegeError as error:
            self._note(error)
            raise NotReady(
                "The database lets this role do too little: grant it what `geoservice migrate` made."
            ) from error
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "")[:2] in _AWAY_CLASSES:
                self._note(error)
                raise NotReady("The database cannot write at the moment; try again shortly.") from error
            raise

    def _note(self, error: asyncpg.PostgresError) -> None:
        kind, now = type(error).__name__, time.monotonic()
        DATABASE_REFUSALS.inc()
        if now - self._refused.get(kind, -REFUSED_S) >= REFUSED_S:
            _log.error("database_refuses", error=kind, sqlstate=error.sqlstate)
            self._refused[kind] = now

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Open one transaction, committed at the end, rolled back on any error."""
        async with self.connection() as connection, connection.transaction():
            if (acting := ACTING.get()) is not None:
                await connection.execute(_TELL, acting.name, acting.key_id or "", acting.at.isoformat())
            yield connection

    async def run(
        self, work: Callable[[asyncpg.pool.PoolConnectionProxy], Awaitable[Result]], *, attempts: int = 8
    ) -> Result:
        """Run ``work`` in a transaction; after a deadlock or a lock that was held too long, run it again."""
        for attempt in range(attempts):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except TRANSIENT as error:
                if attempt == attempts - 1:
                    raise Overloaded("Somebody else is changing the same records; try again shortly.") from error
                # Full jitter: rivals that collided once must not collide in step again.
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - no secret
        raise AssertionError("unreachable")
