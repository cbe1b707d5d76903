"""A campaign replayed over what happened: how often it would have spoken, and why not. It sends and reserves nothing.

Each recorded transition is decided again at the instant at which it was decided, with what was known then: consents,
settings, events that had been received, messages in the state that they were in, receipts, the policy in force. The
campaign's own messages are those of the replay; of a campaign that was live, they have the fate that they really had.
Stores, geofences, products, stock and the phones' addresses are those of today: of them no history is kept.

The deciding runs in a thread, customer by customer, inside a read-only transaction, and ends at its time limit.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import count
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from geoservice.decisions.attention import HISTORY
from geoservice.decisions.campaigns import Campaign, CampaignSpec, CampaignState
from geoservice.decisions.compiling import compile_campaign
from geoservice.decisions.decide import Decision, Outcome, decide
from geoservice.decisions.facts import (
    Facts,
    Preferences,
    RetailerDefaults,
    ShopFacts,
    Slot,
)
from geoservice.decisions.limits import slot_window_s
from geoservice.decisions.listening import Listeners
from geoservice.decisions.reasons import REASONS
from geoservice.decisions.schedule import HABIT_DAYS
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Channel, MessageState, Purpose, TransitionKind
from geoservice.workflows.attention import read_told
from geoservice.workflows.directory import Snapshot, as_fact
from geoservice.workflows.known import Known, Row, consent_of, event_of, facts_of, transition_of, visit_of
from geoservice.workflows.policy import in_force
from geoservice.workflows.products import Shop, load_shop
from geoservice.workflows.reserving import slot_of
from geoservice.workflows.visits import OUTWARD

CUSTOMERS_AT_ONCE: Final = 50
EXAMPLES: Final = 3
"""Of each outcome so many are shown."""

_sql = Queries("replay")
_experiments = Queries("experiments")


@dataclass(slots=True)
class Report:
    """What the replay came to. ``complete`` is false when the time limit cut it short."""

    since: datetime
    until: datetime
    complete: bool = True
    customers: int = 0
    sent: int = 0
    waiting: int = 0
    suppressed: Counter[str] = field(default_factory=Counter)
    by_day: dict[date, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: list[dict[str, Any]] = field(default_factory=list)
    decided: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Every decision: transition, outcome, reason."""

    def jsonable(self) -> dict[str, Any]:
        """Counts, days, and examples in which nobody is named."""
        return {
            "since": self.since,
            "until": self.until,
            "complete": self.complete,
            "customers": self.customers,
            "sent": self.sent,
            "waiting": self.waiting,
            "suppressed": dict(self.suppressed.most_common()),
            "by_day": [
                {"day": day.isoformat(), "sent": counts.pop("send", 0), "suppressed": dict(counts)}
                for day, counts in sorted((day, Counter(found)) for day, found in self.by_day.items())
            ],
            "examples": self.examples,
        }


@dataclass(frozen=True, slots=True)
class _History:
    """All that is on record of one customer, with the times at which it came to be known."""

    row: Row
    transitions: list[Row]
    decided: dict[str, dict[str, list[datetime]]]
    """When which campaigns were decided, by transition."""
    preferences: list[Row]
    consents: list[Row]
    events: list[Row]
    messages: list[Row]
    answers: list[Row]
    visits: list[Row]


async def simulate(
    database: Database,
    snapshot: Snapshot,
    campaign_id: str,
    spec: CampaignSpec,
    *,
    since: datetime,
    until: datetime,
    limit_s: float,
) -> Report:
    """Replay a campaign over a window; raises Invalid if it cannot be used as it is."""
    candidate = compile_campaign(
        campaign_id, 0, msgspec.structs.replace(spec, state=CampaignState.LIVE, experiment=None)
    )
    report, deadline = Report(since, until), time.monotonic() + limit_s
    geofence_ids = await asyncio.to_thread(_heard_at, candidate, snapshot)  # there may be a hundred thousand
    async with database.connection() as connection, connection.transaction(readonly=True):
        policies = _policies(await _sql.policies.fetch(connection), snapshot.defaults)
        after = ""
        while page := await _sql.customers.fetch(
            connection,
            after=after,
            since=since,
            until=until,
            geofence_ids=geofence_ids,
            limit=CUSTOMERS_AT_ONCE,
        ):
            after = page[-1]["customer_id"]
            histories, shop = await _load(connection, snapshot, candidate, page, since, until)
            replay = _Replay(candidate, snapshot, policies, shop, report, deadline)
            await asyncio.to_thread(replay.run, histories)
            if not report.complete:
                break
    return report


def _heard_at(campaign: Campaign, snapshot: Snapshot) -> list[str]:
    """The geofences at which anything can start the campaign."""
    return [fence.geofence_id for fence in snapshot.catalogue.present if campaign.listens_at(as_fact(fence))]


async def sizes(database: Database, experiment_id: str) -> list[dict[str, Any]]:
    """Count the customers in each arm of an experiment."""
    async with database.connection() as connection:
        return [dict(row) for row in await _experiments.sizes.fetch(connection, experiment_id=experiment_id)]


Policies = Sequence[tuple[datetime | None, RetailerDefaults]]


def _policies(rows: Iterable[Row], defaults: RetailerDefaults) -> Policies:
    published = [(row["published_at"], in_force(row["body"], row["version"], defaults)) for row in rows]
    return [(None, defaults), *published]


async def _load(
    connection: Connection,
    snapshot: Snapshot,
    candidate: Campaign,
    page: Sequence[Row],
    since: datetime,
    until: datetime,
) -> tuple[list[_History], Shop]:
    ids = {"customer_ids": [row["customer_id"] for row in page]}
    window = {"since": since, "until": until}
    campaigns = [candidate, *snapshot.campaigns.values()]
    looks_back = timedelta(seconds=max(campaign.event_window_s for campaign in campaigns), days=HABIT_DAYS)
    slots_back = timedelta(seconds=slot_window_s(campaigns, snapshot.retailer))
    visits_back = timedelta(seconds=max(campaign.visit_window_s for campaign in campaigns))
    transitions = _by_customer(await _sql.transitions.fetch(connection, **ids, **window))
    decisions = _by_customer(await _sql.decisions.fetch(connection, **ids, **window))
    preferences = _by_customer(await _sql.preferences.fetch(connection, **ids))
    consents = _by_customer(await _sql.consents.fetch(connection, **ids))
    events = _by_customer(await _sql.events.fetch(connection, **ids, since=since - looks_back, until=until))
    messages = _by_customer(await _sql.messages.fetch(connection, **ids, since=since - slots_back, until=until))
    answers = _by_customer(await _sql.answers.fetch(connection, **ids, since=since - HISTORY, until=until))
    visits = _by_customer(await _sql.visits.fetch(connection, **ids, since=since - visits_back))
    product_ids = sorted({row["product_id"] for rows in events.values() for row in rows if row["product_id"]})
    with_stock = candidate.spec.in_stock is not None
    shop = await load_shop(connection, list(snapshot.stores), product_ids, with_stock=with_stock)
    histories = []
    for row in page:
        customer_id = row["customer_id"]
        decided: dict[str, dict[str, list[datetime]]] = defaultdict(lambda: defaultdict(list))
        for decision in decisions[customer_id]:
            decided[decision["transition_id"]][decision["campaign_id"]].append(decision["at"])
        histories.append(
            _History(
                row,
                transitions[customer_id],
                decided,
                preferences[customer_id],
                consents[customer_id],
                events[customer_id],
                messages[customer_id],
                answers[customer_id],
                visits[customer_id],
            )
        )
    return histories, shop


def _by_customer(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["customer_id"]].append(row)
    return found


class _Replay:
    """Decides again, in the order in which it was decided."""

    def __init__(
        self,
        candidate: Campaign,
        snapshot: Snapshot,
        policies: Policies,
        shop: Shop,
        report: Report,
        deadline: float,
    ) -> None:
        self.candidate = candidate
        self.listener = Listeners({candidate.campaign_id: candidate})
        self.snapshot = snapshot
        self.policies = policies
        self.shop = shop
        self.report = report
        self.deadline = deadline

    def run(self, histories: Iterable[_History]) -> None:
        """Replay these customers, until the time is up."""
        for history in histories:
            if time.monotonic() > self.deadline:
                self.report.complete = False
                return
            self.report.customers += 1
            self._customer(history)

    def _customer(self, history: _History) -> None:
        own: list[Slot] = []
        seen: set[str] = set()
        order = count()
        moments: list[tuple[datetime, int, Row, datetime | None]] = [
            (row["engaged_at"], next(order), row, None) for row in history.transitions
        ]
        heapq.heapify(moments)
        while moments:
            at, _, row, due_at = heapq.heappop(moments)
            if at > self.report.until:
                self.report.waiting += 1
                continue
            moment = self._moment(history, row, due_at, own, seen, at)
            seen.add(row["transition_id"])
            if moment is None:
                continue
            facts, decision = moment
            self._note(row, decision, at)
            if decision.outcome is Outcome.DEFER and decision.until is not None:
                again_at = self._again_at(history, row, decision.until, at)
                heapq.heappush(moments, (again_at, next(order), row, decision.until))
            elif decision.outcome is Outcome.SEND:
                own.insert(0, self._own_slot(history, row, facts, decision, at))

    def _moment(
        self, history: _History, row: Row, due_at: datetime | None, own: list[Slot], seen: set[str], at: datetime
    ) -> tuple[Facts, Decision] | None:
        fence = self.snapshot.fence(row["geofence_id"])
        if fence is None or not self.listener.of(transition_of(row), as_fact(fence)):
            return None
        rivals = [
            rival
            for each, decided_at in history.decided.get(row["transition_id"], {}).items()
            if at in decided_at
            and each != self.candidate.campaign_id
            and (rival := self.snapshot.campaigns.get(each)) is not None
        ]
        known = self._known(history, at)
        snapshot_then = replace(self.snapshot, retailer=self._policy(at))
        facts = facts_of(row, as_fact(fence), known, (self.candidate, *rivals), snapshot_then, row["visit_id"])
        products = {event.product_id for event in known.events if event.product_id is not None}
        facts = msgspec.structs.replace(
            facts,
            still_there=_is_still_there(history, row, at),
            slots=(*own, *self._slots(history, row, seen, at)),
            shop=self.shop.facts(fence.store_id, products) if products or self.shop.feeds else ShopFacts(),
        )
        if due_at is not None:
            # When the others were due is not on record: what is decided together was due together, as a rule.
            waited = dict.fromkeys((each.campaign_id for each in facts.campaigns), due_at)
            facts = msgspec.structs.replace(facts, waited=waited)
        return next(((facts, d) for d in decide(facts, at) if d.campaign_id == self.candidate.campaign_id), None)

    def _again_at(self, history: _History, row: Row, due_at: datetime, at: datetime) -> datetime:
        """When a campaign that waits is looked at again: when it was due, or when that was really done."""
        really = history.decided.get(row["transition_id"], {}).get(self.candidate.campaign_id, [])
        return min((when for when in really if when > at and when >= due_at), default=due_at)

    def _known(self, history: _History, at: datetime) -> Known:
        known = Known(history.row)
        settings = [row["body"] for row in history.preferences if row["at"] <= at]
        if settings:
            known.preferences = msgspec.convert(settings[-1], Preferences)
        for row in history.consents:
            if row["recorded_at"] <= at:
                known.consents[Purpose(row["purpose"])] = consent_of(row)
        events = [row for row in history.events if row["received_at"] <= at and row["occurred_at"] <= at]
        known.events = [event_of(row) for row in events]
        known.doings = [row["occurred_at"] for row in events if row["occurred_at"] > at - timedelta(days=HABIT_DAYS)]
        known.visits = [visit_of(row) for row in history.visits if row["started_at"] <= at]
        answers: dict[str, list[Row]] = defaultdict(list)
        for row in history.answers:
            if row["at"] <= at:
                answers[row["message_id"]].append(row)
        told = (
            read_told(each, [row["event"] for row in rows], [row["at"] for row in rows])
            for each, rows in answers.items()
        )
        known.told = [message for message in told if message is not None]
        return known

    def _slots(self, history: _History, row: Row, seen: set[str], at: datetime) -> list[Slot]:
        """Other campaigns' messages, as they stood: what this very moment sent is decided here."""
        return [
            _slot_then(message, at)
            for message in history.messages
            if message["campaign_id"] != self.candidate.campaign_id
            and (message["reserved_at"] < at or message["transition_id"] in seen - {row["transition_id"]})
        ]

    def _own_slot(self, history: _History, row: Row, facts: Facts, decision: Decision, at: datetime) -> Slot:
        for message in history.messages:
            same = message["campaign_id"] == self.candidate.campaign_id
            if same and message["transition_id"] == row["transition_id"]:
                return _slot_then(message, self.report.until)
        reserved = slot_of(f"simulated-{row['transition_id']}", decision, facts, at)
        return msgspec.structs.replace(reserved, state=MessageState.ACCEPTED, accepted_at=at)

    def _policy(self, at: datetime) -> RetailerDefaults:
        return [policy for since, policy in self.policies if since is None or since <= at][-1]

    def _note(self, row: Row, decision: Decision, at: datetime) -> None:
        report, reason = self.report, decision.reason.value if decision.reason else None
        report.decided.append((row["transition_id"], decision.outcome.value, reason))
        if decision.outcome is Outcome.DEFER:
            return
        name = reason or "send"
        if reason is None:
            report.sent += 1
        else:
            report.suppressed[reason] += 1
        fence = self.snapshot.fence(row["geofence_id"])
        store = self.snapshot.stores.get(fence.store_id or "") if fence else None
        day = at.astimezone(ZoneInfo(store.timezone if store else "UTC")).date()
        report.by_day[day][name] += 1
        if sum(example["outcome"] == name for example in report.examples) < EXAMPLES:
            shown = {"outcome": name, "at": at, "geofence_id": row["geofence_id"]}
            if decision.payload is not None:
                shown |= {"title": decision.payload.title, "body": decision.payload.body}
            if decision.reason is not None:
                shown["sentence"] = REASONS[decision.reason].ops
            report.examples.append(shown)


def _slot_then(row: Mapping[str, Any], at: datetime) -> Slot:
    """A message as it stood at an instant: whatever came later was not known yet."""
    settled = row["finished_at"] is not None and row["finished_at"] <= at
    return Slot(
        message_id=row["message_id"],
        campaign_id=row["campaign_id"],
        topic=row["topic"],
        state=MessageState(row["state"]) if settled else MessageState.PENDING,
        reserved_at=row["reserved_at"],
        expires_at=row["expires_at"],
        accepted_at=row["accepted_at"] if settled else None,
        store_id=row["store_id"],
        geofence_id=row["geofence_id"],
        visit_id=row["visit_id"],
        product_id=row["product_id"],
        channel=Channel(row["channel"]),
    )


def _is_still_there(history: _History, row: Row, at: datetime) -> bool:
    """Whether the phone was inside, by the last that was known of it at that instant."""
    kinds = [
        TransitionKind(other["kind"])
        for other in history.transitions
        if (other["device_id"], other["geofence_id"]) == (row["device_id"], row["geofence_id"])
        and other["engaged_at"] <= at
        and other["kind"] != TransitionKind.CROSSED
    ]
    return not kinds or kinds[-1] not in OUTWARD
