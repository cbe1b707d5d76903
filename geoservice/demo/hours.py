"""When a store is open next, so that nobody who plays waits for a morning."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from opening_hours import OpeningHours

from geoservice.workflows.directory import Store


class Opening(NamedTuple):
    """Whether a store is open, and when that changes next; None if never, as far as anybody knows."""

    is_open: bool
    changes_at: datetime | None


def opening(store: Store, at: datetime) -> Opening:
    """Look at a store's opening hours; one that has none on record is always open."""
    if store.opening_hours is None:
        return Opening(is_open=True, changes_at=None)
    hours = OpeningHours(store.opening_hours, timezone=ZoneInfo(store.timezone))
    here = at.astimezone(ZoneInfo("UTC")).replace(second=0, microsecond=0)
    change = hours.next_change(here)
    return Opening(hours.is_open(here), None if change is None else change.astimezone(UTC))
