"""Threads without number: as many distinct ones as there may be, where the table has places for those that hold work.

Tables here have 64 places.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

import pytest

from shardq import Queue, Tube, Worker
from shardq.drivers import SharedLock, SharedStorage
from shardq.errors import DirectoryFull, QueueFull
from shardq.model import Route, key_of
from shardq.settings import WorkerSettings
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Record
from tests.support.serving import serving
from tests.support.tasks import LIMIT_S, finished, suspended
from tests.support.workers import NO_HOLD, Item, Once, Routed, diary, letters, one_each, run, trouble, working

PLACES = 64
LIVE = 50
DISTINCT = 4000


class Note(Routed):
    """Writes down every item."""

    def perform(self, *items: Item) -> None:
        for item in items:
            diary.add("done", item.thread, item.number)


class Ranked(Note):
    priorities: ClassVar[list[int] | None] = [0, 1]


@pytest.fixture
def storage(name: str) -> Iterator[SharedStorage]:
    storage = SharedStorage.create(name, 8 * MIB, threads=PLACES)
    yield storage
    storage.destroy()


@pytest.fixture
def queue(storage: SharedStorage) -> Queue:
    return Queue(storage)


@pytest.fixture
def worker(storage: SharedStorage, queue: Queue) -> Worker:
    return new_worker(storage, queue)


@pytest.fixture
async def two_work(storage: SharedStorage, queue: Queue) -> AsyncIterator[None]:
    async with working(new_worker(storage, queue), new_worker(storage, queue)):
        yield


def new_worker(storage: SharedStorage, queue: Queue) -> Worker:
    return Worker(SharedLock(storage), queue, WorkerSettings(**NO_HOLD))


def passes(count: int) -> list[range]:
    """Threads from 0 to `count`, as many at a time as are live together."""
    return [range(first, first + LIVE) for first in range(0, count, LIVE)]


def done() -> list[tuple[int, int]]:
    """Thread and number of what was done, in order."""
    return [(thread, number) for thread, number in diary.of("done")]


# More threads than places, one after another


@pytest.mark.usefixtures("two_work")
async def test_thousands_of_threads_pass_where_few_are_live(queue: Queue) -> None:
    for live in passes(DISTINCT):
        assert await queue.register(Note, *one_each(2, *live)) == 2 * LIVE
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert sorted(done()) == sorted((item.thread, item.number) for item in one_each(2, *range(DISTINCT)))
    for thread in (0, LIVE, DISTINCT - 1):
        assert [number for of, number in done() if of == thread] == [0, 1]


async def test_threads_that_come_back_find_a_place_and_keep_their_order(queue: Queue, worker: Worker) -> None:
    for number in range(20):
        for live in passes(200):
            await queue.register(Note, *(Item(thread, number) for thread in live))
            await run(worker, LIVE)

    for thread in range(200):
        assert [number for of, number in done() if of == thread] == list(range(20))


async def test_a_thread_that_stays_keeps_its_place_among_those_that_pass(queue: Queue, worker: Worker) -> None:
    await queue.register(Once, *one_each(3, 7))
    for live in passes(DISTINCT):
        await queue.register(Note, *(Item(thread, 0) for thread in live))
        await run(worker, LIVE, handler=Note)

    assert await queue.storage.length(Tube(Once, Route(7)).pipe) == 3
    await run(worker, 3)
    assert diary.of("batch") == [(0, 1, 2)]


def test_threads_pass_through_the_processes_of_others(storage: SharedStorage, queue: Queue, folder: Folder) -> None:
    served = f"{jobs.__name__}:Record"
    with serving(storage.name, served), serving(storage.name, served):
        for live in passes(1000):
            queue.register_sync(Record, *(note._replace(thread=note.number) for note in folder.notes(live)))
            folder.until("done", *live)
            assert asyncio.run(storage.wait_for_quiet(LIMIT_S))

    assert sorted(folder.done()) == list(range(1000))


# More threads than places at once


async def test_what_finds_no_place_is_given_back_with_advice(queue: Queue, worker: Worker) -> None:
    items = one_each(1, *range(100))

    with pytest.raises(DirectoryFull, match=r"has 64 entries .* all hold work: route to fewer threads") as full:
        await queue.register(Note, *items)

    assert isinstance(full.value, QueueFull)
    assert full.value.not_accepted == items[PLACES:]
    assert (await queue.storage.backlog()).queued == PLACES
    await run(worker, PLACES)
    assert await queue.register(Note, *full.value.not_accepted) == 100 - PLACES
    await run(worker, 100 - PLACES)
    assert sorted(thread for thread, _ in done()) == list(range(100))


async def test_threads_that_have_a_place_go_on_while_there_is_none_for_others(queue: Queue, worker: Worker) -> None:
    await queue.register(Note, *one_each(1, *range(PLACES)))

    for number in range(1, 10):
        with pytest.raises(DirectoryFull):
            await queue.register(Note, Item(PLACES, number))
        assert await queue.register(Note, *(Item(thread, number) for thread in range(PLACES))) == PLACES

    await run(worker, 10 * PLACES)
    for thread in range(PLACES):
        assert [number for of, number in done() if of == thread] == list(range(10))


async def test_each_thread_that_is_drained_makes_place_for_one(queue: Queue, worker: Worker) -> None:
    await queue.register(Note, *one_each(1, *range(PLACES)))

    for thread in range(PLACES, 3 * PLACES):
        with pytest.raises(DirectoryFull):
            await queue.register(Note, Item(thread, 0))
        await run(worker, 1)
        assert await queue.register(Note, Item(thread, 0)) == 1

    await run(worker, PLACES)
    assert sorted(thread for thread, _ in done()) == list(range(3 * PLACES))


async def test_every_priority_of_a_thread_needs_a_place(queue: Queue, worker: Worker) -> None:
    items = [Item(thread, 0, priority) for thread in range(40) for priority in (0, 1)]

    with pytest.raises(DirectoryFull) as full:
        await queue.register(Ranked, *items)

    assert full.value.not_accepted == items[PLACES:]
    await run(worker, PLACES)
    assert await queue.register(Ranked, *full.value.not_accepted) == len(items) - PLACES
    await run(worker, len(items) - PLACES)
    assert len(done()) == len(items)


async def test_who_has_no_place_in_a_handler_gives_its_batch_back(queue: Queue, worker: Worker) -> None:
    await queue.register(Onward, Item(1000, 0))
    await queue.register(Note, *one_each(1, *range(PLACES - 1)))

    # The handler asks for a 65th place, which is spare.
    await run(worker, PLACES + 1)

    assert sorted(thread for thread, _ in done()) == [*range(PLACES - 1), 1001]
    assert (await queue.storage.backlog()).dead == 0


class Onward(Routed):
    """Hands every item on to a thread of its own."""

    def perform(self, *items: Item) -> None:
        self.queue.register_sync(Note, *(item._replace(thread=item.thread + 1) for item in items))


async def test_a_dead_letter_needs_a_place_too_and_waits_for_it(queue: Queue, worker: Worker) -> None:
    trouble[0] = lambda: ValueError("no")
    await queue.register(Failing, Item(0, 0))
    await queue.register(Note, *one_each(1, *range(PLACES - 1)))

    loop = await suspended(worker.loop())
    assert await queue.storage.wait_for_quiet(LIMIT_S)
    worker.stop()
    await finished(loop)

    [letter] = await letters(queue)
    assert key_of(letter.pipe) == Tube(Failing, Route(0)).key
    assert len(done()) == PLACES - 1


async def test_a_table_full_of_what_fails_for_good_empties(queue: Queue, worker: Worker) -> None:
    trouble[0] = lambda: ValueError("no")
    await queue.register(Failing, *one_each(1, *range(PLACES)))

    loop = await suspended(worker.loop())
    assert await queue.storage.wait_for_quiet(LIMIT_S)
    worker.stop()
    await finished(loop)

    assert len(await letters(queue)) == PLACES


async def test_a_table_full_of_what_goes_on_in_new_threads_empties(queue: Queue, worker: Worker) -> None:
    await queue.register(Onward, *one_each(1, *range(PLACES)))

    await run(worker, 2 * PLACES)

    assert sorted(thread for thread, _ in done()) == list(range(1, PLACES + 1))
    assert await letters(queue) == []


class Failing(Once):
    def perform(self, *items: Item) -> None:  # type: ignore[override]
        raise trouble[items[0].number]()


class Late(SharedLock):
    """Claims nothing before another worker drained the thread, and others took its place."""

    def __init__(self, storage: SharedStorage, queue: Queue) -> None:
        super().__init__(storage)
        self._other = new_worker(storage, queue)
        self._queue: Queue | None = queue

    async def acquire(self, key: str) -> int:
        queue, self._queue = self._queue, None
        if queue:
            await run(self._other, 1)
            await queue.register(Note, *one_each(1, *range(2, PLACES + 2)))
        return await super().acquire(key)


async def test_a_thread_that_was_offered_may_have_lost_its_place(storage: SharedStorage, queue: Queue) -> None:
    """The thread is offered while the worker is still bound to another one."""
    await queue.register(Note, Item(0, 0), Item(1, 0))

    await run(Worker(Late(storage, queue), queue, WorkerSettings(**NO_HOLD)), PLACES + 1)

    assert sorted(thread for thread, _ in done()) == list(range(PLACES + 2))
