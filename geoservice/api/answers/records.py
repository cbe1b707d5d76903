"""Stores and customers as they are known, and what happened: transitions and decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from geoservice.api.answers.messages import WhyAnswer
from geoservice.decisions.decide import Outcome
from geoservice.decisions.reasons import Gate
from geoservice.vocabulary import MessageState, Source, TransitionKind


class StoreAnswer(Struct, omit_defaults=True):
    """A store."""

    id: str
    name: str
    lat: float
    lon: float
    timezone: str
    opening_hours: str | None = None
    address: str | None = None
    muted_until: datetime | None = None


class StoresAnswer(Struct):
    """Every store."""

    items: list[StoreAnswer]


class CustomerAnswer(Struct):
    """What the shop knows was stored."""

    id: str
    stored: bool


class TransitionItem(Struct, omit_defaults=True):
    """A phone and a geofence; ids of persons only for whoever asked for one customer."""

    id: str
    geofence_id: str
    kind: TransitionKind
    at: datetime
    confidence: float
    source: Source
    late: bool
    initial: bool
    assumed: bool
    undecided: bool
    customer_id: str | None = None
    device_id: str | None = None
    visit_id: str | None = None


class TransitionsAnswer(Struct, omit_defaults=True):
    """Transitions as they were stored; ``next`` is ``after`` of the following page."""

    items: list[TransitionItem]
    next: str | None = None


class CheckAnswer(Struct):
    """One gate's result, with the facts that it used."""

    gate: Gate
    passed: bool
    reason: str | None
    facts: dict[str, Any]


class DecisionAnswer(Struct, omit_defaults=True):
    """What one campaign did about one transition, with every check."""

    id: str
    transition_id: str
    campaign_id: str
    campaign_version: int
    geofence_id: str
    outcome: Outcome
    reason: str | None
    checks: list[CheckAnswer]
    at: datetime
    geofence_name: str | None = None
    store_name: str | None = None
    sentence: str | None = None
    customer_sentence: str | None = None
    customer_id: str | None = None
    store_id: str | None = None
    visit_id: str | None = None
    message_id: str | None = None
    message_state: MessageState | None = None
    payload: dict[str, Any] | None = None
    why: WhyAnswer | None = None
    failure: str | None = None
    provider_message_id: str | None = None


class DecisionsAnswer(Struct, omit_defaults=True):
    """Decisions as they were taken; ``next`` is ``after`` of the following page."""

    items: list[DecisionAnswer]
    next: str | None = None
