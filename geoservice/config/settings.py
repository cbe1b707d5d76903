"""The settings: each is declared here and nowhere else, with its name, what it takes, its default and a sentence.

``SETTINGS`` is this table as the documentation, ``geoservice config`` and the tests read it. An empty variable counts
as unset. Units stand in field names: ``_s`` seconds, ``_per_s`` a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import time
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args

import platformdirs

from geoservice.config import reading
from geoservice.geofencing.jurisdictions import BUFFERS_M

JWT_SECRET_MIN_BYTES: Final = 32
"""RFC 7518 section 3.2: an HS256 key has at least the size of the hash."""

OPS_KEY_MIN_CHARS: Final = 24

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
ClockKind = Literal["system", "steerable"]

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. ``parse`` raises ValueError with the words that follow the name in a sentence."""

    attribute: str
    name: str
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


def default_data_dir() -> Path:
    """Where data is kept unless told otherwise.

    For root not below ``/root``: PostgreSQL refuses to run as root, and its user cannot enter a 0700 home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/geoservice")
    return platformdirs.user_data_path("geoservice", appauthor=False)


def setting(
    name: str,
    type_text: str,
    parse: Callable[[str], Value],
    default: str | Callable[[], str] | None,
    doc: str,
    *,
    secret: bool = False,
    unset: Value | None = None,
) -> Value:
    """Declare a setting, as a field that is typed by what its parser gives."""
    row = {"name": name, "type_text": type_text, "parse": parse, "default": default, "doc": doc}
    return cast("Value", field(repr=not secret, metadata=row | {"secret": secret, "unset": unset}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decided; secrets stay out of its ``repr``."""

    # fmt: off
    database_url: str | None = setting(
        "GEOSERVICE_DATABASE_URL", "postgresql:// URL", reading.database_url, None,
        "The PostgreSQL database; unset, the service starts its own inside the data directory.", secret=True,
    )
    data_dir: Path = setting(
        "GEOSERVICE_DATA_DIR", "absolute path", reading.absolute_path, lambda: str(default_data_dir()),
        "Where the embedded database and generated secrets are kept: /var/lib/geoservice for root, "
        "otherwise the user's data directory.",
    )
    journal_dir: Path = setting(
        "GEOSERVICE_JOURNAL_DIR", "absolute path", reading.absolute_path, None,
        "Where withdrawals and erasures are also written, so that no restored backup undoes them; "
        "unset, `journal` in the data directory.",
    )
    host: str = setting(
        "GEOSERVICE_HOST", "address", reading.host, "127.0.0.1",
        "The address to listen on; 0.0.0.0 for every interface.",
    )
    port: int = setting(
        "GEOSERVICE_PORT", "0 to 65,535", reading.whole(0, 65_535), "8080",
        "The TCP port to listen on; 0 takes any free one.",
    )
    jwt_secret: str | None = setting(
        "GEOSERVICE_JWT_SECRET", "text, 32 bytes or more",
        reading.at_least_bytes(JWT_SECRET_MIN_BYTES), None,
        "The HS256 secret that customers' tokens are signed with; unset and without a JWKS URL, "
        "one is generated into the data directory.", secret=True,
    )
    jwks_url: str | None = setting(
        "GEOSERVICE_JWKS_URL", "https:// URL", reading.keys_url, None,
        "Where the identity provider publishes the public keys that customers' tokens are checked with (RS256, ES256), "
        "as a JWK Set or as Firebase Auth's certificates; instead of a secret.",
    )
    jwt_issuer: str | None = setting(
        "GEOSERVICE_JWT_ISSUER", "text", reading.text, None,
        "The issuer that customers' tokens must name; unset, it is not checked.",
    )
    jwt_audience: str | None = setting(
        "GEOSERVICE_JWT_AUDIENCE", "text", reading.text, None,
        "The audience that customers' tokens must name; unset, it is not checked.",
    )
    jwt_lifetime_max_s: int = setting(
        "GEOSERVICE_JWT_MAX_LIFETIME_S", "0 to 31,536,000 seconds", reading.whole(0, 31_536_000), "0",
        "How long a customer's token may live at most, from `iat` to `exp`; 0 does not check it.",
    )
    ops_key: str | None = setting(
        "GEOSERVICE_OPS_KEY", "text, 24 characters or more",
        reading.at_least_characters(OPS_KEY_MIN_CHARS), None,
        "The first API key, which holds every role; further keys are made with `geoservice keys create`.",
        secret=True,
    )
    fcm_credentials_path: Path | None = setting(
        "GEOSERVICE_FCM_CREDENTIALS", "path of a file", reading.readable_file, None,
        "The service-account file for Firebase Cloud Messaging; unset, no push leaves the service.",
    )
    fcm_endpoint_url: str = setting(
        "GEOSERVICE_FCM_ENDPOINT", "https:// URL", reading.service_url,
        "https://fcm.googleapis.com",
        "The base URL of Firebase Cloud Messaging; http:// is allowed for a stand-in on this machine.",
    )
    fcm_rate_per_s: int = setting(
        "GEOSERVICE_FCM_RATE", "pushes a second", reading.whole(1, 10_000), "10000",
        "How many pushes a second all processes together send at most, reached within a minute; Firebase's limit is "
        "10,000 a project.",
    )
    log_format: LogFormat = setting(
        "GEOSERVICE_LOG_FORMAT", "console or json", reading.one_of(*get_args(LogFormat)), "console",
        "How log lines look: for people or for machines.",
    )
    log_level: LogLevel = setting(
        "GEOSERVICE_LOG_LEVEL", "debug, info, warning or error",
        reading.one_of(*get_args(LogLevel)), "info",
        "What is worth a log line. Also at `debug` no line says who or where a customer is.",
    )
    otlp_endpoint_url: str | None = setting(
        "GEOSERVICE_OTLP_ENDPOINT", "http(s):// URL", reading.base_url, None,
        "The OpenTelemetry collector that traces go to, by OTLP over HTTP; unset, there are none.",
    )
    default_daily_cap: int = setting(
        "GEOSERVICE_DEFAULT_DAILY_CAP", "0 to 100", reading.whole(0, 100), "2",
        "How many messages a customer gets within 24 hours, unless the customer chose fewer.",
    )
    default_quiet_hours: tuple[time, time] | None = setting(
        "GEOSERVICE_DEFAULT_QUIET_HOURS", "HH:MM-HH:MM or none", reading.quiet_hours,
        "21:00-08:00",
        "When, in the customer's local time, nothing is sent; a customer's own quiet hours come on top.",
    )
    """Local start and end; an end before the start is on the next day. None: no quiet hours."""
    rate_limit_customer_per_s: int = setting(
        "GEOSERVICE_RATE_LIMIT_CUSTOMER", "requests a second",
        reading.whole(0, 1_000_000), "0",
        "How many requests a second one customer may make of one process, with as many again after a pause; "
        "0 is without limit.",
    )
    rate_limit_device_per_s: int = setting(
        "GEOSERVICE_RATE_LIMIT_DEVICE", "requests a second", reading.whole(0, 1_000_000), "0",
        "How many batches of pings a second one phone may send to one process; 0 is without limit.",
    )
    rate_limit_key_per_s: int = setting(
        "GEOSERVICE_RATE_LIMIT_KEY", "requests a second", reading.whole(0, 1_000_000), "0",
        "How many requests a second one API key may make of one process; 0 is without limit.",
    )
    cors_origins: tuple[str, ...] = setting(
        "GEOSERVICE_CORS_ORIGINS", "origins, parted by commas", reading.origins, None,
        "Whose pages may call from a browser, such as https://shop.example; unset, nobody's but our own.", unset=(),
    )
    map_style_url: str | None = setting(
        "GEOSERVICE_MAP_STYLE_URL", "https:// URL", reading.style_url, None,
        "The MapLibre style of the map in the console; unset, a light map of our own, which needs no network. "
        "Browsers see it, and a key in it.",
    )
    map_origins: tuple[str, ...] = setting(
        "GEOSERVICE_MAP_ORIGINS", "origins, parted by commas", reading.origins, None,
        "From where else that style loads tiles, letters and signs; its own origin is allowed already.", unset=(),
    )
    clock: ClockKind = setting(
        "GEOSERVICE_CLOCK", "system or steerable", reading.one_of(*get_args(ClockKind)), "system",
        "steerable lets demos and tests move time; it is refused where real customers could be reached.",
    )
    connection_idle_s: int = setting(
        "GEOSERVICE_CONNECTION_IDLE_S", "1 to 3,600 seconds", reading.whole(1, 3_600), "75",
        "How long a connection may idle, take for its headers, or leave an answer unread before it is cut; longer than "
        "your proxy's own time, so that the proxy hangs up first.",
    )
    database_pool_size: int = setting(
        "GEOSERVICE_DATABASE_POOL_SIZE", "2 to 1,000", reading.whole(2, 1_000), "10",
        "How many database connections each process holds at most.",
    )
    ingest_queue_items: int = setting(
        "GEOSERVICE_INGEST_QUEUE_ITEMS", "1 to 10,000,000", reading.whole(1, 10_000_000),
        "20000",
        "How many pings may wait for the database before requests are told to come back later.",
    )
    keep_visits_days: int = setting(
        "GEOSERVICE_KEEP_VISITS_DAYS", "1 to 3,650", reading.whole(1, 3_650), "90",
        "How many days visits, and entering and leaving a geofence, are kept.",
    )
    keep_events_days: int = setting(
        "GEOSERVICE_KEEP_EVENTS_DAYS", "1 to 3,650", reading.whole(1, 3_650), "400",
        "How many days browse and purchase events are kept; campaigns cannot look back further.",
    )
    keep_decisions_days: int = setting(
        "GEOSERVICE_KEEP_DECISIONS_DAYS", "1 to 3,650", reading.whole(1, 3_650), "90",
        "How many days decisions are kept, with the facts that they rest on.",
    )
    keep_messages_days: int = setting(
        "GEOSERVICE_KEEP_MESSAGES_DAYS", "1 to 3,650", reading.whole(1, 3_650), "400",
        "How many days messages are kept after they ended; never less than a limit counts them.",
    )
    keep_evidence_days: int = setting(
        "GEOSERVICE_KEEP_EVIDENCE_DAYS", "1 to 3,650", reading.whole(1, 3_650), "1095",
        "How many days the audit log, and the consents of erased customers, are kept as evidence.",
    )
    keep_versions_days: int = setting(
        "GEOSERVICE_KEEP_VERSIONS_DAYS", "1 to 3,650", reading.whole(1, 3_650), "400",
        "How many days back the geofences can be shown and restored as they were; the version in force stays.",
    )
    sensitive_jurisdiction: str | None = setting(
        "GEOSERVICE_SENSITIVE_JURISDICTION", "code of a state", reading.one_of(*BUFFERS_M), None,
        "The state whose law says how wide a berth a sensitive geofence gets that names none (ISO 3166-2, such as "
        "US-WA); unset, the widest of all.",
    )
    # fmt: on


SETTINGS: Final = tuple(Setting(attribute=each.name, **each.metadata) for each in fields(Settings))
