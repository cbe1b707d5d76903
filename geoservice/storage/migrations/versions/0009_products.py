"""Products, stock and the feeds they come from; the product that a message is about."""

from geoservice.storage.migrations import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables; see the .sql file beside this one."""
    run_sql("0009_products.sql")
