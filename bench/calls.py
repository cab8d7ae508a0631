"""Calls of the sizes that people have, end to end: a producer, and one or two workers, over 16 threads."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.queues import Queue as ProcessQueue
from multiprocessing.synchronize import Semaphore

import uvloop

from bench.jobs import Job, Nothing, numbered
from bench.shared import CAPACITY_BYTES
from shardq import Supervisor

#: Requests of one call, and how many of them a run sends in all.
CALLS = {1: 6_000, 16: 60_000, 128: 200_000, 10_000: 400_000}


def one_worker() -> dict[str, float]:
    return uvloop.run(_family(1))


def two_workers() -> dict[str, float]:
    return uvloop.run(_family(2))


def one_process() -> dict[str, float]:
    """`multiprocessing.Queue`: each call is put as one list, and keeps no order between two consumers."""
    return _processes(1)


def two_processes() -> dict[str, float]:
    return _processes(2)


async def _family(workers: int) -> dict[str, float]:
    """Requests per second, from the first `register` to the last acknowledgement."""
    figures = {}
    async with Supervisor(Nothing, workers=workers, capacity_bytes=CAPACITY_BYTES) as family:
        for size, total in CALLS.items():
            requests = numbered(0, size)
            for count in (total // 10, total):  # the first are to warm up
                start = time.perf_counter()
                for _ in range(count // size or 1):
                    await family.queue.register(Nothing, *requests)
                await family.drain()
                end = time.perf_counter()
            figures[f"by_{size}_per_s"] = total / (end - start)
    return figures


def _processes(count: int) -> dict[str, float]:
    figures, context = {}, multiprocessing.get_context("fork")
    queue, done = context.Queue(), context.Semaphore(0)
    consumers = [context.Process(target=_consume, args=(queue, done), daemon=True) for _ in range(count)]
    for consumer in consumers:
        consumer.start()
    for size, total in CALLS.items():
        requests = numbered(0, size)
        for number in (total // 10, total):
            start = time.perf_counter()
            for _ in range(number // size or 1):
                queue.put(requests)
            for _ in range(number // size or 1):
                done.acquire()
            end = time.perf_counter()
        figures[f"by_{size}_per_s"] = total / (end - start)
    for _ in consumers:
        queue.put(None)
    for consumer in consumers:
        consumer.join()
    queue.close()
    return figures


def _consume(queue: ProcessQueue[list[Job] | None], done: Semaphore) -> None:
    handler = Nothing()
    while (requests := queue.get()) is not None:
        handler.handle(*requests)
        done.release()
