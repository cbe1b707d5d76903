"""All geofences of one published version, and how surely a fix lies in each of them.

Two questions, both for a whole batch of fixes at once:

``match``     In the bounding boxes of which geofences does each fix lie? One query of an STR tree. Boxes
              are enough: outside a fence's convex hull, at least half of the error lies beyond some
              straight line from the fence, so that the fence holds less than half of it.

``evidence``  Which share of the fix's error disc lies inside the fence, and how far is it outside?

A fix's error is a circular normal distribution whose 68 % radius is the reported accuracy, so that sigma =
accuracy / 1.51. Its mass inside an outline is exact (`geoservice.geofencing.mass`). Further than 3 sigma from every
edge the answer is 0 or 1.

Metres: circles are measured by distance (the chord through the WGS 84 ellipsoid, bent to an arc), so that
poles and ±180° are nothing special. Polygons are measured in a frame of their own, metres east and north of
their middle; those that reach beyond 85° of latitude are measured on a plane around the pole. Containment is
always decided by the outline's own degrees.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import shapely

from geoservice.geofencing.arrays import Bools, Floats, Geometries, Indexes, among, points, true_at
from geoservice.geofencing.boxes import BoxIndex, circle_boxes, diagonals, split_at_180, tree_entries
from geoservice.geofencing.frames import Frames
from geoservice.geofencing.geofence import DEFAULT_DWELL_S, Geofence
from geoservice.geofencing.ground import arc_m, earth_centred, share_in_spheres
from geoservice.geofencing.jurisdictions import DEFAULT_BUFFER_M, buffer_m
from geoservice.geofencing.mass import mass_in_circle, mass_towards_edges
from geoservice.vocabulary import GeofenceKind

ACCURACY_PER_SIGMA: Final = 1.51
"""The radius that holds 68 % of a circular normal distribution, in sigmas: √(-2 ln 0.32)."""

FINEST_M: Final = 0.001
"""No fix is taken for better than this: on an edge, what is smaller breaks the arithmetic."""

CLEAR_SIGMAS: Final = 3.0
"""Further than this from every edge, a fix is plainly inside or plainly outside."""

_WORTH_PREPARING: Final = 64  # vertices; below it, an index saves no time and doubles the memory
_EDGES_AT_ONCE: Final = 100_000  # bounds the memory of one step to some tens of megabytes
_WIDE_REACH_M: Final = 10_000.0  # from here on it does not matter where exactly a disc ends
_MANY_SENSITIVE: Final = 16  # boxes within reach; with more, it does not matter either
_PAIRS_AT_ONCE: Final = 500_000  # bounds the memory of one step to some tens of megabytes

_COLUMNS: Final = (
    "effective_radius_m", "sensitive", "buffer_m", "watched", "_gone", "_many_boxes", "_circle", "_centre", "_geometry",
    # In this order: what is known has its outline there, also while another thread fills them.
    "_known", "_outline",
)  # fmt: skip
"""What a catalogue holds one of for each geofence."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Catalogue:
    """An immutable set of geofences with an index over them. Build it with ``Catalogue.build``.

    Arrays have one element per geofence, in the order of ``fences``. What is kept lazily (outlines in metres,
    prepared polygons) is only a cache of what the fences say, filled when a fix first comes near.
    """

    version: int
    fences: tuple[Geofence, ...]
    """By index; some may be gone (`with_changes`), and no answer names their index any more."""
    index_of: Mapping[str, int]
    """Of those that are there."""
    jurisdiction: str | None
    """That of sensitive places that name none."""
    effective_radius_m: Floats
    """√(area/π) of a polygon, the radius of a circle."""
    sensitive: Bools
    sensitive_ones: frozenset[int]
    """The same by index: a look into an array takes ten times as long."""
    buffer_m: Floats
    """Of sensitive places: how wide the belt around them is that counts as them."""
    watched: Bools
    """Whether a phone's operating system should look for it: no sensitive place, and nothing that beacons find."""
    by_beacon: Mapping[tuple[str, ...], tuple[int, ...]]
    """Protocol and ids of a beacon -> the geofences that list it."""
    _boxes: tuple[BoxIndex, ...]
    """Over the first geofences, and over those that came later, if any did."""
    _indexed: int
    """How many are the first."""
    _gone: Bools
    _many_boxes: Bools
    _sensitive_boxes: BoxIndex
    """The boxes of the sensitive geofences only."""
    _circle: Bools
    _centre: Floats
    """(n, 3): centres of circles in metres from the Earth's centre; zeros for polygons."""
    _frames: Frames
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
        frames = Frames.around(geometry, circle)
        effective = np.where(circle, radius, np.sqrt(frames.area_m2(geometry) / np.pi))
        sensitive = np.array([fence.kind is GeofenceKind.SENSITIVE for fence in fences], dtype=np.bool_)
        boxes = _index(np.arange(len(fences)), circle, frames, effective)
        return cls(
            version=version,
            fences=tuple(fences),
            index_of={fence.geofence_id: index for index, fence in enumerate(fences)},
            jurisdiction=jurisdiction,
            effective_radius_m=effective,
            sensitive=sensitive,
            sensitive_ones=frozenset(true_at(sensitive).tolist()),
            buffer_m=_buffers_m(fences, sensitive, jurisdiction),
            watched=np.array([_is_watched(fence) for fence in fences], dtype=np.bool_),
            by_beacon=_by_beacon(fences),
            _boxes=(boxes,),
            _indexed=len(fences),
            _gone=np.zeros(len(fences), dtype=np.bool_),
            _many_boxes=np.bincount(boxes.owner, minlength=len(fences)) > 1,
            _sensitive_boxes=_index_of_sensitive(sensitive, circle, frames, effective),
            _circle=circle,
            _centre=np.where(circle[:, None], earth_centred(frames.lon, frames.lat), 0.0),
            _frames=frames,
            _geometry=geometry,
            _outline=np.full(len(fences), None, dtype=object),
            _known=np.zeros(len(fences), dtype=np.bool_),
            _edges={},
        )

    def with_changes(self, gone: Collection[str], come: Sequence[Geofence], version: int) -> Self:
        """Leave some geofences out and take others in; one that changed is gone, and comes.

        It takes a small part of the time of a new catalogue: nobody has to wait for it. What is gone leaves a gap, and
        what came later is looked for by itself: many such changes (`worn`) are to be followed by a `build`.
        """
        new = type(self).build(come, version, self.jurisdiction)
        shift, dropped = len(self.fences), [self.index_of[geofence_id] for geofence_id in gone]
        index_of = dict(self.index_of)
        for geofence_id in gone:
            del index_of[geofence_id]
        index_of.update((geofence_id, shift + index) for geofence_id, index in new.index_of.items())
        columns: dict[str, Any] = {name: np.concatenate((getattr(self, name), getattr(new, name))) for name in _COLUMNS}
        columns["_gone"][dropped] = True
        columns["sensitive"][dropped] = False
        frames = self._frames.and_those(new._frames)  # noqa: SLF001 - one of its own kind
        where = columns["_circle"], frames, columns["effective_radius_m"]
        later = self._indexed + true_at(~columns["_gone"][self._indexed :])
        if self.sensitive[dropped].any() or new.sensitive.any():
            columns["_sensitive_boxes"] = _index_of_sensitive(columns["sensitive"], *where)
            columns["sensitive_ones"] = frozenset(true_at(columns["sensitive"]).tolist())
        return replace(
            self,
            version=version,
            fences=self.fences + new.fences,
            index_of=index_of,
            by_beacon=_with_beacons(self.by_beacon, set(dropped), new.by_beacon, shift),
            _boxes=(self._boxes[0], _index(later, *where)),
            _frames=frames,
            _edges=self._edges.copy(),
            **columns,
        )

    @property
    def has_sensitive(self) -> bool:
        """Whether any geofence is a sensitive place."""
        return bool(self.sensitive_ones)

    @property
    def worn(self) -> int:
        """How many geofences have come or gone since it was built."""
        return len(self.fences) - self._indexed + int(np.count_nonzero(self._gone))

    @property
    def present(self) -> list[Geofence]:
        """Every geofence that is there."""
        return [self.fences[index] for index in self.index_of.values()]

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

    def watched_within(self, lon: float, lat: float, reach_m: float) -> Indexes:
        """The watched geofences whose bounding box touches that of a disc around a position."""
        disc = circle_boxes(np.array([lon]), np.array([lat]), np.array([reach_m]))
        boxes = shapely.box(*split_at_180(disc, np.zeros(1, dtype=np.intp))[0].T)
        fence = np.concatenate([index.query(boxes)[1] for index in self._boxes])
        return np.unique(fence[self.watched[fence] & ~self._gone[fence]])

    def match(self, lon: Floats, lat: Floats) -> tuple[Indexes, Indexes]:
        """Pairs (index of the fix, index of the geofence) whose bounding box holds the fix, sorted by fix.

        ``lon`` and ``lat`` are degrees, shape (n,). A geofence that is not named has p < 0.5.
        """
        return self._touching(points(lon, lat))

    def _touching(self, shapes: Geometries) -> tuple[Indexes, Indexes]:
        """Pairs (index of the shape, index of a geofence whose box touches the shape's), each once, by shape."""
        first, *others = (index.query(shapes) for index in self._boxes)
        _, fence = first
        found = [first, *(each for each in others if each[0].size)]
        if len(found) == 1 and not (self._many_boxes[fence] | self._gone[fence]).any():
            return first
        shape, fence = (np.concatenate(each) for each in zip(*found, strict=True))
        here = ~self._gone[fence]
        pairs = np.unique(shape[here] * len(self.fences) + fence[here])
        return np.divmod(pairs, max(len(self.fences), 1))

    def evidence(
        self, lon: Floats, lat: Floats, accuracy_m: Floats, fix_index: Indexes, fence_index: Indexes
    ) -> tuple[Floats, Floats]:
        """The share of the error disc inside the fence (0 to 1), and metres beyond its edge (0 if inside).

        ``lon``, ``lat`` (degrees) and ``accuracy_m`` describe the fixes; the indexes, shape (k,), say which
        pairs to judge. Answers two arrays of shape (k,). p is within 0.005 of the exact integral.
        """
        p = np.zeros(len(fix_index))
        beyond_m = np.zeros(len(fix_index))
        sigma_m = np.maximum(accuracy_m[fix_index], FINEST_M) / ACCURACY_PER_SIGMA
        is_circle = self._circle[fence_index]
        at = true_at(is_circle)
        if at.size:
            positions = earth_centred(lon, lat)
            p[at], beyond_m[at] = self._circles(positions[fix_index[at]], sigma_m[at], fence_index[at])
        at = true_at(~is_circle)
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
        beyond_180 = true_at(turn)
        line = np.concatenate((np.arange(len(turn)), beyond_180))  # a line across 180° is drawn on both sides
        shift = np.concatenate((np.zeros(len(turn)), turn[beyond_180]))
        ends = np.empty((len(line), 2, 2))
        ends[:, 0, 0], ends[:, 0, 1] = start_lon[line] + shift, start_lat[line]
        ends[:, 1, 0], ends[:, 1, 1] = end_lon[line] - turn[line] + shift, end_lat[line]
        drawn = shapely.linestrings(ends)
        which, fence = self._touching(drawn)
        share = np.zeros(len(fence))
        circle = self._circle[fence]
        pair, first = line[which] * fences + fence, which < len(turn)
        # Distances know no 180°: a circle that is found from both sides is measured once.
        at = true_at(circle & (first | ~among(pair, np.sort(pair[first]))))
        if at.size:
            starts, stops = earth_centred(start_lon, start_lat), earth_centred(end_lon, end_lat)
            centre, radius_m = self._centre[fence[at]], self.effective_radius_m[fence[at]]
            share[at] = share_in_spheres(starts, stops, line[which[at]], centre, radius_m)
        at = true_at(~circle)
        if at.size:
            inside = shapely.intersection(drawn[which[at]], self._geometry[fence[at]])
            share[at] = shapely.length(inside) / np.maximum(shapely.length(drawn[which[at]]), 1e-12)
        if beyond_180.size:
            pairs, of = np.unique(pair, return_inverse=True)
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
        if not self.has_sensitive:
            return near
        reach_m = accuracy_m + DEFAULT_BUFFER_M  # no belt is wider
        wide = reach_m > _WIDE_REACH_M
        boxes, fix = split_at_180(circle_boxes(lon, lat, reach_m), np.arange(len(lon)))
        discs = shapely.box(*boxes.T)
        near[fix[self._touching_sensitive(discs, true_at(wide[fix]))]] = True
        narrow = true_at(~wide[fix])
        for some in np.array_split(narrow, len(narrow) * len(self._sensitive_boxes.owner) // _PAIRS_AT_ONCE + 1):
            if some.size:
                disc, fence = self._sensitive_boxes.query(discs[some])
                near[self._within_reach(lon, lat, accuracy_m, fix[some[disc]], fence)] = True
        return near

    def _touching_sensitive(self, discs: Geometries, some: Indexes) -> Indexes:
        """Those of some boxes that touch the box of any sensitive geofence; it stops at the first it finds."""
        pairs, apart = self._sensitive_boxes.tree.query_nearest(discs[some], all_matches=False, return_distance=True)
        touching: Indexes = some[pairs[0][apart == 0]]
        return touching

    def _within_reach(self, lon: Floats, lat: Floats, accuracy_m: Floats, fix: Indexes, fence: Indexes) -> Indexes:
        """Those of the fixes in these pairs whose disc touches the fence or its belt."""
        crowded = np.bincount(fix, minlength=len(lon)) > _MANY_SENSITIVE
        few = ~crowded[fix]
        fix, fence = fix[few], fence[few]
        # Only the distance is asked; the mass of a disc of 1 m costs next to nothing.
        _, beyond_m = self.evidence(lon[fix], lat[fix], np.ones(len(fix)), np.arange(len(fix)), fence)
        return np.concatenate((true_at(crowded), fix[beyond_m <= accuracy_m[fix] + self.buffer_m[fence]]))

    def _circles(self, position: Floats, sigma_m: Floats, fence: Indexes) -> tuple[Floats, Floats]:
        distance_m = arc_m(position, self._centre[fence])
        radius_m = self.effective_radius_m[fence]
        outside_m = distance_m - radius_m
        p = (outside_m <= 0).astype(np.float64)
        near = true_at(np.abs(outside_m) <= CLEAR_SIGMAS * sigma_m)
        if near.size:
            p[near] = mass_in_circle(distance_m[near] / sigma_m[near], radius_m[near] / sigma_m[near])
        return p, np.maximum(outside_m, 0.0)

    def _polygons(self, lon: Floats, lat: Floats, sigma_m: Floats, fence: Indexes) -> tuple[Floats, Floats]:
        self._learn(fence)
        inside = shapely.intersects_xy(self._geometry[fence], lon, lat)
        x, y = self._frames.project(fence, lon, lat)
        edge_m = shapely.distance(self._outline[fence], points(x, y))
        p = inside.astype(np.float64)
        near = true_at(edge_m <= CLEAR_SIGMAS * sigma_m)
        if near.size:
            total = sum(len(self._edges_of(index)) for index in fence[near].tolist())
            pieces = total // _EDGES_AT_ONCE + 1
            for some in np.array_split(near, pieces) if pieces > 1 else (near,):
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
        return np.clip(np.add.reduceat(mass_towards_edges(seen_from_fix), starts), 0.0, 1.0)

    def _learn(self, fence: Indexes) -> None:
        """Bring the outlines of these polygons to metres, and prepare the intricate ones."""
        known = self._known[fence]
        if not known.all():
            new = np.unique(fence[~known])
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


def _index(some: Indexes, circle: Bools, frames: Frames, radius_m: Floats) -> BoxIndex:
    boxes, owner = _boxes_of(some, circle, frames, radius_m)
    return BoxIndex(shapely.STRtree(diagonals(boxes)), owner)


def _index_of_sensitive(sensitive: Bools, circle: Bools, frames: Frames, radius_m: Floats) -> BoxIndex:
    boxes, owner = _boxes_of(true_at(sensitive), circle, frames, radius_m)
    return BoxIndex(shapely.STRtree(shapely.box(*boxes.T)), owner)


def _boxes_of(some: Indexes, circle: Bools, frames: Frames, radius_m: Floats) -> tuple[Floats, Indexes]:
    """The boxes of some geofences, (m, 4) in degrees, and the geofence that each belongs to; m ≥ n."""
    at = frames.lon[some], frames.lat[some], radius_m[some], frames.bounds[some]
    boxes, owner = tree_entries(circle[some], *at)
    return boxes, some[owner]


def _buffers_m(fences: Sequence[Geofence], sensitive: Bools, otherwise: str | None) -> Floats:
    """The belts of the sensitive places; zero for all others."""
    buffers_m = np.zeros(len(fences))
    for index in true_at(sensitive).tolist():
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


def _with_beacons(
    known: Mapping[tuple[str, ...], tuple[int, ...]],
    gone: Collection[int],
    new: Mapping[tuple[str, ...], tuple[int, ...]],
    shift: int,
) -> dict[tuple[str, ...], tuple[int, ...]]:
    found = {key: kept for key, fences in known.items() if (kept := tuple(each for each in fences if each not in gone))}
    for key, fences in new.items():
        found[key] = (*found.get(key, ()), *(shift + each for each in fences))
    return found
