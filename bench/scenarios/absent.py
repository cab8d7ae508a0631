"""`if_not_exists` on backlogs of different lengths, in calls of 128 requests: all of them new, or all present.

Who is new takes the place of the oldest, outside of the clock, so that the backlog stays as long as it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.jobs import CALL, PER_CALL, Job, numbered
from bench.load.segment import segment
from bench.load.unserved import OneTube
from shardq import Queue, Worker
from shardq.drivers import SharedLock
from shardq.protocols import Lock
from shardq.settings import WorkerSettings

CAPACITY_BYTES = 1 << 30
CALLS = 150
#: Before the clock starts, so that whatever is made at the first use of `if_not_exists` is there.
WARM_UP = 5


def among(size: Size, *, backlog: int, if_not_exists: bool) -> Figures:
    return uvloop.run(_measure(size.count(backlog, CALL * 2), size.count(CALLS), if_not_exists))


async def _measure(backlog: int, calls: int, if_not_exists: bool) -> Figures:
    with segment(CAPACITY_BYTES) as storage:
        return await rates(Queue(storage), SharedLock(storage), backlog, calls, if_not_exists)


async def rates(queue: Queue, lock: Lock, backlog: int, calls: int, if_not_exists: bool) -> Figures:
    """Of so many calls on any storage."""
    tube = _OneTube(queue, Worker(lock, queue, WorkerSettings(empty_limit=0)), if_not_exists)
    for first in range(0, backlog, PER_CALL):
        await tube.queue.register(OneTube, *numbered(first, min(PER_CALL, backlog - first)))
    total = backlog + (WARM_UP + calls) * CALL
    new = [numbered(first, CALL) for first in range(backlog, total, CALL)]
    await tube.rate(new[:WARM_UP])
    new_per_s = await tube.rate(new[WARM_UP:])
    step = max(1, (backlog - CALL) // calls)
    present = [numbered(total - backlog + number * step % (backlog - CALL), CALL) for number in range(calls)]
    return {"new_per_s": new_per_s, "present_per_s": await tube.rate(present)}


class _OneTube:
    """The tube that is measured, and the worker that takes its oldest requests away."""

    def __init__(self, queue: Queue, worker: Worker, if_not_exists: bool) -> None:
        self.queue = queue
        self._worker = worker
        self._if_not_exists = if_not_exists

    async def rate(self, calls: Sequence[list[Job]]) -> float:
        """Requests per second of these calls."""
        seconds = 0.0
        for requests in calls:
            start = time.perf_counter()
            accepted = await self.queue.register(OneTube, *requests, if_not_exists=self._if_not_exists)
            seconds += time.perf_counter() - start
            if accepted:
                await self._worker.loop(accepted)
        return CALL * len(calls) / seconds


FIGURES = (
    Figure("new_per_s", "none of the call's requests is there", "requests/s"),
    Figure("present_per_s", "all of them are there", "requests/s"),
)
_HERE = f"{__name__}:among"

SCENARIOS = (
    Scenario(
        "absent",
        f"if_not_exists beside 100,000 queued requests, calls of {CALL}",
        FIGURES,
        (
            Contestant("shardq", _HERE, {"backlog": 100_000, "if_not_exists": True}),
            Contestant(
                "sharded-queue", "bench.rivals.ancestor:absent", {"backlog": 100_000}, Kind.RIVAL, needs="sharded_queue"
            ),
            Contestant("without if_not_exists", _HERE, {"backlog": 100_000, "if_not_exists": False}, Kind.FLOOR),
        ),
        "The backlog stays as long as it is: what is new takes the place of the oldest, outside of the clock. "
        "`sharded-queue` looks at its whole backlog for each request, and sends 5 calls only.",
    ),
    Scenario(
        "absent-growth",
        "if_not_exists by the number of requests that are queued",
        FIGURES,
        tuple(
            Contestant(f"{backlog:,} queued", _HERE, {"backlog": backlog, "if_not_exists": True})
            for backlog in (1_000_000, 100_000, 1_000)
        ),
        "The ratio in the last row is the flatness: 1 is flat.",
    ),
)
