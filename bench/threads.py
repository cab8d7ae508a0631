"""Threads without number: a million distinct ones pass through a segment of the default size, 20,000 at a time.

Beside it as many requests over 16 threads. `BENCH_THREADS` says how many there are, by default a million.
"""

from __future__ import annotations

import os
import time

import uvloop

from bench.jobs import THREADS, NewThread, Ping
from bench.segment import segment
from shardq import Queue, Worker
from shardq.drivers import SharedLock
from shardq.settings import WorkerSettings

REQUESTS = int(os.environ.get("BENCH_THREADS", "1000000"))
LIVE = 20_000


def distinct() -> dict[str, float]:
    return uvloop.run(_measure(REQUESTS))


def few() -> dict[str, float]:
    return uvloop.run(_measure(THREADS))


async def _measure(threads: int) -> dict[str, float]:
    """One request a thread, in calls of `LIVE`, each handled before the next."""
    register_s = handle_s = 0.0
    peak_bytes = 0
    with segment() as storage:
        queue = Queue(storage)
        worker = Worker(SharedLock(storage), queue, WorkerSettings(empty_limit=0))
        for first in range(0, REQUESTS, LIVE):
            requests = [Ping(number % threads, 0) for number in range(first, first + LIVE)]
            start = time.perf_counter()
            await queue.register(NewThread, *requests)
            middle = time.perf_counter()
            peak_bytes = max(peak_bytes, storage.store.segment.used_bytes)
            await worker.loop(LIVE)
            register_s += middle - start
            handle_s += time.perf_counter() - middle
    return {
        "requests_per_s": REQUESTS / (register_s + handle_s),
        "register_per_s": REQUESTS / register_s,
        "handle_per_s": REQUESTS / handle_s,
        "peak_mib": peak_bytes / (1 << 20),
    }
