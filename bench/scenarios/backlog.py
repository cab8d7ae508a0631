"""The rate by the length of the backlog: as many requests come in as are handled, and the backlog stays."""

from __future__ import annotations

import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.counted import CountedWorker
from bench.load.jobs import CALL, PER_CALL, Nothing, calls_of
from bench.load.segment import segment
from shardq import Queue
from shardq.drivers import SharedLock

CAPACITY_BYTES = 4 << 30
_TOTAL = 200_000
#: Requests that are handled before as many are registered again.
TURN = 1_280


def growth(size: Size, *, backlog: int) -> Figures:
    return uvloop.run(_measure(size.count(backlog, PER_CALL), size.count(_TOTAL, TURN)))


async def _measure(backlog: int, total: int) -> Figures:
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        worker = CountedWorker(SharedLock(storage), queue)
        await laid_up(queue, backlog)
        await through(queue, worker, TURN)  # to warm up
        start = time.perf_counter()
        await through(queue, worker, total)
        return {"requests_per_s": total / (time.perf_counter() - start)}


async def laid_up(queue: Queue, backlog: int) -> None:
    """A backlog of this length."""
    for requests in calls_of(min(PER_CALL, backlog), backlog):
        await queue.register(Nothing, *requests)


async def through(queue: Queue, worker: CountedWorker, total: int) -> None:
    """Register so many and handle so many."""
    for _ in range(total // TURN):
        for requests in calls_of(CALL, TURN):
            await queue.register(Nothing, *requests)
        await worker.loop(TURN)


SCENARIOS = (
    Scenario(
        "backlog",
        f"calls of {CALL} over 16 threads beside a standing backlog",
        (Figure("requests_per_s", "registered and handled in turn, in one process", "requests/s"),),
        tuple(
            Contestant(f"{backlog:,} queued", f"{__name__}:growth", {"backlog": backlog})
            for backlog in (10_000_000, 1_000_000, 10_000)
        ),
        "The ratio in the last row is the flatness: 1 is flat. The segment has 4 GiB. What is handled is the oldest, "
        "which no cache holds any more where the backlog is long.",
    ),
)
