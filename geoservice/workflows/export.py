"""Everything on record of one customer, as one JSON document, written piece by piece: memory does not grow with it.

The tables are looked up, not listed, so that a new one cannot be forgotten. All of it is read in one snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from geoservice.config import Settings
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.workflows.languages import Language, language_of
from geoservice.workflows.records import RECORDS, WITH_HER, Kept

ROWS_AT_ONCE: Final = 500

_sql = Queries("privacy")
_customers = Queries("customers")
_FIRST: Final = "customers"


async def export(database: Database, settings: Settings, customer_id: str, at: datetime) -> AsyncGenerator[bytes, None]:
    """Give the document in pieces: what it is, an index with the number of records of each kind, the records."""
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        language = language_of(await _customers.locale.value(connection, customer_id=customer_id))
        rooms = [_FIRST, *(row["room"] for row in await _sql.customer_tables.fetch(connection))]
        index = [await _entry(connection, settings, language, room, customer_id) for room in rooms]
        head = {"customer_id": customer_id, "made_at": at, "format": 1}
        yield b'{"export":' + _write(head) + b',"index":' + _write(index) + b',"data":{'
        comma = b""
        for room in rooms:
            yield comma + _write(room) + b":["
            async for piece in _rows(connection, room, customer_id):
                yield piece
            yield b"]"
            comma = b","
        yield b'},"complete":true}'


async def _entry(
    connection: Connection, settings: Settings, language: Language, room: str, customer_id: str
) -> dict[str, Any]:
    kept = RECORDS.get(room) or Kept(room, "", WITH_HER)
    count = await connection.fetchval(f"select count(*) from {room} where customer_id = $1", customer_id)
    return {**what_is_kept(kept, settings, language), "records": count}


def what_is_kept(kept: Kept, settings: Settings, language: Language) -> dict[str, str]:
    """Say in words why a table is kept, and how long under these settings."""
    until = language.kept_until(kept)
    if kept.days:
        until = until.format(days=f"{getattr(settings, kept.days):,}")
    return {"name": kept.table, "why": language.why_kept(kept), "kept": until}


async def _rows(connection: Connection, room: str, customer_id: str) -> AsyncIterator[bytes]:
    """Read one table, some rows at a time. Its name comes from the database's own catalogue, quoted if need be."""
    kept = RECORDS.get(room)
    order = f" order by {kept.age}" if kept and kept.age else ""
    cursor = await connection.cursor(f"select * from {room} where customer_id = $1{order}", customer_id)
    comma = b""
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        yield comma + b",".join(_write(_plain(row)) for row in rows)
        comma = b","


def _plain(row: Any) -> dict[str, Any]:
    return {name: _readable(name, value) for name, value in row.items() if name != "customer_id"}


def _readable(name: str, value: Any) -> Any:
    """Bytes become what they mean: the last position and presence of a phone, or hexadecimal digits."""
    if not isinstance(value, bytes):
        return value
    if name == "track":
        return msgspec.to_builtins(msgspec.msgpack.decode(value))
    return value.hex()


def _write(value: Any) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
