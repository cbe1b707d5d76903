"""How the service is."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from geoservice.vocabulary import Role


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


class KeyAnswer(Struct):
    """An API key: its name in the audit log, and its roles."""

    name: str
    roles: list[Role]


class PagesAnswer(Struct):
    """What the web pages need before anybody signs in."""

    map_style_url: str | None
    """Unset, the pages draw a map of their own."""
    demo: bool
    """Whether the phone page may take a made-up customer, and move the time."""
