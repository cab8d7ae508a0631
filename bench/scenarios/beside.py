"""What it costs a worker that many threads beside are ready whose handler it does not have: rate, and wake-up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.jobs import PER_CALL, NewThread, Nothing, Ping, numbered
from bench.load.percentiles import DELAYS, percentiles_us
from bench.load.segment import segment
from bench.load.unserved import Aside
from bench.load.until import until
from bench.load.worker import Peer, serving
from shardq import Queue
from shardq.drivers import SharedStorage

CAPACITY_BYTES = 512 << 20
REQUESTS = 800_000
PINGS = 200
PAUSE_S = 0.005


def threads(size: Size, *, count: int) -> Figures:
    return uvloop.run(_measure(size, size.count(count) if count else 0))


async def _measure(size: Size, threads: int) -> Figures:
    return {
        "end_to_end_per_s": await _rate(threads, size.count(REQUESTS, PER_CALL)),
        **await _wake_up(threads, size.count(PINGS)),
    }


async def _rate(threads: int, total: int) -> float:
    requests = numbered(0, PER_CALL)
    async with _served(threads, PER_CALL + total) as (queue, worker):
        await queue.register(Nothing, *requests)  # to warm up
        await _all_done_but(queue, threads)
        start_ns = time.monotonic_ns()
        for _ in range(total // PER_CALL):
            await queue.register(Nothing, *requests)
        end_ns: int = (await worker.result())["end_ns"]
    return total / (end_ns - start_ns) * 1e9


async def _wake_up(threads: int, pings: int) -> Figures:
    async with _served(threads, pings) as (queue, worker):
        for number in range(pings):
            await asyncio.sleep(PAUSE_S)  # the pause is the scenario: the worker falls asleep in it
            await queue.register(NewThread, Ping(number, time.monotonic_ns()))
            await _all_done_but(queue, threads)
        return percentiles_us((await worker.result())["delays_ns"])


@asynccontextmanager
async def _served(threads: int, limit: int) -> AsyncIterator[tuple[Queue, Peer]]:
    """A segment with so many ready threads that its worker does not serve."""
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        await queue.register(Aside, *numbered(0, threads))
        async with serving(f"shm://{storage.name}", limit) as worker:
            yield queue, worker


async def _all_done_but(queue: Queue, left: int) -> None:
    storage = queue.storage
    assert isinstance(storage, SharedStorage)
    await until(lambda: storage.overview().queued <= left)


SCENARIOS = (
    Scenario(
        "unserved",
        "beside ready threads whose handler the worker does not have",
        (Figure("end_to_end_per_s", f"calls of {PER_CALL:,}, end to end", "requests/s"), *DELAYS),
        tuple(
            Contestant(f"beside {count:,} threads", f"{__name__}:threads", {"count": count})
            for count in (30_000, 1_000, 0)
        ),
        "One worker process. The delays are those of single requests to an idle worker, each in a new thread.",
    ),
)
