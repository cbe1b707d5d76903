"""Three long days of one phone each, with the visits that they truly contain (``traces/``)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.track import DeviceTrack
from geoservice.geofencing.uploads.checks import check
from geoservice.geofencing.uploads.geojson import read_geojson
from geoservice.vocabulary import Fix, TransitionKind
from geoservice.workflows.visits import Visits

TRACES = Path(__file__).parent / "traces"
FRESH_S = 300.0


class Day:
    """A trace, lived through upload by upload."""

    def __init__(self, name):
        document = json.loads((TRACES / f"{name}.json").read_text(encoding="utf-8"))
        self.expected = document["expected"]
        self.start = datetime.fromisoformat(document["start"])
        features = document["geofences"]["features"]
        stores = {f["properties"]["store_id"]: (0.0, 0.0) for f in features}
        parsed = check(read_geojson(document["geofences"]), stores)
        assert not parsed.errors
        self.store_of = {fence.geofence_id: fence.store_id for fence in parsed.fences}
        self.catalogue = Catalogue.build(parsed.fences, version=1)
        self.uploads = [(u["received_at_s"], [self._fix(*f) for f in u["fixes"]]) for u in document["uploads"]]

    def _fix(self, at_s, lon, lat, accuracy_m, speed_mps):
        at = self.start + timedelta(seconds=at_s)
        return Fix(recorded_at=at, lat=lat, lon=lon, accuracy_m=accuracy_m, speed_mps=speed_mps)

    def since_start(self, at):
        """Seconds; None stays None."""
        return None if at is None else (at - self.start).total_seconds()

    def live(self):
        """Every transition, in the order in which it was told."""
        track, told = DeviceTrack(), []
        for received_at_s, fixes in self.uploads:
            late_before = self.start.timestamp() + received_at_s - FRESH_S
            ((track, transitions),) = advance(self.catalogue, [News(track, fixes)], late_before)
            track = msgspec.msgpack.decode(msgspec.msgpack.encode(track), type=DeviceTrack)
            told += transitions
        return told


def visits_of(day, transitions):
    """Visits as they would be stored: one row for each stay in a store."""
    visits, seen = Visits([]), {}
    for t in transitions:
        row = {"customer_id": "c", "device_id": "d", "geofence_id": t.geofence_id, "kind": t.kind, "at": t.at}
        visits.follow(row, day.store_of[t.geofence_id])
        for visit in visits.touched:
            seen[visit.visit_id] = visit
    return sorted(seen.values(), key=lambda visit: visit.started_at)


@pytest.mark.parametrize("name", ["city_day", "suburb_by_car", "night_beside_a_store"])
def test_a_day_has_exactly_its_visits(name):
    """Each stay is one visit, begun and ended within minutes of the truth; nothing else is one."""
    day = Day(name)
    transitions = day.live()
    visits = visits_of(day, transitions)
    assert [v.place for v in visits] == [e["place"] for e in day.expected["visits"]]
    for visit, expected in zip(visits, day.expected["visits"], strict=True):
        tolerance = expected["within_s"]
        assert day.since_start(visit.started_at) == pytest.approx(expected["arrives_s"], abs=tolerance)
        assert day.since_start(visit.ended_at) == pytest.approx(expected["leaves_s"], abs=tolerance)
        of_visit = [t for t in transitions if visit.started_at <= t.at <= visit.ended_at]
        assert {t.late for t in of_visit if day.store_of[t.geofence_id] == visit.place} == {expected["late"]}
    crossed = [t for t in transitions if t.kind is TransitionKind.CROSSED]
    assert [t.geofence_id for t in crossed] == [e["geofence_id"] for e in day.expected["crossed"]]
    for transition, expected in zip(crossed, day.expected["crossed"], strict=True):
        low, high = expected["between_s"]
        assert low <= day.since_start(transition.at) <= high
