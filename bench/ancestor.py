"""The rival: `sharded-queue` with its in-memory driver, in one process.

We are generous to it. It pays for no process boundary. Draining costs it O(n^2) of its backlog, so that is drained
after each call of 10,000. A worker of it that finds its tube empty looks 16 times in 1.6 seconds before it goes on to
the next; here it goes on after one look.
"""

from __future__ import annotations

import time

import uvloop
from sharded_queue import Handler, Queue, Route, Worker  # type: ignore[import-untyped]  # it ships none
from sharded_queue.drivers import RuntimeLock, RuntimeStorage  # type: ignore[import-untyped]  # it ships none

from bench.jobs import CALL, PER_CALL, THREADS, WARM_UP, Job, jobs, numbered

#: Fewer than the others send, so that a run takes it about as long.
REQUESTS = 200_000
#: Calls of `if_not_exists`, each of which looks at its whole backlog for each of its requests.
ABSENT_CALLS = 5


class Nothing(Handler):  # type: ignore[misc]
    @classmethod
    async def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]

    async def handle(self, *requests: Job) -> None:
        pass


class OneTube(Nothing):
    @classmethod
    async def route(cls, *requests: Job) -> list[Route]:
        return [Route()] * len(requests)


def measure() -> dict[str, float]:
    return uvloop.run(_measure())


def absent() -> dict[str, float]:
    """`if_not_exists` where a hundred thousand are queued already."""
    return uvloop.run(_absent(100_000))


async def _absent(backlog: int) -> dict[str, float]:
    queue = Queue(RuntimeStorage())
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


async def _measure() -> dict[str, float]:
    requests, queue = jobs(), Queue(RuntimeStorage())
    worker = Worker(RuntimeLock(), queue)
    worker.settings.empty_limit, worker.settings.empty_pause = 1, 0
    for _ in range(WARM_UP // PER_CALL):
        await queue.register(Nothing, *requests)
        await worker.loop(PER_CALL)
    register_s = handle_s = 0.0
    for _ in range(REQUESTS // PER_CALL):
        start = time.perf_counter()
        await queue.register(Nothing, *requests)
        middle = time.perf_counter()
        await worker.loop(PER_CALL)
        register_s += middle - start
        handle_s += time.perf_counter() - middle
    return {
        "end_to_end_per_s": REQUESTS / (register_s + handle_s),
        "register_per_s": REQUESTS / register_s,
        "handle_per_s": REQUESTS / handle_s,
    }
