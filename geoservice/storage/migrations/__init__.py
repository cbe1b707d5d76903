"""Forward-only migrations: Alembic keeps the order, plain SQL does the work.

How to write one that a running service does not notice: docs/architecture.md, "Changing the tables".
"""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

VERSIONS = Path(__file__).parent / "versions"


LONGEST_READ_S = 600
"""An index that is made beside writers waits so long for a transaction that was there before; it holds up nobody."""


def run_sql(file_name: str) -> None:
    """Run one file of statements on the migrating connection."""
    _execute((VERSIONS / file_name).read_text())


def make_index(name: str, on: str) -> None:
    """Make an index beside writers; ``on`` is what follows ``on`` in SQL. What a broken attempt left is made anew.

    It is no part of the migration's transaction, and so stands in a migration of its own.
    """
    with op.get_context().autocommit_block():
        _execute(f"set lock_timeout = '{LONGEST_READ_S}s'")
        try:
            _execute(f"drop index concurrently if exists {name}")
            _execute(f"create index concurrently {name} on {on}")
        finally:
            _execute("reset lock_timeout")


def _execute(sql: str) -> None:
    """Hand statements to asyncpg itself, because a prepared statement (SQLAlchemy's way) holds only one command."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("migrations need a live connection")
    await_only(connection.execute(sql))
