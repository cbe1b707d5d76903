"""Named SQL from ``.sql`` files.

A query stands in ``sql/<room>.sql`` as::

    -- name: lock_devices
    -- What it does, and why it is written this way.
    select ... where customer_id = :customer_id

and is called as ``devices.lock_devices.fetch(connection, customer_id=...)``. Names become PostgreSQL's own ``$1`` ...
once, at load; nothing is ever interpolated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

_SQL = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+)$", re.MULTILINE)
_COMMENT_LINE = re.compile(r"^\s*--.*$", re.MULTILINE)
# A parameter is :name; ::type is a cast and 'a:b' is text.
_PARAMETER = re.compile(r"'(?:[^']|'')*'|::\w+|:(?P<name>[a-z_]+)")

Connection: TypeAlias = Any
"""A connection, borrowed from the pool or not: asyncpg ships no types that cover both."""


@dataclass(frozen=True, slots=True)
class Query:
    """One statement with named parameters; all of them must be given, and no others."""

    name: str
    description: str
    sql: str
    parameters: tuple[str, ...]

    async def fetch(self, connection: Connection, /, **values: Any) -> list[asyncpg.Record]:
        """Run it and return every row."""
        rows: list[asyncpg.Record] = await connection.fetch(self.sql, *self._ordered(values))
        return rows

    async def row(self, connection: Connection, /, **values: Any) -> asyncpg.Record | None:
        """Run it and return the first row, or None."""
        return await connection.fetchrow(self.sql, *self._ordered(values))

    async def value(self, connection: Connection, /, **values: Any) -> Any:
        """Run it and return the first column of the first row, or None."""
        return await connection.fetchval(self.sql, *self._ordered(values))

    async def run(self, connection: Connection, /, **values: Any) -> int:
        """Run it and return how many rows it touched."""
        status: str = await connection.execute(self.sql, *self._ordered(values))
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    def _ordered(self, values: dict[str, Any]) -> Iterator[Any]:
        if len(values) != len(self.parameters):
            raise TypeError(f"{self.name} takes {self.parameters}, got {tuple(values)}")
        return (values[name] for name in self.parameters)


class Queries:
    """The queries of one ``.sql`` file, as attributes."""

    def __init__(self, room: str) -> None:
        self._queries = {query.name: query for query in _read(_SQL / f"{room}.sql")}

    def __getattr__(self, name: str) -> Query:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Iterator[Query]:
        return iter(self._queries.values())


def rooms() -> list[str]:
    """List the files, so that a test can prepare every statement."""
    return sorted(path.stem for path in _SQL.glob("*.sql"))


def _read(path: Path) -> Iterator[Query]:
    _, *parts = _NAME.split(path.read_text())
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        description = " ".join(line.strip()[2:].strip() for line in _COMMENT_LINE.findall(text))
        sql, parameters = _number_parameters(_COMMENT_LINE.sub("", text).strip().rstrip(";"))
        yield Query(name, description, sql, parameters)


def _number_parameters(sql: str) -> tuple[str, tuple[str, ...]]:
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _PARAMETER.sub(replace, sql), tuple(names)
