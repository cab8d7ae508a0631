"""Which trace and span a log record of a handler belongs to."""

from __future__ import annotations

from shardq.model import Batch
from shardq.model.trace import trace_of
from shardq.tracing.api import current_context


def identity_of(batch: Batch) -> dict[str, str]:
    """`trace_id` and `span_id`, as hexadecimal digits: those of the current span; where this process has none, those of
    the span that sent the first request of the batch. Empty: there is neither.
    """
    found = current_context()
    if found is not None:
        return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}
    sent = trace_of(batch.payload[: batch.ends[0] - batch.base])
    return {"trace_id": sent.trace_id.hex(), "span_id": sent.span_id.hex()} if sent else {}
