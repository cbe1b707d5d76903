"""How the text of a setting becomes its value; a ValueError has the words that follow the name in a sentence."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``; a name other than ``localhost`` is not trusted to."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def text(value: str) -> str:
    """Read any text."""
    return value


def whole(low: int, high: int) -> Callable[[str], int]:
    """Read a whole number from ``low`` to ``high``."""

    def parse(value: str) -> int:
        # isdecimal alone takes digits of every script, and int() takes "1_000" and " 7".
        if not (value.isascii() and value.isdecimal()) or not low <= int(value[:12]) <= high:
            raise ValueError(f"must be a whole number from {low:,} to {high:,}; it is {value!r}")
        return int(value)

    return parse


def one_of(*words: str) -> Callable[[str], Any]:
    """Read one of these words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(words)}; it is {value!r}")
        return value

    return parse


def at_least_characters(minimum: int) -> Callable[[str], str]:
    """Read text of so many characters or more."""
    return _at_least(minimum, "characters", len)


def at_least_bytes(minimum: int) -> Callable[[str], str]:
    """Read text of so many bytes or more."""
    return _at_least(minimum, "bytes", lambda value: len(value.encode("utf-8", "surrogateescape")))


def _at_least(minimum: int, unit: str, measure: Callable[[str], int]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if measure(value) < minimum:
            raise ValueError(f"must have at least {minimum} {unit}; it has {measure(value)}")
        return value

    return parse


def absolute_path(value: str) -> Path:
    """Read a path that means the same wherever the service is started."""
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError(f"must be an absolute path; it is {value!r}")
    return path


def readable_file(value: str) -> Path:
    """Read the path of a file that is there, and that this user may read."""
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"must name a file; there is none at {value!r}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"must name a file that this user may read; {value!r} is not readable")
    return path


def host(value: str) -> str:
    """Read an address or host name."""
    if any(c.isspace() or c in "/[]@" for c in value) or (value.count(":") == 1):
        raise ValueError(f"must be an address or host name without scheme and port; it is {value!r}")
    return value


def _split_url(value: str, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of a URL; the value is not repeated in the error, since it may hold a password."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # computed late; raises for a port that is no number
    except ValueError:
        raise ValueError("must be a URL; it cannot be parsed") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must be a URL that begins with {' or '.join(f'{s}://' for s in schemes)}")
    return parts


def database_url(value: str) -> str:
    """Read the URL of a PostgreSQL database."""
    _split_url(value, ("postgresql", "postgres"))
    return value


def service_url(value: str) -> str:
    """Read the base URL of a server: by https, unless it is on this machine."""
    url = base_url(value)
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://; http:// is for a server on this machine only")
    return url


def base_url(value: str) -> str:
    """Read a URL that paths are put behind."""
    parts = _split_url(value, ("https", "http"))
    if not parts.hostname:
        raise ValueError("must be a URL with a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a URL without user, query and fragment")
    return value.rstrip("/")


def keys_url(value: str) -> str:
    """Read the URL of a key set."""
    parts = urlsplit(value)
    service_url(urlunsplit(parts._replace(query="")))  # some providers name a policy in the query
    return value


def style_url(value: str) -> str:
    """Read a URL that may have a query, for keys of map hosts, and no character that would end a header's directive."""
    parts = urlsplit(value)
    service_url(urlunsplit(parts._replace(query="")))
    if any(c.isspace() or c in ";,'\"" for c in parts.netloc):
        raise ValueError("must be a URL with a plain host name")
    return value


def origins(value: str) -> tuple[str, ...]:
    """Read origins of pages, parted by commas."""
    found = tuple(each.strip() for each in value.split(","))
    for each in found:
        parts = _split_url(each, ("https", "http"))
        if each != f"{parts.scheme}://{parts.netloc}" or not parts.hostname or "@" in parts.netloc or "*" in each:
            raise ValueError(f"must be origins such as https://shop.example, parted by commas; one is {each!r}")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must begin with https://; http:// is for pages of this machine only")
    return found


def quiet_hours(value: str) -> tuple[time, time] | None:
    """Read two local times, or ``none``."""
    if value == "none":
        return None
    try:
        start, end = (_minute_of_day(part) for part in value.split("-"))
    except ValueError:
        raise ValueError(f"must look like 21:00-08:00, or be none; it is {value!r}") from None
    if start == end:
        raise ValueError(f"must begin and end at different times, or be none; it is {value!r}")
    return start, end


def _minute_of_day(text: str) -> time:
    hour, minute = text.split(":")
    if not (len(hour) == len(minute) == 2 and hour.isdecimal() and minute.isdecimal()):
        raise ValueError(text)
    return time(int(hour), int(minute))
