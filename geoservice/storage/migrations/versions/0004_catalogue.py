"""What each version of the catalogue changed."""

from geoservice.storage.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Keep the geofences as they were; see the .sql file beside this one."""
    run_sql("0004_catalogue.sql")
