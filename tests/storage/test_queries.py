"""Every named statement: known to PostgreSQL, named alike, and used."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from geoservice.storage import queries
from geoservice.storage.queries import Queries, rooms

PACKAGE = Path(queries.__file__).parents[1]
SQL = Path(queries.__file__).parent / "sql"


@pytest.mark.parametrize("room", rooms())
async def test_every_statement_prepares(room, database_url):
    """PostgreSQL accepts every statement against the schema that the migrations make."""
    connection = await asyncpg.connect(database_url)
    try:
        for query in Queries(room):
            statement = await connection.prepare(query.sql)
            assert len(statement.get_parameters()) == len(query.parameters), query.name
    finally:
        await connection.close()


@pytest.mark.parametrize("room", rooms())
def test_every_statement_has_a_plain_name(room):
    """Names are lower case with underscores, once each, and only words about all of them stand before."""
    text = (SQL / f"{room}.sql").read_text()
    names = re.findall(r"^-- *name: *(.*)$", text, re.MULTILINE)
    assert [query.name for query in Queries(room)] == names
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)
    assert all(line.startswith("--") or not line for line in text.partition("-- name: ")[0].splitlines())


def test_every_statement_is_used():
    """No statement is left over from something that was removed."""
    bound: dict[str, set[str]] = {room: set() for room in rooms()}
    for path in PACKAGE.rglob("*.py"):
        code = path.read_text()
        for variable, room in re.findall(r"^(\w+) = Queries\(\"(\w+)\"\)", code, re.MULTILINE):
            bound[room].update(re.findall(rf"\b{variable}\.([a-z_]+)\b", code))
    left_over = {f"{room}.{query.name}" for room, used in bound.items() for query in Queries(room)} - {
        f"{room}.{name}" for room, used in bound.items() for name in used
    }
    assert not left_over


@pytest.mark.parametrize(
    ("sql", "numbered", "parameters"),
    [
        ("select :a, :b, :a", "select $1, $2, $1", ("a", "b")),
        ("select :a::text, now()::date", "select $1::text, now()::date", ("a",)),
        ("select 'at 10:30', ':a', 'it''s :b'", "select 'at 10:30', ':a', 'it''s :b'", ()),
    ],
    ids=["a name twice is one parameter", "a cast is none", "text is none"],
)
def test_parameters_are_numbered(sql, numbered, parameters):
    """Named parameters become PostgreSQL's numbers; casts and text stay as they are."""
    assert queries._number_parameters(sql) == (numbered, parameters)


async def test_a_wrong_set_of_values_is_refused():
    """A statement takes all of its parameters and no others."""
    with pytest.raises(TypeError):
        Queries("ops").key._ordered({})
    with pytest.raises(TypeError):
        Queries("ops").key._ordered({"key_hash": b"", "other": 1})
