"""Transistorsoft's background-geolocation SDK: records as its HTTP service posts them. Pure.

A body holds one record or many, under ``location`` or at the root (``httpRootProperty``), beside the app's own
``params``. A record is a fix; with ``geofence`` it is also an event of that geofence: its ``identifier`` is our id.

-1 for speed, heading and the like is unknown. ``sample`` records are the SDK's tries on the way to a good fix, which
follows: they are not kept. Source: the SDK's "HTTP POST schema" of Location and its HttpEvent guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from geoservice.api.adapters.mapping import Mapped, as_id, known
from geoservice.errors import ErrorDetail, Invalid, TooLarge
from geoservice.vocabulary import Fix, Ignored, OsTransition

RECORDS_MAX: Final = 5_000

_FIX_NAMES: Final = {
    "recorded_at": "timestamp",
    "lat": "coords.latitude",
    "lon": "coords.longitude",
    "accuracy_m": "coords.accuracy",
    "speed_mps": "coords.speed",
    "course_deg": "coords.heading",
    "altitude_m": "coords.altitude",
    "floor": "coords.floor",
    "id": "uuid",
}
_EVENT_NAMES: Final = _FIX_NAMES | {
    "recorded_at": "geofence.timestamp",
    "geofence_id": "geofence.identifier",
    "event": "geofence.action",
}


def read_transistorsoft(body: Any, device: str | None = None) -> Mapped:
    """Map one request; ``device`` is the id in the query string. Raises Invalid if no device is named."""
    mapped = Mapped()
    records = list(_records(body))
    if len(records) > RECORDS_MAX:
        raise TooLarge(f"This route takes at most {RECORDS_MAX} locations at once.")
    mapped.device_id = as_id(device) or _device_id(body, records)
    if mapped.device_id is None:
        detail = ErrorDetail("device_id", "missing", "set params.device_id in the SDK's configuration")
        raise Invalid("Nothing says which phone this is.", details=[detail])
    for index, record in enumerate(records):
        _read(mapped, index, record)
    return mapped


def _records(body: Any) -> Iterator[Any]:
    inner = body.get("location", body) if isinstance(body, dict) else body
    for record in inner if isinstance(inner, list) else [inner]:
        # Each record of a batch may be wrapped once more.
        wrapped = record.get("location") if isinstance(record, dict) else None
        yield wrapped if isinstance(wrapped, dict) else record


def _device_id(body: Any, records: list[Any]) -> str | None:
    for holder in (body, *records[:1]):
        if isinstance(holder, dict):
            extras = holder.get("extras")
            for values in (holder, extras if isinstance(extras, dict) else {}):
                if (found := as_id(values.get("device_id"))) is not None:
                    return found
    return None


def _read(mapped: Mapped, index: int, record: Any) -> None:
    coords = record.get("coords") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not isinstance(coords, dict):
        mapped.rejected.append((index, ErrorDetail("coords", "missing", "a location has coords")))
        return
    if record.get("sample") is True:
        mapped.ignored.append((index, Ignored.SAMPLE))
        return
    position = {"lat": coords.get("latitude"), "lon": coords.get("longitude"), "accuracy_m": coords.get("accuracy")}
    recorded_at, id_ = record.get("timestamp"), as_id(record.get("uuid"))
    fix = {
        "id": id_,
        "recorded_at": recorded_at,
        **position,
        "speed_mps": known(coords.get("speed")),
        "course_deg": known(coords.get("heading")),
        "altitude_m": coords.get("altitude"),
        "floor": coords.get("floor"),
        "mock": record.get("mock"),
    }
    mapped.take(index, Fix, fix, _FIX_NAMES)
    geofence = record.get("geofence")
    if isinstance(geofence, dict):
        action = geofence.get("action")
        event = {
            "id": None if id_ is None else as_id(f"{id_}:event"),
            "recorded_at": geofence.get("timestamp", recorded_at),
            "geofence_id": geofence.get("identifier"),
            "event": action.lower() if isinstance(action, str) else action,
            **position,
        }
        mapped.take(index, OsTransition, event, _EVENT_NAMES)
