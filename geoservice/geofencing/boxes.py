"""Bounding boxes in degrees, and an index over them. Pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import shapely

from geoservice.geofencing.arrays import Bools, Floats, Geometries, Indexes, true_at

_MIN_METRES_PER_DEGREE: Final = 110_574.0  # of latitude, at the equator, where it is shortest
_LINES_AT_ONCE: Final = 5_000


class BoxIndex(NamedTuple):
    """An STR tree, and which geofence each of its entries belongs to; some need more than one box."""

    tree: Any
    owner: Indexes

    def query(self, shapes: Geometries) -> tuple[Indexes, Indexes]:
        """Pairs (index of the shape, geofence) whose boxes touch, sorted by shape; some may come twice."""
        shape, entry = self.tree.query(shapes)
        return shape, self.owner[entry]


def tree_entries(circle: Bools, lon: Floats, lat: Floats, radius_m: Floats, bounds: Floats) -> tuple[Floats, Indexes]:
    """(m, 4) boxes in degrees, and the geofence that each belongs to; m ≥ n."""
    boxes = np.where(circle[:, None], circle_boxes(lon, lat, radius_m), bounds)
    boxes, owner = split_at_180(boxes, np.arange(len(boxes)))
    # -180° and 180° are the same meridian: what touches one side is found from the other, too.
    west, east = boxes[:, 0] <= -180.0, boxes[:, 2] >= 180.0
    at_east, at_west = true_at(west & ~east), true_at(east & ~west)
    seam = np.concatenate((boxes[at_east], boxes[at_west]))
    seam[:, [0, 2]] = np.repeat((180.0, -180.0), (len(at_east), len(at_west)))[:, None]
    return np.concatenate((boxes, seam)), np.concatenate((owner, owner[at_east], owner[at_west]))


def circle_boxes(lon: Floats, lat: Floats, radius_m: Floats) -> Floats:
    """(n, 4) boxes that hold these circles; west and east may pass ±180°, and span 360° around a pole."""
    high = radius_m / _MIN_METRES_PER_DEGREE
    south, north = lat - high, lat + high
    # The meridian that touches the circle on a sphere; 1 % more for the ellipsoid.
    shrink = np.cos(np.radians(np.minimum(np.abs(lat), 90.0)))
    ratio = np.sin(np.minimum(np.radians(high), np.pi / 2)) * 1.01 / np.maximum(shrink, 1e-12)
    round_the_pole = (north >= 90.0) | (south <= -90.0) | (ratio >= 1.0)
    wide = np.degrees(np.arcsin(np.minimum(ratio, 1.0)))
    west = np.where(round_the_pole, -180.0, lon - wide)
    east = np.where(round_the_pole, 180.0, lon + wide)
    return np.column_stack((west, np.maximum(south, -90.0), east, np.minimum(north, 90.0)))


def split_at_180(boxes: Floats, owner: Indexes) -> tuple[Floats, Indexes]:
    """Boxes within ±180°: those that pass it, or have west > east, become two."""
    west, east = boxes[:, 0], boxes[:, 2]
    passing = true_at((west < -180.0) | (east > 180.0) | (west > east))
    before, after = boxes[passing].copy(), boxes[passing].copy()
    before[:, 0], before[:, 2] = np.where(west[passing] < -180.0, west[passing] + 360.0, west[passing]), 180.0
    after[:, 0], after[:, 2] = -180.0, np.where(east[passing] > 180.0, east[passing] - 360.0, east[passing])
    kept = np.delete(np.arange(len(boxes)), passing)
    whole = np.concatenate((boxes[kept], before, after))
    return whole, np.concatenate((owner[kept], owner[passing], owner[passing]))


def diagonals(boxes: Floats) -> Geometries:
    """What the tree stores: a line has the same box as a rectangle, and takes a third of its memory."""
    lines = boxes.reshape(-1, 2, 2)
    # In pieces: the event loop of this process must wait while one is made.
    pieces = np.array_split(lines, len(lines) // _LINES_AT_ONCE + 1)
    return np.concatenate([shapely.linestrings(piece) for piece in pieces])
