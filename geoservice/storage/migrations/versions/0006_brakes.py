"""What holds campaigns back: versions, ceilings, muted stores, messages that end when she leaves."""

from geoservice.storage.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """See the .sql file beside this one."""
    run_sql("0006_brakes.sql")
