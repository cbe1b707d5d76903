"""Notices, aliases, and what is left of a customer who had herself erased."""

from geoservice.storage.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add them; see the .sql file beside this one."""
    run_sql("0007_privacy.sql")
