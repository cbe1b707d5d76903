"""A phone and its fixes around a shop, as stories tell of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import shapely

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.track import DeviceTrack
from geoservice.vocabulary import Fix, GeofenceKind

START = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)


METRE = 1 / 111_195.0  # degrees of latitude, and of longitude at the equator, to within 0.5 %


def circle(geofence_id, east_m=0.0, radius_m=100.0, kind=GeofenceKind.STORE):
    centre = shapely.Point(east_m * METRE, 0)
    return Geofence(geofence_id=geofence_id, name="x", kind=kind, geometry=centre, radius_m=radius_m)


def square(geofence_id, half_m):
    box = shapely.box(*(half_m * METRE * side for side in (-1, -1, 1, 1)))
    return Geofence(geofence_id=geofence_id, name="x", kind=GeofenceKind.STORE, geometry=box)


SHOP = Catalogue.build([circle("shop")], version=1)


def fix(at_s, east_m, accuracy_m=10.0, speed_mps=None):
    return Fix(
        recorded_at=START + timedelta(seconds=at_s),
        lat=0.0,
        lon=east_m * METRE,
        accuracy_m=accuracy_m,
        speed_mps=speed_mps,
    )


def told(fixes, catalogue=SHOP, track=None, late_before_s=-1e6):
    """The transitions of one phone, and its track."""
    late_before = START.timestamp() + late_before_s
    ((track, transitions),) = advance(catalogue, [News(track or DeviceTrack(), fixes)], late_before)
    return transitions, track


def story(fixes, catalogue=SHOP):
    """(second, kind) of every transition, after a first fix far away."""
    transitions, _ = told([fix(-1_000, 5_000), *(fix(*each) for each in fixes)], catalogue)
    return [((t.at - START).total_seconds(), str(t.kind)) for t in transitions]


IN = [(0, 0), (30, 0)]  # inside from 0 s on: a sure fix after a long silence
