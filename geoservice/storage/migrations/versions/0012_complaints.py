"""Indexes for the campaigns that pause themselves."""

from geoservice.storage.migrations import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """See the .sql file beside this one."""
    run_sql("0012_complaints.sql")
