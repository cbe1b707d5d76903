"""From rings to shapes: closed rings, 180° and the poles, areas and distances. Pure.

Reading was a loop in Python over features; this is numpy and GEOS over all of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.geofencing.uploads.drafts import Draft, Findings, Ring
from geoservice.geofencing.uploads.mending import Mender

EARTH_RADIUS_M: Final = 6_371_008.8
"""Mean radius of the earth (IUGG)."""
WGS84_SEMI_MAJOR_M: Final = 6_378_137.0
WGS84_ECCENTRICITY: Final = 0.081_819_190_842_622


def build_geometries(drafts: list[Draft], errors: Findings, mender: Mender | None = None) -> None:
    """Turn rings into shapes, where each ring is closed and on the globe; with a ``mender``, also what it can mend."""
    polygons = [draft for draft in drafts if draft.parts]
    if mender is not None:
        mender.close_rings(polygons)
    _check_rings(polygons, errors)
    plain = [draft for draft in polygons if draft.readable and not draft.crosses_180]
    if plain:
        parts = [part for draft in plain for part in draft.parts]
        rings = [ring for part in parts for ring in part]
        shapes = shapely.from_ragged_array(
            shapely.GeometryType.MULTIPOLYGON,
            np.concatenate(rings),
            (_offsets(rings), _offsets(parts), _offsets([draft.parts for draft in plain])),
        )
        firsts = shapely.get_geometry(shapes, 0)
        for draft, shape, first in zip(plain, shapes, firsts, strict=True):
            draft.geometry = shape if draft.multi else first
    for draft in polygons:
        if draft.readable and draft.crosses_180:
            _split_at_180(draft, errors, mender)


def _offsets(groups: Sequence[Sequence[Any] | Ring]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int64)


def _check_rings(drafts: list[Draft], errors: Findings) -> None:
    """Look at all rings in a few numpy passes; only those that catch the eye are looked at one by one."""
    places = [
        (draft, p, r)
        for draft in drafts
        for p, part in enumerate(draft.parts)
        for r, ring in enumerate(part)
        if len(ring)
    ]
    if not places:
        return
    rings = [draft.parts[p][r] for draft, p, r in places]
    offsets = _offsets(rings)
    lon, lat = np.concatenate(rings).T
    with np.errstate(invalid="ignore", over="ignore"):
        off_globe = ~((np.abs(lon) <= 180) & (np.abs(lat) <= 90))
        steps = np.abs(np.diff(lon, append=lon[-1]))
    steps[offsets[1:] - 1] = 0  # from one ring to the next is no edge
    first, last = offsets[:-1], offsets[1:] - 1
    odd = (
        np.logical_or.reduceat(off_globe | ((steps > 180) & (steps < 360)), first)
        | (lon[first] != lon[last])
        | (lat[first] != lat[last])
    )
    for n in np.flatnonzero(odd):
        draft, p, r = places[n]
        _check_ring(draft, rings[n], draft.ring_path(p, r), errors)


def _check_ring(draft: Draft, ring: Ring, path: str, errors: Findings) -> None:
    """Refuse what is wrong with one ring, each rule once, at its first place; or note a crossing of 180°."""
    lons = ring[:, 0]
    # 179, 181 is one of the two ways to write a crossing; 181 alone, or together with 10, is a slip.
    with np.errstate(invalid="ignore"):
        beyond = bool(np.any(np.abs(lons) <= 180)) and float(np.ptp(lons)) < 180
    most_lon = 360 if beyond else 180
    found: dict[str, tuple[int, str]] = {}
    for n, (lon, lat) in enumerate(ring.tolist()):
        if (problem := position_problem(lon, lat, most_lon=most_lon)) is not None:
            found.setdefault(problem[0], (n, problem[1]))
    for code, (n, message) in found.items():
        draft.refuse(errors, f"{path}[{n}]", code, message)
    if found:
        return
    if not np.array_equal(ring[0], ring[-1]):
        message = "A ring's last position must repeat its first."
        draft.refuse(errors, f"{path}[{len(ring) - 1}]", "ring_not_closed", message)
        return
    draft.crosses_180 = True


def _split_at_180(draft: Draft, errors: Findings, mender: Mender | None) -> None:
    """Cut a shape that crosses 180° into pieces that do not (RFC 7946, 3.1.9); one around a pole becomes a cap."""
    pieces: list[shapely.Geometry] = []
    around_pole = False
    for p, part in enumerate(draft.parts):
        rings = [_unwrapped(ring) for ring in part]
        for r, ring in enumerate(rings):
            if abs(ring[0, 0] - ring[-1, 0]) > 180:
                if ring[:, 1].min() < 0 < ring[:, 1].max():
                    message = "The ring runs around the Earth, on both sides of the equator."
                    draft.refuse(errors, draft.ring_path(p, r), "encloses_pole", message)
                    return
                rings[r] = _over_the_pole(ring)
                around_pole = True
        middle = _middle(rings[0])
        turns = [round((middle - _middle(ring)) / 360) for ring in rings[1:]]
        holes = [ring + np.array([360 * turn, 0]) for ring, turn in zip(rings[1:], turns, strict=True)]
        whole = shapely.Polygon(rings[0], holes)
        if not whole.is_valid:
            mended = None if mender is None else mender.mend(draft, whole)
            if mended is None:
                refuse_invalid(draft, whole, errors)
                return
            whole = mended
        west, _, east, _ = whole.bounds
        for turn in range(math.floor((west + 180) / 360), math.ceil((east + 180) / 360)):
            cut = shapely.intersection(whole, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
            moved = shapely.transform(cut, lambda xy, turn=turn: xy - [360 * turn, 0])
            pieces += [piece for piece in shapely.get_parts(moved) if piece.geom_type == "Polygon"]
    if around_pole:  # where its ring began is no edge
        pieces = [_plain_cap(piece) for piece in shapely.get_parts(shapely.union_all(pieces))]
    draft.geometry = pieces[0] if len(pieces) == 1 and not draft.multi else shapely.MultiPolygon(pieces)


def _over_the_pole(ring: Ring) -> Ring:
    """An unwrapped ring around a pole, closed along the pole: the cap as a box in degrees."""
    pole = math.copysign(90.0, ring[:, 1].sum())
    return np.vstack([ring, [ring[-1, 0], pole], [ring[0, 0], pole], ring[:1]])


def _plain_cap(cap: shapely.Polygon) -> shapely.Polygon:
    """The same without corners on the pole's edge: from one of them to the next it would look like a way around."""
    ring = shapely.get_coordinates(cap.exterior)
    kept = (np.abs(ring[:, 1]) < 90) | (np.abs(ring[:, 0]) == 180)
    return shapely.Polygon(ring[kept], cap.interiors)


def _unwrapped(ring: Ring) -> Ring:
    """The ring with longitudes that never jump: no edge is wider than 180°, whatever lies beyond ±180."""
    steps = np.diff(ring[:, 0])
    steps -= 360 * np.round(steps / 360)
    return np.column_stack([ring[0, 0] + np.concatenate([[0.0], np.cumsum(steps)]), ring[:, 1]])


def _middle(ring: Ring) -> float:
    return float(ring[:, 0].min() + ring[:, 0].max()) / 2


def refuse_invalid(draft: Draft, geometry: shapely.Geometry, errors: Findings) -> None:
    """Say in which way a shape is none, and where."""
    reason, _, place = str(shapely.is_valid_reason(geometry)).partition("[")
    crossing = "self-intersection" in reason.lower()
    at = f" at lon lat {place.rstrip(']')}" if place else ""
    code = "self_intersection" if crossing else "geometry_invalid"
    rule = "The boundary crosses or touches itself" if crossing else reason
    draft.refuse(errors, "geometry.coordinates", code, f"{rule}{at}.")


def position_problem(lon: float, lat: float, *, most_lon: float = 180) -> tuple[str, str] | None:
    """The code and the sentence for a position that is on no globe, else None."""
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return "coordinate_not_finite", "A coordinate must be a finite number."
    if 90 < abs(lat) <= 180 and abs(lon) <= 90:
        return (
            "lat_lon_swapped",
            "The latitude is beyond 90°: are longitude and latitude swapped? GeoJSON has longitude first.",
        )
    if abs(lat) > 90:
        return "coordinate_out_of_range", "Latitude goes from -90 to 90 degrees."
    if abs(lon) > most_lon:
        return "coordinate_out_of_range", "Longitude goes from -180 to 180 degrees."
    return None


def areas_m2(geometries: NDArray[np.object_]) -> NDArray[np.float64]:
    """Areas on the WGS 84 ellipsoid in square metres; edges are straight in lon/lat, as in GeoJSON."""
    # Lambert's cylindrical projection keeps areas (Snyder, Map Projections, 1987, equations 3-12, 10-14).
    degrees = shapely.get_coordinates(geometries)
    sine = np.sin(np.radians(degrees[:, 1]))
    e = WGS84_ECCENTRICITY
    q = (1 - e * e) * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)
    flat = WGS84_SEMI_MAJOR_M * np.column_stack([np.radians(degrees[:, 0]), q / 2])
    areas: NDArray[np.float64] = shapely.area(shapely.set_coordinates(np.array(geometries), flat))
    return areas


def distances_m(shapes: NDArray[np.object_], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each shape from its centre, on a plane that is true near the centre."""
    degrees, owner = shapely.get_coordinates(shapes, return_index=True)
    lon, lat = (degrees - centres[owner]).T
    lon -= 360 * np.round(lon / 360)
    metres = np.radians(np.column_stack([lon * np.cos(np.radians(centres[owner, 1])), lat])) * EARTH_RADIUS_M
    distances: NDArray[np.float64] = shapely.distance(
        shapely.set_coordinates(shapes.copy(), metres), shapely.Point(0, 0)
    )
    return distances
