"""Builders for the decision tests: the shoe story as a default, of which each test changes one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from geoservice.decisions.campaigns import Campaign, CampaignSpec
from geoservice.decisions.compiling import compile_campaign
from geoservice.decisions.facts import (
    ConsentFact,
    ContextEvent,
    CustomerFacts,
    Facts,
    GeofenceFacts,
    Preferences,
    RetailerDefaults,
    Slot,
    StoreFacts,
)
from geoservice.vocabulary import EventType, GeofenceKind, MessageState, Purpose, Transition, TransitionKind

SHOES = {
    "name": "Shoes nearby",
    "topic": "sneakers",
    "trigger": {"on": "enter", "geofence_kind": "approach"},
    "uses": ["browse"],
    "context": {
        "interest": {
            "category": "running-shoes",
            "events": ["product_viewed", "wishlisted", "carted"],
            "min_count": 2,
            "within_days": 14,
            "not_purchased": True,
        }
    },
    "content": {
        "title": "{{ interest.category | capitalize }} at {{ store.name }}",
        "body": "You looked {{ interest.days_ago }} days ago; they are here.",
        "deep_link": "shop://store/map",
    },
}


class Builder:
    """Saturday 22 November 2025, 14:00 in Berlin: a week after looking at shoes, she passes the store."""

    at = datetime(2025, 11, 22, 13, 0, tzinfo=UTC)
    looked_at = datetime(2025, 11, 15, 18, 30, tzinfo=UTC)
    allowed_at = datetime(2025, 11, 1, 9, 0, tzinfo=UTC)

    def body(self, **changes: Any) -> dict[str, Any]:
        """A campaign's body; ``content`` and ``trigger`` are merged, anything else is replaced."""
        merged = {key: {**SHOES[key], **changes.pop(key)} for key in ("content", "trigger") if key in changes}
        return {**SHOES, **merged, **changes}

    def spec(self, **changes: Any) -> CampaignSpec:
        """A campaign's body as its type."""
        return msgspec.convert(self.body(**changes), CampaignSpec)

    def campaign(self, campaign_id: str = "shoes", version: int = 1, **changes: Any) -> Campaign:
        """The shoe campaign, compiled."""
        return compile_campaign(campaign_id, version, self.spec(**changes))

    def compiled(self, campaign_id: str, body: dict[str, Any]) -> Campaign:
        """Any body, compiled."""
        return compile_campaign(campaign_id, 1, msgspec.convert(body, CampaignSpec))

    def transition(self, **changes: Any) -> Transition:
        """She comes near the store, just now."""
        default = {"kind": TransitionKind.ENTER, "geofence_id": "f1", "at": self.at, "confidence": 0.95}
        return Transition(**{**default, **changes})

    def event(
        self,
        type_: EventType = EventType.PRODUCT_VIEWED,
        occurred_at: datetime | None = None,
        category: str | None = "running-shoes",
        **more: Any,
    ) -> ContextEvent:
        """She looks at running shoes, a week before."""
        return ContextEvent(type=type_, occurred_at=occurred_at or self.looked_at, category=category, **more)

    def looks(self, **more: Any) -> tuple[ContextEvent, ...]:
        """She looks twice at the same shoe."""
        earlier = self.looked_at - timedelta(minutes=5)
        return tuple(self.event(occurred_at=at, product_id="shoe", **more) for at in (self.looked_at, earlier))

    def slot(
        self, ago: timedelta = timedelta(days=3), state: MessageState = MessageState.ACCEPTED, **changes: Any
    ) -> Slot:
        """A message reserved and, when accepted, accepted ``ago`` before the story's moment."""
        reserved_at = self.at - ago
        default = {
            "message_id": "m1",
            "campaign_id": "other",
            "topic": "sneakers",
            "state": state,
            "reserved_at": reserved_at,
            "expires_at": reserved_at + timedelta(minutes=10),
            "accepted_at": reserved_at if state is MessageState.ACCEPTED else None,
        }
        return Slot(**{**default, **changes})

    def consents(self, *without: Purpose) -> dict[Purpose, ConsentFact]:
        """All consents but these."""
        return {each: ConsentFact(True, self.allowed_at, "v1") for each in Purpose if each not in without}

    def preferences(self, **changes: Any) -> Preferences:
        """Her topic is on, all else as it comes."""
        return Preferences(**{"topics": {"sneakers": True}, **changes})

    def facts(self, **changes: Any) -> Facts:
        """The shoe story."""
        default = {
            "transition": self.transition(),
            "geofence": GeofenceFacts("f1", "Harbour Street approach", GeofenceKind.APPROACH, ("city",)),
            "store": StoreFacts("s1", "Harbour Street", "Europe/Berlin", "Mo-Sa 09:00-20:00"),
            "visit_id": "v1",
            "customer": CustomerFacts(timezone="Europe/Berlin"),
            "consents": self.consents(),
            "preferences": self.preferences(),
            "events": (self.event(), self.event(occurred_at=self.looked_at - timedelta(minutes=5))),
            "slots": (),
            "campaigns": (self.campaign(),),
            "retailer": RetailerDefaults(),
        }
        return Facts(**{**default, **changes})


@pytest.fixture(scope="session")
def build() -> Builder:
    return Builder()
