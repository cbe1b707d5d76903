"""Two kinds of CSV: a list of places, and what Radar imports and exports. Pure.

A **list of places** has a line for each circle: ``id``, ``lat``, ``lon``, ``radius`` and whatever else a geofence has.
Names of columns are taken as people write them (``latitude``, ``lng``, ``radius_meters``), whatever their case.

**Radar's** columns are description, type, tag, externalId, coordinates, radius, metadata. Tag and external id together
name a geofence there, so that the id here is ``tag:externalId``. An isochrone has no shape in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from geoservice.errors import ErrorDetail
from geoservice.geofencing.uploads.documents import Document, Origin
from geoservice.geofencing.uploads.tables import Row, Table, read_table
from geoservice.vocabulary import GeofenceKind

_NAMES: Final = {
    "id": ("id", "geofence_id", "external_id"),
    "name": ("name", "title"),
    "kind": ("kind",),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "long", "longitude"),
    "radius_m": ("radius_m", "radius", "radius_meters", "radius_metres"),
    "store_id": ("store_id", "store"),
    "tags": ("tags", "tag"),
    "dwell_s": ("dwell_s",),
    "floor": ("floor",),
    "jurisdiction": ("jurisdiction",),
    "valid_from": ("valid_from",),
    "valid_until": ("valid_until",),
}
"""Fields of a geofence, and the columns that hold them."""
_RADAR: Final = frozenset({"description", "type", "tag", "externalid"})
_RADAR_OWN: Final = _RADAR | {"coordinates", "latitude", "longitude", "radius", "metadata", "enabled", "deleteafter"}
_METADATA: Final = re.compile(r"metadata[.:](.+)", re.IGNORECASE)
_KINDS: Final = {kind.value for kind in GeofenceKind}
_NUMBERS: Final = ("radius_m", "dwell_s", "floor")
_OUTSIDE_IDS: Final = re.compile(r"[^A-Za-z0-9._\-]+")


def read_csv(body: bytes) -> Document:
    """Read a CSV file, of whichever kind its columns show it to be."""
    table = read_table(body)
    if not table.columns:
        return Document([], [], errors=table.errors)
    by_name = {name.casefold(): name for name in table.columns}
    return _radar(table, by_name) if set(by_name) >= _RADAR else _places(table, by_name)


# A list of places -------------------------------------------------------------------------------------------


def _places(table: Table, by_name: Mapping[str, str]) -> Document:
    columns = {field: column for field, names in _NAMES.items() if (column := _first(by_name, names)) is not None}
    missing = [" or ".join(_NAMES[field][:2]) for field in ("id", "lat", "lon") if field not in columns]
    if missing:
        message = f"There is no column {', no column '.join(missing)}."
        return Document([], [], errors=[ErrorDetail("line 1", "csv_header", message)])
    paths = {f"properties.{field}": column for field, column in columns.items()}
    paths["geometry.coordinates"] = f"{columns['lat']} and {columns['lon']}"
    own = set(columns.values())
    features = [_place(row, columns, own) for row in table.rows]
    return Document(features, [Origin(f"line {row.line}", paths) for row in table.rows], errors=table.errors)


def _first(by_name: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((by_name[name] for name in names if name in by_name), None)


def _place(row: Row, columns: Mapping[str, str], own: set[str]) -> dict[str, Any]:
    given = {field: row.cells[column] for field, column in columns.items() if column in row.cells}
    position = [_number(given.pop("lon", "")), _number(given.pop("lat", ""))]
    properties: dict[str, Any] = {name: cell for name, cell in row.cells.items() if name not in own}
    properties |= {field: _number(cell) if field in _NUMBERS else cell for field, cell in given.items()}
    if "tags" in given:
        properties["tags"] = [tag.strip() for tag in re.split(r"[,;|]", given["tags"]) if tag.strip()]
    return _feature({"type": "Point", "coordinates": position}, properties)


def _number(cell: str) -> float | int | str:
    """The number that a cell holds, else the cell itself, for the rule that it breaks to be named."""
    for read in (int, float):
        try:
            return read(cell) if "_" not in cell else cell
        except ValueError:
            continue
    return cell


def _feature(geometry: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


# Radar ------------------------------------------------------------------------------------------------------


def _radar(table: Table, by_name: Mapping[str, str]) -> Document:
    paths = {
        f"properties.{field}": by_name[name]
        for field, name in (("id", "externalid"), ("name", "description"), ("kind", "tag"), ("tags", "tag"))
    }
    coordinates = by_name.get("coordinates", by_name.get("latitude", "coordinates"))
    paths |= {"properties.radius_m": by_name.get("radius", "radius"), "geometry.type": by_name["type"]}
    paths |= {"geometry": coordinates, "geometry.coordinates": coordinates, "properties.valid_until": "deleteAfter"}
    features, origins = [], []
    errors, warnings = list(table.errors), []
    for row in table.rows:
        origin = Origin(f"line {row.line}", paths)
        cells = {name.casefold(): cell for name, cell in row.cells.items()}
        if cells.get("enabled", "").casefold() in {"false", "0", "no"}:
            message = "It is switched off there, and left out here."
            warnings.append(ErrorDetail(origin.before, "disabled_left_out", message, cells.get("externalid")))
            continue
        kind = cells.get("type", "").casefold()
        shape = _SHAPES.get(kind)
        if shape is None:
            message = "The type must be circle or polygon; an isochrone has no shape in the file."
            errors.append(ErrorDetail(origin.place("geometry.type"), "geometry_type_not_allowed", message))
            continue
        features.append(_feature(shape(cells), _radar_properties(row, cells, kind)))
        origins.append(origin)
    return Document(features, origins, errors=errors, warnings=warnings)


def _radar_properties(row: Row, cells: Mapping[str, str], kind: str) -> dict[str, Any]:
    tag, external_id = cells.get("tag", ""), cells.get("externalid")
    more = {name: cell for name, cell in row.cells.items() if name.casefold() not in _RADAR_OWN}
    properties: dict[str, Any] = {
        (found[1] if (found := _METADATA.fullmatch(name)) else name): cell for name, cell in more.items()
    }
    metadata = _json(cells.get("metadata", ""))
    properties |= metadata if isinstance(metadata, dict) else {"metadata": metadata} if metadata else {}
    slug = _OUTSIDE_IDS.sub("-", tag).strip("-")
    properties["id"] = f"{slug}:{external_id}" if slug and external_id else external_id
    properties["name"] = cells.get("description")
    properties["tags"] = [tag] if tag else []
    properties |= {"kind": tag} if tag in _KINDS else {}
    properties |= {"radius_m": _number(cells["radius"])} if kind == "circle" and "radius" in cells else {}
    properties |= {"valid_until": cells["deleteafter"]} if "deleteafter" in cells else {}
    return properties


def _circle(cells: Mapping[str, str]) -> dict[str, Any]:
    coordinates = _json(cells.get("coordinates", ""))
    if not coordinates and "latitude" in cells:
        coordinates = [_number(cells.get("longitude", "")), _number(cells["latitude"])]
    return {"type": "Point", "coordinates": coordinates}


def _polygon(cells: Mapping[str, str]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [_json(cells.get("coordinates", ""))]}


_SHAPES: Final[dict[str, Callable[[Mapping[str, str]], dict[str, Any]]]] = {"circle": _circle, "polygon": _polygon}


def _json(cell: str) -> Any:
    """The value that a cell holds as JSON, else the cell itself."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell
