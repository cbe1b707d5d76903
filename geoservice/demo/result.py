"""What the story came to: each step as the service answered it, and where that differs from what is told."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field


class Push(Struct):
    """A message as it reached the phone. ``provider_message_id`` is the push provider's own."""

    customer: str
    campaign_id: str
    title: str
    body: str
    why: dict[str, Any]
    message_id: str
    at: datetime
    provider_message_id: str | None = None


class Other(Struct, frozen=True):
    """What another campaign decided about the same moment."""

    campaign_id: str
    outcome: str
    reason: str | None


class Step(Struct):
    """One step. ``noted`` steps ask for no message; ``ignored`` is a walk of which nothing was kept.

    ``sentence`` says the reason, and ``checks`` are the decision's, both as the API gives them.
    """

    at: datetime
    who: str
    title: str
    text: str
    outcome: Literal["noted", "ignored", "send", "suppress", "none"] = "noted"
    reason: str | None = None
    sentence: str | None = None
    store: str | None = None
    campaign_id: str | None = None
    decision_id: str | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    pings: int = 0
    pings_ignored: int = 0
    push: Push | None = None


class Result(Struct):
    """The story's end; ``differences`` says in sentences what did not go as told."""

    steps: list[Step] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    decisions: int = 0
    seconds: float = 0.0
    url: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything went as told."""
        return not self.differences

    @property
    def pushes(self) -> list[Push]:
        """Every message, in order."""
        return [step.push for step in self.steps if step.push is not None]

    @property
    def silences(self) -> Counter[str]:
        """How many walks ended in silence, by reason."""
        return Counter(step.reason for step in self.steps if step.reason is not None)
