"""Where a trace goes on."""

from geoservice.storage.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; see the .sql file beside this one."""
    run_sql("0003_traces.sql")
