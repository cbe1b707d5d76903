"""What people who watch ask of the decisions: how many there were lately."""

from geoservice.storage.migrations import make_index

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Decisions by time, with all that is needed to count them: those of a day are counted without being read."""
    make_index("decisions_counted", "decisions (at) include (campaign_id, outcome, reason)")
