"""A fair queue by channel and campaign, the stop, and messages by their id."""

from geoservice.storage.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add to what is there; see the .sql file beside this one."""
    run_sql("0005_delivery.sql")
