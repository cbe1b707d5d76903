"""OwnTracks in HTTP mode (https://owntracks.org/booklet/tech/json): one message a request. Pure.

location    A fix. ``vel`` is in km/h, ``tst`` in Unix seconds; 0 is left out by the app, so that a missing ``acc`` is
            an accuracy that nobody knows.
transition  An event of a region that the app watches. The region is the geofence whose id is its ``rid`` or ``desc``;
            beacon regions (``t``: b) are none of ours, their beacons are ranged.
beacon      A sighting of an iBeacon. ``acc`` and ``prox`` are the phone's guesses; the signal strength says more.

Everything else (lwt, waypoints, status, steps, cards) is none of ours and taken with silence: the app sends a message
until it is taken. Only an encrypted message is refused, since its sender believes that it is being read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from geoservice.api.adapters.mapping import Mapped, as_id, instant, known, scaled
from geoservice.errors import Invalid
from geoservice.vocabulary import BeaconSightings, Fix, OsTransition

MPS_PER_KMH: Final = 1 / 3.6
DEVICE_ID: Final = "owntracks"
"""Of a message that names no device."""

_FIX_NAMES: Final = {
    "recorded_at": "tst",
    "lat": "lat",
    "lon": "lon",
    "accuracy_m": "acc",
    "speed_mps": "vel",
    "course_deg": "cog",
    "altitude_m": "alt",
}
_EVENT_NAMES: Final = {"recorded_at": "tst", "geofence_id": "desc", "accuracy_m": "acc"}
_EVENTS: Final = {"enter": "enter", "leave": "exit"}


def read_owntracks(message: Any, geofence_ids: Collection[str], device: str | None = None) -> Mapped:
    """Map one message; ``device`` is the name in the header X-Limit-D. Raises Invalid for an encrypted one."""
    if not isinstance(message, dict):
        raise Invalid("A message of OwnTracks is a JSON object.")
    kind = message.get("_type")
    if kind == "encrypted":
        raise Invalid(
            "Encrypted messages cannot be read here: switch the encryption key off in the app, and use https.",
            code="encrypted_payload",
        )
    mapped = Mapped(_device_id(message, device))
    if kind == "location":
        mapped.take(0, Fix, _fix(message), _FIX_NAMES)
    elif kind == "transition" and message.get("t") != "b":
        mapped.take(0, OsTransition, _event(message, geofence_ids), _EVENT_NAMES)
    elif kind == "beacon":
        mapped.take(0, BeaconSightings, _sighting(message), {"recorded_at": "tst"})
    return mapped


def _device_id(message: dict[str, Any], device: str | None) -> str:
    """The device: the last part of the topic, else of the header, else the tracker id."""
    topic = message.get("topic")
    parts = topic.split("/") if isinstance(topic, str) else []
    for name in (parts[2] if len(parts) > 2 else None, device, message.get("tid")):
        if (found := as_id(name)) is not None:
            return found
    return DEVICE_ID


def _fix(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": as_id(message.get("_id")),
        "recorded_at": instant(message.get("tst")),
        "lat": message.get("lat"),
        "lon": message.get("lon"),
        "accuracy_m": message.get("acc"),
        "speed_mps": scaled(known(message.get("vel")), MPS_PER_KMH),
        "course_deg": known(message.get("cog")),
        "altitude_m": message.get("alt"),
    }


def _event(message: dict[str, Any], geofence_ids: Collection[str]) -> dict[str, Any]:
    named = [found for key in ("rid", "desc") if (found := as_id(message.get(key))) is not None]
    event = message.get("event")
    return {
        "id": as_id(message.get("_id")),
        "recorded_at": instant(message.get("tst")),
        "geofence_id": next((name for name in named if name in geofence_ids), (named or ["-"])[-1]),
        "event": _EVENTS.get(event, event) if isinstance(event, str) else event,
        "lat": message.get("lat"),
        "lon": message.get("lon"),
        "accuracy_m": known(message.get("acc")) or None,
    }


def _sighting(message: dict[str, Any]) -> dict[str, Any]:
    sighting = {key: message.get(key) for key in ("uuid", "major", "minor")} | {"rssi_dbm": message.get("rssi")}
    return {
        "id": as_id(message.get("_id")),
        "recorded_at": instant(message.get("tst")),
        "sightings": [{"protocol": "ibeacon", **sighting}],
    }
