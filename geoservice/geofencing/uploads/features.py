"""Reading a GeoJSON Feature: what JSON may hold, member by member. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import numpy as np
import shapely

from geoservice.geofencing.jurisdictions import BUFFERS_M
from geoservice.geofencing.uploads.documents import Document
from geoservice.geofencing.uploads.drafts import Draft, Findings, Ring
from geoservice.geofencing.uploads.shapes import position_problem
from geoservice.vocabulary import GeofenceKind

MAX_RADIUS_M: Final = 40_000
FIRST_INSTANT: Final = datetime(1, 1, 2, tzinfo=UTC)
LAST_INSTANT: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The calendar's very ends are infinities to the database, and come back as times that compare with none."""
MAX_VERTICES: Final = 10_000

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
        "jurisdiction",
        *("valid_from", "valid_until"),
    }
)
_MAX_DEPTH: Final = 16
"""Deeper metadata is nobody's data, and JSON writers give up somewhere below."""


def read_features(document: Document, stores: Mapping[str, Any], errors: Findings, warnings: Findings) -> list[Draft]:
    """One draft a feature; what is wrong with types and properties goes to ``errors``."""
    seen: dict[str, str] = {}
    drafts = []
    for number, (feature, origin) in enumerate(zip(document.features, document.origins, strict=True)):
        draft = Draft(origin, f"#{number}")
        reader = _FeatureReader(draft, errors, warnings)
        reader.read(feature, seen, stores)
        drafts.append(draft)
    return drafts


class _FeatureReader:
    """Reads one feature, member by member; each refusal is noted and the next member is read all the same."""

    def __init__(self, draft: Draft, errors: Findings, warnings: Findings) -> None:
        self._draft = draft
        self._errors = errors
        self._warnings = warnings

    def read(self, feature: object, seen: dict[str, str], stores: Mapping[str, Any]) -> None:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            self._refuse("type", "not_a_feature", "Every entry of features must be a GeoJSON Feature.")
            return
        properties = feature.get("properties")
        if properties is None:
            properties = {}
        if not isinstance(properties, dict):
            self._refuse("properties", "properties_invalid", "The properties must be an object.")
            properties = {}
        id_key = self._id(feature, properties, seen)
        fields = self._draft.fields
        fields["name"] = self._name(properties)
        fields["kind"] = self._kind(properties)
        fields["store_id"] = self._store_id(properties, stores)
        fields["tags"] = self._tags(properties)
        fields["dwell_s"] = self._whole(properties, "dwell_s", 1, 86_400)
        fields["floor"] = self._whole(properties, "floor", -50, 300)
        fields["beacons"] = self._beacons(properties)
        fields["jurisdiction"] = self._jurisdiction(properties)
        self._validity(properties)
        fields["metadata"] = {k: v for k, v in properties.items() if k not in _FIELDS and k != id_key}
        for key, value in fields["metadata"].items():
            if not _storable(key) or not _storable(value):
                message = "This cannot be kept: NUL, half a surrogate pair, a number without value, or too deep."
                self._refuse("properties", "metadata_not_storable", message)
        self._geometry(feature.get("geometry"), properties)

    def _refuse(self, path: str, code: str, message: str) -> None:
        self._draft.refuse(self._errors, path, code, message)

    def _id(self, feature: dict[str, Any], properties: dict[str, Any], seen: dict[str, str]) -> str | None:
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
                self._refuse(path, "id_duplicate", f"{seen[text]} has the same id.")
            seen.setdefault(text, self._draft.origin.before.rstrip("."))
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

    def _jurisdiction(self, properties: dict[str, Any]) -> str | None:
        jurisdiction = properties.get("jurisdiction")
        if jurisdiction is not None and (not isinstance(jurisdiction, str) or jurisdiction not in BUFFERS_M):
            message = f"A jurisdiction is one of {', '.join(BUFFERS_M)}; without one that of the settings holds."
            self._refuse("properties.jurisdiction", "jurisdiction_unknown", message)
            return None
        return jurisdiction

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
        elif (problem := position_problem(*read[0].tolist())) is not None:
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
        if instant is None or instant.tzinfo is None:
            return None
        return min(max(instant.astimezone(UTC), FIRST_INSTANT), LAST_INSTANT)
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
