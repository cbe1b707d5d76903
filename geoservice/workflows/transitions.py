"""Transitions on their way into the database, whoever found them: a batch of pings, or a timer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

import structlog

from geoservice.errors import Unavailable
from geoservice.geofencing.phone_clock import PhoneClock
from geoservice.geofencing.track import DeviceTrack
from geoservice.geofencing.waking import due_at
from geoservice.storage.database import TRANSIENT, UNREACHABLE
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry.metrics import TRANSITIONS, from_zero
from geoservice.vocabulary import Transition, TransitionKind
from geoservice.workflows.directory import Snapshot
from geoservice.workflows.engage import engage
from geoservice.workflows.ids import fresh_ids
from geoservice.workflows.queue import DeviceKey

FRESH_FOR: Final = timedelta(minutes=5)
"""Transitions older than this are recorded as late and trigger no live message."""

from_zero(TRANSITIONS, [(kind,) for kind in TransitionKind])
_sql = Queries("ingest")
_visits = Queries("customers")
_log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """A transition of a locked device; ``fast_at`` (epoch seconds) is when that last moved fast."""

    key: DeviceKey
    transition: Transition
    fast_at: float | None
    trace: str | None = None


async def decide_transitions(connection: Connection, snapshot: Snapshot, told: Sequence[Told], at: datetime) -> bool:
    """L1 is held. Write the transitions down and decide them; tell whether any were left undecided."""
    await _add(connection, told, at)
    customers = sorted({each.key[0] for each in told})
    try:
        async with connection.transaction():  # a savepoint: presence commits whatever deciding runs into
            return await engage(connection, snapshot, customers, at) < len(customers)
    except (*UNREACHABLE, *TRANSIENT, Unavailable):
        raise
    except Exception as error:  # noqa: BLE001 - the worker tries again, and parts the culprit from the others
        _log.error("deciding_failed", error=type(error).__name__, exc_info=error)
        return True


async def _add(connection: Connection, told: Sequence[Told], at: datetime) -> None:
    moved = [each.transition for each in told]
    for kind, count in Counter(transition.kind.value for transition in moved).items():
        TRANSITIONS.labels(kind).inc(count)
    await _sql.add_transitions.run(
        connection,
        customer_ids=[each.key[0] for each in told],
        device_ids=[each.key[1] for each in told],
        transition_ids=list(islice(fresh_ids(), len(told))),
        geofence_ids=[t.geofence_id for t in moved],
        kinds=[t.kind.value for t in moved],
        ats=[t.at for t in moved],
        confidences=[t.confidence for t in moved],
        sources=[t.source.value for t in moved],
        lates=[t.late for t in moved],
        initials=[t.initial for t in moved],
        assumeds=[t.assumed for t in moved],
        speeds=[t.speed_mps for t in moved],
        fast_ats=[None if each.fast_at is None else datetime.fromtimestamp(each.fast_at, UTC) for each in told],
        traces=[each.trace for each in told],
        at=at,
    )


async def leave_silently(connection: Connection, key: DeviceKey, track: DeviceTrack, at: datetime) -> None:
    """L3, after the customers that deciding locked: end the visits of a device whose presence ended without a word."""
    customer_id, device_id = key
    still_in = [f"{device_id} {presence.geofence_id}" for presence in track.presences]
    await _visits.leave_visits_with_device.run(
        connection, customer_id=customer_id, device_id=device_id, still_in=still_in, at=at
    )


def due_instant(track: DeviceTrack, clock: PhoneClock) -> datetime | None:
    """When time alone may change something, on the server's clock."""
    due = due_at(track)
    return None if due is None else datetime.fromtimestamp(due + clock.offset_s, UTC)
