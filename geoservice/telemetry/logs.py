"""Log lines: structlog, one chain for our own events and for what libraries write through ``logging``.

No coordinate, push token or customer id belongs in a log line. Our own code does not put them there;
``conceal`` is the second fence, for keys that slip through and for what libraries add.
"""

from __future__ import annotations

import logging
import logging.config
import re
import sys
import threading
import traceback
from asyncio import AbstractEventLoop
from collections.abc import Iterator, Mapping
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


LogLevel = Literal["debug", "info", "warning", "error"]

_QUOTED: Final = re.compile(r"""b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|`[^`]*`""", re.DOTALL)
_LIKE_AN_ID: Final = frozenset("-@|/_=0123456789")
"""What stands in ids, addresses, tokens and numbers, and seldom in words."""

_log: Final = structlog.get_logger(__name__)


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


def configure_logs(fmt: Literal["console", "json"], stream: TextIO | None = None, *, level: LogLevel = "info") -> None:
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
    root.setLevel(level.upper())
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


def log_what_nobody_catches() -> None:
    """Log what Python would print by itself with the words of the error, of the process, its threads, its clean-ups."""
    sys.excepthook = lambda _kind, error, _trace: _log.critical("ended_by_an_error", exc_info=error)
    sys.unraisablehook = lambda lost: _log.error("error_in_cleanup", exc_info=lost.exc_value)
    threading.excepthook = lambda lost: _log.error("thread_ended", exc_info=lost.exc_value)


def log_lost_error(_loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody waited for: asyncio's own handler would print the task, and with it the words of its error."""
    detail, _, _ = context["message"].partition(" callback ")  # what follows is the callback with its arguments
    _log.error("error_that_nobody_waited_for", detail=detail, exc_info=context.get("exception"))


def _renderers(fmt: Literal["console", "json"], stream: TextIO) -> list[Processor]:
    if fmt == "json":
        return [structlog.processors.ExceptionRenderer(trace_of), _as_json]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=lambda out, exc_info: print(trace_of(exc_info), file=out)
    )
    return [console]


def trace_of(exc_info: structlog.typing.ExcInfo) -> str:
    """Write a traceback without local values, and without what errors quote of what was stored or sent.

    The database's errors lose their words (keys in `DETAIL`, arguments that could not be written), those of Python and
    of libraries everything in quotes and whatever looks like an id, a number with decimals or an address. Our own say
    nothing of the kind.
    """
    return "".join(_chain(exc_info[1])).rstrip()


def _chain(error: BaseException) -> Iterator[str]:
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None:
        yield from _chain(earlier)
        yield "\nwhich led to:\n\n"
    yield from traceback.format_tb(error.__traceback__)
    kind = type(error)
    yield f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.startswith("asyncpg"):
        yield f" [{getattr(error, 'sqlstate', None) or 'no sqlstate'}]\n"
    else:
        words = str(error)
        yield f": {words if kind.__module__.startswith('geoservice') else _without_quotations(words)}\n"
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _chain(inner)


def _without_quotations(words: str) -> str:
    said = _QUOTED.sub("…", words).split(" ")
    return " ".join("…" if not _LIKE_AN_ID.isdisjoint(word) else word for word in said)


def _as_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    return orjson.dumps(event_dict, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
