"""The subject: shardq through shared memory, producer and worker in two processes."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench.jobs import PAUSE_S, PER_CALL, PINGS, REQUESTS, WARM_UP, Job, NewThread, Nothing, Ping, SameThread, jobs
from bench.percentiles import percentiles_us
from bench.segment import segment
from bench.worker import serving
from shardq import Queue, Worker
from shardq.drivers import SharedLock

CAPACITY_BYTES = 256 << 20


def throughput() -> dict[str, float]:
    return {"end_to_end_per_s": uvloop.run(_end_to_end()), **uvloop.run(_halves())}


def wake_up_bound() -> dict[str, float]:
    """The worker still holds the thread that the request is for."""
    return uvloop.run(_wake_up(SameThread))


def wake_up_rebind() -> dict[str, float]:
    """The worker has to bind to the thread that the request is for."""
    return uvloop.run(_wake_up(NewThread))


async def _end_to_end() -> float:
    """Requests per second, from the first `register` to the last acknowledgement in the other process."""
    requests = jobs()
    with segment(CAPACITY_BYTES) as storage:
        async with serving(storage.name, WARM_UP + REQUESTS) as worker:
            queue = Queue(storage)
            await _register(queue, requests, WARM_UP)
            await storage.wait_for_quiet()
            start_ns = time.monotonic_ns()
            await _register(queue, requests, REQUESTS)
            end_ns: int = (await worker.result())["end_ns"]
    return REQUESTS / (end_ns - start_ns) * 1e9


async def _halves() -> dict[str, float]:
    """Registering with no worker there, then handling that backlog, in this one process."""
    requests = jobs()
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        worker = Worker(SharedLock(storage), queue)
        await _register(queue, requests, WARM_UP)
        await worker.loop(WARM_UP)
        start = time.perf_counter()
        await _register(queue, requests, REQUESTS)
        middle = time.perf_counter()
        await worker.loop(REQUESTS)
        end = time.perf_counter()
    return {"register_per_s": REQUESTS / (middle - start), "handle_per_s": REQUESTS / (end - middle)}


async def _wake_up(handler: type[SameThread]) -> dict[str, float]:
    with segment(CAPACITY_BYTES) as storage:
        async with serving(storage.name, PINGS) as worker:
            queue = Queue(storage)
            for number in range(PINGS):
                await asyncio.sleep(PAUSE_S)  # the pause is the scenario: the worker falls asleep in it
                await queue.register(handler, Ping(number, time.monotonic_ns()))
                await storage.wait_for_quiet()
            return percentiles_us((await worker.result())["delays_ns"])


async def _register(queue: Queue, requests: list[Job], total: int) -> None:
    for _ in range(total // PER_CALL):
        await queue.register(Nothing, *requests)
