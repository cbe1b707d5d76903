"""Transitions, as they are told: in order, on the server's clock, late or not. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from geoservice.geofencing.presence import PRESENCE, Verdict
from geoservice.geofencing.track import Presence
from geoservice.vocabulary import Source, Transition, TransitionKind


class Teller(NamedTuple):
    """Writes the transitions of one device down."""

    transitions: list[Transition]
    clock_offset_s: float
    late_before: float

    def tell(
        self,
        kind: TransitionKind,
        geofence_id: str,
        at: float,
        confidence: float,
        source: Source,
        *,
        initial: bool = False,
        assumed: bool = False,
        stale: bool = False,
        speed_mps: float | None = None,
    ) -> None:
        """Add one; ``at`` is in epoch seconds on the phone's clock. What is ``stale`` is late, whenever it comes."""
        at += self.clock_offset_s
        self.transitions.append(
            Transition(
                kind=kind,
                geofence_id=geofence_id,
                at=datetime.fromtimestamp(at, UTC),
                confidence=confidence,
                source=source,
                late=stale or at < self.late_before,
                initial=initial,
                assumed=assumed,
                speed_mps=speed_mps,
            )
        )

    def end(self, presence: Presence, verdict: Verdict, at: float, confidence: float, source: Source) -> None:
        """Tell, if the table says so, that a presence ends although no observation says so."""
        _, told = PRESENCE[presence.state, verdict]
        if told is not None:
            self.tell(told, presence.geofence_id, at, confidence, source)

    def in_order(self) -> list[Transition]:
        """All of them by instant; what ends comes before what begins; then by id, so that the order never varies."""
        self.transitions.sort(key=_order)
        return self.transitions


_ORDER: Final = {TransitionKind.CROSSED: 1, TransitionKind.ENTER: 2, TransitionKind.DWELL: 3}


def _order(transition: Transition) -> tuple[datetime, int, str]:
    return transition.at, _ORDER.get(transition.kind, 0), transition.geofence_id
