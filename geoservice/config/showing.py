"""The settings in force as people read them: written as they would be set, secrets masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from geoservice.config import reading
from geoservice.config.settings import SETTINGS, Setting, Settings

MASK: Final = "********"


def shown(settings: Settings) -> list[tuple[Setting, str]]:
    """Every setting with its value as text, secrets masked, in the order of the table; "" is unset."""
    return [(setting, _shown(setting, getattr(settings, setting.attribute))) for setting in SETTINGS]


def _shown(setting: Setting, value: Any) -> str:
    if value is None:
        return "none" if setting.parse is reading.quiet_hours else ""
    if write := _WRITERS.get(setting.parse):
        return write(value)
    return MASK if setting.secret else str(value)


def _without_password(url: str) -> str:
    """The database URL for people: passwords may stand before the host and in the query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}:{MASK}@" if parts.password else f"{parts.username}@" if parts.username else ""
    query = MASK if "password" in parts.query.lower() else parts.query
    return urlunsplit(parts._replace(netloc=user + host, query=query))


_WRITERS: Final[Mapping[Callable[[str], Any], Callable[[Any], str]]] = {
    reading.database_url: _without_password,
    reading.origins: ",".join,
    reading.quiet_hours: lambda hours: "-".join(f"{local:%H:%M}" for local in hours),
}
"""Of kinds of values that are not written by ``str``."""
