"""What people who watch ask of the decisions: how many there were lately."""

from geoservice.storage.migrations import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the index; see the .sql file beside this one."""
    run_sql("0015_watching.sql")
