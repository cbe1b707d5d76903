"""Messages, why they came, what she did with them; and what is stopped."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from geoservice.vocabulary import Channel, MessageEvent, MessageState, Purpose


class ConsentUsed(Struct):
    """A consent that a message rests on."""

    purpose: Purpose
    since: datetime
    notice_version: str


class WhyAnswer(Struct):
    """Why you got this, in plain words."""

    summary: str
    data_used: list[str]
    consents: list[ConsentUsed]
    how_to_change: str


class TimelineItem(Struct):
    """One thing that happened to a message: decided, a state, or what the phone and she did with it."""

    at: datetime
    what: str
    detail: str | None


class MessageAnswer(Struct):
    """A message to the customer; ``timeline`` is its life, oldest first."""

    id: str
    campaign_id: str
    topic: str
    channel: Channel
    state: MessageState
    at: datetime
    accepted_at: datetime | None
    expires_at: datetime
    store_id: str | None
    title: str
    body: str
    deep_link: str | None
    image_url: str | None
    why: WhyAnswer
    timeline: list[TimelineItem]


class AnyMessageAnswer(MessageAnswer):
    """A message as support sees it: whose it is, what was tried, why it ended."""

    customer_id: str
    decision_id: str
    device_id: str | None
    attempts: int
    in_doubt: bool
    provider_message_id: str | None
    failure: str | None


class MessagesAnswer(Struct, omit_defaults=True):
    """Messages, newest first; ``next`` is ``before`` of the following page."""

    items: list[MessageAnswer]
    next: str | None = None


class FeedbackAnswer(Struct):
    """What is on record: the first report of an event holds."""

    id: str
    event: MessageEvent
    at: datetime
    repeated: bool


class StopItem(Struct):
    """A stop in force: `all`, `channel:` or `campaign:` with its name."""

    scope: str
    at: datetime
    actor: str
    reason: str | None


class StopsAnswer(Struct):
    """Every stop in force."""

    items: list[StopItem]


class StopAnswer(StopItem):
    """A stop in force; ``in_flight`` messages had left before it."""

    in_flight: int
