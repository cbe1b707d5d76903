"""What a decision costs: alone, and with all that makes it durable; beside 20 campaigns and beside a thousand."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import shapely

from geoservice.commands.running import spare_the_collector
from geoservice.decisions.campaigns import Campaign, CampaignSpec
from geoservice.decisions.compiling import compile_campaign
from geoservice.decisions.decide import decide
from geoservice.decisions.facts import (
    ConsentFact,
    ContextEvent,
    CustomerFacts,
    Facts,
    GeofenceFacts,
    Preferences,
    RetailerDefaults,
    StoreFacts,
)
from geoservice.decisions.listening import Listeners
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.storage.database import Database, open_pool
from geoservice.storage.embedded import EmbeddedPostgres
from geoservice.storage.migrate import migrate
from geoservice.storage.queries import Connection
from geoservice.vocabulary import EventType, GeofenceKind, Purpose, Transition, TransitionKind
from geoservice.workflows.directory import Snapshot, Store, brought_up
from geoservice.workflows.engage import engage

AT: Final = datetime(2026, 3, 4, 11, 0, tzinfo=UTC)
LISTENING: Final = (3, 20)
"""So many campaigns listen to the geofence."""
ELSEWHERE: Final = 1_000
"""So many more listen to others."""
BATCH: Final = 100
LANES: Final = 2
_CATEGORIES: Final = tuple(f"category-{n}" for n in range(20))
_STORE: Final = Store("store", "Harbour Street", 53.55, 10.0, "Europe/Berlin", "Mo-Sa 08:00-20:00")
_FENCE: Final = Geofence(
    "fence", "Around the store", GeofenceKind.APPROACH, shapely.Point(10, 53.55).buffer(0.001), None, "store"
)


async def measure(*, rounds: int = 25) -> dict[str, Any]:
    """``decide`` alone in µs, and transitions that were decided and committed a second."""
    alone = {f"{n}_campaigns_us": _alone(n) for n in (1, *LISTENING)}
    durable = {}
    for listening in LISTENING:
        for elsewhere in (0, ELSEWHERE):
            rate = await _durable(listening, elsewhere, rounds)
            durable[f"{listening}_listen_of_{listening + elsewhere}_per_s"] = round(rate)
    few, many = durable["3_listen_of_3_per_s"], durable["3_listen_of_1003_per_s"]
    return {
        "decide_alone": alone,
        "decide_20_campaigns_us": alone["20_campaigns_us"],
        "decided_and_committed": durable,
        "decided_and_committed_per_s": few,
        "share_beside_1000_others": round(many / few, 2),
    }


def _campaign(number: int, geofence_id: str) -> CampaignSpec:
    """One that looks at a category of its own, in words of its own."""
    return msgspec.convert(
        {
            "name": f"Campaign {number}",
            "topic": f"topic-{number % 4}",
            "trigger": {"on": "enter", "geofence_ids": [geofence_id]},
            "uses": ["browse"],
            "context": {"interest": {"category": _CATEGORIES[number % 20], "min_count": 1 + number % 2}},
            "content": {
                "title": "{{ interest.category | capitalize }} at {{ store.name }}",
                "body": f"You looked {{{{ interest.days_ago }}}} days ago; they are here. ({number})",
                "deep_link": "shop://store/map",
            },
            "priority": number % 5,
        },
        CampaignSpec,
    )


def _campaigns(listening: int, elsewhere: int) -> dict[str, Campaign]:
    specs = [_campaign(n, "fence") for n in range(listening)]
    specs += [_campaign(n, f"elsewhere-{n}") for n in range(elsewhere)]
    return {f"campaign-{n}": compile_campaign(f"campaign-{n}", 1, spec) for n, spec in enumerate(specs)}


def _events() -> list[ContextEvent]:
    return [
        ContextEvent(EventType.PRODUCT_VIEWED, AT - timedelta(days=3, minutes=n), category=category)
        for category in _CATEGORIES
        for n in range(2)
    ]


def _alone(campaigns: int) -> float:
    facts = Facts(
        transition=Transition(TransitionKind.ENTER, "fence", AT, 0.95, speed_mps=1.2),
        geofence=GeofenceFacts("fence", _FENCE.name, _FENCE.kind, (), "store"),
        store=StoreFacts("store", _STORE.name, _STORE.timezone, _STORE.opening_hours),
        visit_id="visit",
        customer=CustomerFacts("Europe/Berlin", "customer"),
        consents={purpose: ConsentFact(True, AT - timedelta(days=9), "1") for purpose in Purpose},
        preferences=Preferences(topics={f"topic-{n}": True for n in range(4)}),
        events=tuple(_events()),
        slots=(),
        campaigns=tuple(_campaigns(campaigns, 0).values()),
    )
    decide(facts, AT)
    times = []
    for _ in range(200):
        began = time.process_time()
        for _ in range(10):
            decide(facts, AT)
        times.append((time.process_time() - began) / 10)
    return round(min(times) * 1e6, 1)


# With the database ----------------------------------------------------------------------------------------------------


async def _durable(listening: int, elsewhere: int, rounds: int) -> float:
    """Transitions a second through :func:`engage`, each of another customer, in two lanes."""
    with tempfile.TemporaryDirectory(prefix="geoservice-bench-") as folder:
        server = EmbeddedPostgres(Path(folder))
        dsn = await server.start()
        try:
            await migrate(dsn)
            async with await open_pool(dsn, size=LANES) as pool:
                database = Database(pool, dsn)
                await _people(database, rounds * BATCH * LANES)
                campaigns = _campaigns(listening, elsewhere)
                async with database.connection() as connection:
                    snapshot = await brought_up(connection, Snapshot(Catalogue.build((_FENCE,), 0)))
                snapshot = _with(snapshot, campaigns)
                spare_the_collector()  # as the service does once it has loaded
                began = time.perf_counter()
                await asyncio.gather(*(_lane(database, snapshot, lane, rounds) for lane in range(LANES)))
                return rounds * BATCH * LANES / (time.perf_counter() - began)
        finally:
            await server.stop()


def _with(snapshot: Snapshot, campaigns: dict[str, Campaign]) -> Snapshot:
    """The snapshot with these campaigns, as if they had been loaded."""
    return replace(
        snapshot,
        campaigns=campaigns,
        listeners=Listeners(campaigns),
        stores={"store": _STORE},
        retailer=RetailerDefaults(),
    )


async def _lane(database: Database, snapshot: Snapshot, lane: int, rounds: int) -> None:
    for number in range(rounds):
        first = (number * LANES + lane) * BATCH
        customer_ids = [f"customer-{n:06}" for n in range(first, first + BATCH)]
        await database.run(partial(_decide, snapshot, customer_ids))


async def _decide(snapshot: Snapshot, customer_ids: list[str], connection: Connection) -> int:
    return await engage(connection, snapshot, customer_ids, AT)


_PEOPLE: Final = """
insert into customers (customer_id, timezone, created_at) select id, 'Europe/Berlin', $1 from unnest($2::text[]) id;

insert into devices (customer_id, device_id, push_token, location_allowed, registered_at)
select id, 'phone', 'token-' || id, true, $1 from unnest($2::text[]) id;

insert into consents (customer_id, purpose, granted, notice_version, recorded_at)
select id, purpose, true, '1', $1::timestamptz - interval '9 days'
from unnest($2::text[]) id, unnest(array['location', 'marketing_push', 'personalisation']) purpose;

insert into preferences (customer_id, body, version, updated_at)
select id, '{"topics": {"topic-0": true, "topic-1": true, "topic-2": true, "topic-3": true}}', 1, $1
from unnest($2::text[]) id;

insert into events (customer_id, event_id, type, occurred_at, category, source, received_at)
select id, 'e' || n, 'product_viewed', $1::timestamptz - make_interval(days => 3, mins => n), 'category-' || n % 20,
       'app', $1
from unnest($2::text[]) id, generate_series(0, 39) n;

insert into transitions (customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source, late,
                         initial, assumed, speed_mps, recorded_at)
select id, 't', 'phone', 'fence', 'enter', $1, 0.95, 'fix', false, false, false, 1.2, $1 from unnest($2::text[]) id;

analyze
"""


async def _people(database: Database, count: int) -> None:
    ids = [f"customer-{n:06}" for n in range(count)]
    async with database.connection() as connection:
        for statement in _PEOPLE.split(";"):
            await (connection.execute(statement, AT, ids) if "$1" in statement else connection.execute(statement))
