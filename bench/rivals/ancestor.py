"""The rival: `sharded-queue` with its in-memory driver, in one process.

We are generous to it. It pays for no process boundary. Draining costs it O(n^2) of its backlog, so that is drained
after each call, and it sends a quarter of what others send. A worker of it that finds its tube empty looks 16 times in
1.6 seconds before it goes on to the next; here it goes on after one look.
"""

from __future__ import annotations

import time

import uvloop
from sharded_queue import Handler, Queue, Route, Worker  # type: ignore[import-untyped]  # it ships none
from sharded_queue.drivers import RuntimeLock, RuntimeStorage  # type: ignore[import-untyped]  # it ships none

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import CALL, PER_CALL, THREADS, TOTALS, Job, calls_of, numbered

#: Calls of `if_not_exists`, each of which looks at its whole backlog for each of its requests.
ABSENT_CALLS = 5


class Nothing(Handler):  # type: ignore[misc]  # an untyped package
    @classmethod
    async def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]

    async def handle(self, *requests: Job) -> None:
        pass


class OneTube(Nothing):
    @classmethod
    async def route(cls, *requests: Job) -> list[Route]:
        return [Route()] * len(requests)


def calls(size: Size, *, call: int) -> Figures:
    """Registers and handles in turn, a call at a time: its drain costs O(n^2) of the backlog."""
    return uvloop.run(_calls(call, size.count(max(call, TOTALS[call] // 4), call)))


def absent(size: Size, *, backlog: int) -> Figures:
    """`if_not_exists` where so many are queued already."""
    return uvloop.run(absent_among(Queue(RuntimeStorage()), size.count(backlog, PER_CALL)))


async def absent_among(queue: Queue, backlog: int) -> Figures:
    """The same on any storage."""
    for first in range(0, backlog, PER_CALL):
        await queue.register(OneTube, *numbered(first, PER_CALL))
    new = [numbered(backlog + number * CALL, CALL) for number in range(ABSENT_CALLS)]
    present = [numbered(first, CALL) for first in range(0, backlog, backlog // ABSENT_CALLS)]
    return {"new_per_s": await _rate(queue, new), "present_per_s": await _rate(queue, present)}


async def _rate(queue: Queue, calls: list[list[Job]]) -> float:
    start = time.perf_counter()
    for requests in calls:
        await queue.register(OneTube, *requests, if_not_exists=True)
    return CALL * len(calls) / (time.perf_counter() - start)


async def _calls(call: int, total: int) -> Figures:
    queue = Queue(RuntimeStorage())
    worker = Worker(RuntimeLock(), queue)
    worker.settings.empty_limit, worker.settings.empty_pause = 1, 0
    await _through(queue, worker, call, max(call, total // 10))  # to warm up
    start = time.perf_counter()
    await _through(queue, worker, call, total)
    return {"end_to_end_per_s": total / (time.perf_counter() - start)}


async def _through(queue: Queue, worker: Worker, call: int, total: int) -> None:
    for requests in calls_of(call, total):
        await queue.register(Nothing, *requests)
        await worker.loop(call)
