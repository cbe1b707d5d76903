"""Geofences, their publications, and what an upload did."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from geoservice.api.answers.problems import ErrorPlace


class ChangedIds(Struct):
    """The first ids of each kind of change."""

    created: list[str]
    changed: list[str]
    removed: list[str]


class ImportAnswer(Struct, omit_defaults=True):
    """What an upload did, or would do."""

    version: int
    created: int
    changed: int
    unchanged: int
    removed: int
    ids: ChangedIds
    warnings: list[ErrorPlace]
    dry_run: bool = False


class Feature(Struct, tag_field="type", tag="Feature"):
    """A GeoJSON Feature (RFC 7946)."""

    id: str
    geometry: dict[str, Any]
    properties: dict[str, Any]


class FeatureCollection(Struct, tag_field="type", tag="FeatureCollection"):
    """A GeoJSON FeatureCollection (RFC 7946)."""

    features: list[Feature]


class VersionItem(Struct):
    """One publication of geofences, and how many it changed."""

    version: int
    published_at: datetime
    actor: str
    summary: dict[str, int]


class VersionsAnswer(Struct, omit_defaults=True):
    """Publications of geofences, newest first; ``next`` is ``before`` of the following page."""

    items: list[VersionItem]
    next: str | None = None


class ChangeItem(Struct):
    """One geofence that a publication touched; null where it was not there."""

    geofence_id: str
    change: Literal["created", "changed", "removed"]
    before: Feature | None
    after: Feature | None


class VersionAnswer(VersionItem, omit_defaults=True, kw_only=True):
    """One publication, and what it changed, by id; ``next`` is ``after`` of the following page."""

    items: list[ChangeItem]
    next: str | None = None
