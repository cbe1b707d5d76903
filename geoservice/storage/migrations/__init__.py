"""Forward-only migrations: Alembic keeps the order, plain SQL does the work.

How to write one that a running service does not notice: docs/architecture.md, "Changing the tables".
"""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

VERSIONS = Path(__file__).parent / "versions"


def run_sql(file_name: str) -> None:
    """Run one file of statements on the migrating connection.

    It goes to asyncpg itself, because a prepared statement (SQLAlchemy's way) holds only one command.
    """
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("migrations need a live connection")
    await_only(connection.execute((VERSIONS / file_name).read_text()))
