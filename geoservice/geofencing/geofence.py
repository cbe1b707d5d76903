"""Geofences: from GeoJSON to checked values and back, and what an upload changes. Pure.

A geofence is a GeoJSON Feature (RFC 7946): a Polygon, a MultiPolygon, or a Point with ``radius_m``. Longitude
comes first, in WGS 84 degrees. Either winding order is read; heights are dropped; a shape that crosses 180°
is split there, as the RFC asks. Properties with a meaning of their own become fields; all others are kept and
given back.

Nothing here raises for bad input: every broken rule becomes an ``ErrorDetail`` with the feature, the path and
the rule, so that an upload of 10,000 places can be repaired in one go. Reading is a loop in Python over
features for what JSON may hold, then numpy and GEOS over all of them at once for what geometry may be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.errors import ErrorDetail
from geoservice.vocabulary import GeofenceKind

MAX_RADIUS_M: Final = 40_000
MAX_AREA_M2: Final = 5_000e6
MAX_VERTICES: Final = 10_000
MAX_LISTED: Final = 100
"""So many errors, and so many warnings, are listed; what is left is counted in one last entry."""
FAR_FROM_STORE_M: Final = 2_000
SMALL_RADIUS_M: Final = 30
"""Below this effective radius a phone's fixes find the place in only half of the visits."""

EARTH_RADIUS_M: Final = 6_371_008.8
"""Mean radius of the earth (IUGG)."""
WGS84_SEMI_MAJOR_M: Final = 6_378_137.0
WGS84_ECCENTRICITY: Final = 0.081_819_190_842_622

Ring: TypeAlias = NDArray[np.float64]
"""Positions of one closed ring, shape (n, 2), lon before lat."""
Part: TypeAlias = list[Ring]
"""One polygon: the outer ring, then its holes."""


class Geofence(msgspec.Struct, frozen=True):
    """A checked geofence.

    ``geometry`` is a Polygon or MultiPolygon in lon/lat degrees, or a Point that ``radius_m`` makes round.
    ``beacons`` are those whose sighting puts a phone inside, with hexadecimal ids in lower case.
    ``valid_from`` and ``valid_until`` are in UTC. ``metadata`` holds the properties that have no field here.
    """

    geofence_id: str
    name: str
    kind: GeofenceKind
    geometry: shapely.Geometry
    radius_m: float | None = None
    store_id: str | None = None
    tags: tuple[str, ...] = ()
    dwell_s: int | None = None
    floor: int | None = None
    beacons: tuple[dict[str, Any], ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    metadata: Mapping[str, Any] = {}


class ParsedGeofences(msgspec.Struct, frozen=True):
    """What a document holds: the sound geofences in its order, what is wrong, and what is only odd."""

    fences: tuple[Geofence, ...]
    errors: list[ErrorDetail]
    warnings: list[ErrorDetail]


class Changes(msgspec.Struct, frozen=True):
    """What an upload does to the set of geofences, as ids."""

    created: list[str]
    changed: list[str]
    unchanged: list[str]
    removed: list[str]


def parse_collection(document: object, stores: Mapping[str, tuple[float, float]]) -> ParsedGeofences:
    """Read a decoded GeoJSON FeatureCollection, or a single Feature.

    ``stores`` maps store ids to their (lon, lat). A feature with an error is left out of ``fences``; whoever
    uploads all or nothing refuses as soon as there is one error.
    """
    errors, warnings = _Findings(), _Findings()
    drafts = _read_features(document, stores, errors, warnings)
    _build_geometries(drafts, errors)
    drafts = [draft for draft in drafts if draft.geometry is not None]
    _check_places(drafts, stores, errors, warnings)
    fences = tuple(draft.geofence() for draft in drafts if draft.sound)
    return ParsedGeofences(fences, errors.listed(), warnings.listed())


def to_feature(fence: Geofence) -> dict[str, Any]:
    """Give the GeoJSON Feature back: reading it again yields an equal geofence."""
    properties: dict[str, Any] = {"id": fence.geofence_id, "name": fence.name, "kind": fence.kind.value}
    for key in ("radius_m", "store_id", "dwell_s", "floor"):
        if (value := getattr(fence, key)) is not None:
            properties[key] = value
    if fence.tags:
        properties["tags"] = list(fence.tags)
    if fence.beacons:
        properties["beacons"] = [dict(beacon) for beacon in fence.beacons]
    for key in ("valid_from", "valid_until"):
        if (instant := getattr(fence, key)) is not None:
            properties[key] = instant.isoformat().replace("+00:00", "Z")
    return {
        "type": "Feature",
        "id": fence.geofence_id,
        "geometry": _to_geojson(fence.geometry),
        "properties": properties | dict(fence.metadata),
    }


def diff(old: Iterable[Geofence], new: Iterable[Geofence], *, replace: bool) -> Changes:
    """Compare what is there with what is uploaded. Only ``replace`` removes what the upload does not name.

    Where a ring starts and which way it runs is no change.
    """
    before = {fence.geofence_id: fence for fence in old}
    after = {fence.geofence_id: fence for fence in new}
    common = [key for key in after if key in before]
    same_shape = shapely.equals_exact(
        shapely.normalize(np.array([before[key].geometry for key in common], dtype=object)),
        shapely.normalize(np.array([after[key].geometry for key in common], dtype=object)),
    )
    unchanged = {
        key for key, same in zip(common, same_shape, strict=True) if same and _words(before[key]) == _words(after[key])
    }
    return Changes(
        created=[key for key in after if key not in before],
        changed=[key for key in common if key not in unchanged],
        unchanged=[key for key in common if key in unchanged],
        removed=[key for key in before if key not in after] if replace else [],
    )


def effective_radii_m(fences: Sequence[Geofence]) -> NDArray[np.float64]:
    """Radii of the circles that have the fences' areas, in metres."""
    radii = np.array([fence.radius_m or math.nan for fence in fences], dtype=float)
    areas = areas_m2(np.array([fence.geometry for fence in fences], dtype=object))
    return np.where(np.isnan(radii), np.sqrt(areas / math.pi), radii)


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


_words = attrgetter(*(field for field in Geofence.__struct_fields__ if field != "geometry"))


# Findings ---------------------------------------------------------------------------------------------------


class _Findings:
    """Errors or warnings of one document, in the order in which they are found, listed up to a limit."""

    def __init__(self) -> None:
        self._details: list[ErrorDetail] = []
        self._unlisted = 0

    def add(self, draft: _Draft, path: str, code: str, message: str) -> None:
        self.add_detail(ErrorDetail(draft.path + path, code, message, draft.label))

    def add_detail(self, detail: ErrorDetail) -> None:
        if len(self._details) < MAX_LISTED:
            self._details.append(detail)
        else:
            self._unlisted += 1

    def listed(self) -> list[ErrorDetail]:
        if not self._unlisted:
            return self._details
        more = ErrorDetail("features", "more_not_listed", f"{self._unlisted} more like these are not listed.")
        return [*self._details, more]


class _Draft:
    """One feature on its way to a geofence."""

    def __init__(self, path: str, label: str) -> None:
        self.path = path
        """Where the feature is: ``features[3].``, or nothing for a document that is one feature."""
        self.label = label
        self.fields: dict[str, Any] = {}
        self.parts: list[Part] = []
        self.multi = False
        self.crosses_180 = False
        self.geometry: shapely.Geometry | None = None
        self.sound = True
        """Nothing has been refused so far."""
        self.readable = True
        """Nothing has been refused in its geometry, so that more can be found out about it."""

    def refuse(self, errors: _Findings, path: str, code: str, message: str) -> None:
        self.sound = False
        self.readable = self.readable and not path.startswith("geometry")
        errors.add(self, path, code, message)

    def geofence(self) -> Geofence:
        return Geofence(geometry=self.geometry, **self.fields)

    def ring_path(self, part: int, ring: int) -> str:
        inside = f"[{part}][{ring}]" if self.multi else f"[{ring}]"
        return f"geometry.coordinates{inside}"


# Features and properties ------------------------------------------------------------------------------------

_KINDS: Final = {kind.value: kind for kind in GeofenceKind}
_ID: Final = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_OSM_ID: Final = re.compile(r"(node|way|relation)/([0-9]+)")
_HEX_IDS: Final = {
    "ibeacon": {"uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")},
    "eddystone-uid": {"namespace": re.compile(r"[0-9a-f]{20}"), "instance": re.compile(r"[0-9a-f]{12}")},
}
_FIELDS: Final = frozenset(
    {
        *("id", "name", "kind", "radius_m", "store_id", "tags", "dwell_s", "floor", "beacons"),
        *("valid_from", "valid_until"),
    }
)
_MAX_DEPTH: Final = 16
"""Deeper metadata is nobody's data, and JSON writers give up somewhere below."""


def _read_features(document: object, stores: Mapping[str, Any], errors: _Findings, warnings: _Findings) -> list[_Draft]:
    """One draft a feature; what is wrong with types and properties goes to ``errors``."""
    if not isinstance(document, dict) or document.get("type") not in ("FeatureCollection", "Feature"):
        message = "The document must be a GeoJSON FeatureCollection."
        errors.add_detail(ErrorDetail("type", "not_a_feature_collection", message))
        return []
    features: list[object]
    if document["type"] == "Feature":
        features, paths = [document], [""]
    else:
        listed = document.get("features")
        if not isinstance(listed, list):
            message = "A FeatureCollection needs a list of features."
            errors.add_detail(ErrorDetail("features", "not_a_feature_collection", message))
            return []
        features = listed
        paths = [f"features[{n}]." for n in range(len(features))]
    seen: dict[str, int] = {}
    drafts = []
    for number, (feature, path) in enumerate(zip(features, paths, strict=True)):
        draft = _Draft(path, f"#{number}")
        reader = _FeatureReader(draft, errors, warnings)
        reader.read(feature, number, seen, stores)
        drafts.append(draft)
    return drafts


class _FeatureReader:
    """Reads one feature, member by member; each refusal is noted and the next member is read all the same."""

    def __init__(self, draft: _Draft, errors: _Findings, warnings: _Findings) -> None:
        self._draft = draft
        self._errors = errors
        self._warnings = warnings

    def read(self, feature: object, number: int, seen: dict[str, int], stores: Mapping[str, Any]) -> None:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            self._refuse("type", "not_a_feature", "Every entry of features must be a GeoJSON Feature.")
            return
        properties = feature.get("properties")
        if properties is None:
            properties = {}
        if not isinstance(properties, dict):
            self._refuse("properties", "properties_invalid", "The properties must be an object.")
            properties = {}
        id_key = self._id(feature, properties, number, seen)
        fields = self._draft.fields
        fields["name"] = self._name(properties)
        fields["kind"] = self._kind(properties)
        fields["store_id"] = self._store_id(properties, stores)
        fields["tags"] = self._tags(properties)
        fields["dwell_s"] = self._whole(properties, "dwell_s", 1, 86_400)
        fields["floor"] = self._whole(properties, "floor", -50, 300)
        fields["beacons"] = self._beacons(properties)
        self._validity(properties)
        fields["metadata"] = {k: v for k, v in properties.items() if k not in _FIELDS and k != id_key}
        for key, value in fields["metadata"].items():
            if not _storable(key) or not _storable(value):
                message = "This cannot be kept: NUL, half a surrogate pair, a number without value, or too deep."
                self._refuse("properties", "metadata_not_storable", message)
        self._geometry(feature.get("geometry"), properties)

    def _refuse(self, path: str, code: str, message: str) -> None:
        self._draft.refuse(self._errors, path, code, message)

    def _id(self, feature: dict[str, Any], properties: dict[str, Any], number: int, seen: dict[str, int]) -> str | None:
        """Note the id and give the property back that it was taken from.

        OpenStreetMap's ``way/123`` becomes ``way:123``; Overpass writes it as ``@id``.
        """
        for path, key, value in (
            ("properties.id", "id", properties.get("id")),
            ("id", None, feature.get("id")),
            ("properties.@id", "@id", properties.get("@id")),
        ):
            if value is None:
                continue
            whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
            text = str(value) if whole else value
            if isinstance(text, str):
                text = _OSM_ID.sub(r"\1:\2", text) if _OSM_ID.fullmatch(text) else text
            if not isinstance(text, str) or not _ID.fullmatch(text):
                self._refuse(path, "id_invalid", "An id has 1 to 128 characters of A-Z a-z 0-9 . _ : and -.")
                return key
            self._draft.label = text
            self._draft.fields["geofence_id"] = text
            if text in seen:
                self._refuse(path, "id_duplicate", f"features[{seen[text]}] has the same id.")
            seen.setdefault(text, number)
            return key
        self._refuse("properties.id", "id_missing", "A geofence needs an id, in properties.id or as the feature's id.")
        return None

    def _name(self, properties: dict[str, Any]) -> str:
        name = properties.get("name")
        if name is None or name == "":
            return str(self._draft.fields.get("geofence_id", ""))
        if not isinstance(name, str) or len(name) > 200 or not _storable(name):
            self._refuse("properties.name", "name_invalid", "A name is text of at most 200 characters.")
            return ""
        return name

    def _kind(self, properties: dict[str, Any]) -> GeofenceKind | None:
        kind = properties.get("kind")
        if kind is None:
            # Exports of other tools know no kinds; what they hold is buildings of shops.
            message = "No kind is given; it is read as a store."
            self._warnings.add(self._draft, "properties.kind", "kind_assumed", message)
            return GeofenceKind.STORE
        if not isinstance(kind, str) or kind not in _KINDS:
            message = f"The kind must be one of {', '.join(_KINDS)}."
            self._refuse("properties.kind", "kind_unknown", message)
            return None
        return _KINDS[kind]

    def _store_id(self, properties: dict[str, Any], stores: Mapping[str, Any]) -> str | None:
        store_id = properties.get("store_id")
        if store_id is None:
            return None
        if not isinstance(store_id, str) or store_id not in stores:
            self._refuse("properties.store_id", "store_unknown", "There is no store with this id.")
            return None
        return store_id

    def _tags(self, properties: dict[str, Any]) -> tuple[str, ...]:
        tags = properties.get("tags")
        if tags is None:
            return ()
        if not isinstance(tags, list):
            self._refuse("properties.tags", "tags_invalid", "Tags are a list of texts.")
            return ()
        for n, tag in enumerate(tags):
            if not isinstance(tag, str) or not 1 <= len(tag) <= 64 or not _storable(tag):
                message = "A tag is text of 1 to 64 characters."
                self._refuse(f"properties.tags[{n}]", "tags_invalid", message)
                return ()
        return tuple(tags)

    def _whole(self, properties: dict[str, Any], key: str, least: int, most: int) -> int | None:
        value = properties.get(key)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            message = f"{key} is a whole number from {least} to {most}."
            self._refuse(f"properties.{key}", f"{key}_invalid", message)
            return None
        return value

    def _beacons(self, properties: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        beacons = properties.get("beacons")
        if beacons is None:
            return ()
        if not isinstance(beacons, list):
            self._refuse("properties.beacons", "beacons_invalid", "Beacons are a list of objects.")
            return ()
        read = []
        for n, beacon in enumerate(beacons):
            path = f"properties.beacons[{n}]"
            protocol = beacon.get("protocol") if isinstance(beacon, dict) else None
            if not isinstance(protocol, str) or protocol not in _HEX_IDS:
                message = "A beacon is an object whose protocol is ibeacon or eddystone-uid."
                self._refuse(path, "beacons_invalid", message)
                continue
            kept: dict[str, Any] = {"protocol": protocol}
            for key, pattern in _HEX_IDS[protocol].items():
                value = beacon.get(key)
                kept[key] = value.lower() if isinstance(value, str) else ""
                if not pattern.fullmatch(kept[key]):
                    message = f"{key} has the wrong length or form for {protocol}."
                    self._refuse(f"{path}.{key}", "beacons_invalid", message)
            for key in ("major", "minor") if protocol == "ibeacon" else ():
                kept[key] = beacon.get(key)
                if type(kept[key]) is not int or not 0 <= kept[key] <= 65_535:
                    message = f"{key} is a whole number from 0 to 65535."
                    self._refuse(f"{path}.{key}", "beacons_invalid", message)
            read.append(kept)
        return tuple(read)

    def _validity(self, properties: dict[str, Any]) -> None:
        fields = self._draft.fields
        for key in ("valid_from", "valid_until"):
            fields[key] = None
            if (value := properties.get(key)) is None:
                continue
            fields[key] = _read_instant(value)
            if fields[key] is None:
                message = f"{key} is an RFC 3339 time with an offset, such as 2026-11-27T00:00:00+01:00."
                self._refuse(f"properties.{key}", f"{key}_invalid", message)
        if fields["valid_from"] and fields["valid_until"] and fields["valid_from"] >= fields["valid_until"]:
            message = "valid_until must come after valid_from."
            self._refuse("properties.valid_until", "valid_until_invalid", message)

    # Geometry, as far as it is a matter of JSON ------------------------------------------------------------

    def _geometry(self, geometry: object, properties: dict[str, Any]) -> None:
        radius_m = properties.get("radius_m")
        if geometry is None:
            self._refuse("geometry", "geometry_missing", "A geofence needs a geometry; this one is null.")
            return
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if not isinstance(geometry, dict) or not isinstance(kind, str):
            self._refuse("geometry", "geometry_invalid", "The geometry must be a GeoJSON geometry object.")
            return
        coordinates = geometry.get("coordinates")
        if kind == "Point":
            self._radius(radius_m)
            self._point(coordinates)
        elif kind in ("Polygon", "MultiPolygon"):
            if radius_m is not None:
                self._refuse("properties.radius_m", "radius_on_polygon", "Only a Point has a radius_m.")
            self._draft.multi = kind == "MultiPolygon"
            self._parts(coordinates if self._draft.multi else [coordinates])
        else:
            message = "The geometry must be a Polygon, a MultiPolygon, or a Point with radius_m."
            self._refuse("geometry.type", "geometry_type_not_allowed", message)

    def _radius(self, radius_m: object) -> None:
        if radius_m is None:
            self._refuse("properties.radius_m", "radius_missing", "A Point needs a radius_m, in metres.")
        elif isinstance(radius_m, bool) or not isinstance(radius_m, int | float) or not 0 < radius_m <= MAX_RADIUS_M:
            message = f"radius_m is a number of metres above 0 and up to {MAX_RADIUS_M}."
            self._refuse("properties.radius_m", "radius_out_of_range", message)
        else:
            self._draft.fields["radius_m"] = float(radius_m)

    def _point(self, position: object) -> None:
        read = _read_positions([position])
        if read is None:
            self._refuse("geometry.coordinates", "position_invalid", _POSITION_RULE)
        elif (problem := _position_problem(*read[0].tolist())) is not None:
            self._refuse("geometry.coordinates", *problem)
        else:
            self._draft.geometry = shapely.Point(read[0])

    def _parts(self, parts: object) -> None:
        if not isinstance(parts, list) or not parts:
            self._refuse("geometry.coordinates", "coordinates_invalid", "The coordinates must be a list of polygons.")
            return
        for p, part in enumerate(parts):
            if not isinstance(part, list) or not part:
                path = f"geometry.coordinates[{p}]" if self._draft.multi else "geometry.coordinates"
                self._refuse(path, "coordinates_invalid", "A polygon is a list of rings, the outer one first.")
                continue
            rings = [self._ring(ring, p, r) for r, ring in enumerate(part)]
            self._draft.parts.append(rings)
        vertices = sum(len(ring) for part in self._draft.parts for ring in part)
        if vertices > MAX_VERTICES:
            message = f"{vertices} positions; at most {MAX_VERTICES} are taken. Simplify the shape."
            self._refuse("geometry.coordinates", "too_many_vertices", message)

    def _ring(self, ring: object, p: int, r: int) -> Ring:
        """The positions of a ring; none when it is refused, so that later rings keep their numbers."""
        path = self._draft.ring_path(p, r)
        if not isinstance(ring, list):
            self._refuse(path, "coordinates_invalid", "A ring is a list of positions.")
            return _NO_RING
        positions = _read_positions(ring)
        if positions is None:
            bad = next(n for n, position in enumerate(ring) if _read_positions([position]) is None)
            self._refuse(f"{path}[{bad}]", "position_invalid", _POSITION_RULE)
            return _NO_RING
        if len(positions) < 4:
            message = f"A ring needs at least 4 positions, the last like the first; here are {len(positions)}."
            self._refuse(path, "ring_too_short", message)
            return _NO_RING
        return positions


_NO_RING: Final = np.empty((0, 2))
_POSITION_RULE: Final = "A position is a list of numbers: longitude, then latitude, in degrees."


def _read_instant(value: object) -> datetime | None:
    """An RFC 3339 time in UTC, or None if it is none, or one without an offset."""
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        return instant.astimezone(UTC) if instant is not None and instant.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _read_positions(positions: list[Any]) -> Ring | None:
    """Positions as an array of shape (n, 2), or None if one of them is not two or more numbers."""
    # Types are looked at first, because numpy would read "9.9" and true as numbers.
    if not {*map(type, positions)} <= {list, tuple}:
        return None
    if not {*map(type, chain.from_iterable(positions))} <= {float, int}:
        return None
    sizes = {*map(len, positions)}
    if sizes and min(sizes) < 2:
        return None
    if sizes != {2}:
        positions = [position[:2] for position in positions]
    try:
        return np.array(positions, dtype=np.float64).reshape(-1, 2)
    except OverflowError:
        return None


def _position_problem(lon: float, lat: float, *, most_lon: float = 180) -> tuple[str, str] | None:
    """The code and the sentence for a position that is on no globe, else None."""
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return "coordinate_not_finite", "A coordinate must be a finite number."
    if 90 < abs(lat) <= 180 and abs(lon) <= 90:
        return (
            "lat_lon_swapped",
            "The latitude is beyond 90°: are longitude and latitude swapped? Longitude comes first.",
        )
    if abs(lat) > 90:
        return "coordinate_out_of_range", "Latitude goes from -90 to 90 degrees."
    if abs(lon) > most_lon:
        return "coordinate_out_of_range", "Longitude goes from -180 to 180 degrees."
    return None


def _storable(value: object, depth: int = 0) -> bool:
    """Whether JSON and PostgreSQL take it: no NUL, no half surrogate, finite, 64 bits, not too deep."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return "\0" not in value and (value.isascii() or not re.search("[\ud800-\udfff]", value))
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return math.isfinite(value)
    if depth >= _MAX_DEPTH:
        return False
    if isinstance(value, list):
        return all(_storable(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return all(_storable(key) and _storable(item, depth + 1) for key, item in value.items())
    return False


# Geometry, all features at once -----------------------------------------------------------------------------


def _build_geometries(drafts: list[_Draft], errors: _Findings) -> None:
    """Turn rings into shapes, where each ring is closed and on the globe."""
    polygons = [draft for draft in drafts if draft.parts]
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
            _split_at_180(draft, errors)


def _offsets(groups: Sequence[Sequence[Any] | Ring]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int64)


def _check_rings(drafts: list[_Draft], errors: _Findings) -> None:
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


def _check_ring(draft: _Draft, ring: Ring, path: str, errors: _Findings) -> None:
    """Refuse what is wrong with one ring, each rule once, at its first place; or note a crossing of 180°."""
    lons = ring[:, 0]
    # 179, 181 is one of the two ways to write a crossing; 181 alone, or together with 10, is a slip.
    with np.errstate(invalid="ignore"):
        beyond = bool(np.any(np.abs(lons) <= 180)) and float(np.ptp(lons)) < 180
    most_lon = 360 if beyond else 180
    found: dict[str, tuple[int, str]] = {}
    for n, (lon, lat) in enumerate(ring.tolist()):
        if (problem := _position_problem(lon, lat, most_lon=most_lon)) is not None:
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


def _split_at_180(draft: _Draft, errors: _Findings) -> None:
    """Cut a shape that crosses 180° into pieces that do not (RFC 7946, 3.1.9)."""
    pieces: list[shapely.Geometry] = []
    for p, part in enumerate(draft.parts):
        rings = [_unwrapped(ring) for ring in part]
        if any(abs(ring[0, 0] - ring[-1, 0]) > 180 for ring in rings):
            message = "The ring runs around a pole; draw the cap as a box from -180 to 180 degrees."
            draft.refuse(errors, draft.ring_path(p, 0), "encloses_pole", message)
            return
        middle = _middle(rings[0])
        turns = [round((middle - _middle(ring)) / 360) for ring in rings[1:]]
        holes = [ring + np.array([360 * turn, 0]) for ring, turn in zip(rings[1:], turns, strict=True)]
        whole = shapely.Polygon(rings[0], holes)
        if not whole.is_valid:
            _refuse_invalid(draft, whole, errors)
            return
        west, _, east, _ = whole.bounds
        for turn in range(math.floor((west + 180) / 360), math.ceil((east + 180) / 360)):
            cut = shapely.intersection(whole, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
            moved = shapely.transform(cut, lambda xy, turn=turn: xy - [360 * turn, 0])
            pieces += [piece for piece in shapely.get_parts(moved) if piece.geom_type == "Polygon"]
    draft.geometry = pieces[0] if len(pieces) == 1 and not draft.multi else shapely.MultiPolygon(pieces)


def _unwrapped(ring: Ring) -> Ring:
    """The ring with longitudes that never jump: no edge is wider than 180°, whatever lies beyond ±180."""
    steps = np.diff(ring[:, 0])
    steps -= 360 * np.round(steps / 360)
    return np.column_stack([ring[0, 0] + np.concatenate([[0.0], np.cumsum(steps)]), ring[:, 1]])


def _middle(ring: Ring) -> float:
    return float(ring[:, 0].min() + ring[:, 0].max()) / 2


def _refuse_invalid(draft: _Draft, geometry: shapely.Geometry, errors: _Findings) -> None:
    reason, _, place = str(shapely.is_valid_reason(geometry)).partition("[")
    crossing = "self-intersection" in reason.lower()
    at = f" at lon lat {place.rstrip(']')}" if place else ""
    code = "self_intersection" if crossing else "geometry_invalid"
    rule = "The boundary crosses or touches itself" if crossing else reason
    draft.refuse(errors, "geometry.coordinates", code, f"{rule}{at}.")


def _check_places(
    drafts: list[_Draft], stores: Mapping[str, tuple[float, float]], errors: _Findings, warnings: _Findings
) -> None:
    """Check size, simplicity and the way to the store of everything that has become a shape."""
    if not drafts:
        return
    shapes = np.array([draft.geometry for draft in drafts], dtype=object)
    for n in np.flatnonzero(~shapely.is_valid(shapes) | shapely.is_empty(shapes)):
        _refuse_invalid(drafts[n], shapes[n], errors)
    areas = areas_m2(shapes)
    for n in np.flatnonzero(areas > MAX_AREA_M2):
        if drafts[n].readable:
            message = f"The area is {areas[n] / 1e6:,.0f} km²; at most {MAX_AREA_M2 / 1e6:,.0f} km² are taken."
            drafts[n].refuse(errors, "geometry.coordinates", "area_too_large", message)
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


def _check_distances(
    drafts: list[_Draft],
    shapes: NDArray[np.object_],
    stores: Mapping[str, tuple[float, float]],
    errors: _Findings,
    warnings: _Findings,
) -> None:
    """Refuse a fence that lies at its store once lat and lon are swapped; warn of one that is just far."""
    owned = [n for n, draft in enumerate(drafts) if draft.readable and draft.fields["store_id"] is not None]
    if not owned:
        return
    centres = np.array([stores[drafts[n].fields["store_id"]] for n in owned], dtype=float)
    radii = np.array([drafts[n].fields.get("radius_m") or 0.0 for n in owned])
    away = _distances_m(shapes[owned], centres) - radii
    far = np.flatnonzero(away > FAR_FROM_STORE_M)
    if not far.size:
        return
    swapped = shapely.set_coordinates(shapes[owned][far], shapely.get_coordinates(shapes[owned][far])[:, ::-1].copy())
    away_swapped = _distances_m(swapped, centres[far]) - radii[far]
    for n, distance_m, swapped_m in zip(np.array(owned)[far], away[far], away_swapped, strict=True):
        if swapped_m <= FAR_FROM_STORE_M:
            message = "With longitude and latitude swapped this lies at its store. Longitude comes first."
            drafts[n].refuse(errors, "geometry.coordinates", "lat_lon_swapped", message)
        else:
            message = f"This is {distance_m / 1000:,.1f} km away from its store."
            warnings.add(drafts[n], "geometry", "far_from_store", message)


def _distances_m(shapes: NDArray[np.object_], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each shape from its centre, on a plane that is true near the centre."""
    degrees, owner = shapely.get_coordinates(shapes, return_index=True)
    lon, lat = (degrees - centres[owner]).T
    lon -= 360 * np.round(lon / 360)
    metres = np.radians(np.column_stack([lon * np.cos(np.radians(centres[owner, 1])), lat])) * EARTH_RADIUS_M
    distances: NDArray[np.float64] = shapely.distance(
        shapely.set_coordinates(shapes.copy(), metres), shapely.Point(0, 0)
    )
    return distances


def _to_geojson(geometry: shapely.Geometry) -> dict[str, Any]:
    if geometry.geom_type == "Point":
        return {"type": "Point", "coordinates": [geometry.x, geometry.y]}
    parts = [
        [shapely.get_coordinates(ring).tolist() for ring in (part.exterior, *part.interiors)]
        for part in shapely.get_parts(geometry)
    ]
    return {
        "type": geometry.geom_type,
        "coordinates": parts if geometry.geom_type == "MultiPolygon" else parts[0],
    }
