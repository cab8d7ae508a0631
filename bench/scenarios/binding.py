"""The rate by the number of threads: each binding handles a single request, so hardly anything else is in the figure.

A binding is all of it: find the thread, claim it, create and start the handler, take the request, handle and
acknowledge it, look for more, stop, release.
"""

from __future__ import annotations

import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.counted import CountedWorker
from bench.load.jobs import NewThread, Ping
from bench.load.segment import segment
from shardq import Queue
from shardq.drivers import SharedLock
from shardq.settings import WorkerSettings

CAPACITY_BYTES = 512 << 20
BINDINGS = 10_000
#: Requests of one call, whatever the number of threads: what differs is only how many threads there are.
CALL = 10


def growth(size: Size, *, threads: int, known: bool = False) -> Figures:
    live = min(threads, size.count(threads, CALL))
    return uvloop.run(_measure(live, max(live, size.count(BINDINGS, CALL)), live if known else CALL))


async def _measure(threads: int, bindings: int, known: int = CALL) -> Figures:
    """So many threads with one request each, handled to the last one, again and again. `known` of them had one before
    the clock starts.
    """
    calls = [[Ping(number, 0) for number in range(first, first + CALL)] for first in range(0, threads, CALL)]
    register_s = handle_s = 0.0
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        worker = CountedWorker(SharedLock(storage), queue, WorkerSettings(empty_limit=0))
        for requests in calls[: known // CALL]:
            await queue.register(NewThread, *requests)
        await worker.loop(known)  # to warm up
        rounds = bindings // threads
        for _ in range(rounds):
            start = time.perf_counter()
            for requests in calls:
                await queue.register(NewThread, *requests)
            middle = time.perf_counter()
            await worker.loop(threads)
            register_s += middle - start
            handle_s += time.perf_counter() - middle
    done = rounds * threads
    return {
        "requests_per_s": done / (register_s + handle_s),
        "binding_us": 1e6 * handle_s / done,
        "register_us": 1e6 * register_s / done,
    }


SCENARIOS = (
    Scenario(
        "thread-growth",
        f"one request in each of many threads, calls of {CALL}",
        (
            Figure("requests_per_s", "registered and handled", "requests/s"),
            Figure("binding_us", "to bind, handle one request and let go", "us", less_is_better=True),
            Figure("register_us", "to register one request", "us", less_is_better=True),
        ),
        (
            Contestant("50,000 threads", f"{__name__}:growth", {"threads": 50_000}),
            Contestant("50,000 threads that were there", f"{__name__}:growth", {"threads": 50_000, "known": True}),
            *(
                Contestant(f"{threads:,} threads", f"{__name__}:growth", {"threads": threads})
                for threads in (1_000, 10)
            ),
        ),
        "One process. The ratio in the last row is the flatness: 1 is flat. All requests of a turn are registered "
        "before the first of them is handled, and a worker's loop handles them: with 10 threads it begins and ends for "
        "ten requests each, which is most of their binding. Each of the 50,000 threads in the first row is a new one, "
        "which has to be made; the others were there before.",
    ),
)
