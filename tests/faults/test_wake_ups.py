"""Workers that sleep, requests that come one by one in all moments of that, and no safety net: no ring is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from time import perf_counter

import pytest
import uvloop

from shardq import Handler, Queue, Route, Worker
from shardq.drivers import SharedLock, SharedStorage
from shardq.settings import StorageSettings
from tests.faults.kit.points import Child
from tests.support.drivers import MIB
from tests.support.engines import needs_c, using
from tests.support.segments import new_name

#: Nobody looks by itself within a test.
NO_NET_S = 3600.0
#: To fall asleep takes a worker less than this: pauses up to this meet all moments of it.
LONGEST_PAUSE_S = 0.0015
THREADS = 3


class Wakes(Handler[int]):
    @classmethod
    def route(cls, *requests: int) -> list[Route]:
        return [Route(number % THREADS) for number in requests]

    def handle(self, *requests: int) -> None: ...


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("engine", ["python", pytest.param("c", marks=needs_c)])
@pytest.mark.timeout(900)
def test_each_request_is_handled_though_nobody_looks_by_itself(
    random: Random,
    everything: bool,
    tried: Callable[[str, int], None],
    workers: int,
    engine: str,
) -> None:
    """A request comes while its worker sleeps, is on its way to sleep, or on its way up."""
    name, settings = new_name(), StorageSettings(safety_net=NO_NET_S)
    count = 20_000 if everything else 400
    with using(engine):
        storage = SharedStorage.create(name, MIB, settings=settings)
        children = [Child(lambda: uvloop.run(_serve(name, settings))) for _ in range(workers)]
        try:
            handled = asyncio.run(_register(Queue(storage), random, count))
        finally:
            for child in children:
                child.kill()
            storage.destroy()
    tried("wake-ups", handled)
    assert handled == count


async def _serve(name: str, settings: StorageSettings) -> None:
    storage = SharedStorage.attach(name, settings)
    await Worker(SharedLock(storage), Queue(storage)).loop(handler=Wakes)


async def _register(queue: Queue, random: Random, count: int) -> int:
    """How many were handled, each before the next one was registered."""
    for number in range(count):
        register_at = perf_counter() + random.uniform(0, LONGEST_PAUSE_S)
        while perf_counter() < register_at:
            pass
        await queue.register(Wakes, random.randrange(THREADS))
        if not await queue.storage.wait_for_quiet(20):
            return number
    return count
