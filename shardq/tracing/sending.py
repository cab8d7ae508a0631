"""The span of a call that stores requests: `send HANDLER`, for all of them together.

There is one where the caller is in a span itself. Then the messages get the context of it, see `shardq.model.trace`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from shardq.model.trace import Trace, traced
from shardq.tracing import conventions
from shardq.tracing.api import current_context, is_there, trace, tracer
from shardq.tracing.failing import note_failure

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Sending:
    """A call in a trace, from its begin to its end."""

    def __init__(self, handler: str, count: int, *, again: bool) -> None:
        """`again`: the requests come again and again."""
        self._handler = handler
        self._count = count
        self._again = again
        self._span: Span

    def traced(self, messages: Sequence[bytes]) -> list[bytes]:
        """The messages with the context of the span."""
        found = self._span.get_span_context()
        trace_id, span_id = found.trace_id.to_bytes(16), found.span_id.to_bytes(8)
        return traced(messages, Trace(trace_id, span_id, found.trace_flags, found.trace_state.to_header(), self._again))

    def __enter__(self) -> Sending:
        self._span = tracer().start_span(
            conventions.name_of_sending(self._handler),
            kind=trace.SpanKind.PRODUCER,
            attributes=conventions.of_sending(self._handler, self._count),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            note_failure(self._span, error)
        self._span.end()


class _Untraced:
    """A call outside of any trace: nothing is done."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        return None


_UNTRACED = _Untraced()


def sending(handler: str, count: int, *, again: bool = False) -> AbstractContextManager[Sending | None]:
    """Around a call that sends so many requests. It gives the `Sending`, or None outside of any trace."""
    if not is_there() or not count or current_context() is None:
        return _UNTRACED
    return Sending(handler, count, again=again)
