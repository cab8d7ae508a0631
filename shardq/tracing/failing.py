"""What a span says of the exception that ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardq.text.portrait import line, portrait
from shardq.tracing import conventions
from shardq.tracing.api import trace

if TYPE_CHECKING:
    from opentelemetry.trace import Span


def note_failure(span: Span, error: BaseException) -> None:
    """Let the span say that it failed, and with what. Only `portrait` runs code of the exception."""
    if not span.is_recording():
        return
    likeness = portrait(error)
    kind = type(likeness)
    span.record_exception(likeness)
    span.set_attribute(conventions.ERROR_TYPE, f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))
    span.set_status(trace.Status(trace.StatusCode.ERROR, line(likeness)))
