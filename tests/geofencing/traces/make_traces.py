"""Writes the three long traces beside it. The files are what counts; this says how they came to be.

    .venv/bin/python tests/geofencing/traces/make_traces.py

A day is a list of legs: where the phone truly is, at which times, how often it reports, and how well it can know. Its
errors are correlated over a minute, 1.2 times as large as it reports, and now and then a fix is plainly wrong. The
expected visits are read off the true path, not off any engine: a stay of at least a minute in a fence of the store.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
METRES_A_DEGREE = 111_195.0
CORRELATION_S = 60.0
UNDERSTATED = 1.2
SIGMAS = 1.51


@dataclass
class Trace:
    """One phone's day around a place; metres east and north of it, seconds since ``start``."""

    name: str
    story: str
    start: str
    lon: float
    lat: float
    seed: int
    fences: list = field(default_factory=list)
    visits: list = field(default_factory=list)
    crossed: list = field(default_factory=list)

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.at = 0.0
        self.here = (0.0, 0.0)
        self.error = self.rng.normal(0, 1, 2)
        self.error_at = 0.0
        self.fixes = []
        self.offline_until = None
        self.uploads = []

    # Where things are ---------------------------------------------------------------------------------------

    def degrees(self, east, north):
        """Lon and lat of a point."""
        shrink = math.cos(math.radians(self.lat))
        return round(self.lon + east / METRES_A_DEGREE / shrink, 7), round(self.lat + north / METRES_A_DEGREE, 7)

    def circle(self, geofence_id, store_id, kind, east, north, radius_m):
        """A round fence."""
        geometry = {"type": "Point", "coordinates": self.degrees(east, north)}
        self._fence(geofence_id, store_id, kind, geometry, radius_m=radius_m)

    def polygon(self, geofence_id, store_id, kind, *rings):
        """A fence of these rings, the outer one first."""
        rings = [[self.degrees(*corner) for corner in (*ring, ring[0])] for ring in rings]
        self._fence(geofence_id, store_id, kind, {"type": "Polygon", "coordinates": rings})

    def _fence(self, geofence_id, store_id, kind, geometry, **more):
        properties = {"id": geofence_id, "name": geofence_id, "store_id": store_id, "kind": kind, **more}
        self.fences.append({"type": "Feature", "geometry": geometry, "properties": properties})

    # What the phone does ------------------------------------------------------------------------------------

    def go(self, east, north, *, mps, every_s=15.0, accuracy_m=(5, 20), speed=False):
        """Move in a straight line."""
        distance_m = math.dist(self.here, (east, north))
        self._leg((east, north), distance_m / mps, every_s, accuracy_m, mps if speed else None)

    def stay(self, minutes, *, every_s=15.0, accuracy_m=(5, 20), wander_m=0.0):
        """Stay around here; ``wander_m`` is how far one strolls."""
        until, home = self.at + minutes * 60, self.here
        while wander_m and self.at < until - 60:
            step = home + self.rng.normal(0, wander_m / 2, 2).clip(-wander_m, wander_m)
            self._leg(tuple(step), 60.0, every_s, accuracy_m, None)
        self._leg(home, max(until - self.at, 1.0), every_s, accuracy_m, None)

    def dark(self, east, north, minutes):
        """Move without a single fix: a tunnel, a phone that sleeps."""
        self.at += minutes * 60
        self.here = (east, north)

    def report(self, east, north, accuracy_m):
        """One fix that has nothing to do with where the phone is."""
        self.at += 5.0
        self._fix(np.array([east, north]), accuracy_m, None)

    def _leg(self, to, seconds, every_s, accuracy_m, speed_mps):
        start, origin = self.at, np.array(self.here)
        low, high = accuracy_m
        quality = self.rng.uniform(low, high)  # how well it can know here; it drifts
        while self.at + every_s <= start + seconds:
            self.at += every_s * (1 + self.rng.uniform(-0.05, 0.05))
            quality = float(np.clip(quality + self.rng.normal(0, (high - low) / 6), low, high))
            share = min((self.at - start) / seconds, 1.0)
            truth = origin + (np.array(to) - origin) * share
            keep = math.exp(-(self.at - self.error_at) / CORRELATION_S)
            self.error = keep * self.error + math.sqrt(1 - keep * keep) * self.rng.normal(0, 1, 2)
            self.error_at = self.at
            self._fix(truth + self.error * quality * UNDERSTATED / SIGMAS, quality, speed_mps)
        self.at = max(self.at, start + seconds)
        self.here = to

    def _fix(self, position, accuracy_m, speed_mps):
        lon, lat = self.degrees(*map(float, position))
        known = None if speed_mps is None else round(max(speed_mps + self.rng.normal(0, 0.4), 0), 1)
        fix = [round(self.at, 1), lon, lat, round(float(accuracy_m), 1), known]
        if self.offline_until is None:
            self._upload(fix)
        else:
            self.fixes.append(fix)

    def _upload(self, *fixes):
        self.uploads.append({"received_at_s": round(self.at + 1.5, 1), "fixes": list(fixes)})

    def go_offline(self):
        """Record from here on, and upload nothing."""
        self.offline_until = math.inf

    def come_online(self):
        """Everything that was recorded meanwhile arrives in one upload."""
        self.offline_until = None
        self._upload(*self.fixes)
        self.fixes = []

    # What should come of it -----------------------------------------------------------------------------------

    def visit(self, store_id, arrives_s, leaves_s, *, within_s=120, late=False):
        """Note a true stay, and how exactly an engine can know its limits."""
        self.visits.append(
            {
                "place": store_id,
                "arrives_s": round(arrives_s, 1),
                "leaves_s": None if leaves_s is None else round(leaves_s, 1),
                "within_s": within_s,
                "late": late,
            }
        )

    def write(self):
        """Write the file."""
        document = {
            "story": self.story,
            "start": self.start,
            "geofences": {"type": "FeatureCollection", "features": self.fences},
            "expected": {"visits": self.visits, "crossed": self.crossed},
        }
        text = json.dumps(document, indent=1)[:-2]
        uploads = ",\n  ".join(json.dumps(upload) for upload in self.uploads)
        (HERE / f"{self.name}.json").write_text(f'{text},\n "uploads": [\n  {uploads}\n ]\n}}\n', encoding="utf-8")


def city_day():
    """On foot, by underground and by bus; indoors the fixes are few and poor."""
    day = Trace(
        "city_day",
        "She walks past a baker's, rides the underground beneath a department store, spends an hour and a half in a "
        "mall, takes a bus past an outlet, sits in a bookshop for a while without network, and walks home.",
        "2025-06-14T08:00:00Z",
        13.4,
        52.52,
        seed=1,
    )
    day.circle("baker", "baker", "store", 300, 80, 50)
    day.polygon("department-store", "department-store", "store", [(1900, -60), (2050, -60), (2050, 70), (1900, 70)])
    mall = [(3900, -100), (4200, -100), (4200, 140), (3900, 140)]
    court = [(4010, 0), (4010, 40), (4060, 40), (4060, 0)]
    day.polygon("mall", "mall", "store", mall, court)
    day.circle("mall-approach", "mall", "approach", 4050, 20, 400)
    day.circle("outlet", "outlet", "store", 5400, 620, 60)
    day.polygon("bookshop", "bookshop", "store", [(6560, 560), (6680, 560), (6680, 660), (6560, 660)])

    day.stay(20, accuracy_m=(10, 30))
    day.go(600, 0, mps=1.4)  # the baker's edge is 30 m from her way
    day.go(620, 0, mps=0.3)
    day.dark(3300, 0, 9)  # the underground, 1,300 m of it beneath the department store's street
    day.stay(1.5, accuracy_m=(20, 60))
    approach_s = day.at + (3650 - 3300) / 1.4
    day.go(3890, 10, mps=1.4)
    day.go(3960, 10, mps=1.2, accuracy_m=(10, 25))
    day.stay(35, every_s=30, accuracy_m=(15, 45), wander_m=25)
    day.go(4150, 60, mps=0.8, every_s=30, accuracy_m=(20, 45))
    day.report(4700, 300, 25)  # a wrong Wi-Fi position
    day.stay(50, every_s=45, accuracy_m=(20, 50), wander_m=30)
    day.go(4150, 150, mps=1.0, accuracy_m=(15, 30))
    leaves_s = day.at + (420 - 150) / 1.4
    day.visit("mall", approach_s, leaves_s, within_s=150)
    day.go(4170, 620, mps=1.4)
    day.stay(6, accuracy_m=(5, 15))  # the bus stop
    # The outlet's circle lies on the bus's way; no fix falls into it.
    day.go(5325, 620, mps=11, every_s=15, accuracy_m=(5, 10), speed=True)
    out_s = day.at
    day.go(5640, 620, mps=11, every_s=15, accuracy_m=(5, 10), speed=True)
    day.crossed.append({"geofence_id": "outlet", "between_s": [round(out_s - 20, 1), round(day.at, 1)]})
    day.go(6500, 620, mps=9, accuracy_m=(5, 12), speed=True)
    day.go_offline()
    into_s = day.at + 60 / 1.2
    day.go(6615, 610, mps=1.2, accuracy_m=(5, 20))
    day.stay(45, accuracy_m=(10, 30), wander_m=15)
    out_s = day.at + 50 / 1.2
    day.go(6620, 800, mps=1.2, accuracy_m=(5, 20))
    day.visit("bookshop", into_s, out_s, late=True)
    day.stay(8, accuracy_m=(5, 15))
    day.come_online()
    day.go(7600, 800, mps=1.4)
    day.stay(60, every_s=60, accuracy_m=(10, 30))
    day.write()


def suburb_by_car():
    """By car, with fixes every ten seconds; lights, a petrol station, a supermarket, and places that are passed."""
    day = Trace(
        "suburb_by_car",
        "He waits at the lights in the approach ring of a builder's merchant, passes a kiosk at 14 m/s and a garden "
        "centre at its edge, fills up, shops at the supermarket, fetches a forgotten bag, and drives home.",
        "2025-06-14T15:00:00Z",
        -0.35,
        51.46,
        seed=2,
    )
    day.circle("merchant-approach", "merchant", "approach", 1500, 120, 200)
    day.circle("kiosk", "kiosk", "store", 3000, 20, 70)
    day.circle("garden-centre", "garden-centre", "store", 4400, 145, 100)
    day.circle("petrol", "petrol", "store", 5600, 40, 60)
    day.polygon("supermarket", "supermarket", "store", [(7500, 40), (7660, 40), (7660, 160), (7500, 160)])
    day.circle("supermarket-approach", "supermarket", "approach", 7580, 100, 300)
    road = {"every_s": 10.0, "accuracy_m": (4, 10), "speed": True}

    day.stay(10, every_s=60, accuracy_m=(8, 20))
    day.here = (0, 0)
    ring_m = math.sqrt(200**2 - 120**2)
    into_s = day.at + (1500 - ring_m) / 12
    day.go(1480, 0, mps=12, **road)
    day.stay(1.5, every_s=10, accuracy_m=(4, 10))
    out_s = day.at + (ring_m + 20) / 12
    day.visit("merchant", into_s, out_s)
    day.go(2910, 0, mps=14, **road)
    kiosk_s = day.at
    day.go(3120, 0, mps=14, **{**road, "every_s": 13.0})
    day.crossed.append({"geofence_id": "kiosk", "between_s": [round(kiosk_s - 20, 1), round(day.at + 20, 1)]})
    day.go(5500, 0, mps=14, **road)  # the garden centre ends 45 m beside the road
    into_s = day.at + 40 / 5
    day.go(5600, 30, mps=5, **road)
    day.stay(7, every_s=15, accuracy_m=(5, 15))
    day.visit("petrol", into_s, day.at + 55 / 6)
    day.go(5700, 0, mps=6, **road)
    into_s = day.at + (7290 - 5700) / 12
    day.go(7400, 0, mps=12, **road)
    day.go(7560, 60, mps=4, **road)
    day.stay(28, every_s=30, accuracy_m=(12, 35), wander_m=25)
    day.go(7560, 20, mps=1.2, accuracy_m=(8, 20))
    day.go(7950, 0, mps=9, **road)  # a forgotten bag: 80 m out of the ring, and back
    day.stay(3, every_s=10, accuracy_m=(4, 10))
    day.go(7560, 30, mps=9, **road)
    day.stay(4, every_s=15, accuracy_m=(8, 20))
    day.visit("supermarket", into_s, day.at + (7870 - 7560) / 9)
    day.go(8000, 0, mps=9, **road)
    day.go(9800, -1000, mps=13, **road)
    day.stay(60, every_s=60, accuracy_m=(8, 25))
    day.write()


def night_beside_a_store():
    """Nine hours in bed 30 m from a store's edge, then five minutes in the store."""
    day = Trace(
        "night_beside_a_store",
        "The bed is 30 m from the edge of a corner shop. The phone reports through the night, as well as it can, and "
        "is sometimes quite wrong. In the morning its owner buys milk there.",
        "2025-06-14T21:00:00Z",
        2.35,
        48.86,
        seed=3,
    )
    day.circle("corner-shop", "corner-shop", "store", 0, 90, 60)
    day.circle("boulangerie", "boulangerie", "store", -140, -20, 50)
    day.stay(90, every_s=15, accuracy_m=(8, 30))
    day.report(10, 80, 30)
    day.stay(60, every_s=30, accuracy_m=(10, 35))
    day.report(0, 0, 1500)
    day.stay(120, every_s=60, accuracy_m=(12, 40))
    day.report(-400, 900, 40)
    day.stay(180, every_s=120, accuracy_m=(12, 40))
    day.dark(0, 0, 40)
    day.stay(60, every_s=60, accuracy_m=(10, 35))
    day.report(5, 95, 20)
    day.stay(20, every_s=15, accuracy_m=(8, 25))
    day.go(0, 20, mps=1.0)
    into_s = day.at + 10 / 1.2
    day.go(0, 85, mps=1.2, accuracy_m=(6, 20))
    day.stay(6, accuracy_m=(8, 25), wander_m=10)
    day.visit("corner-shop", into_s, day.at + 55 / 1.2)
    day.go(0, 0, mps=1.2, accuracy_m=(6, 20))
    day.stay(30, every_s=30, accuracy_m=(8, 30))
    day.write()


if __name__ == "__main__":
    city_day()
    suburb_by_car()
    night_beside_a_store()
