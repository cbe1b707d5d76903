"""The language of a customer."""

from geoservice.storage.migrations import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the function; see the .sql file beside this one."""
    run_sql("0017_locale.sql")
