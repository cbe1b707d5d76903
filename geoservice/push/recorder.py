"""The sender of a service that has no push credentials: it keeps what it would have sent."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from geoservice.push.outcomes import Accepted, Outcome
from geoservice.push.port import OutgoingPush
from geoservice.vocabulary import Channel

KEPT_MAX: Final = 1_000


class RecorderSender:
    """Accepts everything. ``recorded`` holds the last pushes, oldest first, without tokens, in memory."""

    channel: Final = Channel.PUSH

    def __init__(self, *, kept_max: int = KEPT_MAX) -> None:
        self.recorded: deque[OutgoingPush] = deque(maxlen=kept_max)

    async def send(self, push: OutgoingPush) -> Outcome:
        """Keep it, and accept it under an id that nobody can take for a provider's."""
        self.recorded.append(msgspec.structs.replace(push, push_token=None, fid=None))
        return Accepted(f"recorded:{push.message_id}")

    async def check(self) -> None:
        """Nothing can be wrong with it."""

    async def close(self) -> None:
        """Nothing to give back."""

    def describe(self) -> str:
        """Say loudly that no phone will ring."""
        return "RECORDER: no push credentials are configured, so NOTHING LEAVES THE HOUSE; pushes are kept here."
