"""What time alone brings: a dwell becomes due, a silent device is lost. Pure.

``due_at`` says when to look again, ``wake`` looks. A device is looked at too early rather than too late: what is not
due yet stays, and names its next instant.

dwell    The fence's dwell time is over, and the device is believed to be inside. While it reports, it must have been
         seen inside in the last 90 s; else its own fixes will say. When it has gone silent the dwell is `assumed`,
         and late once it was seen inside more than 5 min ago: nothing is said on such evidence. Not so where the
         phone's operating system has said that it is there: it watches the place, and would have told of an exit.
lost     Nothing was heard of the device for 6 h: every presence ends.
removed  The geofence is gone, and nothing was heard since.
dark     A sensitive place was published around the latest fix, or beside it: all is forgotten without a word.
silence  No beacon of a geofence was heard for too long (`geoservice.geofencing.beacons`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from geoservice.geofencing import beacons
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.presence import PRESENCE, Verdict, certainty
from geoservice.geofencing.sensitive import Disc, touching_sensitive
from geoservice.geofencing.signals import fall_silent
from geoservice.geofencing.telling import Teller
from geoservice.geofencing.track import LOST_S, SEEN_WITHIN_S, DeviceTrack, Presence, PresenceState
from geoservice.vocabulary import Source, Transition

ASSUMED_WITHIN_S: Final = 300.0
"""An assumed dwell on older evidence is late."""


def due_at(track: DeviceTrack) -> float | None:
    """When time alone may change something (epoch seconds, on the phone's clock); None if never."""
    silence = beacons.due_at(track.signals)
    if not track.presences:
        return silence
    dwells = [
        _dwell_due_at(track, presence)
        for presence in track.presences
        if presence.dwell_at is not None and presence.state is PresenceState.INSIDE
    ]
    return min([*dwells, _heard_at(track) + LOST_S, *([] if silence is None else [silence])])


def dark_by_now(catalogue: Catalogue, tracks: Sequence[DeviceTrack]) -> set[int]:
    """Devices, by their place, whose latest fix would be dropped at the door today."""
    known = [[fix for fix in (track.last, track.held) if fix is not None] for track in tracks]
    discs = [[Disc(fix.lon, fix.lat, fix.accuracy_m) for fix in of_one] for of_one in known]
    return set(touching_sensitive(catalogue, discs))


def forgotten(track: DeviceTrack) -> DeviceTrack:
    """What may be remembered of a device in the dark: its order of time, and no place."""
    return DeviceTrack(newest_at=track.newest_at, fast_at=track.fast_at)


def wake(
    catalogue: Catalogue, track: DeviceTrack, at: float, late_before: float, clock_offset_s: float = 0.0
) -> tuple[DeviceTrack, list[Transition]]:
    """Let a device live until ``at`` (epoch seconds on its own clock) without an observation."""
    track, gone = _fall_silent(catalogue, track, at, late_before, clock_offset_s)
    teller = Teller(gone, clock_offset_s, late_before)
    presences: list[Presence] = []
    lost_at = _heard_at(track) + LOST_S
    for presence in track.presences:
        fence = catalogue.index_of.get(presence.geofence_id)
        if fence in catalogue.sensitive_ones:
            continue
        if fence is None:
            teller.end(presence, Verdict.REMOVED, at, 1.0, Source.TIMER)
            continue
        kept = _dwell(track, presence, at, teller)
        if at >= lost_at:
            teller.end(kept, Verdict.LOST, lost_at, 1.0 - certainty(kept), Source.TIMER)
        else:
            presences.append(kept)
    return msgspec.structs.replace(track, presences=tuple(presences)), teller.in_order()


def _fall_silent(
    catalogue: Catalogue, track: DeviceTrack, at: float, late_before: float, clock_offset_s: float
) -> tuple[DeviceTrack, list[Transition]]:
    """End the presences whose beacons were not heard for too long."""
    due = beacons.due_at(track.signals)
    if due is None or at < due:
        return track, []
    silent = fall_silent(track, at)
    news = News(track, heard=silent.said, clock_offset_s=clock_offset_s)
    ((after, gone),) = advance(catalogue, [news], late_before)
    return msgspec.structs.replace(after, signals=silent.signals), gone


def _heard_at(track: DeviceTrack) -> float:
    """When anything was last heard of the device (epoch seconds)."""
    return max(track.newest_at or 0.0, *(presence.inside_at or 0.0 for presence in track.presences), 0.0)


def _dwell_due_at(track: DeviceTrack, presence: Presence) -> float:
    """When the dwell may be told: not before its time, nor while the phone reports and is not seen inside."""
    dwell_at, heard_at = presence.dwell_at or 0.0, _heard_at(track)
    seen = dwell_at - (track.inside_at(presence) or 0.0) <= SEEN_WITHIN_S
    return dwell_at if seen else max(dwell_at, heard_at + SEEN_WITHIN_S)


def _dwell(track: DeviceTrack, presence: Presence, at: float, teller: Teller) -> Presence:
    _, told = PRESENCE[presence.state, Verdict.DWELT]
    if told is None or presence.dwell_at is None:
        return presence
    due = _dwell_due_at(track, presence)
    if at < due:
        return presence
    unseen_s = due - (track.inside_at(presence) or 0.0)
    assumed = unseen_s > SEEN_WITHIN_S
    stale = unseen_s > ASSUMED_WITHIN_S and presence.watched_at is None
    teller.tell(told, presence.geofence_id, due, certainty(presence), Source.TIMER, assumed=assumed, stale=stale)
    return msgspec.structs.replace(presence, dwell_at=None)
