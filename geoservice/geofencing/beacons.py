"""Beacons: what a phone's Bluetooth scans say about the departments they hang in. Pure.

A beacon belongs to the geofences that list it. What counts is when one of a geofence's beacons was heard:

sighting   A scan heard one of them, with a signal strength: 127 dBm (and iOS' 0) mean that there was none to read.
enter      After 2 sightings, neither more apart than the silence that would end them.
exit       After a silence of max(30 s, 3 x the median interval between the phone's scans), at most 15 min; as of the
           moment when that is over, whether a later observation or a timer notices it.
proximity  From the trimmed mean of the last 20 s: immediate up to 0.5 m, near up to 3 m, else far. A phone at the
           border stays what it is until it is a quarter beyond.
elsewhere  A beacon whose geofence is more than 1 km from the phone's own latest fix hangs there no more, or is a copy:
           counted, ignored.

Everything that later scans depend on is in `Signals`, so that any batching gives the same. Distance is AltBeacon's
curve for common phones; Eddystone gives its power at 0 m, which is 41 dB more than at 1 m.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

import msgspec

from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.statements import Evidence, Statement
from geoservice.geofencing.track import HeardFence, Proximity, Sample, Signals
from geoservice.vocabulary import BeaconSightings, EddystoneSighting, IBeaconSighting, Source

WINDOW_S: Final = 20.0
NEEDED: Final = 2
LEAST_SILENCE_S: Final = 30.0
SILENT_SCANS: Final = 3
MOST_SILENCE_S: Final = 900.0
UPLOADED_S: Final = 300.0
"""A timer waits so long for scans that were not uploaded yet; what it ends then, ended when the silence was over."""
ELSEWHERE_M: Final = 1_000.0
_TRIMMED: Final = 0.1  # at either end
_INTERVALS: Final = 9
_SAMPLES: Final = 32  # of a geofence; more make no better mean
_USUAL_POWER_DBM: Final = -59
_EDDYSTONE_DB: Final = 41
_RELUCTANCE: Final = 1.25


_REACH_M: Final = {Proximity.IMMEDIATE: 0.5, Proximity.NEAR: 3.0, Proximity.FAR: float("inf")}
_P: Final = {Proximity.IMMEDIATE: 0.99, Proximity.NEAR: 0.95, Proximity.FAR: 0.8}
"""How surely a phone that hears a beacon so near is in its department: from the next aisle it is far, too."""

BeaconKey = tuple[str, ...]
Said = list[tuple[str, Statement]]
"""Geofence ids and what is said about them."""


def beacon_key(sighting: IBeaconSighting | EddystoneSighting) -> BeaconKey:
    """What tells a beacon from all others."""
    if isinstance(sighting, IBeaconSighting):
        return "ibeacon", sighting.uuid.lower(), str(sighting.major), str(sighting.minor)
    return "eddystone-uid", sighting.namespace.lower(), sighting.instance.lower()


def distance_m(rssi_dbm: float, power_dbm: float) -> float:
    """How far a beacon is that would be heard with ``power_dbm`` at 1 m."""
    ratio = rssi_dbm / power_dbm
    return ratio**10 if ratio < 1 else 0.42093 * ratio**6.9476 + 0.54992


def silence_s(signals: Signals) -> float:
    """After so many seconds without a sighting a beacon is out of reach."""
    usual_s = SILENT_SCANS * median(signals.intervals_s) if signals.intervals_s else 0.0
    return min(max(LEAST_SILENCE_S, usual_s), MOST_SILENCE_S)


def due_at(signals: Signals) -> float | None:
    """When a timer should look for ended presences (epoch seconds): not while the phone may be saving up its scans."""
    if not signals.fences:
        return None
    return min(fence.last_at for fence in signals.fences) + max(silence_s(signals), UPLOADED_S)


def expire(signals: Signals, at: float) -> tuple[Signals, Said]:
    """End the presence of whatever has been silent for too long at an instant (epoch seconds)."""
    patience_s = silence_s(signals)
    kept = tuple(fence for fence in signals.fences if fence.last_at + patience_s > at)
    if len(kept) == len(signals.fences):
        return signals, []
    p = 1 - _P[Proximity.FAR]
    said = [
        (fence.geofence_id, Statement(fence.last_at + patience_s, Evidence.OUTSIDE, p, Source.BEACON))
        for fence in signals.fences
        if fence not in kept and fence.sightings >= NEEDED
    ]
    return msgspec.structs.replace(signals, fences=kept), said


def scan(
    catalogue: Catalogue, signals: Signals, heard: BeaconSightings, elsewhere: Iterable[int] = ()
) -> tuple[Signals, Said]:
    """Take one scan, later than all before it; ``elsewhere`` are the fences that the phone is too far from."""
    at = heard.recorded_at.timestamp()
    samples = _samples(catalogue, heard, at, set(elsewhere))
    fences = {fence.geofence_id: fence for fence in signals.fences}
    said: Said = []
    for geofence_id, new in samples.items():
        now = fences[geofence_id] = _hear(fences.get(geofence_id), geofence_id, at, new)
        if now.sightings >= NEEDED:
            said.append((geofence_id, Statement(at, Evidence.PROVEN_INSIDE, _P[now.proximity], Source.BEACON)))
    return (
        msgspec.structs.replace(
            signals,
            fences=tuple(fences[key] for key in sorted(fences)),
            scan_at=at,
            intervals_s=_intervals(signals, at),
        ),
        said,
    )


def fences_of(catalogue: Catalogue, heard: BeaconSightings) -> set[int]:
    """The geofences, by index, whose beacons a scan heard."""
    return {fence for sighting in heard.sightings for fence in catalogue.by_beacon.get(beacon_key(sighting), ())}


def _samples(catalogue: Catalogue, heard: BeaconSightings, at: float, elsewhere: set[int]) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    for sighting in heard.sightings:
        if sighting.rssi_dbm >= 0:
            continue
        key = beacon_key(sighting)
        for fence in catalogue.by_beacon.get(key, ()):
            if fence not in elsewhere and fence not in catalogue.sensitive_ones:
                sample = at, " ".join(key), sighting.rssi_dbm, _power_dbm(sighting)
                samples.setdefault(catalogue.fences[fence].geofence_id, []).append(sample)
    return samples


def _power_dbm(sighting: IBeaconSighting | EddystoneSighting) -> int:
    """What would be heard at 1 m; some beacons are not calibrated."""
    power = sighting.tx_power_dbm
    if power is None:
        return _USUAL_POWER_DBM
    power -= _EDDYSTONE_DB if isinstance(sighting, EddystoneSighting) else 0
    return power if power < 0 else _USUAL_POWER_DBM


def _hear(before: HeardFence | None, geofence_id: str, at: float, new: Sequence[Sample]) -> HeardFence:
    known = () if before is None else before.samples
    samples = tuple(sample for sample in (*known, *new) if sample[0] > at - WINDOW_S)[-_SAMPLES:]
    nearest_m = min(_smoothed_m([s for s in samples if s[1] == beacon]) for beacon in {s[1] for s in samples})
    proximity = _proximity(nearest_m, None if before is None else before.proximity)
    sightings = 1 if before is None else before.sightings + (before.last_at < at and before.sightings < NEEDED)
    return HeardFence(geofence_id, at, sightings, proximity, samples)


def _smoothed_m(samples: Sequence[Sample]) -> float:
    strengths = sorted(sample[2] for sample in samples)
    cut = int(len(strengths) * _TRIMMED)
    kept = strengths[cut : len(strengths) - cut]
    return distance_m(sum(kept) / len(kept), samples[-1][3])


def _proximity(nearest_m: float, before: Proximity | None) -> Proximity:
    if before is not None:
        levels = list(Proximity)
        nearer = [_REACH_M[level] for level in levels[: levels.index(before)]]
        leaves_outwards = nearest_m > _REACH_M[before] * _RELUCTANCE
        leaves_inwards = bool(nearer) and nearest_m < nearer[-1] / _RELUCTANCE
        if not (leaves_outwards or leaves_inwards):
            return before
    return next(level for level in Proximity if nearest_m <= _REACH_M[level])


def _intervals(signals: Signals, at: float) -> tuple[float, ...]:
    """The last intervals between scans; a longer pause is no interval, the phone was away."""
    if signals.scan_at is None or not 0 < at - signals.scan_at <= MOST_SILENCE_S:
        return signals.intervals_s
    return (*signals.intervals_s, at - signals.scan_at)[-_INTERVALS:]
