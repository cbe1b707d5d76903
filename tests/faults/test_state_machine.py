"""Any order of deeds: the caps, one message a visit, and the last word of the customer hold."""
# ruff: noqa: D102 - deeds are named after what she does

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from conftest import NOON, Client, environment, fix, ring, running, with_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.vocabulary import FREED, MessageState

pytestmark = pytest.mark.faults

CAP = 2
DAY = timedelta(hours=24)
ZONE = ZoneInfo("Europe/Berlin")
FAR = 500 / 111_200
"""Degrees of latitude from a store to a place that is surely outside of its ring."""
STORES = {f"store-{n}": (53.50 + 0.02 * n, 10.0) for n in range(3)}
"""2.2 km apart: half an hour on foot."""
OFTEN = {"min_gap_s": 0, "cooldown_s": 0, "per_visit": 3}
CAMPAIGNS: dict[str, dict[str, Any]] = {
    "open": {"topic": "sneakers", "trigger": {"on": "enter"}, "limits": OFTEN},
    "open-too": {"topic": "boots", "trigger": {"on": "enter"}, "limits": OFTEN},
    "leaving": {"topic": "sneakers", "trigger": {"on": "exit"}, "limits": OFTEN},
    "tomorrow": {
        "topic": "boots",
        "trigger": {"on": "exit"},
        "schedule": {"send": "days_later", "days": 1},
        "limits": OFTEN,
    },
    "later": {"topic": "boots", "trigger": {"on": "enter", "after_s": 300}, "limits": OFTEN},
    "personal": {
        "topic": "sneakers",
        "trigger": {"on": "enter"},
        "limits": OFTEN,
        "priority": 10,
        "uses": ["browse"],
        "context": {
            "interest": {
                "category": "running-shoes",
                "events": ["product_viewed"],
                "min_count": 1,
                "within_days": 14,
                "not_purchased": True,
            }
        },
    },
}


class World:
    """One loop, one database, one stand-in; the service in it may be started again."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        self.runner = asyncio.Runner()
        self.database_url = database_url
        self.data_dir = data_dir
        self.numbers = itertools.count()
        self.always = AsyncExitStack()
        self.once = AsyncExitStack()
        self.client: Client

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def open(self) -> None:
        self.fcm = await self.always.enter_async_context(FcmStandIn())
        self.fcm.credentials = self.fcm.write_service_account(self.data_dir / "account.json")
        self.connection = await asyncpg.connect(self.database_url)
        await self.start()
        client = self.client
        for store_id, (lat, lon) in STORES.items():
            body = {"name": store_id, "lat": lat, "lon": lon, "timezone": str(ZONE)}
            await client.ok("PUT", f"/v1/stores/{store_id}", body, who=client.ops)
        fences = [ring(store_id, lat, lon) for store_id, (lat, lon) in STORES.items()]
        inner = ring("store-0", *STORES["store-0"], 60)
        inner["properties"] |= {"id": "store-0-inside", "kind": "store"}
        document = {"type": "FeatureCollection", "features": [*fences, inner]}
        await client.ok("POST", "/v1/geofences/import", document, who=client.ops)
        await client.wait_until_matching("store-0-inside")
        for campaign_id, changes in CAMPAIGNS.items():
            await client.set_up_campaign(campaign_id, **({"context": {}, "uses": []} | changes))

    async def start(self, at: datetime = NOON) -> None:
        values = environment(self.database_url, self.fcm, self.data_dir, GEOSERVICE_DEFAULT_DAILY_CAP=str(CAP))
        self.client = await self.once.enter_async_context(running(values, self.fcm))
        await self.client.set_clock(at)

    async def restart(self) -> None:
        await self.once.aclose()
        await self.start(self.client.now)

    async def close(self) -> None:
        await self.once.aclose()
        await self.connection.close()
        await self.always.aclose()


class Customer:
    """One of her own for every example; all her promises are looked at after every deed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.customer = f"customer-{next(self.world.numbers)}"
        self.cap = CAP
        self.consents: dict[str, bool] = {}
        self.tokens = 0
        self.silent_from: set[str] | None = set()
        """Ids of the messages that had begun to go out when she last opted out; None while she is opted in."""
        self.accepted: set[str] = set()
        self.history: list[list[dict[str, Any]]] = []
        self.run(self.client.set_clock(NOON))
        self.run(self.register("phone"))
        self.run(self.patch({"topics": {"sneakers": True, "boots": True}}))
        for purpose in ("location", "marketing_push", "personalisation"):
            self.consent(purpose, True)

    @property
    def client(self) -> Client:
        return self.world.client

    @property
    def who(self) -> dict[str, str]:
        return self.client.customer(self.customer)

    def run(self, work: Any) -> Any:
        return self.world.run(work)

    async def register(self, device_id: str) -> None:
        self.tokens += 1
        body = {"platform": "ios", "push_token": f"{self.customer}-{device_id}-{self.tokens}"}
        await self.client.ok("PUT", f"/v1/devices/{device_id}", body, who=self.who)

    async def patch(self, body: dict[str, Any]) -> None:
        await self.client.ok("PATCH", "/v1/me/preferences", body, who=self.who)

    async def rows(self) -> list[asyncpg.Record]:
        return await self.world.connection.fetch("select * from messages where customer_id = $1", self.customer)

    # What she does -----------------------------------------------------------------------------------------------

    def opt_out_for_a_while(self, purpose: str, deeds: int) -> None:
        """Withdraw right when something is about to happen, and perhaps come back."""
        self.consent(purpose, False)
        for store_id in sorted(STORES)[:deeds]:
            self.arrive(store_id, "phone")
        self.consent(purpose, True)

    def consent(self, purpose: str, granted: bool) -> None:
        body = {"granted": granted, "notice_version": "1"}
        self.run(self.client.ok("PUT", f"/v1/me/consents/{purpose}", body, who=self.who))
        self.consents[purpose] = granted
        if purpose == "marketing_push":
            begun = {row["message_id"] for row in self.run(self.rows()) if row["sending_at"] is not None}
            self.silent_from = None if granted else begun

    def choose_cap(self, cap: int | None) -> None:
        self.run(self.patch({"daily_cap": cap}))
        self.cap = CAP if cap is None else cap

    def choose_topic(self, topic: str, on: bool) -> None:
        self.run(self.patch({"topics": {topic: on}}))

    def shop(self, kind: str) -> None:
        event = {"type": kind, "occurred_at": self.client.now, "category": "running-shoes", "product_id": "p"}
        self.run(self.client.ok("POST", "/v1/events", {"events": [event]}, who=self.who))

    def arrive(self, store_id: str, device_id: str) -> None:
        """Half an hour on foot, then into the store."""
        lat, lon = STORES[store_id]
        start = self.client.now + timedelta(minutes=35)
        path = [fix(start, lat + FAR, lon), *(fix(start + timedelta(seconds=s), lat, lon) for s in (100, 160, 220))]
        self.run(self.post(device_id, path))
        self.where = lat, lon
        self.keeps_her_promises()

    def leave(self, minutes: int, device_id: str) -> None:
        lat, lon = getattr(self, "where", STORES["store-0"])
        start = self.client.now + timedelta(minutes=minutes)
        self.run(self.post(device_id, [fix(start + timedelta(seconds=s), lat + FAR, lon) for s in (100, 160)]))

    def stroll(self, order: list[str]) -> None:
        """From store to store, in and out."""
        for store_id in order:
            self.arrive(store_id, "phone")
            self.leave(5, "phone")

    def while_paused(self, campaign_id: str, store_id: str) -> None:
        """Operations pause a campaign; while it is paused nothing of it goes out."""
        client = self.client
        self.run(client.ok("POST", f"/v1/campaigns/{campaign_id}/pause", who=client.ops))
        before = self.sent(campaign_id=campaign_id)
        self.arrive(store_id, "phone")
        assert self.sent(campaign_id=campaign_id) == before
        self.run(client.ok("POST", f"/v1/campaigns/{campaign_id}/resume", who=client.ops))

    def while_muted(self, store_id: str) -> None:
        """A store wants silence; nothing about it goes out before it takes that back."""
        client = self.client
        self.run(client.ok("POST", f"/v1/stores/{store_id}/mute", who=client.ops))
        before = self.sent(store_id=store_id)
        self.arrive(store_id, "phone")
        assert self.sent(store_id=store_id) == before
        self.run(client.ok("POST", f"/v1/stores/{store_id}/unmute", who=client.ops))

    def sent(self, **of: str) -> set[str]:
        """Ids of the messages of that kind that have begun to go out."""
        rows = self.run(self.rows())
        return {
            row["message_id"]
            for row in rows
            if row["sending_at"] is not None and all(row[key] == value for key, value in of.items())
        }

    def answer(self, event: str) -> None:
        """She says something about the last message that reached her."""
        rows = [row for row in self.run(self.rows()) if row["state"] == MessageState.ACCEPTED]
        if rows:
            last = max(rows, key=lambda row: row["reserved_at"])["message_id"]
            path = f"/v1/me/messages/{last}/feedback"
            self.run(self.client.ok("POST", path, {"event": event}, who=self.who))

    def spend_an_evening_and_a_morning(self) -> None:
        """A store shortly before quiet hours, another one right after: two days, one night."""
        self.sleep_until(19)
        self.arrive("store-1", "phone")
        self.sleep_until(8)
        self.arrive("store-2", "phone")

    def sleep_until(self, hour: int) -> None:
        local = self.client.now.astimezone(ZONE)
        then = local.replace(hour=hour, minute=10, second=0)
        then += timedelta(days=then <= local)
        self.run(self.client.set_clock(then.astimezone(UTC)))
        self.run(self.due())

    async def post(self, device_id: str, fixes: list[dict[str, Any]]) -> None:
        await self.client.set_clock(max(self.client.now, fixes[-1]["recorded_at"]))
        receipt = await self.client.ping(self.customer, *fixes, device_id=device_id)
        allowed = bool(self.consents.get("location"))
        assert receipt["accepted"] == (len(fixes) if allowed else 0), receipt
        self.history.append(fixes)
        await self.client.settled()

    def pass_time(self, hours: float) -> None:
        self.run(self.client.pass_time(hours=hours))
        self.run(self.due())

    async def due(self) -> None:
        """Wait until what is due by now has been decided and sent."""
        what = "select 1 from deferred where customer_id = $1 and due_at <= $2"
        async with asyncio.timeout(60):
            while await self.world.connection.fetch(what, self.customer, self.client.now):
                await asyncio.sleep(0.02)
        await self.client.settled()

    def change_token(self, device_id: str) -> None:
        self.run(self.register(device_id))

    def send_old_pings_again(self, which: int) -> None:
        if self.history:
            fixes = self.history[which % len(self.history)]
            before = len(self.run(self.rows()))
            receipt = self.run(self.client.ping(self.customer, *fixes))
            assert receipt["rejected"] == []
            self.run(self.client.settled())
            if not receipt["accepted"]:
                assert len(self.run(self.rows())) == before

    def restart(self) -> None:
        self.run(self.world.restart())

    # What always holds -------------------------------------------------------------------------------------------

    def keeps_her_promises(self) -> None:
        self.run(self.due())
        rows = {row["message_id"]: row for row in self.run(self.rows())}
        self.each_is_in_one_state(rows)
        self.no_more_than_the_caps(rows)
        self.one_message_for_a_visit_and_campaign(rows)
        if self.silent_from is not None:
            assert {m for m, row in rows.items() if row["sending_at"] is not None} == self.silent_from

    def each_is_in_one_state(self, rows: dict[str, asyncpg.Record]) -> None:
        taken = Counter(
            push.message_id for push in self.world.fcm.accepted if push.token.startswith(f"{self.customer}-")
        )
        assert set(taken.values()) <= {1}
        assert taken.keys() == {m for m, row in rows.items() if row["state"] == MessageState.ACCEPTED}
        assert {row["state"] for row in rows.values()} <= {MessageState.ACCEPTED, *FREED}

    def no_more_than_the_caps(self, rows: dict[str, asyncpg.Record]) -> None:
        at = {m: row["accepted_at"] for m, row in rows.items() if row["state"] == MessageState.ACCEPTED}
        for message_id in at.keys() - self.accepted:
            when = at[message_id]
            assert sum(when - DAY < other <= when for other in at.values()) <= self.cap
            today = when.astimezone(ZONE).date()
            assert sum(other.astimezone(ZONE).date() == today for other in at.values()) <= self.cap
        self.accepted = set(at)

    def one_message_for_a_visit_and_campaign(self, rows: dict[str, asyncpg.Record]) -> None:
        held = [row for row in rows.values() if row["state"] not in FREED and row["visit_id"] is not None]
        assert set(Counter((row["visit_id"], row["campaign_id"]) for row in held).values()) <= {1}


@pytest.fixture
def world(postgres: str, tmp_path: Path) -> Iterator[World]:
    async def admin(statement: str) -> None:
        connection = await asyncpg.connect(postgres)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(admin("create database any_order template template_geoservice"))
    world = World(with_database(postgres, "any_order"), tmp_path)
    with world.runner:
        try:
            world.run(world.open())
            yield world
        finally:
            world.run(world.close())
    asyncio.run(admin("drop database any_order with (force)"))


DEEDS: dict[tuple[Any, ...], int] = {
    ("arrive", "store-0", "phone"): 4,
    ("arrive", "store-1", "phone"): 4,
    ("arrive", "store-2", "tablet"): 2,
    ("leave", 1, "phone"): 2,
    ("leave", 20, "phone"): 2,
    ("leave", 20, "tablet"): 1,
    ("stroll", ("store-2", "store-0", "store-1")): 2,
    ("spend_an_evening_and_a_morning",): 2,
    ("opt_out_for_a_while", "marketing_push", 2): 2,
    ("opt_out_for_a_while", "location", 1): 1,
    ("consent", "marketing_push", False): 1,
    ("consent", "marketing_push", True): 3,
    ("consent", "personalisation", False): 1,
    ("consent", "location", True): 2,
    ("choose_cap", 0): 1,
    ("choose_cap", 1): 2,
    ("choose_cap", None): 3,
    ("choose_topic", "sneakers", False): 1,
    ("choose_topic", "sneakers", True): 2,
    ("shop", "product_viewed"): 2,
    ("shop", "purchased"): 1,
    ("pass_time", 0.1): 1,
    ("pass_time", 2): 1,
    ("pass_time", 11): 2,
    ("pass_time", 25): 2,
    ("change_token", "phone"): 1,
    ("change_token", "tablet"): 2,
    ("send_old_pings_again", 0): 1,
    ("send_old_pings_again", -1): 1,
    ("while_paused", "open", "store-1"): 1,
    ("while_muted", "store-0"): 1,
    ("answer", "opened"): 1,
    ("answer", "creepy"): 1,
    ("answer", "helpful"): 1,
    ("restart",): 1,
}
"""What she may do, and how often."""


def test_whatever_she_does_in_any_order(world):
    """Consents, settings, purchases, walks, time and restarts in any order: caps, visits and her opt-out hold."""
    deeds = st.sampled_from([deed for deed, weight in DEEDS.items() for _ in range(weight)])

    @settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(deeds, min_size=16, max_size=24))
    def live(deeds: list[tuple[Any, ...]]) -> None:
        customer = Customer(world)
        for name, *arguments in deeds:
            getattr(customer, name)(*arguments)
            customer.keeps_her_promises()

    live()
    # They got somewhere: messages went out, and each of the rules refused some.
    assert len(world.fcm.accepted) >= 20
    rows = world.run(world.connection.fetch("select reason, count(*) as times from decisions group by 1"))
    reasons = {row["reason"] for row in rows}
    assert {"daily_cap", "daily_cap_rolling", "visit_already_served", "no_push_consent"} <= reasons
