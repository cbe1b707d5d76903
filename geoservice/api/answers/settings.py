"""What she allows and wants, and what a change of it stopped."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from geoservice.api.schemas import QuietHoursBody
from geoservice.vocabulary import Channel, Purpose


class ConsentItem(Struct, omit_defaults=True):
    """The record in force for one purpose."""

    purpose: Purpose
    granted: bool
    notice_version: str | None = None
    language: str | None = None
    source: str | None = None
    os_permission: str | None = None
    jurisdiction: str | None = None
    controller: str | None = None
    data_used: list[str] | None = None
    recorded_at: datetime | None = None


class ConsentsAnswer(Struct):
    """Every purpose; one that was never answered is not granted."""

    items: list[ConsentItem]


class ConsentChanged(Struct):
    """A consent as it holds now; message ids that the change cancelled, and that may be with the provider already."""

    purpose: Purpose
    granted: bool
    notice_version: str
    recorded_at: datetime
    cancelled: list[str]
    in_flight: list[str]


class PreferencesAnswer(Struct):
    """The settings in force; null means the retailer's default."""

    topics: dict[str, bool]
    channels: dict[Channel, bool]
    quiet_hours: QuietHoursBody | None
    daily_cap: int | None
    comfort_level: int
    snooze_until: datetime | None
    timezone: str | None
    privacy_signal: bool
    interests: dict[str, bool]


class PreferencesChanged(PreferencesAnswer):
    """The settings as they hold now, and the message ids that the change cancelled or came too late for."""

    cancelled: list[str]
    in_flight: list[str]
