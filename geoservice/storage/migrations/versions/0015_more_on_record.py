"""Rules, products, stops and feeds are on record when they change, and the record cannot be emptied."""

from geoservice.storage.migrations import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the triggers; see the .sql file beside this one."""
    run_sql("0015_more_on_record.sql")
