"""`if_not_exists` on backlogs of different lengths, in calls of 128 requests: all of them new, or all present.

A new request takes the place of the oldest, outside of the clock, so that the backlog stays as long as it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import uvloop

from bench.jobs import CALL, PER_CALL, Job, numbered
from bench.segment import segment
from bench.unserved import OneTube
from shardq import Queue, Route, Tube
from shardq.drivers import SharedLock

CAPACITY_BYTES = 1 << 30
CALLS = 500
#: Before the clock starts, so that whatever is made at the first use of `if_not_exists` is there.
WARM_UP = 5
_TUBE = Tube(OneTube, Route())


def backlog_1000() -> dict[str, float]:
    return uvloop.run(_measure(1_000, if_not_exists=True))


def backlog_100000() -> dict[str, float]:
    return uvloop.run(_measure(100_000, if_not_exists=True))


def backlog_1000000() -> dict[str, float]:
    return uvloop.run(_measure(1_000_000, if_not_exists=True))


def plain() -> dict[str, float]:
    """The floor: the storage does not look whether they are there."""
    return uvloop.run(_measure(100_000, if_not_exists=False))


async def _measure(backlog: int, *, if_not_exists: bool) -> dict[str, float]:
    with segment(CAPACITY_BYTES) as storage:
        tube = _OneTube(Queue(storage), SharedLock(storage), if_not_exists)
        for first in range(0, backlog, PER_CALL):
            await tube.queue.register(OneTube, *numbered(first, min(PER_CALL, backlog - first)))
        total = backlog + (WARM_UP + CALLS) * CALL
        new = [numbered(first, CALL) for first in range(backlog, total, CALL)]
        await tube.rate(new[:WARM_UP])
        new_per_s = await tube.rate(new[WARM_UP:])
        step = max(1, (backlog - CALL) // CALLS)
        present = [numbered(total - backlog + number * step % (backlog - CALL), CALL) for number in range(CALLS)]
        return {"new_per_s": new_per_s, "present_per_s": await tube.rate(present)}


class _OneTube:
    """The tube that is measured, and the claim under which its oldest requests are taken away."""

    def __init__(self, queue: Queue, lock: SharedLock, if_not_exists: bool) -> None:
        self.queue = queue
        self._lock = lock
        self._if_not_exists = if_not_exists

    async def rate(self, calls: Sequence[list[Job]]) -> float:
        """Requests per second of these calls."""
        token, seconds = await self._lock.acquire(_TUBE.key), 0.0
        for requests in calls:
            start = time.perf_counter()
            accepted = await self.queue.register(OneTube, *requests, if_not_exists=self._if_not_exists)
            seconds += time.perf_counter() - start
            await self._take_away(accepted, token)
        await self._lock.release(_TUBE.key)
        return CALL * len(calls) / seconds

    async def _take_away(self, count: int, token: int) -> None:
        while count:
            batch = await self.queue.storage.take([_TUBE.pipe], count, token)
            await self.queue.storage.pop(_TUBE.pipe, batch.through, token)
            count -= batch.count
