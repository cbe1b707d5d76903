"""Transition -> facts -> decision -> message row, in the transaction that found the transition.

The customer's row lock makes deciding and reserving one step: nobody else can count her slots in between. Whatever
transitions of hers are still undecided are taken in their order, the new ones and those that an earlier batch had to
leave behind because she was locked.

Of several moments of hers that could each have a message now, the best one is served first: a campaign that has waited
competes with one that is just ready, whichever of their transitions is older.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.decide import Decision, Outcome, Rank, decide
from geoservice.decisions.facts import Facts, GeofenceFacts, Slot
from geoservice.geofencing.track import DeviceTrack
from geoservice.storage.queries import Connection, Queries
from geoservice.telemetry import tracing
from geoservice.telemetry.metrics import UNDECIDED
from geoservice.vocabulary import GeofenceKind, TransitionKind
from geoservice.workflows.attention import note_visits
from geoservice.workflows.directory import Snapshot, as_fact, brought_up, is_in_force
from geoservice.workflows.ids import fresh_ids
from geoservice.workflows.known import Known, Row, facts_of, load, load_shops, transition_of
from geoservice.workflows.reserving import Entry, campaign_of, slot_of, write_down
from geoservice.workflows.visits import OUTWARD, RESUME_WITHIN, Visits

_sql = Queries("engage")
_decode_track = msgspec.msgpack.Decoder(DeviceTrack).decode


@dataclass(frozen=True, slots=True)
class _Moment:
    """A transition that somebody listens to, and what is known but for what is reserved meanwhile."""

    row: Row
    facts: Facts


@dataclass(slots=True)
class _Ledger:
    """What to write once every transition has been looked at."""

    engaged: list[tuple[str, str, str | None]] = field(default_factory=list)
    left: set[tuple[str, str, str]] = field(default_factory=set)
    """Who left what: customer, device, geofence."""
    moments: dict[str, list[_Moment]] = field(default_factory=dict)
    """By customer, in the order in which they happened."""
    entries: list[Entry] = field(default_factory=list)
    ids: Iterator[str] = field(default_factory=fresh_ids)
    sent: Counter[str] = field(default_factory=Counter)
    """Of the campaigns with a ceiling, what this hour has had, with what this batch sends."""


async def engage(connection: Connection, snapshot: Snapshot, customer_ids: Sequence[str], at: datetime) -> int:
    """Decide every undecided transition of these customers; return how many of them could be locked."""
    rows = await _sql.lock_customers.fetch(connection, customer_ids=customer_ids)
    UNDECIDED.inc(len(customer_ids) - len(rows))
    if not rows:
        return 0
    locked = [row["customer_id"] for row in rows]
    undecided = await _sql.undecided.fetch(connection, customer_ids=locked, at=at)
    if undecided:
        snapshot = await brought_up(connection, snapshot)
        oldest = min(row["at"] for row in undecided)
        visits = Visits(await _sql.visits.fetch(connection, customer_ids=locked, since=oldest - RESUME_WITHIN))
        ledger = _Ledger()
        heard = _hear(undecided, snapshot)
        await note_visits(connection, _arrivals(undecided, snapshot))
        # If nobody listens, nothing needs to be known of the customers.
        known = await load(connection, snapshot, _all_of(heard), rows, visits.ids, at) if heard else {}
        if known:
            await load_shops(connection, snapshot, _all_of(heard), known, undecided)
        visit_ids = [_follow(row, visits, snapshot, ledger) for row in undecided]
        for row, visit_id in zip(undecided, visit_ids, strict=True):  # only now is it known who is still there
            _note(row, visit_id, known.get(row["customer_id"]), heard, visits, snapshot, at, ledger)
        await _decide_within_ceilings(connection, known, heard, at, ledger)
        if any(row["waited_for"] for row in undecided):
            await _sql.close_deferred.run(connection, customer_ids=locked, at=at)
        await _save(connection, visits, ledger, at)
    return len(rows)


Heard: TypeAlias = Mapping[tuple[str, str, bool], tuple[Campaign, ...]]
"""The campaigns that are concerned, by customer, transition and whether they have waited since it."""


def _hear(undecided: Iterable[Row], snapshot: Snapshot) -> dict[tuple[str, str, bool], tuple[Campaign, ...]]:
    heard = {}
    for row in undecided:
        fence, waited = snapshot.fence(row["geofence_id"]), row["waited_for"]
        if waited is not None:
            campaigns = tuple(c for each in waited if (c := snapshot.campaigns.get(each)) is not None)
        elif fence is None or row["kind"] not in snapshot.listeners.kinds:
            continue
        else:
            campaigns = snapshot.listening(transition_of(row), fence, row["customer_id"])
        if campaigns:
            heard[_key(row)] = campaigns
    return heard


def _arrivals(undecided: Iterable[Row], snapshot: Snapshot) -> list[tuple[str, str, datetime]]:
    """Who stepped into which store, and when: not merely near it."""
    arrivals = []
    for row in undecided:
        fence = snapshot.fence(row["geofence_id"])
        came = row["waited_for"] is None and row["kind"] == TransitionKind.ENTER and not row["initial"]
        if came and fence is not None and fence.store_id is not None and fence.kind in INDOORS:
            arrivals.append((row["customer_id"], fence.store_id, row["at"]))
    return arrivals


INDOORS: Final = frozenset({GeofenceKind.STORE, GeofenceKind.DEPARTMENT})


def _key(row: Row) -> tuple[str, str, bool]:
    return row["customer_id"], row["transition_id"], row["waited_for"] is not None


def _follow(row: Row, visits: Visits, snapshot: Snapshot, ledger: _Ledger) -> str | None:
    """Follow the visit that a transition belongs to, and name it."""
    if row["waited_for"] is not None:
        visit_id: str | None = row["visit_id"]
        return visit_id
    fence = snapshot.fence(row["geofence_id"])
    visit_id = visits.follow(row, None if fence is None else fence.store_id)
    ledger.engaged.append((row["customer_id"], row["transition_id"], visit_id))
    if TransitionKind(row["kind"]) in OUTWARD:
        ledger.left.add((row["customer_id"], row["device_id"], row["geofence_id"]))
    return visit_id


def _note(
    row: Row,
    visit_id: str | None,
    known: Known | None,
    heard: Heard,
    visits: Visits,
    snapshot: Snapshot,
    at: datetime,
    ledger: _Ledger,
) -> None:
    """Note the moment, if somebody listens to it."""
    campaigns, waited_for = heard.get(_key(row)), row["waited_for"]
    if known is None or campaigns is None:
        return
    geofence = _geofence(row["geofence_id"], snapshot, at)
    if waited_for is None and not geofence.in_force:
        return
    now: dict[str, Any] = {"still_there": visits.is_present(row)}
    if waited_for is not None:
        now["waited"] = {each: datetime.fromisoformat(due_at) for each, due_at in waited_for.items()}
        now["fast_at"] = _newest_fast_at(row)
    facts = msgspec.structs.replace(facts_of(row, geofence, known, campaigns, snapshot, visit_id), **now)
    ledger.moments.setdefault(row["customer_id"], []).append(_Moment(row, facts))


def _newest_fast_at(row: Row) -> datetime | None:
    """When the phone was last fast, as known now rather than at the transition."""
    track = None if row["track"] is None else _decode_track(row["track"])
    if track is None or track.fast_at is None:
        return None
    return datetime.fromtimestamp(track.fast_at, UTC)


async def _decide_within_ceilings(
    connection: Connection, known: Mapping[str, Known], heard: Heard, at: datetime, ledger: _Ledger
) -> None:
    """Decide for every customer; once more if another process has filled a campaign's hour meanwhile."""
    capped = [each.campaign_id for each in _all_of(heard) if each.spec.limits.hourly_ceiling is not None]
    while True:
        ledger.entries.clear()
        ledger.sent.clear()
        if capped:
            rows = await _sql.sent_this_hour.fetch(connection, campaign_ids=capped, hour=_hour(at))
            ledger.sent.update({row["campaign_id"]: row["reserved"] for row in rows})
        before = ledger.sent.copy()
        for customer_id, moments in ledger.moments.items():
            _decide_all(moments, list(known[customer_id].slots), at, ledger)
        if ledger.sent == before or await _reserve_hour(connection, ledger.sent - before, _all_of(heard), at):
            return


async def _reserve_hour(
    connection: Connection, sent: Mapping[str, int], campaigns: Iterable[Campaign], at: datetime
) -> bool:
    """Count what this batch sends under each ceiling; all of it, or nothing when it is more than is left."""
    ceilings = {each.campaign_id: each.ceiling(at) for each in campaigns}
    savepoint = connection.transaction()
    await savepoint.start()
    rows = await _sql.reserve_hour.fetch(
        connection,
        hour=_hour(at),
        campaign_ids=sorted(sent),
        reserved=[sent[each] for each in sorted(sent)],
        ceilings=[ceilings[each] for each in sorted(sent)],
    )
    if len(rows) == len(sent):
        await savepoint.commit()
        return True
    await savepoint.rollback()
    return False


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _decide_all(moments: list[_Moment], slots: list[Slot], at: datetime, ledger: _Ledger) -> None:
    """Decide the moments of one customer, those that could have a message in the order of their rank."""
    looked_at = [_decide(moment, slots, at, ledger) for moment in moments]
    for each in looked_at:
        if each.rank is None:
            _enter(each, slots, at, ledger)
    speaking = sorted((each for each in looked_at if each.rank), key=attrgetter("rank"), reverse=True)
    for place, each in enumerate(speaking):
        # Whoever comes after another message has to be looked at again: it holds a slot now.
        _enter(_decide(each.moment, slots, at, ledger) if place else each, slots, at, ledger)


@dataclass(frozen=True, slots=True)
class _Decided:
    """The decisions about one moment, and the rank of its message, if it would send one."""

    moment: _Moment
    decisions: list[Decision]
    rank: Rank | None
    began_ns: int


def _decide(moment: _Moment, slots: list[Slot], at: datetime, ledger: _Ledger) -> _Decided:
    began_ns = tracing.now_ns()
    facts = msgspec.structs.replace(moment.facts, slots=tuple(slots), sent_this_hour=ledger.sent)
    decisions = decide(facts, at)
    rank = next((each.rank for each in decisions if each.takes_slot), None)
    return _Decided(moment, decisions, rank, began_ns)


def _enter(decided: _Decided, slots: list[Slot], at: datetime, ledger: _Ledger) -> None:
    """Note the decisions of one moment, and hold the slot of its message."""
    row, facts = decided.moment.row, decided.moment.facts
    for decision in decided.decisions:
        message_id = next(ledger.ids) if decision.outcome is Outcome.SEND else None
        decision_id = next(ledger.ids)
        trace = row["trace"] and tracing.past(
            "decide",
            row["trace"],
            decided.began_ns,
            decision_id=decision_id,
            campaign_id=decision.campaign_id,
            outcome=decision.outcome.value,
            reason=decision.reason and decision.reason.value,
        )
        ledger.entries.append(
            Entry(
                row["customer_id"],
                row["transition_id"],
                row["device_id"],
                facts,
                decision,
                decision_id,
                message_id,
                trace,
            )
        )
        if decision.takes_slot:
            slots.insert(0, slot_of(message_id or decision_id, decision, facts, at))
        if message_id is not None and campaign_of(facts, decision).spec.limits.hourly_ceiling is not None:
            ledger.sent[decision.campaign_id] += 1


def _geofence(geofence_id: str, snapshot: Snapshot, at: datetime) -> GeofenceFacts:
    """What is known of a geofence; of one that is not there, or outside of its own validity, only that it is not."""
    fence = snapshot.fence(geofence_id)
    if fence is not None and is_in_force(fence, at):
        return as_fact(fence)
    return GeofenceFacts(geofence_id, geofence_id, GeofenceKind.APPROACH, in_force=False)


def _all_of(heard: Heard) -> list[Campaign]:
    """Every campaign that is concerned, once."""
    return list({campaign.campaign_id: campaign for campaigns in heard.values() for campaign in campaigns}.values())


async def _save(connection: Connection, visits: Visits, ledger: _Ledger, at: datetime) -> None:
    if touched := visits.touched:
        await _sql.save_visits.run(connection, rows=[visit.as_row() for visit in touched])
    await _sql.mark_engaged.run(
        connection,
        customer_ids=[customer_id for customer_id, _, _ in ledger.engaged],
        transition_ids=[transition_id for _, transition_id, _ in ledger.engaged],
        visit_ids=[visit_id for _, _, visit_id in ledger.engaged],
        at=at,
    )
    if ledger.left:
        customer_ids, device_ids, geofence_ids = zip(*sorted(ledger.left), strict=True)
        await _sql.cancel_left.run(
            connection, customer_ids=customer_ids, device_ids=device_ids, geofence_ids=geofence_ids, at=at
        )
    if ledger.entries:
        await write_down(connection, ledger.entries, at)
