"""Beacons and operating-system events, each in its own order."""

from geoservice.storage.migrations import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add an order mark a source; see the .sql file beside this one."""
    run_sql("0011_signals.sql")
