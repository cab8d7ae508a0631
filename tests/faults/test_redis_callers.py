"""Over a server a worker, or the caller that waits for its results, is killed before any script, or behind its answer:
each request has one result, and of a dead caller nothing stays.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import count
from random import Random
from typing import Any

import pytest

from shardq import Queue, Worker
from shardq.drivers.redis.overview import overview_of
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.storage import RedisStorage
from shardq.handler import drive
from shardq.model import handler_name
from shardq.results.inbox import OpenInbox
from shardq.settings import WorkerSettings
from shardq.working.hooks import Hooks
from tests.faults.kit.points import Child
from tests.faults.test_kill_callers import PIPE, REQUESTS, Echo, Fails, answers
from tests.support.drivers import Backend, attach_redis, make_redis, make_redis_cluster, tell_redis_of_death
from tests.support.programs import until
from tests.support.tasks import LIMIT_S

Tried = Callable[[str, int], None]
#: Steps that a sampled run dies at, of the worker and of the caller.
SAMPLE = 4
MAKERS: dict[str, Callable[[], Backend]] = {
    "alone": lambda: make_redis(None),
    "partitions": lambda: make_redis(None, 3),
    "cluster": lambda: make_redis_cluster(None),
}
pytestmark = [pytest.mark.timeout(1800), pytest.mark.parametrize("place", MAKERS)]


@contextmanager
def made(place: str) -> Iterator[Backend]:
    """A storage that is right in the end, and then gone."""
    backend = MAKERS[place]()
    try:
        yield backend
    finally:
        asyncio.run(backend.discard())


def steps_of(act: Callable[[], None], last: int = -1) -> int:
    """How many steps there are: two for each call of scripts, before it and behind it. At the last step this process
    dies.
    """
    numbers = count()

    def step() -> None:
        if next(numbers) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepwise(verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(verb)
        async def between_steps(*words: Any, **options: Any) -> Any:
            step()
            found = await verb(*words, **options)
            step()
            return found

        return between_steps

    for name in ("run", "run_each"):
        setattr(Server, name, stepwise(getattr(Server, name)))
    act()
    return next(numbers)


def died_at(step: int, address: str, act: Callable[[], None]) -> int:
    """The pid of a process that did this, and died at the step where it got so far: the storage is told of its end."""
    child = Child(lambda: steps_of(act, step))
    child.end()
    tell_redis_of_death(address, child.pid)
    return child.pid


def serve(address: str, enough: float = float("inf")) -> None:
    """Be a worker until so many requests left."""
    done = 0

    def note(number: int) -> None:
        nonlocal done
        done += number
        if done >= enough:
            worker.stop()

    async def work() -> None:
        await worker.loop(handler=[Echo, Fails])
        await there.storage.close()

    there = attach_redis(address)
    settings = WorkerSettings(empty_limit=0)
    worker = Worker(there.new_lock(), Queue(there.storage), settings, hooks=Hooks(after_batch=note))
    asyncio.run(work())


async def asked(backend: Backend, handler: type[Echo]) -> OpenInbox:
    """An inbox of this process, to which the results of requests go."""
    queue, inbox = Queue(backend.storage), OpenInbox(backend.storage)
    await inbox.open()
    await queue.stored(await queue.sealed(handler, range(REQUESTS), inbox.number, 0, abandon=True))
    return inbox


async def sent(backend: Backend) -> list[int]:
    """What was emitted, and what is left beside it."""
    await backend.storage.promote()  # what is on its way comes
    assert list(await backend.storage.pipes()) in ([], [PIPE])
    return Queue(backend.storage).serializer.decode(int, await backend.storage.range(PIPE, 100))


async def threads(backend: Backend, pid: int) -> list[str]:
    """Those that a process has."""
    assert isinstance(backend.storage, RedisStorage)
    workers = (await overview_of(backend.storage)).workers
    return [its.thread for worker in workers if worker.pid == pid for its in worker.threads]


def chosen(steps: int, random: Random, *, everything: bool) -> list[int]:
    return list(range(steps)) if everything else sorted(random.sample(range(steps), min(SAMPLE, steps)))


@pytest.mark.parametrize("handler", [Echo, Fails])
def test_a_worker_dies_and_each_request_has_one_result(
    place: str, handler: type[Echo], random: Random, everything: bool, tried: Tried
) -> None:
    with made(place) as backend:
        asyncio.run(asked(backend, handler))
        steps = Child(lambda: steps_of(lambda: serve(backend.address, REQUESTS))).result()
    points = chosen(steps, random, everything=everything)
    for step in points:
        with made(place) as backend:
            inbox, address = asyncio.run(asked(backend, handler)), backend.address
            died_at(step, address, lambda: serve(address, REQUESTS))  # noqa: B023
            survivor = Child(lambda: serve(address))  # noqa: B023
            try:
                found = asyncio.run(answers(inbox, handler))
            finally:
                survivor.kill()
            told = [(n, "failed" if isinstance(value, str) else value) for n, value in found]
            expected = [(n, "failed" if handler is Fails and n == 3 else 10 * n) for n in range(REQUESTS)]
            assert told == expected, step
            assert asyncio.run(answers(inbox, handler, REQUESTS + 1)) == [], step
            asyncio.run(inbox.close())
            assert sorted(asyncio.run(sent(backend))) == [n for n, value in expected if isinstance(value, int)], step
    tried("deaths of workers around scripts", len(points))


def call(address: str) -> None:
    """Call and map the handler, in a process that has a worker beside it."""

    async def ask() -> None:
        storage = attach_redis(address).storage
        queue = Queue(storage)
        assert await queue.call(Echo, 4, timeout_s=LIMIT_S) == 40
        async with queue.map(Echo, range(REQUESTS), window=3, timeout_s=LIMIT_S) as results:
            assert [result async for result in results] == [10 * n for n in range(REQUESTS)]
        await storage.close()

    asyncio.run(ask())


@contextmanager
def a_worker(backend: Backend) -> Iterator[None]:
    """It works off all there is before it is killed."""
    worker, storage = Child(lambda: serve(backend.address)), backend.storage
    try:
        until(lambda: bool(drive(storage.serving(handler_name(Echo)))), "the worker looks for work")
        yield
        until(lambda: {*drive(storage.pipes())} <= {PIPE}, "all else is done")
    finally:
        worker.kill()


def test_a_caller_dies_and_nothing_of_it_stays(place: str, random: Random, everything: bool, tried: Tried) -> None:
    with made(place) as backend, a_worker(backend):
        steps = Child(lambda: steps_of(lambda: call(backend.address))).result()
    points = chosen(steps, random, everything=everything)
    for step in points:
        with made(place) as backend:
            with a_worker(backend):
                pid = died_at(step, backend.address, lambda: call(backend.address))
            found = asyncio.run(sent(backend))
            assert max(map(found.count, range(REQUESTS))) <= 2, step  # once for the call, once for the map
            assert asyncio.run(threads(backend, pid)) == [], step
    tried("deaths of callers around scripts", len(points))
