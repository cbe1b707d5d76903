"""Geofences from GeoJSON, checked: from a document to values, or to all that is wrong with it. Pure.

A geofence is a GeoJSON Feature (RFC 7946): a Polygon, a MultiPolygon, or a Point with ``radius_m``. Longitude
comes first, in WGS 84 degrees. Either winding order is read; heights are dropped; a shape that crosses 180°
is split there, as the RFC asks. Properties with a meaning of their own become fields; all others are kept and
given back.

Nothing here raises for bad input: every broken rule becomes an ``ErrorDetail`` with the feature, the path and
the rule, so that an upload of 10,000 places can be repaired in one go. Reading is a loop in Python over
features for what JSON may hold (``features``), then numpy and GEOS over all of them at once for what geometry may
be (``shapes``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.errors import ErrorDetail
from geoservice.geofencing.frames import POLAR_LATITUDE
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.ground import metres_per_degree
from geoservice.geofencing.uploads.documents import Document
from geoservice.geofencing.uploads.drafts import Draft, Findings
from geoservice.geofencing.uploads.features import read_features
from geoservice.geofencing.uploads.mending import Mender
from geoservice.geofencing.uploads.shapes import areas_m2, build_geometries, distances_m, refuse_invalid
from geoservice.vocabulary import GeofenceKind

MAX_AREA_M2: Final = 5_000e6
MAX_DISTORTION: Final = 0.02
"""How far a metre eastwards, at the northern or southern end of a shape, may be off where it is measured as a whole."""
FAR_FROM_STORE_M: Final = 2_000
SMALL_RADIUS_M: Final = 30
"""Below this effective radius a phone's fixes find the place in only half of the visits."""


class ParsedGeofences(msgspec.Struct, frozen=True):
    """What a document holds: the sound geofences in its order, what is wrong, and what is only odd."""

    fences: tuple[Geofence, ...]
    errors: list[ErrorDetail]
    warnings: list[ErrorDetail]


def check(
    document: Document, stores: Mapping[str, tuple[float, float]], *, make_valid: bool = False
) -> ParsedGeofences:
    """Check what a reader found.

    ``stores`` maps store ids to their (lon, lat). A feature with an error is left out of ``fences``; whoever
    uploads all or nothing refuses as soon as there is one error. With ``make_valid`` rings are closed and outlines
    that cross themselves are mended, and each warning says where.
    """
    errors, warnings = Findings(document.errors), Findings(document.warnings)
    drafts = read_features(document, stores, errors, warnings)
    mender = Mender(warnings) if make_valid else None
    build_geometries(drafts, errors, mender)
    drafts = [draft for draft in drafts if draft.geometry is not None]
    _check_validity(drafts, errors, mender)
    _check_places(drafts, stores, errors, warnings)
    fences = tuple(draft.geofence() for draft in drafts if draft.sound)
    return ParsedGeofences(fences, errors.listed(), warnings.listed())


def _check_validity(drafts: list[Draft], errors: Findings, mender: Mender | None) -> None:
    """Refuse outlines that cross themselves, or mend them."""
    shapes = np.array([draft.geometry for draft in drafts], dtype=object)
    for n in np.flatnonzero(~shapely.is_valid(shapes) | shapely.is_empty(shapes)):
        mended = None if mender is None else mender.mend(drafts[n], shapes[n])
        if mended is None:
            refuse_invalid(drafts[n], shapes[n], errors)
        else:
            drafts[n].geometry = mended


def _check_places(
    drafts: list[Draft], stores: Mapping[str, tuple[float, float]], errors: Findings, warnings: Findings
) -> None:
    """Check size and the way to the store of everything that has become a shape."""
    if not drafts:
        return
    shapes = np.array([draft.geometry for draft in drafts], dtype=object)
    areas = areas_m2(shapes)
    for n in np.flatnonzero(areas > MAX_AREA_M2):
        if drafts[n].readable:
            message = f"The area is {areas[n] / 1e6:,.0f} km²; at most {MAX_AREA_M2 / 1e6:,.0f} km² are taken."
            drafts[n].refuse(errors, "geometry.coordinates", "area_too_large", message)
    _check_spread(drafts, shapes, errors)
    _check_distances(drafts, shapes, stores, errors, warnings)
    radii = [draft.fields.get("radius_m") for draft in drafts]
    effective = np.where(
        [radius is None for radius in radii], np.sqrt(np.abs(areas) / math.pi), np.array(radii, dtype=float)
    )
    for n in np.flatnonzero(effective < SMALL_RADIUS_M):
        fields = drafts[n].fields
        heard = fields["kind"] is GeofenceKind.DEPARTMENT and fields["beacons"]
        # A sensitive place counts as soon as a fix's disc touches it, so that it cannot be too small.
        if drafts[n].sound and not heard and fields["kind"] is not GeofenceKind.SENSITIVE:
            message = (
                f"As large as a circle of {effective[n]:.0f} m: a phone sees such a place in half of the "
                "visits. Use an approach ring or beacons."
            )
            warnings.add(drafts[n], "geometry", "small_geofence", message)


def _check_spread(drafts: list[Draft], shapes: NDArray[np.object_], errors: Findings) -> None:
    """Refuse shapes, such as all places of a country as one, that are too high for one frame in metres to be true."""
    _, south, _, north = shapely.bounds(shapes).T
    (middle, _), *ends = (metres_per_degree(lat) for lat in ((south + north) / 2, south, north))
    flat = np.maximum(np.abs(south), np.abs(north)) <= POLAR_LATITUDE
    off = np.max([np.abs(per_lon / np.where(flat, middle, np.inf) - 1) for per_lon, _ in ends], axis=0)
    for n in np.flatnonzero(flat & (off > MAX_DISTORTION)):
        if drafts[n].readable:
            message = (
                f"It reaches over {north[n] - south[n]:,.1f}° of latitude, so that distances at its ends would be "
                f"{off[n]:.0%} off. Draw its parts as geofences of their own."
            )
            drafts[n].refuse(errors, "geometry.coordinates", "too_spread", message)


def _check_distances(
    drafts: list[Draft],
    shapes: NDArray[np.object_],
    stores: Mapping[str, tuple[float, float]],
    errors: Findings,
    warnings: Findings,
) -> None:
    """Refuse a fence that lies at its store once lat and lon are swapped; warn of one that is just far."""
    owned = [n for n, draft in enumerate(drafts) if draft.readable and draft.fields["store_id"] is not None]
    if not owned:
        return
    centres = np.array([stores[drafts[n].fields["store_id"]] for n in owned], dtype=float)
    radii = np.array([drafts[n].fields.get("radius_m") or 0.0 for n in owned])
    away = distances_m(shapes[owned], centres) - radii
    far = np.flatnonzero(away > FAR_FROM_STORE_M)
    if not far.size:
        return
    swapped = shapely.set_coordinates(shapes[owned][far], shapely.get_coordinates(shapes[owned][far])[:, ::-1].copy())
    away_swapped = distances_m(swapped, centres[far]) - radii[far]
    for n, distance_m, swapped_m in zip(np.array(owned)[far], away[far], away_swapped, strict=True):
        if swapped_m <= FAR_FROM_STORE_M:
            message = "With longitude and latitude swapped this lies at its store; GeoJSON has longitude first."
            drafts[n].refuse(errors, "geometry.coordinates", "lat_lon_swapped", message)
        else:
            message = f"This is {distance_m / 1000:,.1f} km away from its store."
            warnings.add(drafts[n], "geometry", "far_from_store", message)
