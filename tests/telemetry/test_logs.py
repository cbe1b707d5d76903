"""Log lines: readable by people or machines, and silent about who is where."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog

from geoservice.telemetry.logs import CONCEALED, configure_logs, is_private

pytestmark = pytest.mark.usefixtures("logging_as_before")


def one_line(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_json_lines() -> None:
    """With `json`, an event is one JSON object with time, level, logger and its own facts."""
    stream = io.StringIO()
    configure_logs("json", stream)
    structlog.get_logger("geoservice.ingest").info("batch committed", items=200, took_ms=3.5)
    line = one_line(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "batch committed",
        "level": "info",
        "logger": "geoservice.ingest",
        "items": 200,
        "took_ms": 3.5,
    }


def test_console_lines() -> None:
    """With `console`, an event is one readable line, without colour codes in a file."""
    stream = io.StringIO()
    configure_logs("console", stream)
    structlog.get_logger("geoservice").warning("pushes go to the recorder only", why="no credentials")
    assert "pushes go to the recorder only" in stream.getvalue()
    assert "why" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_libraries_write_the_same_lines() -> None:
    """What a library writes through `logging` comes out as the same kind of line."""
    stream = io.StringIO()
    configure_logs("json", stream)
    logging.getLogger("a_library").warning("run of %s was missed", "tick")
    line = one_line(stream)
    assert (line["event"], line["logger"], line["level"]) == (
        "run of tick was missed",
        "a_library",
        "warning",
    )


def test_warnings_become_lines() -> None:
    """A Python warning at run time is a log line, not loose text on the terminal."""
    stream = io.StringIO()
    configure_logs("json", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("soon gone", FutureWarning, stacklevel=1)
    assert "soon gone" in one_line(stream)["event"]


@pytest.mark.parametrize("fmt", ["console", "json"])
@pytest.mark.parametrize("through", ["structlog", "logging", "context"])
@pytest.mark.parametrize(
    "facts",
    [
        {"lat": "leak"},
        {"store_lon": "leak"},
        {"Longitude": "leak"},
        {"push_token": "leak"},
        {"token": "leak"},
        {"customer_id": "leak"},
        {"headers": {"Authorization": "leak", "Set-Cookie": "leak"}},
        {"fence": {"geometry": {"coordinates": ["leak"]}}},
        {"pings": [{"lat": "leak"}, ({"lon": "leak"},)]},
        {"jwt_secret": "leak"},
    ],
)
def test_private_values_are_concealed(fmt: Any, through: str, facts: dict[str, Any]) -> None:
    """Coordinates, tokens, credentials and customer ids stay out of every line, at any depth."""
    stream = io.StringIO()
    configure_logs(fmt, stream)
    if through == "structlog":
        structlog.get_logger("ours").info("an event", **facts)
    elif through == "logging":
        logging.getLogger("theirs").info("an event", extra=facts)
    else:
        structlog.contextvars.bind_contextvars(**facts)
        structlog.get_logger("ours").info("an event")
    assert "an event" in stream.getvalue()
    assert "leak" not in stream.getvalue()
    assert CONCEALED in stream.getvalue()


@pytest.mark.parametrize("key", ["event", "latency_ms", "lateness_s", "plan", "clone", "items", "tokens_left", "at"])
def test_harmless_keys_stay_readable(key: str) -> None:
    """Keys that only look a little like private ones keep their values."""
    assert not is_private(key)


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_tracebacks_without_variables(fmt: Any) -> None:
    """A logged exception shows where it was raised, but not the values of local variables."""
    stream = io.StringIO()
    configure_logs(fmt, stream)

    def fails(where: str) -> None:
        assert where
        raise RuntimeError("broken")

    try:
        fails("lo" + "cal-value")
    except RuntimeError:
        structlog.get_logger("ours").exception("the batch failed")
    assert "RuntimeError" in stream.getvalue()
    assert "fails" in stream.getvalue()
    assert "local-value" not in stream.getvalue()


def test_unusual_values_do_not_break_a_line() -> None:
    """A value that JSON does not know is written as its text; logging never raises."""
    stream = io.StringIO()
    configure_logs("json", stream)
    structlog.get_logger("ours").info("odd", what={1: object}, who={"a"})
    assert one_line(stream)["event"] == "odd"


def test_configuring_twice_does_not_double_lines() -> None:
    """Configuring again replaces the first configuration."""
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger("ours")
    configure_logs("json", first)
    configure_logs("json", second)
    log.info("once")
    log.debug("below the level")
    assert first.getvalue() == ""
    assert one_line(second)["event"] == "once"


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_the_words_of_database_errors_stay_out(fmt):
    """PostgreSQL quotes keys and values in its errors: the log has the kind, the code and the lines, not the words."""
    stream = io.StringIO()
    configure_logs(fmt, stream)
    secret = uuid4().hex  # not a literal: the traceback shows the source line
    try:
        try:
            raise asyncpg.UniqueViolationError(f"Key (push_token)=({secret}) already exists")
        except asyncpg.PostgresError as error:
            raise RuntimeError("storing failed") from error
    except RuntimeError:
        structlog.get_logger("test").exception("request_failed")
    text = stream.getvalue()
    assert secret not in text
    assert "UniqueViolationError [23505]" in text
    assert "storing failed" in text
