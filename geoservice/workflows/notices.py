"""What customers are told when they are asked, by version; and every answer that one of them gave."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import asyncpg
import msgspec
from msgspec import Meta

from geoservice.errors import Conflict, NotFound
from geoservice.storage.database import Database
from geoservice.storage.queries import Queries
from geoservice.vocabulary import Purpose

_sql = Queries("privacy")

Language = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$(?!\n)", max_length=35)]


class Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words of a notice in each language, who is responsible, under which law, and the data that it names."""

    texts: Annotated[
        dict[Language, Annotated[str, Meta(min_length=1, max_length=20_000)]], Meta(min_length=1, max_length=50)
    ]
    controller: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    jurisdiction: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    data_used: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=50)] = []


async def publish(database: Database, version: str, notice: Notice, at: datetime) -> asyncpg.Record:
    """Publish a version; the same one again changes nothing. Raises Conflict: consents name it, so it cannot change."""
    values: dict[str, Any] = msgspec.structs.asdict(notice)
    async with database.transaction() as connection:
        await _sql.publish_notice.run(connection, version=version, at=at, **values)
        row = await _sql.notice.row(connection, version=version)
    assert row is not None  # noqa: S101 - it was there, or has just been written
    if {name: row[name] for name in values} != values:
        raise Conflict("This version is published with other words; publish a new version.", code="notice_published")
    return row


async def notices(database: Database) -> list[asyncpg.Record]:
    """List every published version, newest first."""
    async with database.connection() as connection:
        return await _sql.notices.fetch(connection)


async def notice(database: Database, version: str) -> asyncpg.Record:
    """Give one version; raises NotFound."""
    async with database.connection() as connection:
        row = await _sql.notice.row(connection, version=version)
    if row is None:
        raise NotFound("There is no such notice.")
    return row


async def consent_history(database: Database, customer_id: str, purpose: Purpose) -> list[asyncpg.Record]:
    """List every answer that she gave for a purpose, newest first."""
    async with database.connection() as connection:
        return await _sql.consent_history.fetch(connection, customer_id=customer_id, purpose=purpose.value)
