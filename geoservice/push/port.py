"""The door to the outside world: what goes out, and what a sender must be able to do."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from geoservice.push.outcomes import Outcome
from geoservice.vocabulary import Channel, Platform


class OutgoingPush(msgspec.Struct, frozen=True, kw_only=True):
    """One push, ready to go. Its representation shows ids only: it may end up in a log or a traceback.

    At least one of ``fid`` (Firebase Installation ID) and ``push_token`` is there; ``fid`` is used when both
    are. ``ttl_s`` is how long the provider may keep it for a phone that is off, in seconds from now;
    ``expires_at`` is the same moment as an instant. ``collapse_key`` lets a later push replace this one.
    """

    message_id: str
    campaign_id: str
    title: str
    body: str
    collapse_key: str
    expires_at: datetime
    ttl_s: int
    platform: Platform | None = None
    push_token: str | None = None
    fid: str | None = None
    deep_link: str | None = None
    image_url: str | None = None
    data: dict[str, str] = {}
    analytics_label: str | None = None

    def __repr__(self) -> str:
        return f"OutgoingPush(message_id={self.message_id!r}, campaign_id={self.campaign_id!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("message_id", self.message_id), ("campaign_id", self.campaign_id)]


class Sender(Protocol):
    """Hands one message at a time to one channel's provider. Safe to call from many tasks at once.

    Push and inbox are such channels; SMS and e-mail would be others. Whatever the channel, decisions, caps and the
    states of a message are the same: a sender only says what became of one attempt.
    """

    @property
    def channel(self) -> Channel:
        """Which messages it takes."""
        ...

    async def send(self, push: OutgoingPush) -> Outcome:
        """Try once. Every failure is an outcome; only cancellation raises, and leaves the push in doubt."""
        ...

    async def check(self) -> Outcome | None:
        """Try what can be tried without a customer: is the account good? None when there is nothing to try."""
        ...

    async def close(self) -> None:
        """Give connections back. Nothing can be sent afterwards."""
        ...

    def describe(self) -> str:
        """One line for the start-up log: where messages go."""
        ...
