"""What it costs a worker that many threads beside are ready whose handler it does not have: rate, and wake-up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from bench.jobs import PAUSE_S, PER_CALL, PINGS, REQUESTS, WARM_UP, NewThread, Nothing, Ping, jobs, numbered
from bench.percentiles import percentiles_us
from bench.segment import segment
from bench.unserved import Aside
from bench.until import until
from bench.worker import Peer, serving
from shardq import Queue
from shardq.drivers import SharedStorage

CAPACITY_BYTES = 512 << 20


def threads_0() -> dict[str, float]:
    return uvloop.run(_measure(0))


def threads_1000() -> dict[str, float]:
    return uvloop.run(_measure(1_000))


def threads_30000() -> dict[str, float]:
    return uvloop.run(_measure(30_000))


async def _measure(threads: int) -> dict[str, float]:
    return {"end_to_end_per_s": await _rate(threads), **await _wake_up(threads)}


async def _rate(threads: int) -> float:
    requests = jobs()
    async with _served(threads, WARM_UP + REQUESTS) as (queue, worker):
        for _ in range(WARM_UP // PER_CALL):
            await queue.register(Nothing, *requests)
        await _all_done_but(queue, threads)
        start_ns = time.monotonic_ns()
        for _ in range(REQUESTS // PER_CALL):
            await queue.register(Nothing, *requests)
        end_ns: int = (await worker.result())["end_ns"]
    return REQUESTS / (end_ns - start_ns) * 1e9


async def _wake_up(threads: int) -> dict[str, float]:
    async with _served(threads, PINGS) as (queue, worker):
        for number in range(PINGS):
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
        async with serving(storage.name, limit) as worker:
            yield queue, worker


async def _all_done_but(queue: Queue, left: int) -> None:
    storage = queue.storage
    assert isinstance(storage, SharedStorage)
    await until(lambda: storage.overview().queued <= left)
