"""One visit per customer and stay in a store, whatever the number of devices and fences.

A visit opens when the first device enters any geofence of the store and ends when the last one has left the last.
A return within ten minutes resumes it: she stepped out to take a call. A geofence without a store is a place of its
own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from geoservice.vocabulary import TransitionKind
from geoservice.workflows.ids import fresh_ids

RESUME_WITHIN: Final = timedelta(minutes=10)

_INWARD: Final = frozenset({TransitionKind.ENTER, TransitionKind.DWELL})
OUTWARD: Final = frozenset({TransitionKind.EXIT, TransitionKind.REMOVED, TransitionKind.LOST})


@dataclass(slots=True)
class Visit:
    """A row of ``visits``; ``present`` holds "device geofence" pairs that are inside."""

    customer_id: str
    visit_id: str
    place: str
    store_id: str | None
    started_at: datetime
    ended_at: datetime | None = None
    present: set[str] = field(default_factory=set)
    touched: bool = False

    @property
    def recency(self) -> tuple[bool, datetime]:
        """The open one comes last, whatever a second phone that uploads its past has made of the times."""
        return self.ended_at is None, self.started_at

    def as_row(self) -> dict[str, Any]:
        """Write it as its columns."""
        return {
            "customer_id": self.customer_id,
            "visit_id": self.visit_id,
            "place": self.place,
            "store_id": self.store_id,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "present": sorted(self.present),
        }


class Visits:
    """The open and just ended visits of a few customers, changed in memory and saved at the end."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._ids = fresh_ids()
        self._visits: dict[tuple[str, str], Visit] = {}
        self._left: list[Visit] = []
        """Visits that ended here and were followed by another one in the same place."""
        for row in rows:
            visit = Visit(**row)
            visit.present = set(visit.present)
            key = visit.customer_id, visit.place
            known = self._visits.get(key)
            if known is None or known.recency < visit.recency:
                self._visits[key] = visit
        self._holders = {(v.customer_id, pair): v for v in self._visits.values() for pair in v.present}
        """Who is present where: a batch has thousands of visits where many places overlap."""

    def follow(self, row: Mapping[str, Any], store_id: str | None) -> str | None:
        """Open, resume, extend or end the visit that a transition belongs to, and name it."""
        kind = TransitionKind(row["kind"])
        if kind in _INWARD:
            held = self._holding(row)
            return self._arrive(row, store_id) if held is None else held.visit_id
        if kind in OUTWARD:
            return self._leave(row)
        visit = self._visits.get((row["customer_id"], _place(row, store_id)))
        return None if visit is None else visit.visit_id

    def is_present(self, row: Mapping[str, Any]) -> bool:
        """Whether the device of this transition is still inside its geofence."""
        return self._holding(row) is not None

    def _arrive(self, row: Mapping[str, Any], store_id: str | None) -> str:
        key, at = (row["customer_id"], _place(row, store_id)), row["at"]
        visit = self._visits.get(key)
        if visit is None or (visit.ended_at is not None and at > visit.ended_at + RESUME_WITHIN):
            if visit is not None:
                self._left.append(visit)
            visit = self._visits[key] = Visit(key[0], next(self._ids), key[1], store_id, at)
        visit.ended_at, visit.touched = None, True
        visit.present.add(_pair(row))
        self._holders[key[0], _pair(row)] = visit
        return visit.visit_id

    def _leave(self, row: Mapping[str, Any]) -> str | None:
        # By who is present, not by place: the geofence may have been removed, or moved to another store, meanwhile.
        visit = self._holding(row)
        if visit is None:
            return None
        visit.present.discard(_pair(row))
        del self._holders[visit.customer_id, _pair(row)]
        visit.ended_at, visit.touched = (None if visit.present else max(row["at"], visit.started_at)), True
        return visit.visit_id

    def _holding(self, row: Mapping[str, Any]) -> Visit | None:
        return self._holders.get((row["customer_id"], _pair(row)))

    @property
    def ids(self) -> list[str]:
        """The visits that may go on."""
        return [visit.visit_id for visit in self._visits.values()]

    @property
    def touched(self) -> list[Visit]:
        """The visits that have to be saved, sorted by key as locks are."""
        changed = (visit for visit in (*self._left, *self._visits.values()) if visit.touched)
        return sorted(changed, key=lambda visit: (visit.customer_id, visit.visit_id))


def _pair(row: Mapping[str, Any]) -> str:
    return f"{row['device_id']} {row['geofence_id']}"


def _place(row: Mapping[str, Any], store_id: str | None) -> str:
    return store_id or f"geofence:{row['geofence_id']}"
