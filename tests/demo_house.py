"""A demo without its story: its service with the sample city, the stand-in for FCM, the phones that it hands out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from conftest import OPS_KEY, Client, environment, new_database

from geoservice.app import App
from geoservice.config import load_settings
from geoservice.demo import client as demo_client
from geoservice.demo.city import City, publish
from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.demo.phones import Phones
from geoservice.demo.stage import ZONE

WEDNESDAY_NOON = datetime(2026, 3, 18, 12, 0, tzinfo=ZONE)


@dataclass
class DemoHouse:
    """What there is in a demo."""

    client: Client
    phones: Phones
    city: City
    fcm: FcmStandIn

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.client.app.url

    async def new_phone(self) -> Any:
        """A phone as the page makes it: registered as `browser`, all allowed, two pairs of running shoes looked at."""
        phone = await self.client.ok("POST", "/demo/phones", {})
        who = {"Authorization": f"Bearer {phone['token']}"}
        device = {"platform": "android", "push_token": phone["push_token"]}
        await self.client.ok("PUT", "/v1/devices/browser", device, who=who)
        notice = (await self.client.ok("GET", "/v1/me/notice", who=who))["version"]
        for purpose in ("location", "marketing_push", "personalisation"):
            consent = {"granted": True, "notice_version": notice}
            await self.client.ok("PUT", f"/v1/me/consents/{purpose}", consent, who=who)
        await self.client.ok("PATCH", "/v1/me/preferences", {"topics": {"running": True}}, who=who)
        now = await self.time()
        events = [
            {"type": "product_viewed", "occurred_at": now, "category": "running-shoes", "product_id": product}
            for product in ("swift-3", "tide-2")
        ]
        await self.client.ok("POST", "/v1/events", {"events": events}, who=who)
        return SimpleNamespace(who=who, **phone)

    async def time(self) -> datetime:
        """The time in the demo."""
        return datetime.fromisoformat((await self.client.ok("GET", "/demo/time"))["now"])

    async def set_time(self, at: datetime = WEDNESDAY_NOON) -> None:
        """Time flows from there on, as it does for whoever plays."""
        await self.client.ok("PUT", "/v1/clock", {"now": at, "flows": True}, who=self.client.ops)


@asynccontextmanager
async def demo_house(postgres: str, folder: Path) -> AsyncIterator[Any]:
    """Start one; it is noon on a Wednesday in March, in Hamburg."""
    async with new_database(postgres) as url, FcmStandIn() as fcm:
        fcm.credentials = fcm.write_service_account(folder / "account.json")
        phones = Phones(fcm)
        app = App(load_settings(environment(url, fcm, folder)), demo=phones.routes)
        async with app, phones, aiohttp.ClientSession() as session:
            client = Client(app, session, fcm)
            shop = demo_client.Client(app.url, session, OPS_KEY, lambda who: client.tokens.sign(who, 3600))
            house = DemoHouse(client, phones, await publish(shop), fcm)
            await house.set_time()
            yield house
