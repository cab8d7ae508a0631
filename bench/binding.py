"""What it costs to change threads: each binding handles a single request, so hardly anything else is in the figure.

A binding is all of it: find the thread, claim it, create and start the handler, take the request, handle and
acknowledge it, look for more, stop, release.
"""

from __future__ import annotations

import time

import uvloop

from bench.jobs import NewThread, Ping
from bench.segment import segment
from shardq import Queue, Worker
from shardq.drivers import SharedLock
from shardq.settings import WorkerSettings

CAPACITY_BYTES = 512 << 20
BINDINGS = 50_000
WARM_UP = 1_000


def threads_10() -> dict[str, float]:
    return uvloop.run(_measure(10))


def threads_1000() -> dict[str, float]:
    return uvloop.run(_measure(1_000))


def threads_50000() -> dict[str, float]:
    return uvloop.run(_measure(50_000))


async def _measure(threads: int) -> dict[str, float]:
    """So many threads with one request each, handled to the last one, again and again."""
    requests = [Ping(number, 0) for number in range(threads)]
    register_s = handle_s = 0.0
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        worker = Worker(SharedLock(storage), queue, WorkerSettings(empty_limit=0))
        for _ in range(max(1, WARM_UP // threads)):
            await queue.register(NewThread, *requests)
            await worker.loop(threads)
        for _ in range(BINDINGS // threads):
            start = time.perf_counter()
            await queue.register(NewThread, *requests)
            middle = time.perf_counter()
            await worker.loop(threads)
            register_s += middle - start
            handle_s += time.perf_counter() - middle
    return {"binding_us": 1e6 * handle_s / BINDINGS, "register_us": 1e6 * register_s / BINDINGS}
