"""A frame in metres for each geofence, in which its outline is measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.geofencing.arrays import Bools, Floats, Geometries, Indexes, true_at
from geoservice.geofencing.ground import metres_per_degree, wrapped

POLAR_LATITUDE: Final = 85.0
"""From here to the pole, degrees of longitude shrink too fast for a frame that is straight in degrees."""
_POLE_METRES_PER_DEGREE: Final = 111_694.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frames:
    """A frame in metres for each geofence: around its middle, or around the pole."""

    bounds: Floats
    """(n, 4): west, south, east, north in degrees; west > east where the fence crosses 180°."""
    lon: Floats
    lat: Floats
    per_lon: Floats
    per_lat: Floats
    pole: NDArray[np.int8]
    """+1 or -1 where the frame is the plane around that pole, else 0."""
    crossing: Bools

    @classmethod
    def around(cls, geometry: Geometries, circle: Bools) -> Self:
        """Frames for these fences; those of circles are never asked."""
        bounds = shapely.bounds(geometry).reshape(-1, 4)
        many = shapely.get_num_geometries(geometry) > 1
        # Split at 180°, a fence has parts that touch both sides; one that holds a pole is a single part.
        crossing = many & ~circle & (bounds[:, 2] - bounds[:, 0] > 180.0)
        for index in true_at(crossing):
            bounds[index, [0, 2]] = _west_and_east(geometry[index])
        middle = (bounds[:, 0] + bounds[:, 2]) / 2
        lat = (bounds[:, 1] + bounds[:, 3]) / 2
        per_lon, per_lat = metres_per_degree(lat)
        north, south = bounds[:, 3] > POLAR_LATITUDE, bounds[:, 1] < -POLAR_LATITUDE
        return cls(
            bounds=bounds,
            lon=np.where(crossing, 180.0, middle),  # on the seam, so that both sides meet exactly
            lat=lat,
            per_lon=per_lon,
            per_lat=per_lat,
            pole=np.where(circle, 0, north.astype(np.int8) - (south & ~north)).astype(np.int8),
            crossing=crossing,
        )

    def and_those(self, other: Self) -> Self:
        """These, followed by others."""
        return type(self)(
            *(np.concatenate((getattr(self, each.name), getattr(other, each.name))) for each in fields(self))
        )

    def project(self, fence: Indexes, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Metres east and north, each point in the frame of its fence; all of shape (k,)."""
        x = wrapped(lon - self.lon[fence]) * self.per_lon[fence]
        y = (lat - self.lat[fence]) * self.per_lat[fence]
        polar = true_at(self.pole[fence])
        if polar.size:
            sign = self.pole[fence[polar]]
            from_pole_m = (90.0 - sign * lat[polar]) * _POLE_METRES_PER_DEGREE
            angle = sign * np.radians(lon[polar])  # seen from above the pole, so that the inside stays on the left
            x[polar], y[polar] = from_pole_m * np.cos(angle), from_pole_m * np.sin(angle)
        return x, y

    def in_metres(self, fence: Indexes, geometry: Geometries) -> Geometries:
        """These polygons in their frames, counter-clockwise, without seams."""
        around_pole = true_at(self.pole[fence])
        source = geometry.copy()
        # What is straight in degrees is bent around the pole: short pieces keep it within a decimetre.
        source[around_pole] = shapely.segmentize(source[around_pole], 0.05)
        degrees, owner = shapely.get_coordinates(source, return_index=True)
        x, y = self.project(fence[owner], degrees[:, 0], degrees[:, 1])
        projected = shapely.set_coordinates(source, np.column_stack((x, y)))
        for index in true_at(self.crossing[fence] | (self.pole[fence] != 0)):
            # The seam at 180°, and the spike that it leaves at the pole, are no edges.
            whole = shapely.make_valid(projected[index], method="structure", keep_collapsed=False)
            projected[index] = shapely.union_all(shapely.get_parts(whole))
        return np.asarray(shapely.orient_polygons(projected))

    def area_m2(self, geometry: Geometries) -> Floats:
        """The areas of polygons; 0 for circles."""
        area = shapely.area(geometry) * self.per_lon * self.per_lat
        polar = true_at(self.pole)
        if polar.size:
            area[polar] = shapely.area(self.in_metres(polar, geometry[polar]))
        return np.asarray(area, dtype=np.float64)


def _west_and_east(geometry: Any) -> tuple[float, float]:
    """The western and eastern limits of a fence in two parts around 180°."""
    parts = shapely.bounds(shapely.get_parts(geometry))
    before = parts[:, 0] + parts[:, 2] > 0  # the parts that end at +180°
    if before.all() or not before.any():
        return float(parts[:, 0].min()), float(parts[:, 2].max())
    return float(parts[before, 0].min()), float(parts[~before, 2].max())
