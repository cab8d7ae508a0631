"""A rival: the package `faster-fifo`, a ring in shared memory: `put_many` for a call, `get_many` for a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from faster_fifo import Queue  # type: ignore[import-untyped, import-not-found, unused-ignore]  # it ships none

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import CAPACITY_BYTES, TOTALS, Nothing, calls_of
from bench.rivals.consumer import consumer

_FLUSH = None
#: It has no put or get that waits for ever.
_LONG_S = 300.0


def calls(size: Size, *, call: int) -> Figures:
    """Single requests by `put`, all others by `put_many`."""
    total = size.count(TOTALS[call], call)
    queue = Queue(CAPACITY_BYTES)
    with consumer(partial(_serve, queue)) as wait:
        _seconds_for(queue, wait, call, total // 10)  # to warm up
        return {"end_to_end_per_s": total / _seconds_for(queue, wait, call, total)}


def _seconds_for(queue: Any, wait: Callable[[], None], call: int, total: int) -> float:
    start = time.perf_counter()
    for requests in calls_of(call, total):
        if call == 1:
            queue.put(requests[0], timeout=_LONG_S)
        else:
            queue.put_many(requests, timeout=_LONG_S)
    queue.put(_FLUSH)
    wait()
    return time.perf_counter() - start


def _serve(queue: Any, flushed: Callable[[], None]) -> None:
    handle = Nothing().handle
    while True:
        batch = queue.get_many(timeout=_LONG_S)
        ends = batch[-1] is _FLUSH
        if ends:
            batch.pop()
        if batch:
            handle(*batch)
        if ends:
            flushed()
