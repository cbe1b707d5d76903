"""The tick for what time alone brings: dwells become due, silent phones are lost.

A tick takes the devices that are due, under the same locks as a batch of pings, and whatever it finds is decided in the
same transaction. Whoever is held by somebody is being taken care of, or joins the next tick; so any number of processes
may tick at once.
"""

from __future__ import annotations

import asyncio
from typing import Final

from geoservice.clock import Clock
from geoservice.geofencing.phone_clock import read_clock
from geoservice.geofencing.track import read_track, write_track
from geoservice.geofencing.waking import dark_by_now, forgotten, wake
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.workflows.directory import Directory
from geoservice.workflows.transitions import FRESH_FOR, Told, decide_transitions, due_instant, leave_silently

DEVICES_AT_ONCE: Final = 500

_sql = Queries("ingest")


async def wake_devices(database: Database, directory: Directory, clock: Clock, left_undecided: asyncio.Event) -> None:
    """Look after every device that is due; set ``left_undecided`` if a customer could not be locked."""

    async def work(connection: Connection) -> int:
        return await _wake_some(connection, directory, clock, left_undecided)

    while await database.run(work) == DEVICES_AT_ONCE:
        pass


async def _wake_some(connection: Connection, directory: Directory, clock: Clock, left_undecided: asyncio.Event) -> int:
    at, catalogue = clock.now(), directory.snapshot.catalogue
    rows = await _sql.lock_due_devices.fetch(connection, at=at, limit=DEVICES_AT_ONCE)
    if not rows:
        return 0
    woken, told, left = [], [], []
    tracks = [read_track(row["track"]) for row in rows]
    dark = dark_by_now(catalogue, tracks)
    for place, (row, slept) in enumerate(zip(rows, tracks, strict=True)):
        key, phone = (row["customer_id"], row["device_id"]), read_clock(row["clock"])
        now = at.timestamp() - phone.offset_s
        late_before = (at - FRESH_FOR).timestamp()
        awake = None if place in dark else wake(catalogue, slept, now, late_before, phone.offset_s)
        track, transitions = awake or (forgotten(slept), [])
        if slept.entered - track.entered - {transition.geofence_id for transition in transitions}:
            left.append((key, track))
        told += [Told(key, transition, track.fast_at) for transition in transitions]
        woken.append((key, row["track"] and write_track(track), due_instant(track, phone)))
    await _sql.save_woken.run(
        connection,
        customer_ids=[key[0] for key, _, _ in woken],
        device_ids=[key[1] for key, _, _ in woken],
        tracks=[track for _, track, _ in woken],
        due_ats=[due for _, _, due in woken],
    )
    if told and await decide_transitions(connection, directory.snapshot, told, at):
        left_undecided.set()
    for key, track in left:
        await leave_silently(connection, key, track, at)
    return len(rows)
