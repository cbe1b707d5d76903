"""Who is in which arm of an experiment, and the slots of those who are held out."""

from geoservice.storage.migrations import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the tables; see the .sql file beside this one."""
    run_sql("0014_experiments.sql")
