"""The span of a batch that is handled: `process HANDLER`, linked to the spans that sent its requests.

Where one span sent all of them, it is the parent as well, so that what comes of a request is one trace. Requests that
come again and again begin a trace each time: that of the call that registered them would never end.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from shardq.model import INBOX, Batch
from shardq.model.trace import Trace, trace_of
from shardq.tracing import conventions
from shardq.tracing.api import context as otel_context
from shardq.tracing.api import context_of, has_spans, trace, tracer
from shardq.tracing.failing import note_failure

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

#: Most spans that one is linked to: as many as OpenTelemetry keeps by default.
_MOST_LINKS = 128


class Processing:
    """The span of a batch."""

    def __init__(self, span: Span) -> None:
        self._span = span

    async def over(
        self, result: Awaitable[Any], context: contextvars.Context, shown: Callable[[BaseException], Exception]
    ) -> Any:
        """The result of the handler's code, with which the span ends. In the context of that code it is the current
        span. `shown` gives a likeness of what the code raised.
        """
        try:
            context.run(otel_context.attach, trace.set_span_in_context(self._span))
            return await result
        except BaseException as error:
            note_failure(self._span, shown(error))
            raise
        finally:
            self._span.end()


def processing(handler: str, batch: Batch, *, has_heads: bool) -> Processing | None:
    """The span of a batch, which begins here, where OpenTelemetry is there. None: no program would see it. `has_heads`:
    whether there may be trace contexts in front of its messages.
    """
    if handler == INBOX:
        return None
    traces = list(map(trace_of, batch.messages)) if has_heads else []
    senders = dict.fromkeys(filter(None, traces))
    if not senders and not has_spans():
        return None
    contexts = list(map(context_of, islice(senders, _MOST_LINKS)))
    span = tracer().start_span(
        conventions.name_of_processing(handler),
        context=_begin(contexts[0] if _is_parent(traces) else None),
        kind=trace.SpanKind.CONSUMER,
        attributes=conventions.of_processing(handler, batch),
        links=list(map(trace.Link, contexts)),
    )
    return Processing(span)


def _is_parent(traces: Sequence[Trace | None]) -> bool:
    """Whether the span that sent the first request of a batch sent all of them, and once."""
    first = traces[0] if traces else None
    return first is not None and not first.again and all(its == first for its in traces)


def _begin(parent: SpanContext | None) -> Context:
    """The context of OpenTelemetry in which a span begins."""
    empty = otel_context.Context()
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), empty) if parent else empty
