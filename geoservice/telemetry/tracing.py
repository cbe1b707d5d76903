"""Traces, as an optional extra: one from the request with a ping, over matching and deciding, to the push.

Off until :func:`start`: until then nothing of OpenTelemetry is imported and every call here returns at once. A trace
begins with a request and nowhere else. Its context travels as a W3C ``traceparent`` with the ping through the queue,
and in the rows of the transition and the message, so that whichever process decides or sends later continues it.

Attributes are counts, codes and ids of campaigns, decisions and messages: no coordinates, tokens or customer ids.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal

from geoservice import __version__
from geoservice.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

Attribute = str | int | float | bool | None
Kind = Literal["server", "internal", "client"]

SERVICE: Final = "geoservice"
_PARENT: Final = "traceparent"
_STOP_S: Final = 5

_tracer: Tracer | None = None


class Span:
    """A span under way, or nothing."""

    def __init__(self, span: Any = None, context: str | None = None) -> None:
        self._span = span
        self.context = context
        """Its ``traceparent``; None when nothing is recorded."""

    def note(self, **attributes: Attribute) -> None:
        """Add attributes; what is None is left out."""
        if self._span is not None:
            self._span.set_attributes(_prefixed(attributes))


_NOTHING: Final = nullcontext(Span())


def start(endpoint: str) -> Callable[[], None]:
    """Send spans to an OTLP collector, by HTTP; returns what stops it and sends the rest, which may take seconds.

    OpenTelemetry's own variables hold besides: OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME ...
    """
    global _tracer  # noqa: PLW0603 - one a process, as with metrics and logs
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            ["GEOSERVICE_OTLP_ENDPOINT needs the extra for traces: pip install 'geoservice[tracing]'."]
        ) from None
    named = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", SERVICE)})
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=_STOP_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer(SERVICE, __version__)

    def stop() -> None:
        global _tracer  # noqa: PLW0603
        _tracer = None
        provider.shutdown()

    return stop


def is_on() -> bool:
    """Whether spans are recorded."""
    return _tracer is not None


def now_ns() -> int:
    """Tell when something begins that will be handed to :func:`past`."""
    return time.time_ns() if _tracer is not None else 0


def request(name: str) -> AbstractContextManager[Span]:
    """Begin a trace."""
    return _NOTHING if _tracer is None else _span(_tracer, name, None, "server", {})


def span(name: str, **attributes: Attribute) -> AbstractContextManager[Span]:
    """Record a part of what goes on; nothing outside of a trace."""
    if _tracer is None or not _is_recording():
        return _NOTHING
    return _span(_tracer, name, None, "internal", attributes)


def continued(
    name: str, parent: str | None, *, kind: Kind = "internal", **attributes: Attribute
) -> AbstractContextManager[Span]:
    """Go on with a trace that another task or process began; nothing without one."""
    if _tracer is None or parent is None:
        return _NOTHING
    return _span(_tracer, name, _context_of(parent), kind, attributes)


def past(name: str, parent: str | None, began_ns: int, **attributes: Attribute) -> str | None:
    """Record what began then and is over now, in a trace that was begun elsewhere; returns its context."""
    if _tracer is None or parent is None:
        return None
    span = _tracer.start_span(name, _context_of(parent), start_time=began_ns, attributes=_prefixed(attributes))
    span.end()
    return _traceparent(span)


@contextmanager
def _span(
    tracer: Tracer, name: str, context: Context | None, kind: Kind, attributes: dict[str, Attribute]
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    with tracer.start_as_current_span(
        name, context, kind=SpanKind[kind.upper()], attributes=_prefixed(attributes), record_exception=False
    ) as span:
        yield Span(span, _traceparent(span))


def _is_recording() -> bool:
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    return get_current_span().is_recording()


def _context_of(parent: str) -> Context:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({_PARENT: parent})


def _traceparent(span: Any) -> str | None:
    """Write a span's identity; None for one that is not sampled, so that nothing is kept for it."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _prefixed(attributes: dict[str, Attribute]) -> dict[str, str | int | float | bool]:
    """Name our attributes as ours; those of OpenTelemetry's conventions have a dot already."""
    return {key if "." in key else f"{SERVICE}.{key}": value for key, value in attributes.items() if value is not None}
