"""The inbox inside the app: its messages are rows that the app reads; handing one over is to say that it is there."""

from __future__ import annotations

from typing import Final

from geoservice.push.outcomes import Accepted, Outcome
from geoservice.push.port import OutgoingPush
from geoservice.vocabulary import Channel


class InboxSender:
    """Accepts every message: `GET /v1/me/messages` shows it from then on. No phone rings."""

    channel: Final = Channel.INBOX

    async def send(self, push: OutgoingPush) -> Outcome:
        """Accept it under an id that nobody can take for a provider's."""
        return Accepted(f"inbox:{push.message_id}")

    async def check(self) -> None:
        """Nothing can be wrong with it."""

    async def close(self) -> None:
        """Nothing to give back."""

    def describe(self) -> str:
        """Where its messages go."""
        return "the inbox in the app"
