"""Networks repeat, delay and reorder: what arrives again, or too late, changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.screening import screen
from geoservice.geofencing.track import DeviceTrack, read_track, write_track
from geoservice.vocabulary import Fix, GeofenceKind

START = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
METRE = 1 / 111_195.0
FENCES = Catalogue.build(
    [
        Geofence(geofence_id=name, name=name, kind=GeofenceKind.STORE, geometry=shapely.Point(0, 1), radius_m=radius_m)
        for name, radius_m in (("shop", 100.0), ("mall", 500.0))
    ],
    version=1,
)


@st.composite
def walks(draw):
    """Fixes in order of time."""
    at_s, east_m, fixes = 0.0, draw(st.sampled_from([0.0, 95.0, 800.0])), []
    for number in range(draw(st.integers(2, 20))):
        at_s += draw(st.sampled_from([5.0, 15.0, 31.0, 60.0, 400.0]))
        east_m += draw(st.sampled_from([0.0, 10.0, -40.0, 120.0, -300.0]))
        named = f"fix-{number}" if draw(st.booleans()) else None
        at = START + timedelta(seconds=at_s)
        fixes.append(Fix(recorded_at=at, lat=1.0, lon=east_m * METRE, accuracy_m=12.0, id=named))
    return fixes


class Phone:
    """One phone's state between requests, as the database keeps it."""

    def __init__(self):
        self.newest, self.recent, self.known, self.track, self.told = {}, b"", set(), write_track(DeviceTrack()), []

    def post(self, fixes):
        """One request."""
        screened = screen(
            list(enumerate(fixes)),
            newest=self.newest,
            recent_keys=self.recent,
            known_keys=self.known,
            now=START + timedelta(days=1),
        )
        self.newest, self.recent = screened.newest, screened.recent_keys
        self.known.update(screened.keys)
        ((track, transitions),) = advance(FENCES, [News(read_track(self.track), screened.kept)], 0.0)
        self.track = write_track(track)
        self.told += transitions
        return screened


@given(fixes=walks(), cuts=st.sets(st.integers(1, 19)), data=st.data())
@settings(max_examples=100, deadline=None)
def test_repeated_and_late_fixes_change_nothing(fixes, cuts, data):
    """A phone whose requests are repeated, and mixed with old ones, lives through the same day."""
    plain, troubled = Phone(), Phone()
    bounds = [0, *sorted(cut for cut in cuts if cut < len(fixes)), len(fixes)]
    for low, high in pairwise(bounds):
        plain.post(fixes[low:high])
        old = data.draw(st.lists(st.sampled_from(fixes[:low]), max_size=3)) if low else []
        late = [msgspec.structs.replace(fix, id=None, lat=1.001) for fix in old]
        request = data.draw(st.permutations([*fixes[low:high], *old, *late]))
        receipt = troubled.post(request)
        assert len(receipt.kept) + receipt.duplicates + len(receipt.ignored) == len(request)
        again = troubled.post(request)
        assert again.kept == []
    assert troubled.told == plain.told
    assert troubled.track == plain.track
