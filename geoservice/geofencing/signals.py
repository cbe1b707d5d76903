"""Beacons and operating-system events of one device become statements about geofences. Pure.

They are taken in the order of time, together with the device's fixes, which tell where the phone really was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from geoservice.geofencing.beacons import ELSEWHERE_M, Said, expire, fences_of, scan
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.registered import os_statement
from geoservice.geofencing.statements import Evidence
from geoservice.geofencing.track import DeviceTrack, KnownFix, Signals
from geoservice.vocabulary import BeaconSightings, Fix, Observation, OsTransition

_ENDS: Final = 100


class Heard(NamedTuple):
    """What a device's other sources say, and what is remembered of them.

    ``ended`` are the geofences that they have ended before the first new fix, ``elsewhere`` is the number of beacons
    that were not where their department is.
    """

    signals: Signals
    said: Said
    ended: Sequence[str] = ()
    elsewhere: int = 0


def hear(catalogue: Catalogue, track: DeviceTrack, observations: Sequence[Observation], cuts: Sequence[float]) -> Heard:
    """Take a device's new observations, fixes included, in the order of time.

    ``cuts`` are the instants (epoch seconds) at which it was in a sensitive place: there everything is forgotten.
    """
    signals = track.signals
    if not (signals.fences or signals.ended or cuts) and all(type(each) is Fix for each in observations):
        return Heard(signals, [], ())
    said: Said = []
    elsewhere = 0
    ended_before: tuple[str, ...] | None = None
    fix = _latest(track)
    for at, observation in _in_order(observations, cuts):
        signals, new = expire(signals, at)
        if isinstance(observation, BeaconSightings):
            far = _elsewhere(catalogue, fences_of(catalogue, observation), fix, at)
            elsewhere += len(far)
            signals, heard = scan(catalogue, signals, observation, far)
            new += heard
        elif isinstance(observation, OsTransition):
            new += _from_os(catalogue, observation, fix)
        signals = _note_ends(signals, new)
        said += new
        if observation is None:
            signals, fix = Signals(), None
        elif isinstance(observation, Fix):
            fix = KnownFix(at, observation.lon, observation.lat, observation.accuracy_m)
            ended_before = signals.ended if ended_before is None else ended_before
            signals = msgspec.structs.replace(signals, ended=())
    return Heard(signals, said, ended_before or (), elsewhere)


def fall_silent(track: DeviceTrack, at: float) -> Heard:
    """What silence alone says at an instant (epoch seconds)."""
    signals, said = expire(track.signals, at)
    return Heard(_note_ends(signals, said), said)


def _note_ends(signals: Signals, said: Said) -> Signals:
    ends = {geofence_id for geofence_id, statement in said if statement.said is Evidence.OUTSIDE}
    if not ends:
        return signals
    return msgspec.structs.replace(signals, ended=tuple(sorted({*signals.ended, *ends}))[-_ENDS:])


def _in_order(observations: Sequence[Observation], cuts: Sequence[float]) -> list[tuple[float, Observation | None]]:
    """Observations and cuts (None) by time; at one instant the fix comes first, and the cut last."""
    events: list[tuple[float, int, Observation | None]] = [
        (each.recorded_at.timestamp(), 0 if isinstance(each, Fix) else 1, each) for each in observations
    ]
    events += [(at, 2, None) for at in cuts]
    return [(at, each) for at, _, each in sorted(events, key=lambda event: event[:2])]


def _latest(track: DeviceTrack) -> KnownFix | None:
    """The latest fix of the track, counted or not."""
    if track.last is None or (track.held is not None and track.held.at > track.last.at):
        return track.held
    return track.last


def _elsewhere(catalogue: Catalogue, fences: set[int], fix: KnownFix | None, at: float) -> set[int]:
    """Those of the fences that are out of reach of the phone's own latest fix of the last 5 minutes."""
    if fix is None or not fences or at - fix.at > 300:
        return set()
    some = np.array(sorted(fences), dtype=np.intp)
    one = np.zeros(len(some), dtype=np.intp)
    position = np.array([fix.lon]), np.array([fix.lat]), np.array([fix.accuracy_m])
    _, beyond_m = catalogue.evidence(*position, one, some)
    return set(some[beyond_m > ELSEWHERE_M + fix.accuracy_m].tolist())


def _from_os(catalogue: Catalogue, event: OsTransition, fix: KnownFix | None) -> Said:
    if event.geofence_id not in catalogue.index_of:
        return []
    statement = os_statement(catalogue, event, fix)
    return [] if statement is None else [(event.geofence_id, statement)]
