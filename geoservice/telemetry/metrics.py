"""Every metric of the service, declared once. Labels never hold ids or places."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

disable_created_metrics()  # type: ignore[no-untyped-call] # as many lines again, that nobody reads

REGISTRY: Final = CollectorRegistry(auto_describe=True)

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

INGEST_PINGS: Final = Counter(
    "geoservice_pings",
    "Pings by what became of them: accepted, duplicate, rejected, or the reason why they were ignored.",
    ["outcome"],
    registry=REGISTRY,
)
INGEST_BATCH: Final = Histogram(
    "geoservice_ingest_batch_seconds",
    "Time from taking a micro-batch to its commit.",
    buckets=_FAST_S,
    registry=REGISTRY,
)
INGEST_STAGE: Final = Histogram(
    "geoservice_ingest_stage_seconds",
    "Time of a micro-batch by stage: lock, match, store, decide.",
    ["stage"],
    buckets=_FAST_S,
    registry=REGISTRY,
)
INGEST_QUEUE: Final = Gauge(
    "geoservice_ingest_queue_items",
    "Pings that wait for the micro-batch after the one that was taken last.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
TRANSITIONS: Final = Counter(
    "geoservice_transitions", "Transitions by kind: enter, exit and so on.", ["kind"], registry=REGISTRY
)
BEACONS_ELSEWHERE: Final = Counter(
    "geoservice_beacons_elsewhere",
    "Sightings of beacons more than 1 km from where the phone was: moved, or copied; they are ignored.",
    registry=REGISTRY,
)
DECISIONS: Final = Counter(
    "geoservice_decisions",
    "Decisions by outcome and reason; a message that is sent has the reason none.",
    ["outcome", "reason"],
    registry=REGISTRY,
)
UNDECIDED: Final = Counter(
    "geoservice_transitions_postponed",
    "Transitions whose customer was locked, so that a worker decided them a moment later.",
    registry=REGISTRY,
)
PUSHES: Final = Counter(
    "geoservice_pushes",
    "Attempts to hand a message to the provider, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
PUSH_SECONDS: Final = Histogram(
    "geoservice_push_seconds", "Time of one call to the push provider.", buckets=_FAST_S, registry=REGISTRY
)
MESSAGES: Final = Gauge(
    "geoservice_messages",
    "Messages under way by state: pending, claimed, sending, retry_wait.",
    ["state"],
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
OLDEST_DUE: Final = Gauge(
    "geoservice_oldest_due_seconds",
    "How long the message that is due for longest has been waiting for a sender.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
ENDED: Final = Counter(
    "geoservice_messages_ended",
    "Messages that a sender or a timer brought to an end, by state, and by why; none for those that were accepted.",
    ["state", "reason"],
    registry=REGISTRY,
)
LATE_OUTCOMES: Final = Counter(
    "geoservice_outcomes_late",
    "Outcomes that came after the lease of their message was lost: the message stays as it was settled without them.",
    registry=REGISTRY,
)
BREAKER: Final = Gauge(
    "geoservice_channel_breaker",
    "Circuit breaker by channel: 0 closed, 1 half-open, 2 open.",
    ["channel"],
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
WINDOW: Final = Gauge(
    "geoservice_channel_window",
    "How many calls may be under way at once, by channel.",
    ["channel"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
IN_FLIGHT: Final = Gauge(
    "geoservice_channel_in_flight",
    "Calls under way, by channel, as of the last look.",
    ["channel"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
BUCKET: Final = Gauge(
    "geoservice_channel_tokens",
    "Messages that the rate limit lets begin at once, by channel, as of the last look.",
    ["channel"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
TOKENS_RETIRED: Final = Counter(
    "geoservice_push_tokens_retired",
    "Push addresses that the provider called dead and that were forgotten, by why.",
    ["kind"],
    registry=REGISTRY,
)
PRUNING_STOPPED: Final = Gauge(
    "geoservice_pruning_stopped",
    "1 while dead tokens are kept because there are suspiciously many, by channel.",
    ["channel"],
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
SENDING_STOPPED: Final = Gauge(
    "geoservice_sending_stopped",
    "How many stops of sending are in force.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
CATALOGUE: Final = Gauge(
    "geoservice_geofences", "Geofences in the running matcher.", registry=REGISTRY, multiprocess_mode="livemax"
)

LIVE_VIEWERS: Final = Gauge(
    "geoservice_live_viewers", "Connections to the live view.", registry=REGISTRY, multiprocess_mode="livesum"
)


RETENTION_DAYS: Final = Gauge(
    "geoservice_retention_days",
    "How many days rows are kept, by table: the settings in force, and what is fixed (of `devices` the last position).",
    ["table"],
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
RETENTION_DELETED: Final = Counter(
    "geoservice_retention_deleted_rows",
    "Rows that were deleted because they were too old, by table (of `devices` only their last position).",
    ["table"],
    registry=REGISTRY,
)
RETENTION_RUN: Final = Gauge(
    "geoservice_retention_run_timestamp_seconds",
    "When nothing that is too old was left, as seconds since 1970.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
DATABASE_REFUSALS: Final = Counter(
    "geoservice_database_refusals",
    "Transactions that the database refused for its own state: full, read-only, broken, or a role without the rights.",
    registry=REGISTRY,
)
LOOP_LAG: Final = Histogram(
    "geoservice_event_loop_lag_seconds",
    "How late the event loop comes back to what is due; every request waits that long, too.",
    buckets=_FAST_S,
    registry=REGISTRY,
)


def from_zero(counter: Counter, labels: Iterable[tuple[str, ...]]) -> None:
    """Show these at 0 from the start: `increase` cannot see the first event of what was not there before it."""
    for each in labels:
        counter.labels(*each)


def exposition() -> bytes:
    """Write the metrics in Prometheus' text format; of all processes that share the port, if there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
