"""Indexes for the campaigns that pause themselves."""

from geoservice.storage.migrations import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """See the .sql file beside this one."""
    run_sql("0011_complaints.sql")
