"""The settings, one table: name, type, default, sentence. All come from the environment, once, at start.

``SETTINGS`` is the whole truth: documentation, ``geoservice config`` and the tests read it. An empty variable
counts as unset. Units stand in field names: ``_s`` seconds, ``_per_s`` a second.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

import platformdirs

from geoservice.errors import SettingsError
from geoservice.geofencing.jurisdictions import BUFFERS_M

PREFIX: Final = "GEOSERVICE_"
MASK: Final = "********"

JWT_SECRET_MIN_BYTES: Final = 32
"""RFC 7518 section 3.2: an HS256 key has at least the size of the hash."""

OPS_KEY_MIN_CHARS: Final = 24

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
ClockKind = Literal["system", "steerable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decided; secrets stay out of its ``repr``."""

    database_url: str | None = field(repr=False)
    data_dir: Path
    journal_dir: Path
    host: str
    port: int
    jwt_secret: str | None = field(repr=False)
    jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_lifetime_max_s: int
    ops_key: str | None = field(repr=False)
    fcm_credentials_path: Path | None
    fcm_endpoint_url: str
    fcm_rate_per_s: int
    log_format: LogFormat
    log_level: LogLevel
    otlp_endpoint_url: str | None
    default_daily_cap: int
    default_quiet_hours: tuple[time, time] | None
    """Local start and end; an end before the start is on the next day. None: no quiet hours."""
    rate_limit_customer_per_s: int
    rate_limit_device_per_s: int
    rate_limit_key_per_s: int
    cors_origins: tuple[str, ...]
    map_style_url: str | None
    map_origins: tuple[str, ...]
    clock: ClockKind
    connection_idle_s: int
    database_pool_size: int
    ingest_queue_items: int
    keep_visits_days: int
    keep_events_days: int
    keep_decisions_days: int
    keep_messages_days: int
    keep_evidence_days: int
    keep_versions_days: int
    sensitive_jurisdiction: str | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. ``parse`` raises ValueError with the words that follow the name in a sentence."""

    name: str
    attribute: str
    type_text: str
    parse: Callable[[str], Any]
    default: str | Callable[[], str] | None
    """As it would be written in the environment; None when unset means something of its own."""
    doc: str
    secret: bool = False
    unset: Any = None
    """The value when it is unset and has no default."""

    @property
    def default_text(self) -> str | None:
        """The default on this machine."""
        return self.default() if callable(self.default) else self.default


# Parsers ----------------------------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``; a name other than ``localhost`` is not trusted to."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(value: str) -> str:
    return value


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        # isdecimal alone takes digits of every script, and int() takes "1_000" and " 7".
        if not (value.isascii() and value.isdecimal()) or not low <= int(value[:12]) <= high:
            raise ValueError(f"must be a whole number from {low:,} to {high:,}; it is {value!r}")
        return int(value)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(words)}; it is {value!r}")
        return value

    return parse


def _at_least(minimum: int, unit: str, measure: Callable[[str], int]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if measure(value) < minimum:
            raise ValueError(f"must have at least {minimum} {unit}; it has {measure(value)}")
        return value

    return parse


def _utf8_bytes(value: str) -> int:
    return len(value.encode("utf-8", "surrogateescape"))


def _path(value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError(f"must be an absolute path; it is {value!r}")
    return path


def _readable_file(value: str) -> Path:
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"must name a file; there is none at {value!r}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"must name a file that this user may read; {value!r} is not readable")
    return path


def _host(value: str) -> str:
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


def _database_url(value: str) -> str:
    _split_url(value, ("postgresql", "postgres"))
    return value


def _service_url(value: str) -> str:
    url = _base_url(value)
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://; http:// is for a server on this machine only")
    return url


def _base_url(value: str) -> str:
    parts = _split_url(value, ("https", "http"))
    if not parts.hostname:
        raise ValueError("must be a URL with a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a URL without user, query and fragment")
    return value.rstrip("/")


def _keys_url(value: str) -> str:
    parts = urlsplit(value)
    _service_url(urlunsplit(parts._replace(query="")))  # some providers name a policy in the query
    return value


def _style_url(value: str) -> str:
    """A URL that may have a query, for keys of map hosts, and no character that would end a header's directive."""
    parts = urlsplit(value)
    _service_url(urlunsplit(parts._replace(query="")))
    if any(c.isspace() or c in ";,'\"" for c in parts.netloc):
        raise ValueError("must be a URL with a plain host name")
    return value


def _origins(value: str) -> tuple[str, ...]:
    origins = tuple(each.strip() for each in value.split(","))
    for each in origins:
        parts = _split_url(each, ("https", "http"))
        if each != f"{parts.scheme}://{parts.netloc}" or not parts.hostname or "@" in parts.netloc or "*" in each:
            raise ValueError(f"must be origins such as https://shop.example, parted by commas; one is {each!r}")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must begin with https://; http:// is for pages of this machine only")
    return origins


def _quiet_hours(value: str) -> tuple[time, time] | None:
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


def default_data_dir() -> Path:
    """Where data is kept unless told otherwise.

    For root not below ``/root``: PostgreSQL refuses to run as root, and its user cannot enter a 0700 home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/geoservice")
    return platformdirs.user_data_path("geoservice", appauthor=False)


# The table --------------------------------------------------------------------------------------------------

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "GEOSERVICE_DATABASE_URL", "database_url", "postgresql:// URL", _database_url, None,
        "The PostgreSQL database; unset, the service starts its own inside the data directory.", secret=True,
    ),
    Setting(
        "GEOSERVICE_DATA_DIR", "data_dir", "absolute path", _path, lambda: str(default_data_dir()),
        "Where the embedded database and generated secrets are kept: /var/lib/geoservice for root, "
        "otherwise the user's data directory.",
    ),
    Setting(
        "GEOSERVICE_JOURNAL_DIR", "journal_dir", "absolute path", _path, None,
        "Where withdrawals and erasures are also written, so that no restored backup undoes them; "
        "unset, `journal` in the data directory.",
    ),
    Setting(
        "GEOSERVICE_HOST", "host", "address", _host, "127.0.0.1",
        "The address to listen on; 0.0.0.0 for every interface.",
    ),
    Setting(
        "GEOSERVICE_PORT", "port", "0 to 65,535", _whole(0, 65_535), "8080",
        "The TCP port to listen on; 0 takes any free one.",
    ),
    Setting(
        "GEOSERVICE_JWT_SECRET", "jwt_secret", "text, 32 bytes or more",
        _at_least(JWT_SECRET_MIN_BYTES, "bytes", _utf8_bytes), None,
        "The HS256 secret that customers' tokens are signed with; unset and without a JWKS URL, "
        "one is generated into the data directory.", secret=True,
    ),
    Setting(
        "GEOSERVICE_JWKS_URL", "jwks_url", "https:// URL", _keys_url, None,
        "Where the identity provider publishes the public keys that customers' tokens are checked with (RS256, ES256), "
        "as a JWK Set or as Firebase Auth's certificates; instead of a secret.",
    ),
    Setting(
        "GEOSERVICE_JWT_ISSUER", "jwt_issuer", "text", _text, None,
        "The issuer that customers' tokens must name; unset, it is not checked.",
    ),
    Setting(
        "GEOSERVICE_JWT_AUDIENCE", "jwt_audience", "text", _text, None,
        "The audience that customers' tokens must name; unset, it is not checked.",
    ),
    Setting(
        "GEOSERVICE_JWT_MAX_LIFETIME_S", "jwt_lifetime_max_s", "0 to 31,536,000 seconds", _whole(0, 31_536_000), "0",
        "How long a customer's token may live at most, from `iat` to `exp`; 0 does not check it.",
    ),
    Setting(
        "GEOSERVICE_OPS_KEY", "ops_key", "text, 24 characters or more",
        _at_least(OPS_KEY_MIN_CHARS, "characters", len), None,
        "The first API key, which holds every role; further keys are made with `geoservice keys create`.",
        secret=True,
    ),
    Setting(
        "GEOSERVICE_FCM_CREDENTIALS", "fcm_credentials_path", "path of a file", _readable_file, None,
        "The service-account file for Firebase Cloud Messaging; unset, no push leaves the service.",
    ),
    Setting(
        "GEOSERVICE_FCM_ENDPOINT", "fcm_endpoint_url", "https:// URL", _service_url,
        "https://fcm.googleapis.com",
        "The base URL of Firebase Cloud Messaging; http:// is allowed for a stand-in on this machine.",
    ),
    Setting(
        "GEOSERVICE_FCM_RATE", "fcm_rate_per_s", "pushes a second", _whole(1, 10_000), "10000",
        "How many pushes a second all processes together send at most, reached within a minute; Firebase's limit is "
        "10,000 a project.",
    ),
    Setting(
        "GEOSERVICE_LOG_FORMAT", "log_format", "console or json", _one_of("console", "json"), "console",
        "How log lines look: for people or for machines.",
    ),
    Setting(
        "GEOSERVICE_LOG_LEVEL", "log_level", "debug, info, warning or error",
        _one_of("debug", "info", "warning", "error"), "info",
        "What is worth a log line. Also at `debug` no line says who or where a customer is.",
    ),
    Setting(
        "GEOSERVICE_OTLP_ENDPOINT", "otlp_endpoint_url", "http(s):// URL", _base_url, None,
        "The OpenTelemetry collector that traces go to, by OTLP over HTTP; unset, there are none.",
    ),
    Setting(
        "GEOSERVICE_DEFAULT_DAILY_CAP", "default_daily_cap", "0 to 100", _whole(0, 100), "2",
        "How many messages a customer gets within 24 hours, unless the customer chose fewer.",
    ),
    Setting(
        "GEOSERVICE_DEFAULT_QUIET_HOURS", "default_quiet_hours", "HH:MM-HH:MM or none", _quiet_hours,
        "21:00-08:00",
        "When, in the customer's local time, nothing is sent; a customer's own quiet hours come on top.",
    ),
    Setting(
        "GEOSERVICE_RATE_LIMIT_CUSTOMER", "rate_limit_customer_per_s", "requests a second",
        _whole(0, 1_000_000), "0",
        "How many requests a second one customer may make of one process, with as many again after a pause; "
        "0 is without limit.",
    ),
    Setting(
        "GEOSERVICE_RATE_LIMIT_DEVICE", "rate_limit_device_per_s", "requests a second", _whole(0, 1_000_000), "0",
        "How many batches of pings a second one phone may send to one process; 0 is without limit.",
    ),
    Setting(
        "GEOSERVICE_RATE_LIMIT_KEY", "rate_limit_key_per_s", "requests a second", _whole(0, 1_000_000), "0",
        "How many requests a second one API key may make of one process; 0 is without limit.",
    ),
    Setting(
        "GEOSERVICE_CORS_ORIGINS", "cors_origins", "origins, parted by commas", _origins, None,
        "Whose pages may call from a browser, such as https://shop.example; unset, nobody's but our own.", unset=(),
    ),
    Setting(
        "GEOSERVICE_MAP_STYLE_URL", "map_style_url", "https:// URL", _style_url, None,
        "The MapLibre style of the map in the console; unset, a light map of our own, which needs no network. "
        "Browsers see it, and a key in it.",
    ),
    Setting(
        "GEOSERVICE_MAP_ORIGINS", "map_origins", "origins, parted by commas", _origins, None,
        "From where else that style loads tiles, letters and signs; its own origin is allowed already.", unset=(),
    ),
    Setting(
        "GEOSERVICE_CLOCK", "clock", "system or steerable", _one_of("system", "steerable"), "system",
        "steerable lets demos and tests move time; it is refused where real customers could be reached.",
    ),
    Setting(
        "GEOSERVICE_CONNECTION_IDLE_S", "connection_idle_s", "1 to 3,600 seconds", _whole(1, 3_600), "75",
        "How long a connection may idle, take for its headers, or leave an answer unread before it is cut; longer than "
        "your proxy's own time, so that the proxy hangs up first.",
    ),
    Setting(
        "GEOSERVICE_DATABASE_POOL_SIZE", "database_pool_size", "2 to 1,000", _whole(2, 1_000), "10",
        "How many database connections each process holds at most.",
    ),
    Setting(
        "GEOSERVICE_INGEST_QUEUE_ITEMS", "ingest_queue_items", "1 to 10,000,000", _whole(1, 10_000_000),
        "20000",
        "How many pings may wait for the database before requests are told to come back later.",
    ),
    Setting(
        "GEOSERVICE_KEEP_VISITS_DAYS", "keep_visits_days", "1 to 3,650", _whole(1, 3_650), "90",
        "How many days visits, and entering and leaving a geofence, are kept.",
    ),
    Setting(
        "GEOSERVICE_KEEP_EVENTS_DAYS", "keep_events_days", "1 to 3,650", _whole(1, 3_650), "400",
        "How many days browse and purchase events are kept; campaigns cannot look back further.",
    ),
    Setting(
        "GEOSERVICE_KEEP_DECISIONS_DAYS", "keep_decisions_days", "1 to 3,650", _whole(1, 3_650), "90",
        "How many days decisions are kept, with the facts that they rest on.",
    ),
    Setting(
        "GEOSERVICE_KEEP_MESSAGES_DAYS", "keep_messages_days", "1 to 3,650", _whole(1, 3_650), "400",
        "How many days messages are kept after they ended; never less than a limit counts them.",
    ),
    Setting(
        "GEOSERVICE_KEEP_EVIDENCE_DAYS", "keep_evidence_days", "1 to 3,650", _whole(1, 3_650), "1095",
        "How many days the audit log, and the consents of erased customers, are kept as evidence.",
    ),
    Setting(
        "GEOSERVICE_KEEP_VERSIONS_DAYS", "keep_versions_days", "1 to 3,650", _whole(1, 3_650), "400",
        "How many days back the geofences can be shown and restored as they were; the version in force stays.",
    ),
    Setting(
        "GEOSERVICE_SENSITIVE_JURISDICTION", "sensitive_jurisdiction", "code of a state", _one_of(*BUFFERS_M), None,
        "The state whose law says how wide a berth a sensitive geofence gets that names none (ISO 3166-2, such as "
        "US-WA); unset, the widest of all.",
    ),
)  # fmt: skip


# Loading and showing ----------------------------------------------------------------------------------------


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; a SettingsError names every problem at once, one sentence each."""
    problems = _unknown_names(environ)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environ.get(setting.name) or setting.default_text
        try:
            values[setting.attribute] = setting.unset if text is None else setting.parse(text)
        except ValueError as wrong:
            problems.append(f"{setting.name} {wrong}.")
    problems += _contradictions(values)
    if values.get("journal_dir") is None and "data_dir" in values:
        values["journal_dir"] = values["data_dir"] / "journal"
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def _unknown_names(environ: Mapping[str, str]) -> list[str]:
    known = [setting.name for setting in SETTINGS]
    problems = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            problems.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    return problems


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """Settings that are right alone and wrong together; ``values`` lacks those that failed alone."""
    problems = []
    if values.get("jwt_secret") and values.get("jwks_url"):
        problems.append(
            "GEOSERVICE_JWT_SECRET and GEOSERVICE_JWKS_URL exclude each other: tokens are checked in one way."
        )
    if _is_googles(values.get("jwks_url")) and not values.get("jwt_audience"):
        problems.append(
            "GEOSERVICE_JWT_AUDIENCE must be set, to your project's id: with the keys of GEOSERVICE_JWKS_URL Google "
            "signs the tokens of everybody's projects."
        )
    if values.get("clock") == "steerable" and not _harmless(values):
        problems.append(
            "GEOSERVICE_CLOCK may be steerable only while GEOSERVICE_HOST is loopback and pushes stay on "
            "this machine (no GEOSERVICE_FCM_CREDENTIALS, or a loopback GEOSERVICE_FCM_ENDPOINT)."
        )
    return problems


def _is_googles(url: str | None) -> bool:
    host = urlsplit(url or "").hostname or ""
    return host == "googleapis.com" or host.endswith(".googleapis.com")


def _harmless(values: Mapping[str, Any]) -> bool:
    """Whether nobody but this machine can call the service or be called by it. In doubt: not."""
    if "host" not in values or "fcm_credentials_path" not in values:
        return False
    endpoint_host = urlsplit(values.get("fcm_endpoint_url", "")).hostname or ""
    pushes_stay = values["fcm_credentials_path"] is None or is_loopback(endpoint_host)
    return is_loopback(values["host"]) and pushes_stay


def shown(settings: Settings) -> list[tuple[Setting, str]]:
    """Every setting with its value as text, secrets masked, in the order of the table; "" is unset."""
    return [(setting, _shown_value(setting, getattr(settings, setting.attribute))) for setting in SETTINGS]


def _shown_value(setting: Setting, value: object) -> str:
    if setting.attribute == "default_quiet_hours":
        return "-".join(f"{local:%H:%M}" for local in value) if isinstance(value, tuple) else "none"
    if setting.parse is _origins and isinstance(value, tuple):
        return ",".join(value)
    if value is None:
        return ""
    if setting.attribute == "database_url":
        return _without_password(str(value))
    return MASK if setting.secret else str(value)


def _without_password(url: str) -> str:
    """The database URL for people: passwords may stand before the host and in the query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}:{MASK}@" if parts.password else f"{parts.username}@" if parts.username else ""
    query = MASK if "password" in parts.query.lower() else parts.query
    return urlunsplit(parts._replace(netloc=user + host, query=query))
