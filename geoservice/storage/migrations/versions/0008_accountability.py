"""Who changed what, from what to what; and what is too old goes."""

from geoservice.storage.migrations import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add it; see the .sql file beside this one."""
    run_sql("0008_accountability.sql")
