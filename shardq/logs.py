"""Log records that say which batch they were made for.

Workers of a family have this filter on the handlers of the root logger. An application that gives loggers handlers of
their own, or runs a `Worker` itself, adds it there:

    handler.addFilter(shardq.logs.BatchInHand())

and in `logging.config.dictConfig`: `"filters": {"batch": {"()": "shardq.logs.BatchInHand"}}`.
"""

from __future__ import annotations

import logging

from shardq.handler import handling
from shardq.model import Batch
from shardq.tracing.identity import identity_of


class BatchInHand(logging.Filter):
    """Gives each record that a handler's code makes what its worker has in hand: `pipe`, the tube; `sequence`, the
    number of the request there; with several that of the first, and `last_sequence`; `attempts`, how often the request
    failed before; `trace_id` and `span_id`, those of the span that is current where OpenTelemetry is in use, else those
    of the span that sent the request, if one did. A record keeps what it has under these names, and all records pass.

    The code is what runs in calls of the handler for a batch, in tasks that it creates there, and in what it gives to
    `asyncio.to_thread`. A thread that it starts itself has no context, so its records say nothing.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        batch = handling.get()
        if isinstance(batch, Batch) and batch.count:
            for name, value in _fields(batch).items():
                if not hasattr(record, name):
                    setattr(record, name, value)
        return True


def identify() -> None:
    """Have the handlers of the root logger of this process say it. Doing it again changes nothing."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(its, BatchInHand) for its in handler.filters):
            handler.addFilter(BatchInHand())


def _fields(batch: Batch) -> dict[str, str | int]:
    last = {} if batch.count == 1 else {"last_sequence": batch.through_first(batch.count) - 1}
    attempts = batch.failed.attempts if batch.failed else 0
    found: dict[str, str | int] = {"pipe": batch.pipe, "sequence": batch.sequence, **last, "attempts": attempts}
    return found | identity_of(batch)
