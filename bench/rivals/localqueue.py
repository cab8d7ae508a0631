"""A rival: the package `localqueue`, a file of SQLite, each call one `put_many`, each request one `get` and one `ack`.

It is sent a fiftieth of what others send.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial

from localqueue import SimpleQueue

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import TOTALS, Job, Nothing, calls_of
from bench.rivals.consumer import consumer

_SHARE = 50
_FLUSH = None
_Queue = SimpleQueue[Job | None]


def calls(size: Size, *, call: int) -> Figures:
    total = size.count(TOTALS[call] // _SHARE, call)
    with tempfile.TemporaryDirectory() as folder, consumer(partial(_serve, folder)) as wait, _Queue(folder) as queue:
        _seconds_for(queue, wait, call, max(call, total // 10))  # to warm up
        return {"end_to_end_per_s": total / _seconds_for(queue, wait, call, total)}


def _seconds_for(queue: _Queue, wait: Callable[[], None], call: int, total: int) -> float:
    start = time.perf_counter()
    for requests in calls_of(call, total):
        if call == 1:
            queue.put(requests[0])
        else:
            queue.put_many([*requests])
    queue.put(_FLUSH)
    wait()
    return time.perf_counter() - start


def _serve(folder: str, flushed: Callable[[], None]) -> None:
    """It gives a request as the list that JSON makes of it."""
    handle = Nothing().handle
    with _Queue(folder) as queue:
        while True:
            job = queue.get()
            if job.data is _FLUSH:
                queue.ack(job)
                flushed()
            else:
                handle(Job(*job.data))
                queue.ack(job)
