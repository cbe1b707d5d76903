"""Where a message may lead, and where its picture may lie. Pure: nothing is ever fetched from here."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

MAX_URL: Final = 1_000  # characters

_BAD_SCHEMES: Final = frozenset(
    {"about", "blob", "content", "data", "file", "http", "intent", "javascript", "vbscript"}
)
_SCHEME = re.compile(r"([a-z][a-z0-9+.\-]*):", re.IGNORECASE)
_HTTPS_HOST = re.compile(r"https://(?P<host>[A-Za-z0-9.\-]+)(:\d{1,5})?([/?#]|$)")
_HTTPS_IPV6 = re.compile(r"https://\[(?P<host>[0-9A-Fa-f:.]+)\](:\d{1,5})?([/?#]|$)")
_NUMBER = re.compile(r"(0x[0-9a-f]*|\d+)", re.IGNORECASE)
_PRIVATE_NAMES: Final = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home.arpa",
    "localdomain",
    "test",
    "invalid",
)


def is_image_url(url: str) -> bool:
    """An https address of a host on the public internet, without templates.

    Phones fetch it, from wherever they are: an address of an inner network would make them knock there.
    """
    host = _HTTPS_HOST.match(url) or _HTTPS_IPV6.match(url)
    return len(url) <= MAX_URL and "{" not in url and host is not None and _is_public(host["host"])


def is_deep_link(link: str) -> bool:
    """Https with a literal host, or the app's own scheme."""
    scheme = _SCHEME.match(link)
    if len(link) > MAX_URL or scheme is None or scheme[1].lower() in _BAD_SCHEMES:
        return False
    return scheme[1].lower() != "https" or _HTTPS_HOST.match(link) is not None


def _is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        pass
    name = host.lower().rstrip(".")
    labels = name.split(".")
    if len(labels) < 2 or not all(labels) or _NUMBER.fullmatch(labels[-1]):
        return False  # a bare name, or a number in disguise: browsers read 0x7f.1 as an address
    return not any(name == private or name.endswith(f".{private}") for private in _PRIVATE_NAMES)
