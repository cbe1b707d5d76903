"""The tables of the spine."""

from geoservice.storage.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything; see the .sql file beside this one."""
    run_sql("0001_spine.sql")
