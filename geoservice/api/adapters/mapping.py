"""What the mappings have in common: values of other names and units, checked against our types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from geoservice.errors import ErrorDetail
from geoservice.plain_words import detail_of
from geoservice.vocabulary import Id, Ignored, Observation


@dataclass(slots=True)
class Mapped:
    """What a payload holds, by the index of the record that it came from."""

    device_id: str | None = None
    observations: list[tuple[int, Observation]] = field(default_factory=list)
    ignored: list[tuple[int, Ignored]] = field(default_factory=list)
    rejected: list[tuple[int, ErrorDetail]] = field(default_factory=list)

    def take(self, index: int, kind: type[Observation], values: Mapping[str, Any], names: Mapping[str, str]) -> None:
        """Add one observation, or what is wrong with it by the client's own ``names``; None is left out."""
        given = {key: value for key, value in values.items() if value is not None}
        try:
            self.observations.append((index, msgspec.convert({"type": tag_of(kind), **given}, kind)))
        except msgspec.ValidationError as error:
            self.rejected.append((index, _renamed(error, names)))


def tag_of(kind: type[Observation]) -> str:
    """How our own payloads call this kind of observation."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str)  # noqa: S101 - all observations have one
    return tag


def _renamed(error: msgspec.ValidationError, names: Mapping[str, str]) -> ErrorDetail:
    detail = detail_of(error)
    message = detail.message
    for ours, theirs in names.items():
        message = message.replace(f"`{ours}`", f"`{theirs}`")
    return ErrorDetail(names.get(detail.path, detail.path), detail.code, message)


def known(value: Any) -> Any:
    """The value, or None where a number below zero says that it is not known."""
    return None if isinstance(value, int | float) and not isinstance(value, bool) and value < 0 else value


def scaled(value: Any, factor: float) -> Any:
    """The value in another unit; what is no number stays for the check to name."""
    return value * factor if isinstance(value, int | float) and not isinstance(value, bool) else value


def instant(seconds: Any) -> Any:
    """The instant of a Unix time; what is none stays for the check to name."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return seconds
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return "beyond the calendar"


def as_id(value: Any) -> str | None:
    """The value, if it can be an id of ours."""
    try:
        return msgspec.convert(value, Id)
    except msgspec.ValidationError:
        return None
