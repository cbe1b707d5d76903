"""How the service is."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class HealthAnswer(Struct):
    """The process is alive."""

    status: str


class ReadyAnswer(Struct):
    """Whether requests can be served; what is missing, in sentences, and what keeps messages from going out."""

    ready: bool
    checks: dict[str, bool]
    missing: list[str]
    warnings: list[str]


class ClockAnswer(Struct):
    """The business time."""

    now: datetime
