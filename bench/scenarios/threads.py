"""The number of threads that calls of one size are spread over, and threads without number."""

from __future__ import annotations

import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.counted import CountedWorker
from bench.load.family import seconds_for
from bench.load.inside import used_bytes
from bench.load.jobs import CALL, CAPACITY_BYTES, THREADS, Many, NewThread, Nothing, One, Ping, calls_of
from bench.load.segment import segment
from shardq import Queue, Supervisor
from shardq.drivers import SharedLock
from shardq.settings import WorkerSettings

_TOTAL = 200_000
_HANDLERS = {1: One, THREADS: Nothing, 1_000: Many}
REQUESTS = 40_000
LIVE = 20_000


def spread(size: Size, *, threads: int) -> Figures:
    return uvloop.run(_spread(size.count(_TOTAL, CALL), threads))


def passing(size: Size, *, threads: int | None) -> Figures:
    """All requests in threads of their own, where no number is given."""
    total = size.count(REQUESTS, 1_000)
    return uvloop.run(_passing(total, threads or total))


async def _spread(total: int, threads: int) -> Figures:
    handler = _HANDLERS[threads]
    async with Supervisor(handler, workers=1, capacity_bytes=CAPACITY_BYTES) as family:
        await seconds_for(family, handler, calls_of(CALL, total // 10))  # to warm up
        return {"end_to_end_per_s": total / await seconds_for(family, handler, calls_of(CALL, total))}


async def _passing(total: int, threads: int) -> Figures:
    """One request a thread, in calls of `LIVE`, each handled before the next."""
    seconds, peak_bytes = 0.0, 0
    with segment() as storage:
        queue = Queue(storage)
        worker = CountedWorker(SharedLock(storage), queue, WorkerSettings(empty_limit=0))
        for first in range(0, total, LIVE):
            requests = [Ping(number % threads, 0) for number in range(first, min(first + LIVE, total))]
            start = time.perf_counter()
            await queue.register(NewThread, *requests)
            peak_bytes = max(peak_bytes, used_bytes(storage))
            await worker.loop(len(requests))
            seconds += time.perf_counter() - start
    return {
        "requests_per_s": total / seconds,
        "peak_mib": peak_bytes / (1 << 20),
    }


SCENARIOS = (
    Scenario(
        "threads",
        f"calls of {CALL} by the number of threads they are spread over",
        (Figure("end_to_end_per_s", "one worker, end to end", "requests/s"),),
        tuple(
            Contestant(f"{threads:,} thread{'s' * (threads > 1)}", f"{__name__}:spread", {"threads": threads})
            for threads in reversed(_HANDLERS)
        ),
        "Where a thousand threads share calls of 128, each call has one request for each of 128 threads, and a worker "
        "finds a thread, binds and lets go for a few requests. The ratio in the last rows is to one thread and to 16.",
    ),
    Scenario(
        "passing-threads",
        f"{REQUESTS:,} requests, each in a thread of its own",
        (
            Figure("requests_per_s", f"registered and handled in calls of {LIVE:,}, in one process", "requests/s"),
            Figure("peak_mib", "most memory of the segment", "MiB", less_is_better=True),
        ),
        (
            Contestant("a thread each", f"{__name__}:passing", {"threads": None}),
            Contestant(f"{THREADS} threads", f"{__name__}:passing", {"threads": THREADS}),
        ),
        "A thread of its own for each request means a claim, a handler and a page for each: the ratio is what that "
        "costs over a request among others.",
    ),
)
