"""The stage: what people in the story can do, what the service says to it, and whether that was expected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from geoservice.decisions.reasons import REASONS, Reason
from geoservice.demo.city import City, Place
from geoservice.demo.client import Client
from geoservice.demo.result import Other, Push, Result, Step
from geoservice.demo.shop import NOTICE
from geoservice.demo.walks import drive_by, walk_past

ZONE: Final = ZoneInfo("Europe/Berlin")
DELIVERY_TIMEOUT_S: Final = 10.0
_ENDED: Final = frozenset({"accepted", "failed", "unknown", "expired", "cancelled"})

Tell = Callable[[Step], None]
Taken = Callable[[], Sequence[str | None]]
"""Our ids of the messages that the push provider took, in its own words."""


class Stage:
    """Does one thing at a time, tells it, and compares the answer with what was expected."""

    def __init__(self, client: Client, city: City, taken: Taken, tell: Tell) -> None:
        self._client = client
        self._city = city
        self._taken = taken
        self._tell = tell
        self.result = Result(url=client.url)

    # What people do -----------------------------------------------------------------------------------------

    async def install_app(self, customer: str, at: datetime) -> None:
        """Register a phone; nothing to tell."""
        await self._client.put_clock(at)
        phone = {"platform": "android", "push_token": f"token-of-{customer}s-phone", "timezone": ZONE.key}
        await self._client.call("PUT", f"/v1/devices/{_phone(customer)}", phone, customer=customer)

    async def allow(self, customer: str, topics: list[str]) -> list[str]:
        """Give what a personal offer by place needs; returns the purposes that the service has as granted."""
        purposes = ["location", "marketing_push", "personalisation"]
        for purpose in purposes:
            consent = {"granted": True, "notice_version": NOTICE, "language": "en", "source": "settings of the app"}
            await self._client.call("PUT", f"/v1/me/consents/{purpose}", consent, customer=customer)
        patch = {"topics": dict.fromkeys(topics, True)}
        await self._client.call("PATCH", "/v1/me/preferences", patch, customer=customer)
        consents = await self._client.items("/v1/me/consents", customer=customer)
        return [consent["purpose"] for consent in consents if consent["granted"]]

    async def opt_in(self, customer: str, at: datetime, topics: list[str], *, title: str, text: str) -> None:
        """Give all consents, and switch topics on."""
        await self._client.put_clock(at)
        granted = await self.allow(customer, topics)
        facts = f"Allowed: {_listed(granted)}. Topics: {_listed(topics)}."
        self._note(Step(at, customer, title, f"{text} {facts}"))

    async def shop_online(
        self, customer: str, at: datetime, kind: str, category: str, products: list[str], *, title: str, text: str
    ) -> None:
        """Do something with products in the app."""
        await self._client.put_clock(at)
        events = [
            {"type": kind, "occurred_at": at - timedelta(minutes=4 * i), "category": category, "product_id": product}
            for i, product in enumerate(reversed(products))
        ]
        await self._client.call("POST", "/v1/events", {"events": events}, customer=customer)
        self._note(Step(at, customer, title, text))

    async def buy(
        self, customer: str, at: datetime, category: str, product: str, store_id: str, *, title: str, text: str
    ) -> None:
        """Buy in a store: the till reports it, not the phone."""
        await self._client.put_clock(at)
        event = {
            "type": "purchased", "occurred_at": at, "category": category, "product_id": product, "quantity": 1,
            "store_id": store_id, "order_id": "till-4711",
        }  # fmt: skip
        await self._client.call("POST", f"/v1/customers/{quote(customer)}/events", {"events": [event]})
        self._note(Step(at, customer, title, text, store=self._city.places[store_id].name))

    async def walk(
        self, customer: str, at: datetime, store_id: str, *, title: str, text: str,
        about: str | None = None, expect: Reason | None = None, drives: bool = False,
    ) -> None:  # fmt: skip
        """Move past a store; ``about`` is the campaign to look at, ``expect`` its reason, None a push."""
        place = self._city.places[store_id]
        step = Step(at, customer, title, text, store=place.name, campaign_id=about)
        await self._move(step, place, drives=drives)
        decisions = await self._client.items(f"/v1/decisions?customer_id={customer}&since={quote(at.isoformat())}")
        if about is None:
            await self._nothing_kept(step, decisions)
        else:
            await self._read_decisions(step, decisions)
        self._compare(step, expect)
        self._note(step)

    async def _move(self, step: Step, place: Place, *, drives: bool) -> None:
        """Send the fixes as they happen, one by one; a message is waited for as long as the phone would."""
        for fix in (drive_by if drives else walk_past)(place, step.at):
            await self._client.put_clock(fix["recorded_at"])
            body = {"device_id": _phone(step.who), "pings": [fix]}
            receipt = await self._client.call("POST", "/v1/pings", body, customer=step.who)
            step.pings += 1
            for ignored in receipt["ignored"]:
                step.pings_ignored += 1
                step.reason = ignored["reason"]
            await self._until_delivered(step.who)

    async def _until_delivered(self, customer: str) -> None:
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            while any(m["state"] not in _ENDED for m in await self._messages(customer, limit=1)):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def _messages(self, customer: str, limit: int = 50) -> list[dict[str, Any]]:
        return await self._client.items(f"/v1/me/messages?limit={limit}", customer=customer)

    # What the service says ----------------------------------------------------------------------------------

    async def _nothing_kept(self, step: Step, decisions: list[dict[str, Any]]) -> None:
        step.sentence = REASONS[Reason(step.reason)].ops if step.reason else None
        kept = await self._client.items(f"/v1/transitions?customer_id={step.who}")
        places = await self._client.items("/v1/me/presence", customer=step.who)
        if step.pings_ignored == step.pings and not (decisions or kept or places):
            step.outcome = "ignored"
        else:
            found = f"{len(kept)} transitions, {len(places)} places, {len(decisions)} decisions"
            self._differ(step, "a way of which nothing is kept", found)

    async def _read_decisions(self, step: Step, decisions: list[dict[str, Any]]) -> None:
        step.outcome = "none"
        for decision in decisions:
            if decision["campaign_id"] != step.campaign_id:
                step.others.append(Other(decision["campaign_id"], decision["outcome"], decision["reason"]))
                continue
            step.outcome, step.reason = decision["outcome"], decision["reason"]
            step.sentence, step.checks = decision.get("sentence"), decision["checks"]
            step.decision_id = decision["id"]
            if decision.get("message_id"):
                step.push = await self._push(step.who, decision)

    async def _push(self, customer: str, decision: dict[str, Any]) -> Push:
        message_id = decision["message_id"]
        decided = await self._client.call("GET", f"/v1/decisions/{decision['id']}")
        message = await self._client.call("GET", f"/v1/me/messages/{message_id}", customer=customer)
        return Push(
            customer=customer,
            campaign_id=message["campaign_id"],
            title=message["title"],
            body=message["body"],
            why=message["why"],
            message_id=message_id,
            at=datetime.fromisoformat(message["accepted_at"] or message["at"]).astimezone(ZONE),
            provider_message_id=decided.get("provider_message_id"),
        )

    def _note(self, step: Step) -> None:
        self.result.steps.append(step)
        self._tell(step)

    # Expectations -------------------------------------------------------------------------------------------

    def _compare(self, step: Step, expect: Reason | None) -> None:
        wanted = "a push" if expect is None else f"silence for {expect.value}"
        silence = f"silence for {step.reason}" if step.reason else "no decision"
        found = "a push" if step.outcome == "send" else silence
        if wanted != found:
            self._differ(step, wanted, found)
        for other in step.others:
            if other.outcome == "send":
                self._differ(step, f"silence of {other.campaign_id}", "a push")
        if step.push is not None and step.push.provider_message_id is None:
            self._differ(step, "a push that the provider took", "one that it never saw")

    def _differ(self, step: Step, wanted: str, found: str) -> None:
        self.result.differences.append(f"{step.at:%d %B %H:%M}, {step.title}: told was {wanted}; it was {found}.")

    async def check_the_books(self, customers: Iterable[str]) -> None:
        """Nobody got anything that the story does not tell, and the provider took each message once."""
        told = {push.message_id for push in self.result.pushes}
        stored = {m["id"] for who in customers for m in await self._messages(who)}
        taken = self._taken()
        if not (told == stored == set(taken) and len(taken) == len(told)):
            self.result.differences.append(
                f"The story tells of {len(told)} messages; the service has {len(stored)}, "
                f"the provider took {len(taken)}."
            )
        self.result.decisions = len(await self._client.items("/v1/decisions?limit=1000"))


def _phone(customer: str) -> str:
    return f"{customer}s-phone"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
