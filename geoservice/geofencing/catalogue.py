"""All geofences of one published version, and how surely a fix lies in each of them.

Two questions, both for a whole batch of fixes at once:

``match``     In the bounding boxes of which geofences does each fix lie? One query of an STR tree. Boxes
              are enough: outside a fence's convex hull, at least half of the error lies beyond some
              straight line from the fence, so that the fence holds less than half of it.

``evidence``  Which share of the fix's error disc lies inside the fence, and how far is it outside?

A fix's error is a circular normal distribution whose 68 % radius is the reported accuracy, so that sigma =
accuracy / 1.51. Its mass inside an outline, seen from the fix in polar coordinates, is a sum over the
outline's edges (the inner integral, over the distance, has a closed form; what is left is Owen's T function):

    p = 1/2π · Σ ∫ (1 - exp(-d² / (2 σ² cos² θ))) dθ

with d an edge's signed distance, θ the angle from its perpendicular. Holes, corners and narrow shapes need no
special care, as they would with the straight-edge formula, and there are no samples, so no noise. Further
than 3 sigma from every edge the answer is 0 or 1.

Metres: circles are measured by distance (the chord through the WGS 84 ellipsoid, bent to an arc), so that
poles and ±180° are nothing special. Polygons are measured in a frame of their own, metres east and north of
their middle; those that reach beyond 85° of latitude are measured on a plane around the pole. Containment is
always decided by the outline's own degrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.geofencing.geofence import DEFAULT_DWELL_S, Geofence
from geoservice.geofencing.jurisdictions import DEFAULT_BUFFER_M, buffer_m
from geoservice.vocabulary import GeofenceKind

Floats = NDArray[np.float64]
Indexes = NDArray[np.intp]
Bools = NDArray[np.bool_]
Geometries = NDArray[Any]

ACCURACY_PER_SIGMA: Final = 1.51
"""The radius that holds 68 % of a circular normal distribution, in sigmas: √(-2 ln 0.32)."""

CLEAR_SIGMAS: Final = 3.0
"""Further than this from every edge, a fix is plainly inside or plainly outside."""

POLAR_LATITUDE: Final = 85.0
"""From here to the pole, degrees of longitude shrink too fast for a frame that is straight in degrees."""

# WGS 84: equatorial radius, flattening, eccentricity squared; and the mean radius (IUGG) for chords and arcs.
_EQUATOR_M: Final = 6_378_137.0
_FLATTENING: Final = 1 / 298.257223563
_E2: Final = _FLATTENING * (2 - _FLATTENING)
_MEAN_RADIUS_M: Final = 6_371_008.8
_MIN_METRES_PER_DEGREE: Final = 110_574.0  # of latitude, at the equator, where it is shortest
_POLE_METRES_PER_DEGREE: Final = 111_694.0

_EDGE_NODES, _EDGE_WEIGHTS = np.polynomial.legendre.leggauss(16)
_CIRCLE_NODES, _CIRCLE_WEIGHTS = np.polynomial.legendre.leggauss(24)
_NEGLIGIBLE_SIGMAS: Final = 5.0  # beyond it lies less than 0.000004 of the mass
_WORTH_PREPARING: Final = 64  # vertices; below it, an index saves no time and doubles the memory
_EDGES_AT_ONCE: Final = 100_000  # bounds the memory of one step to some tens of megabytes
_WIDE_REACH_M: Final = 10_000.0  # from here on it does not matter where exactly a disc ends
_MANY_SENSITIVE: Final = 16  # boxes within reach; with more, it does not matter either
_LINES_AT_ONCE: Final = 5_000
_PAIRS_AT_ONCE: Final = 500_000  # bounds the memory of one step to some tens of megabytes


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Catalogue:
    """An immutable set of geofences with an index over them. Build it with ``Catalogue.build``.

    Arrays have one element per geofence, in the order of ``fences``. What is kept lazily (outlines in metres,
    prepared polygons) is only a cache of what the fences say, filled when a fix first comes near.
    """

    version: int
    fences: tuple[Geofence, ...]
    index_of: Mapping[str, int]
    effective_radius_m: Floats
    """√(area/π) of a polygon, the radius of a circle."""
    sensitive: Bools
    buffer_m: Floats
    """Of sensitive places: how wide the belt around them is that counts as them."""
    watched: Bools
    """Whether a phone's operating system should look for it: no sensitive place, and nothing that beacons find."""
    by_beacon: Mapping[tuple[str, ...], tuple[int, ...]]
    """Protocol and ids of a beacon -> the geofences that list it."""
    _tree: Any
    _owner: Indexes
    """Which geofence each entry of the tree belongs to; some need more than one box."""
    _many_boxes: Bools
    _sensitive_tree: Any
    """The boxes of the sensitive geofences only."""
    _sensitive_owner: Indexes
    _circle: Bools
    _centre: Floats
    """(n, 3): centres of circles in metres from the Earth's centre; zeros for polygons."""
    _frames: _Frames
    _geometry: Geometries
    _outline: Geometries
    """Edges of polygons in metres, oriented with the inside on the left; None until first needed."""
    _known: Bools
    _edges: dict[int, Floats]

    @classmethod
    def build(cls, fences: Sequence[Geofence], version: int, jurisdiction: str | None = None) -> Self:
        """Index ``fences``; about 2 µs a geofence. ``jurisdiction`` is that of sensitive places that name none."""
        geometry = np.empty(len(fences), dtype=object)
        geometry[:] = [fence.geometry for fence in fences]
        radius = np.array([fence.radius_m or 0.0 for fence in fences], dtype=np.float64)
        circle = shapely.get_type_id(geometry) == shapely.GeometryType.POINT
        lon, lat = _centres(geometry, circle)
        frames = _Frames.around(geometry, circle)
        effective = np.where(circle, radius, np.sqrt(frames.area_m2(geometry) / np.pi))
        boxes, owner = _tree_entries(circle, lon, lat, radius, frames.bounds)
        sensitive = np.array([fence.kind is GeofenceKind.SENSITIVE for fence in fences], dtype=np.bool_)
        kept_dark = np.flatnonzero(sensitive[owner])
        return cls(
            version=version,
            fences=tuple(fences),
            index_of={fence.geofence_id: index for index, fence in enumerate(fences)},
            effective_radius_m=effective,
            sensitive=sensitive,
            buffer_m=_buffers_m(fences, sensitive, jurisdiction),
            watched=np.array([_is_watched(fence) for fence in fences], dtype=np.bool_),
            by_beacon=_by_beacon(fences),
            _tree=shapely.STRtree(_diagonals(boxes)),
            _owner=owner,
            _many_boxes=np.bincount(owner, minlength=len(fences)) > 1,
            _sensitive_tree=shapely.STRtree(shapely.box(*boxes[kept_dark].T)),
            _sensitive_owner=owner[kept_dark],
            _circle=circle,
            _centre=np.where(circle[:, None], earth_centred(lon, lat), 0.0),
            _frames=frames,
            _geometry=geometry,
            _outline=np.full(len(fences), None, dtype=object),
            _known=np.zeros(len(fences), dtype=np.bool_),
            _edges={},
        )

    def dwell_s(self, fence: int) -> float:
        """After how many seconds inside a dwell is told."""
        dwell_s = self.fences[fence].dwell_s
        return DEFAULT_DWELL_S if dwell_s is None else dwell_s

    def middle(self, fence: int) -> tuple[float, float]:
        """Longitude and latitude of a geofence's middle, in degrees."""
        return float(self._frames.lon[fence]), float(self._frames.lat[fence])

    def middles(self, fences: Indexes) -> tuple[Floats, Floats]:
        """Longitudes and latitudes of geofences' middles, in degrees."""
        return self._frames.lon[fences], self._frames.lat[fences]

    def within(self, lon: float, lat: float, reach_m: float) -> Indexes:
        """The geofences whose bounding box touches that of a disc around a position."""
        disc = _circle_boxes(np.array([lon]), np.array([lat]), np.array([reach_m]))
        boxes, _ = _split_at_180(disc, np.zeros(1, dtype=np.intp))
        _, entry = self._tree.query(shapely.box(*boxes.T))
        return np.unique(self._owner[entry])

    def match(self, lon: Floats, lat: Floats) -> tuple[Indexes, Indexes]:
        """Pairs (index of the fix, index of the geofence) whose bounding box holds the fix, sorted by fix.

        ``lon`` and ``lat`` are degrees, shape (n,). A geofence that is not named has p < 0.5.
        """
        fix, entry = self._tree.query(shapely.points(lon, lat))
        fence = self._owner[entry]
        if self._many_boxes[fence].any():
            pairs = np.unique(fix * len(self.fences) + fence)
            return pairs // len(self.fences), pairs % len(self.fences)
        return fix, fence

    def evidence(
        self, lon: Floats, lat: Floats, accuracy_m: Floats, fix_index: Indexes, fence_index: Indexes
    ) -> tuple[Floats, Floats]:
        """The share of the error disc inside the fence (0 to 1), and metres beyond its edge (0 if inside).

        ``lon``, ``lat`` (degrees) and ``accuracy_m`` describe the fixes; the indexes, shape (k,), say which
        pairs to judge. Answers two arrays of shape (k,). p is within 0.005 of the exact integral.
        """
        p = np.zeros(len(fix_index))
        beyond_m = np.zeros(len(fix_index))
        sigma_m = accuracy_m[fix_index] / ACCURACY_PER_SIGMA
        is_circle = self._circle[fence_index]
        at = np.flatnonzero(is_circle)
        if at.size:
            positions = earth_centred(lon, lat)
            p[at], beyond_m[at] = self._circles(positions[fix_index[at]], sigma_m[at], fence_index[at])
        at = np.flatnonzero(~is_circle)
        if at.size:
            fix = fix_index[at]
            p[at], beyond_m[at] = self._polygons(lon[fix], lat[fix], sigma_m[at], fence_index[at])
        return p, beyond_m

    def chords(
        self, start_lon: Floats, start_lat: Floats, end_lon: Floats, end_lat: Floats
    ) -> tuple[Indexes, Indexes, Floats]:
        """Which part of some straight lines runs through which geofences.

        The ends are degrees, shape (n,). Answers (index of the line, index of the geofence, share of the line that is
        inside), sorted by line; pairs that share nothing are left out, and circles that hold either end: they were not
        passed through. Lines are meant to be short, some kilometres.
        """
        fences = max(len(self.fences), 1)
        turn = 360.0 * np.round((end_lon - start_lon) / 360.0)  # the short way round
        beyond_180 = np.flatnonzero(turn)
        line = np.concatenate((np.arange(len(turn)), beyond_180))  # a line across 180° is drawn on both sides
        shift = np.concatenate((np.zeros(len(turn)), turn[beyond_180]))
        ends = np.empty((len(line), 2, 2))
        ends[:, 0, 0], ends[:, 0, 1] = start_lon[line] + shift, start_lat[line]
        ends[:, 1, 0], ends[:, 1, 1] = end_lon[line] - turn[line] + shift, end_lat[line]
        drawn = shapely.linestrings(ends)
        which, entry = self._tree.query(drawn)
        fence = self._owner[entry]
        if self._many_boxes[fence].any():
            pairs = np.unique(which * fences + fence)
            which, fence = pairs // fences, pairs % fences
        share = np.zeros(len(fence))
        circle = self._circle[fence]
        at = np.flatnonzero(circle & (which < len(turn)))
        if at.size:
            starts, stops = earth_centred(start_lon, start_lat), earth_centred(end_lon, end_lat)
            centre, radius_m = self._centre[fence[at]], self.effective_radius_m[fence[at]]
            share[at] = _share_in_spheres(starts, stops, which[at], centre, radius_m)
        at = np.flatnonzero(~circle)
        if at.size:
            inside = shapely.intersection(drawn[which[at]], self._geometry[fence[at]])
            share[at] = shapely.length(inside) / np.maximum(shapely.length(drawn[which[at]]), 1e-12)
        if beyond_180.size:
            pairs, of = np.unique(line[which] * fences + fence, return_inverse=True)
            share = np.asarray(np.bincount(of, weights=share, minlength=len(pairs)), dtype=np.float64)
            which, fence = pairs // fences, pairs % fences
        some = share > 0
        return which[some], fence[some], share[some]

    def near_sensitive(self, lon: Floats, lat: Floats, accuracy_m: Floats) -> Bools:
        """Which fixes may be in a sensitive place: their disc touches one, or its buffer. Shape (n,).

        ``lon`` and ``lat`` are degrees, ``accuracy_m`` metres. Beyond 10 km, and where more than 16 places are
        about, the disc's bounding box counts as the disc: that errs towards privacy, and bounds time and memory.
        """
        near = np.zeros(len(lon), dtype=np.bool_)
        if not len(self._sensitive_owner):
            return near
        reach_m = accuracy_m + DEFAULT_BUFFER_M  # no belt is wider
        wide = reach_m > _WIDE_REACH_M
        boxes, fix = _split_at_180(_circle_boxes(lon, lat, reach_m), np.arange(len(lon)))
        discs = shapely.box(*boxes.T)
        near[fix[self._touching_sensitive(discs, np.flatnonzero(wide[fix]))]] = True
        narrow = np.flatnonzero(~wide[fix])
        for some in np.array_split(narrow, len(narrow) * len(self._sensitive_owner) // _PAIRS_AT_ONCE + 1):
            if some.size:
                disc, entry = self._sensitive_tree.query(discs[some])
                near[self._within_reach(lon, lat, accuracy_m, fix[some[disc]], self._sensitive_owner[entry])] = True
        return near

    def _touching_sensitive(self, discs: Geometries, some: Indexes) -> Indexes:
        """Those of some boxes that touch the box of any sensitive geofence; it stops at the first it finds."""
        pairs, apart = self._sensitive_tree.query_nearest(discs[some], all_matches=False, return_distance=True)
        touching: Indexes = some[pairs[0][apart == 0]]
        return touching

    def _within_reach(self, lon: Floats, lat: Floats, accuracy_m: Floats, fix: Indexes, fence: Indexes) -> Indexes:
        """Those of the fixes in these pairs whose disc touches the fence or its belt."""
        crowded = np.bincount(fix, minlength=len(lon)) > _MANY_SENSITIVE
        few = ~crowded[fix]
        fix, fence = fix[few], fence[few]
        # Only the distance is asked; the mass of a disc of 1 m costs next to nothing.
        _, beyond_m = self.evidence(lon[fix], lat[fix], np.ones(len(fix)), np.arange(len(fix)), fence)
        return np.concatenate((np.flatnonzero(crowded), fix[beyond_m <= accuracy_m[fix] + self.buffer_m[fence]]))

    def _circles(self, position: Floats, sigma_m: Floats, fence: Indexes) -> tuple[Floats, Floats]:
        distance_m = arc_m(position, self._centre[fence])
        radius_m = self.effective_radius_m[fence]
        outside_m = distance_m - radius_m
        p = (outside_m <= 0).astype(np.float64)
        near = np.flatnonzero(np.abs(outside_m) <= CLEAR_SIGMAS * sigma_m)
        if near.size:
            p[near] = _mass_in_circle(distance_m[near] / sigma_m[near], radius_m[near] / sigma_m[near])
        return p, np.maximum(outside_m, 0.0)

    def _polygons(self, lon: Floats, lat: Floats, sigma_m: Floats, fence: Indexes) -> tuple[Floats, Floats]:
        self._learn(fence)
        inside = shapely.intersects_xy(self._geometry[fence], lon, lat)
        x, y = self._frames.project(fence, lon, lat)
        edge_m = shapely.distance(self._outline[fence], shapely.points(x, y))
        p = inside.astype(np.float64)
        near = np.flatnonzero(edge_m <= CLEAR_SIGMAS * sigma_m)
        total = sum(len(self._edges_of(index)) for index in fence[near].tolist())
        for some in np.array_split(near, total // _EDGES_AT_ONCE + 1):
            if some.size:
                p[some] = self._mass_in_polygons(x[some], y[some], sigma_m[some], fence[some].tolist())
        return p, np.where(inside, 0.0, edge_m)

    def _mass_in_polygons(self, x: Floats, y: Floats, sigma_m: Floats, fences: list[int]) -> Floats:
        outlines = [self._edges_of(index) for index in fences]
        counts = np.array([len(edges) for edges in outlines])
        seen_from_fix = np.concatenate(outlines)
        seen_from_fix[:, 0::2] -= np.repeat(x, counts)[:, None]
        seen_from_fix[:, 1::2] -= np.repeat(y, counts)[:, None]
        seen_from_fix /= np.repeat(sigma_m, counts)[:, None]
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        return np.clip(np.add.reduceat(_mass_towards_edges(seen_from_fix), starts), 0.0, 1.0)

    def _learn(self, fence: Indexes) -> None:
        """Bring the outlines of these polygons to metres, and prepare the intricate ones."""
        new = np.unique(fence[~self._known[fence]])
        if new.size:
            many = shapely.get_num_coordinates(self._geometry[new]) > _WORTH_PREPARING
            shapely.prepare(self._geometry[new[many]])
            self._outline[new] = shapely.boundary(self._frames.in_metres(new, self._geometry[new]))
            self._known[new] = True  # last: another thread that sees it finds the outline there

    def _edges_of(self, index: int) -> Floats:
        """(e, 4): x1, y1, x2, y2 of every edge, in metres in the fence's frame."""
        edges = self._edges.get(index)
        if edges is None:
            xy, ring = shapely.get_coordinates(shapely.get_parts(self._outline[index]), return_index=True)
            edges = np.hstack((xy[:-1], xy[1:]))[ring[:-1] == ring[1:]]
            edges = edges[(edges[:, :2] != edges[:, 2:]).any(axis=1)]
            self._edges[index] = edges
        return edges


def _buffers_m(fences: Sequence[Geofence], sensitive: Bools, otherwise: str | None) -> Floats:
    """The belts of the sensitive places; zero for all others."""
    buffers_m = np.zeros(len(fences))
    for index in np.flatnonzero(sensitive).tolist():
        buffers_m[index] = buffer_m(fences[index].jurisdiction, otherwise)
    return buffers_m


_BEACON_KEYS: Final = {
    "ibeacon": ("protocol", "uuid", "major", "minor"),
    "eddystone-uid": ("protocol", "namespace", "instance"),
}


def _is_watched(fence: Geofence) -> bool:
    if fence.kind is GeofenceKind.DEPARTMENT:
        return not fence.beacons
    return fence.kind is not GeofenceKind.SENSITIVE


def _by_beacon(fences: Sequence[Geofence]) -> dict[tuple[str, ...], tuple[int, ...]]:
    found: dict[tuple[str, ...], tuple[int, ...]] = {}
    for index in [index for index, fence in enumerate(fences) if fence.beacons]:
        for beacon in fences[index].beacons:
            key = tuple(str(beacon[part]) for part in _BEACON_KEYS[beacon["protocol"]])
            found[key] = (*found.get(key, ()), index)
    return found


# Positions and distances ------------------------------------------------------------------------------------


def earth_centred(lon: Floats, lat: Floats) -> Floats:
    """(n, 3): degrees to metres from the Earth's centre, on the WGS 84 ellipsoid (ECEF)."""
    phi, lam = np.radians(lat), np.radians(lon)
    sin, cos = np.sin(phi), np.cos(phi)
    normal = _EQUATOR_M / np.sqrt(1 - _E2 * sin * sin)
    return np.stack((normal * cos * np.cos(lam), normal * cos * np.sin(lam), normal * (1 - _E2) * sin), axis=1)


def arc_m(a: Floats, b: Floats) -> Floats:
    """Metres along the ground between earth-centred points, shape (n, 3) each.

    The chord, bent to an arc of the mean radius; against the geodesic 1 mm at 10 km, 1 m at 100 km.
    """
    apart = a - b
    chord = np.sqrt(apart[:, 0] ** 2 + apart[:, 1] ** 2 + apart[:, 2] ** 2)
    half = np.minimum(chord / (2 * _MEAN_RADIUS_M), 1.0)
    return 2 * _MEAN_RADIUS_M * np.arcsin(half)


def _share_in_spheres(start: Floats, end: Floats, line: Indexes, centre: Floats, radius_m: Floats) -> Floats:
    """Which share of each pair's line, start to end, lies within the radius of its centre; 0 if either end does."""
    share = np.zeros(len(line))
    outside = np.flatnonzero(
        (_distance_squared(start[line], centre) > radius_m**2) & (_distance_squared(end[line], centre) > radius_m**2)
    )
    if outside.size:
        line = line[outside]
        along, away = (end - start)[line], start[line] - centre[outside]
        a = np.maximum((along * along).sum(axis=1), 1e-12)
        b = (along * away).sum(axis=1)
        c = (away * away).sum(axis=1) - radius_m[outside] ** 2
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        share[outside] = np.clip((-b + root) / a, 0.0, 1.0) - np.clip((-b - root) / a, 0.0, 1.0)
    return share


def _distance_squared(one: Floats, other: Floats) -> Floats:
    apart = one - other
    return np.asarray(np.einsum("ij,ij->i", apart, apart))


def _metres_per_degree(lat: Floats) -> tuple[Floats, Floats]:
    """Of longitude and of latitude, at these latitudes, on the WGS 84 ellipsoid."""
    sin, cos = np.sin(np.radians(lat)), np.cos(np.radians(lat))
    bend = 1 - _E2 * sin * sin
    degree = np.pi / 180 * _EQUATOR_M
    return degree * cos / np.sqrt(bend), degree * (1 - _E2) / bend**1.5


def _wrapped(lon: Floats) -> Floats:
    """A difference of longitudes, brought to -180 (inclusive) … 180."""
    return (lon + 180.0) % 360.0 - 180.0


# Frames in metres -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Frames:
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
        for index in np.flatnonzero(crossing):
            bounds[index, [0, 2]] = _west_and_east(geometry[index])
        middle = (bounds[:, 0] + bounds[:, 2]) / 2
        lat = (bounds[:, 1] + bounds[:, 3]) / 2
        per_lon, per_lat = _metres_per_degree(lat)
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

    def project(self, fence: Indexes, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Metres east and north, each point in the frame of its fence; all of shape (k,)."""
        x = _wrapped(lon - self.lon[fence]) * self.per_lon[fence]
        y = (lat - self.lat[fence]) * self.per_lat[fence]
        polar = np.flatnonzero(self.pole[fence])
        if polar.size:
            sign = self.pole[fence[polar]]
            from_pole_m = (90.0 - sign * lat[polar]) * _POLE_METRES_PER_DEGREE
            angle = sign * np.radians(lon[polar])  # seen from above the pole, so that the inside stays on the left
            x[polar], y[polar] = from_pole_m * np.cos(angle), from_pole_m * np.sin(angle)
        return x, y

    def in_metres(self, fence: Indexes, geometry: Geometries) -> Geometries:
        """These polygons in their frames, counter-clockwise, without seams."""
        around_pole = np.flatnonzero(self.pole[fence])
        source = geometry.copy()
        # What is straight in degrees is bent around the pole: short pieces keep it within a decimetre.
        source[around_pole] = shapely.segmentize(source[around_pole], 0.05)
        degrees, owner = shapely.get_coordinates(source, return_index=True)
        x, y = self.project(fence[owner], degrees[:, 0], degrees[:, 1])
        projected = shapely.set_coordinates(source, np.column_stack((x, y)))
        for index in np.flatnonzero(self.crossing[fence] | (self.pole[fence] != 0)):
            # The seam at 180°, and the spike that it leaves at the pole, are no edges.
            whole = shapely.make_valid(projected[index], method="structure", keep_collapsed=False)
            projected[index] = shapely.union_all(shapely.get_parts(whole))
        return np.asarray(shapely.orient_polygons(projected))

    def area_m2(self, geometry: Geometries) -> Floats:
        """The areas of polygons; 0 for circles."""
        area = shapely.area(geometry) * self.per_lon * self.per_lat
        polar = np.flatnonzero(self.pole)
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


# The tree's boxes -------------------------------------------------------------------------------------------


def _centres(geometry: Geometries, circle: Bools) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of circles' centres; zeros for polygons."""
    lon, lat = np.zeros(len(geometry)), np.zeros(len(geometry))
    lon[circle], lat[circle] = shapely.get_x(geometry[circle]), shapely.get_y(geometry[circle])
    return lon, lat


def _tree_entries(circle: Bools, lon: Floats, lat: Floats, radius_m: Floats, bounds: Floats) -> tuple[Floats, Indexes]:
    """(m, 4) boxes in degrees, and the geofence that each belongs to; m ≥ n."""
    boxes = np.where(circle[:, None], _circle_boxes(lon, lat, radius_m), bounds)
    boxes, owner = _split_at_180(boxes, np.arange(len(boxes)))
    # -180° and 180° are the same meridian: what touches one side is found from the other, too.
    west, east = boxes[:, 0] <= -180.0, boxes[:, 2] >= 180.0
    at_east, at_west = np.flatnonzero(west & ~east), np.flatnonzero(east & ~west)
    seam = np.concatenate((boxes[at_east], boxes[at_west]))
    seam[:, [0, 2]] = np.repeat((180.0, -180.0), (len(at_east), len(at_west)))[:, None]
    return np.concatenate((boxes, seam)), np.concatenate((owner, owner[at_east], owner[at_west]))


def _circle_boxes(lon: Floats, lat: Floats, radius_m: Floats) -> Floats:
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


def _split_at_180(boxes: Floats, owner: Indexes) -> tuple[Floats, Indexes]:
    """Boxes within ±180°: those that pass it, or have west > east, become two."""
    west, east = boxes[:, 0], boxes[:, 2]
    passing = np.flatnonzero((west < -180.0) | (east > 180.0) | (west > east))
    before, after = boxes[passing].copy(), boxes[passing].copy()
    before[:, 0], before[:, 2] = np.where(west[passing] < -180.0, west[passing] + 360.0, west[passing]), 180.0
    after[:, 0], after[:, 2] = -180.0, np.where(east[passing] > 180.0, east[passing] - 360.0, east[passing])
    kept = np.delete(np.arange(len(boxes)), passing)
    whole = np.concatenate((boxes[kept], before, after))
    return whole, np.concatenate((owner[kept], owner[passing], owner[passing]))


def _diagonals(boxes: Floats) -> Geometries:
    """What the tree stores: a line has the same box as a rectangle, and takes a third of its memory."""
    lines = boxes.reshape(-1, 2, 2)
    # In pieces: the event loop of this process must wait while one is made.
    pieces = np.array_split(lines, len(lines) // _LINES_AT_ONCE + 1)
    return np.concatenate([shapely.linestrings(piece) for piece in pieces])


# The mass of a normal distribution --------------------------------------------------------------------------


def _mass_towards_edges(edges: Floats) -> Floats:
    """The mass in the triangle fix, start, end of each edge; below 0 where the fix is on the edge's right.

    ``edges`` are x1, y1, x2, y2 in sigmas around the fix, shape (n, 4).
    """
    x1, y1, x2, y2 = edges.T
    along_x, along_y = x2 - x1, y2 - y1
    length = np.hypot(along_x, along_y)
    distance = (x1 * along_y - y1 * along_x) / length
    start, end = (x1 * along_x + y1 * along_y) / length, (x2 * along_x + y2 * along_y) / length
    away = np.abs(distance)
    first, last = np.arctan2(start, away), np.arctan2(end, away)
    swept = last - first
    # Where the edge is far, all of the mass in its direction lies before it.
    nearest = np.hypot(away, np.maximum(np.maximum(start, -end), 0.0))
    near = np.flatnonzero(nearest < _NEGLIGIBLE_SIGMAS)
    half, middle = swept[near, None] / 2, (first[near, None] + last[near, None]) / 2
    cosine = np.cos(middle + half * _EDGE_NODES)
    reached = -np.expm1(-((away[near, None] / cosine) ** 2) / 2)
    swept[near] = (half * _EDGE_WEIGHTS * reached).sum(axis=1)
    return np.asarray(np.copysign(swept, distance) / (2 * np.pi))


def _mass_in_circle(distance: Floats, radius: Floats) -> Floats:
    """The mass within ``radius`` of a point at ``distance`` from the fix, both in sigmas, shape (n,).

    Slices across the line through both centres: each slice's mass is an error function.
    """
    low = np.maximum(-radius, distance - _NEGLIGIBLE_SIGMAS)[:, None]
    high = np.minimum(radius, distance + _NEGLIGIBLE_SIGMAS)[:, None]
    x = (low + high) / 2 + (high - low) / 2 * _CIRCLE_NODES
    radius = radius[:, None]
    half_chord = np.sqrt(np.maximum((radius - x) * (radius + x), 0.0))
    density = np.exp(-((x - distance[:, None]) ** 2) / 2) / np.sqrt(2 * np.pi)
    slices = density * _erf(half_chord / np.sqrt(2)) * _CIRCLE_WEIGHTS
    return np.asarray(np.clip(slices.sum(axis=1) * (high - low)[:, 0] / 2, 0.0, 1.0))


def _erf(x: Floats) -> Floats:
    """The error function for x ≥ 0, within 1.5e-7 (Abramowitz and Stegun 7.1.26); numpy has none."""
    t = 1 / (1 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(1 - series * np.exp(-x * x))
