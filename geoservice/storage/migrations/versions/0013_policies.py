"""The retailer's policy in versions, and every version of a customer's preferences."""

from geoservice.storage.migrations import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the tables; see the .sql file beside this one."""
    run_sql("0013_policies.sql")
