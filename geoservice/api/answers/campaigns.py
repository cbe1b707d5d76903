"""Campaigns and their versions, and how long a store is muted."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from geoservice.decisions.campaigns import CampaignSpec


class CampaignAnswer(CampaignSpec, frozen=True, kw_only=True):
    """A campaign in its newest version; since when it is live, and why it paused itself, if it did."""

    id: str
    version: int
    live_since: datetime | None = None
    paused_because: str | None = None


class CampaignsAnswer(Struct):
    """Every campaign."""

    items: list[CampaignAnswer]


class PausedAnswer(CampaignAnswer, frozen=True, kw_only=True):
    """A paused campaign, and how many of its messages were waiting and will not be sent."""

    cancelled: int


class CampaignVersion(CampaignSpec, frozen=True, kw_only=True):
    """A campaign as it was from ``at`` on, until its next version."""

    id: str
    version: int
    at: datetime


class CampaignVersionsAnswer(Struct, omit_defaults=True):
    """Versions, newest first; ``next`` is ``before`` of the following page."""

    items: list[CampaignVersion]
    next: str | None = None


class MuteAnswer(Struct):
    """Until when nothing is sent about a store; null when it is not muted."""

    id: str
    muted_until: datetime | None
