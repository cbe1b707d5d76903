"""GeoJSON (RFC 7946), and what Overpass and osmtogeojson make of OpenStreetMap. Pure.

OpenStreetMap's features are known by their ``@id``. Their ids become ``way:123``, since ``/`` parts a path; who has no
name is called by brand or operator; a node, which is a point without a size, becomes a circle of 100 m, and the report
says so. Their tags are kept as they are.

Older GeoJSON names its coordinate system in ``crs``. Degrees of another one would be read as places 100 m away.
"""

from __future__ import annotations

import re
from typing import Any, Final

from geoservice.errors import ErrorDetail
from geoservice.geofencing.uploads.documents import Document, Origin

NODE_RADIUS_M: Final = 100
"""For OpenStreetMap's nodes: about a large shop and the pavement before it."""

_OSM_ID: Final = re.compile(r"(node|way|relation)/([0-9]+)")
_WHOLE: Final = re.compile(r"-?[0-9]{1,4}")
_WGS84: Final = re.compile(r"CRS84h?|4326|4979|4258|4269", re.IGNORECASE)
"""WGS 84 by the last word of its names, and ETRS89 and NAD83, which are within two metres of it."""


def read_geojson(document: object) -> Document:
    """Read a decoded FeatureCollection, or a single Feature."""
    if not isinstance(document, dict) or document.get("type") not in ("FeatureCollection", "Feature"):
        return _refused("type", "The document must be a GeoJSON FeatureCollection.")
    if (crs := document.get("crs")) is not None and not _is_wgs84(crs):
        message = "Coordinates are longitude and latitude of WGS 84 (EPSG:4326); export the file anew in that system."
        return Document([], [], errors=[ErrorDetail("crs", "crs_not_wgs84", message)])
    if document["type"] == "Feature":
        features, origins = [document], [Origin("")]
    else:
        listed = document.get("features")
        if not isinstance(listed, list):
            return _refused("features", "A FeatureCollection needs a list of features.")
        features, origins = listed, [Origin(f"features[{n}].") for n in range(len(listed))]
    if not any(map(_from_osm, features)):
        return Document(features, origins)
    warnings: list[ErrorDetail] = []
    read = [
        _osm_feature(feature, origin, warnings) if _from_osm(feature) else feature
        for feature, origin in zip(features, origins, strict=True)
    ]
    return Document(read, origins, warnings=warnings)


def _is_wgs84(crs: object) -> bool:
    """Whether the member of older GeoJSON says what newer GeoJSON takes for granted."""
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return isinstance(name, str) and _WGS84.fullmatch(re.split("[:/]", name)[-1]) is not None


def _refused(path: str, message: str) -> Document:
    return Document([], [], errors=[ErrorDetail(path, "not_a_feature_collection", message)])


def _from_osm(feature: object) -> bool:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    return isinstance(properties, dict) and isinstance(properties.get("@id"), str)


def _osm_feature(feature: dict[str, Any], origin: Origin, warnings: list[ErrorDetail]) -> dict[str, Any]:
    properties = dict(feature["properties"])
    osm_id = _OSM_ID.sub(r"\1:\2", properties["@id"])
    if not properties.get("name"):
        called = properties.get("brand") or properties.get("operator")
        properties |= {"name": called} if isinstance(called, str) else {}
    floor = properties.get("floor")
    if isinstance(floor, str) and _WHOLE.fullmatch(floor):
        properties["floor"] = int(floor)
    geometry = feature.get("geometry")
    if isinstance(geometry, dict) and geometry.get("type") == "Point" and properties.get("radius_m") is None:
        properties["radius_m"] = NODE_RADIUS_M
        message = f"A node of OpenStreetMap has no size; it is read as a circle of {NODE_RADIUS_M} m."
        warnings.append(ErrorDetail(origin.place("geometry"), "radius_assumed", message, osm_id))
    if properties.get("@tainted"):
        message = "OpenStreetMap's export says that parts of this shape are missing."
        warnings.append(ErrorDetail(origin.place("geometry"), "shape_incomplete", message, osm_id))
    return feature | {"properties": properties}
