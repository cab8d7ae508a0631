"""Registering alone and handling alone, in one process, through shared memory, each beside its floor."""

from __future__ import annotations

import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.counted import CountedWorker
from bench.load.jobs import CALL, CAPACITY_BYTES, Nothing, calls_of
from bench.load.segment import segment
from shardq import Queue
from shardq.drivers import SharedLock

_TOTAL = 400_000


def registering(size: Size, *, call: int, total: int) -> Figures:
    return uvloop.run(_registering(size.count(total, call), call))


def handling(size: Size, *, batch: int, total: int) -> Figures:
    return uvloop.run(_handling(size.count(total, batch)))


async def _registering(total: int, call: int) -> Figures:
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        await _register(queue, call, total // 10)  # to warm up
        start = time.perf_counter()
        await _register(queue, call, total)
        return {"register_per_s": total / (time.perf_counter() - start)}


async def _handling(total: int) -> Figures:
    """A backlog so long that each batch is a full one."""
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        worker = CountedWorker(SharedLock(storage), queue)
        await _register(queue, 8192, total + total // 10 + 8192)
        await worker.loop(total // 10 or 1)  # to warm up
        start = time.perf_counter()
        await worker.loop(total)
        return {"handle_per_s": total / (time.perf_counter() - start)}


async def _register(queue: Queue, call: int, total: int) -> None:
    for requests in calls_of(call, total):
        await queue.register(Nothing, *requests)


def _scenario(name: str, title: str, half: str, arguments: dict[str, int], caveats: str) -> Scenario:
    return Scenario(
        name,
        title,
        (Figure(f"{name}_per_s", f"{name} alone", "requests/s"),),
        (
            Contestant("shardq", f"{__name__}:{half}", arguments),
            Contestant("floor, no storage", f"bench.rivals.floor:{half}", arguments, Kind.FLOOR),
        ),
        caveats,
    )


SCENARIOS = (
    _scenario(
        "register",
        f"registering alone, calls of {CALL} over 16 threads, no worker",
        "registering",
        {"call": CALL, "total": _TOTAL},
        "The floor routes, groups, encodes and joins in one process. Making the handler's `Route`s is a good part of "
        "both.",
    ),
    _scenario(
        "handle",
        f"handling alone, batches of {CALL}, no producer",
        "handling",
        {"batch": CALL, "total": _TOTAL},
        "The floor decodes each batch and calls the handler: it finds nothing, binds nothing and acknowledges nothing.",
    ),
)
