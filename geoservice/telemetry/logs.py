"""Log lines: structlog, one chain for our own events and for what libraries write through ``logging``.

No coordinate, push token or customer id belongs in a log line. Our own code does not put them there;
``conceal`` is the second fence, for keys that slip through and for what libraries add.
"""

from __future__ import annotations

import logging
import logging.config
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

CONCEALED: Final = "[concealed]"

PRIVATE_KEYS: Final = frozenset({
    # where somebody is
    "lat", "latitude", "lon", "lng", "longitude", "coordinate", "coordinates", "location", "position",
    "geometry", "altitude_m", "course_deg",
    # who somebody is
    "customer", "customer_id", "sub", "subject", "device_id", "fid", "email", "phone", "ip", "remote",
    # what opens doors
    "authorization", "cookie", "set_cookie", "password", "secret", "jwt", "api_key", "key", "credentials",
    "private_key", "dsn", "database_url",
})  # fmt: skip
"""Compared in lower case, with ``-`` as ``_``."""

PRIVATE_ENDINGS: Final = (
    "_lat",
    "_lon",
    "_lng",
    "token",
    "_secret",
    "_password",
    "_authorization",
    "customer_id",
)


def is_private(key: str) -> bool:
    """Whether a value under this key may say who or where somebody is, or open a door."""
    plain = key.lower().replace("-", "_")
    return plain in PRIVATE_KEYS or plain.endswith(PRIVATE_ENDINGS)


def conceal(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Replace private values, at any depth, by a fixed word; the key stays, so that the leak can be found."""
    return {key: _concealed(key, value) for key, value in event_dict.items()}


def _concealed(key: str, value: Any) -> Any:
    if is_private(key):
        return CONCEALED
    if isinstance(value, Mapping):
        return {str(inner): _concealed(str(inner), what) for inner, what in value.items()}
    if isinstance(value, list | tuple):
        return [_concealed("", what) for what in value]
    return value


def configure_logs(fmt: Literal["console", "json"], stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send all log lines to ``stream`` (standard error), for people (``console``) or machines (``json``).

    Called once, by the composition root; a second call replaces the first.
    """
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        conceal,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(fmt, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line a second says nothing; what goes wrong in a tick is logged by the timers themselves.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a later configuration must hold for loggers made before it
    )


def _renderers(fmt: Literal["console", "json"], stream: TextIO) -> list[Processor]:
    if fmt == "json":
        # Without locals: they hold what ``conceal`` cannot see.
        traces = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [structlog.processors.ExceptionRenderer(traces), _as_json]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]


def _as_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    return orjson.dumps(event_dict, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
