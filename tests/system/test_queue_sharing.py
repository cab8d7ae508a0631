"""One queue in many hands: threads, event loops, code without a loop, and forked children, all at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import ClassVar, NamedTuple

import pytest
import uvloop

from shardq import Handler, Queue, Route, Worker
from shardq.drivers import SharedLock, SharedStorage
from shardq.settings import WorkerSettings
from shardq.shm.files.own_files import remove_files
from tests.support.drivers import MIB
from tests.support.segments import new_name
from tests.support.tasks import LIMIT_S

THREADS = 3
CALLS = 60
PER_CALL = 7


class Word(NamedTuple):
    caller: int
    number: int
    padding: bytes = b""


class Collect(Handler[Word]):
    """Writes down in which order the words of each caller come, thread by thread."""

    heard: ClassVar[defaultdict[tuple[int, int], list[int]]] = defaultdict(list)

    @classmethod
    def route(cls, *words: Word) -> list[Route]:
        return [Route(word.number % THREADS) for word in words]

    def perform(self, *words: Word) -> None:
        for word in words:
            self.heard[word.caller, word.number % THREADS].append(word.number)


@pytest.fixture
def storage() -> Iterator[SharedStorage]:
    Collect.heard.clear()
    name = new_name()
    storage = SharedStorage.create(name, 16 * MIB)
    yield storage
    storage.destroy()
    remove_files(name)


@pytest.fixture
def queue(storage: SharedStorage) -> Queue:
    return Queue(storage)


def calls(caller: int, padding: int = 0) -> Iterator[list[Word]]:
    for first in range(0, CALLS * PER_CALL, PER_CALL):
        yield [Word(caller, number, bytes(padding)) for number in range(first, first + PER_CALL)]


def register_plainly(queue: Queue, caller: int, padding: int = 0) -> None:
    for words in calls(caller, padding):
        assert queue.register_sync(Collect, *words) == PER_CALL


def register_on_a_loop(queue: Queue, caller: int, padding: int = 0) -> None:
    async def register() -> None:
        for words in calls(caller, padding):
            assert await queue.register(Collect, *words) == PER_CALL

    asyncio.run(register())


def register_on_uvloop(queue: Queue, caller: int, padding: int = 0) -> None:
    async def register() -> None:
        for words in calls(caller, padding):
            assert await queue.register(Collect, *words) == PER_CALL

    uvloop.run(register())


WAYS: list[Callable[..., None]] = [register_plainly, register_on_a_loop, register_on_uvloop] * 2


def at_once(queue: Queue, ways: list[Callable[..., None]], padding: int = 0) -> None:
    """Run each way in a thread of its own, all of them starting together."""
    barrier = threading.Barrier(len(ways))

    def run(way: Callable[..., None], caller: int) -> None:
        barrier.wait(LIMIT_S)
        way(queue, caller, padding)

    with ThreadPoolExecutor(len(ways)) as pool:
        list(pool.map(run, ways, range(len(ways))))


def work(storage: SharedStorage, limit: int) -> None:
    worker = Worker(SharedLock(storage), Queue(storage), WorkerSettings(empty_limit=0))
    asyncio.run(asyncio.wait_for(worker.loop(limit, Collect), LIMIT_S))


def check_heard(callers: int) -> None:
    """Every caller's words are there, once, and per thread in the order of its calls."""
    for caller in range(callers):
        for thread in range(THREADS):
            assert Collect.heard[caller, thread] == list(range(thread, CALLS * PER_CALL, THREADS))
    assert len(Collect.heard) == callers * THREADS


def test_threads_with_and_without_loops_share_a_queue(storage: SharedStorage, queue: Queue) -> None:
    at_once(queue, WAYS)
    work(storage, len(WAYS) * CALLS * PER_CALL)
    check_heard(len(WAYS))


def test_threads_that_wait_for_room_are_all_woken(storage: SharedStorage, queue: Queue) -> None:
    """Many times the capacity goes through, while one worker in a thread of this process makes the room."""
    padding = 24 << 10
    total = len(WAYS) * CALLS * PER_CALL
    assert total * padding > 3 * 16 * MIB
    storage.settings.safety_net = 3600
    consumer = threading.Thread(target=work, args=(storage, total))
    consumer.start()
    at_once(queue, WAYS, padding)
    consumer.join()
    check_heard(len(WAYS))


async def test_several_loops_wait_for_quiet_on_one_storage(storage: SharedStorage, queue: Queue) -> None:
    storage.settings.safety_net = 3600
    await queue.register(Collect, *next(calls(0)))
    waiting = [asyncio.to_thread(asyncio.run, storage.wait_for_quiet(LIMIT_S)) for _ in range(4)]
    tasks = [asyncio.ensure_future(each) for each in (*waiting, storage.wait_for_quiet(LIMIT_S))]
    await asyncio.wait(tasks, timeout=0)
    await Worker(SharedLock(storage), queue, WorkerSettings(empty_limit=0)).loop(PER_CALL, Collect)
    assert await asyncio.gather(*tasks) == [True] * 5


def test_forked_children_use_what_they_inherited(storage: SharedStorage, queue: Queue) -> None:
    context = multiprocessing.get_context("fork")
    register_plainly(queue, 0)
    children = [context.Process(target=way, args=(queue, number)) for number, way in enumerate(WAYS, 1)]
    for child in children:
        child.start()
    register_plainly(queue, len(WAYS) + 1)
    for child in children:
        child.join(LIMIT_S)
    assert [child.exitcode for child in children] == [0] * len(WAYS)
    work(storage, (len(WAYS) + 2) * CALLS * PER_CALL)
    check_heard(len(WAYS) + 2)


def test_a_forked_child_that_closes_its_queue_leaves_the_parents_alone(storage: SharedStorage, queue: Queue) -> None:
    def child() -> None:
        asyncio.run(queue.close())

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(LIMIT_S)
    assert process.exitcode == 0
    register_plainly(queue, 0)
    work(storage, CALLS * PER_CALL)
    check_heard(1)


def test_a_forked_child_that_is_killed_leaves_what_it_registered(storage: SharedStorage, queue: Queue) -> None:
    reading, writing = os.pipe()

    def child() -> None:
        for number in count(1):
            queue.register_sync(Collect, Word(0, number))
            os.write(writing, b".")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    os.close(writing)
    told = 0
    while told < 200:
        told += len(os.read(reading, 1))
    process.kill()
    process.join(LIMIT_S)
    while rest := os.read(reading, 4096):
        told += len(rest)
    os.close(reading)

    register_plainly(queue, 1)
    queued = asyncio.run(storage.backlog()).queued
    assert queued - CALLS * PER_CALL in (told, told + 1)
    work(storage, queued)
    numbers = sorted(number for thread in range(THREADS) for number in Collect.heard[0, thread])
    assert numbers == list(range(1, len(numbers) + 1))


def test_forked_children_can_work(storage: SharedStorage, queue: Queue) -> None:
    """A child binds, works and leaves; what it did is done for the parent."""
    register_plainly(queue, 0)
    process = multiprocessing.get_context("fork").Process(target=work, args=(storage, CALLS * PER_CALL))
    process.start()
    assert asyncio.run(storage.wait_for_quiet(LIMIT_S))
    process.join(LIMIT_S)
    assert process.exitcode == 0
    assert asyncio.run(storage.pipes()) == []
