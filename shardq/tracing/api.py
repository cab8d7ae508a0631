"""OpenTelemetry, where the application has it."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from shardq.lazy import Lazy
from shardq.model.trace import Trace
from shardq.version import __version__

if TYPE_CHECKING:
    from opentelemetry import context, trace
else:
    trace, context = Lazy("opentelemetry.trace"), Lazy("opentelemetry.context")

__all__ = ["context", "context_of", "current_context", "has_spans", "is_there", "trace", "tracer"]


def is_there() -> bool:
    """Whether code of the application imported OpenTelemetry. If not, there are no spans."""
    return "opentelemetry.trace" in sys.modules


def has_spans() -> bool:
    """Whether spans of this process go anywhere."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def current_context() -> trace.SpanContext | None:
    """That of the span which is current. None: none is."""
    if "opentelemetry.trace" not in sys.modules:  # as `is_there`, which takes as long again
        return None
    found = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


@cache
def tracer() -> trace.Tracer:
    """That of shardq. It follows the provider that the application sets, also where it does so later."""
    return trace.get_tracer("shardq", __version__)


def context_of(sent: Trace) -> trace.SpanContext:
    """That of the span which sent a request."""
    return trace.SpanContext(
        int.from_bytes(sent.trace_id),
        int.from_bytes(sent.span_id),
        is_remote=True,
        trace_flags=trace.TraceFlags(sent.flags),
        trace_state=trace.TraceState.from_header([sent.state]) if sent.state else None,
    )
