"""What became of a message on the phone, and the tries that it took to get there."""

from geoservice.storage.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add to what is there; see the .sql file beside this one."""
    run_sql("0002_receipts.sql")
