"""Customers who test campaigns can be erased, too."""

from geoservice.storage.migrations import run_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the function; see the .sql file beside this one."""
    run_sql("0018_testers.sql")
