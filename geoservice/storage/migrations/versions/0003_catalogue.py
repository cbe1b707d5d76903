"""What each version of the catalogue changed."""

from geoservice.storage.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Keep the geofences as they were; see the .sql file beside this one."""
    run_sql("0003_catalogue.sql")
