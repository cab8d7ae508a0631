"""Handlers that fail, on every driver and both event loops: what is tried again, when, and what is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest

from shardq import Handler, Queue, Retry, Route, Tube, Worker
from shardq.deadletters import DeadLetter
from shardq.model import Counts
from shardq.protocols import Lock
from tests.support import hands
from tests.support.drivers import Backend
from tests.support.tasks import LIMIT_S
from tests.support.workers import Item, Routed, diary, letters, new_worker, one_each, run, trouble, working

AT_ONCE = Retry(max_attempts=3, backoff_s=0.001, jitter=False)
NEVER_AGAIN = Retry(backoff_s=3600.0, backoff_max_s=3600.0, jitter=False)


class Fragile(Routed):
    """Raises what the test prepared for an item, else does the batch."""

    retry = AT_ONCE

    def perform(self, *items: Item) -> Any:
        diary.add("batch", len(items))
        for item in items:
            diary.add("try", item.thread, item.number)
            diary.add("clock", item.number, time.time())
            if item.number in trouble:
                raise trouble[item.number]()
        for item in items:
            diary.add("done", item.thread, item.number)

    def stop(self) -> None:
        diary.add("stop")


class AsyncFragile(Fragile):
    async def perform(self, *items: Item) -> None:
        await asyncio.sleep(0)
        super().perform(*items)


class Slowly(Fragile):
    retry = Retry(max_attempts=4, backoff_s=0.04, jitter=False)


class Once(Fragile):
    retry = Retry(max_attempts=1)


class Skipping(Fragile):
    retry = Retry(on_failure="skip", backoff_s=3600.0)


class Resting(Fragile):
    """Waits for an hour before it tries again."""

    retry = NEVER_AGAIN


def broken() -> Exception:
    return ValueError("broken")


def broken_twice() -> Callable[[], BaseException]:
    """Broken twice, then whole."""
    times = iter((1, 2))

    def error() -> BaseException:
        if next(times) == 2:
            trouble.clear()
        return broken()

    return error


def numbers(found: list[DeadLetter]) -> list[int]:
    """Numbers of the items in the letters."""
    return [item_of(letter).number for letter in found]


def item_of(letter: DeadLetter) -> Item:
    return msgspec.msgpack.decode(letter.message, type=Item)


def done(thread: int = 0) -> list[int]:
    return [number for where, number in diary.of("done") if where == thread]


def tries() -> list[int]:
    return [number for _, number in diary.of("try")]


# Trying again


@pytest.mark.parametrize("handler", [Fragile, AsyncFragile])
async def test_what_fails_is_tried_again_in_its_place(
    handler: type[Handler[Item]], queue: Queue, worker: Worker
) -> None:
    trouble[0] = broken_twice()
    await queue.register(handler, Item(0, 0))

    await run(worker, 1)

    assert tries() == [0, 0, 0]
    assert done() == [0]
    assert await letters(queue) == []
    assert await queue.storage.backlog() == Counts(1, 1)


async def test_later_requests_wait_until_the_one_that_fails_is_through(backend: Backend, queue: Queue) -> None:
    trouble[1] = broken_twice()
    await queue.register(Fragile, *one_each(4))

    await run(new_worker(backend, queue, batch_size=1), 4)

    assert tries() == [0, 1, 1, 1, 2, 3]
    assert done() == [0, 1, 2, 3]


async def test_no_attempt_comes_before_its_backoff_is_over(backend: Backend, queue: Queue) -> None:
    trouble[0] = broken
    await queue.register(Slowly, Item(0, 0))

    await run(new_worker(backend, queue), 1)

    times = [when for _, when in diary.of("clock")]
    assert len(times) == 4
    for (earlier, later), at_least in zip(pairwise(times), (0.04, 0.08, 0.16), strict=True):
        assert later - earlier >= at_least * 0.95


async def test_attempts_of_several_workers_are_counted_together(backend: Backend, queue: Queue) -> None:
    trouble[0] = broken
    await queue.register(Fragile, Item(0, 0))
    workers = [new_worker(backend, queue) for _ in range(3)]

    async with working(*workers):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert tries() == [0, 0, 0]
    assert [letter.attempts for letter in await letters(queue)] == [3]


async def test_a_thread_that_rests_keeps_what_came_later(backend: Backend, queue: Queue) -> None:
    trouble[0] = broken
    await queue.register(Resting, *one_each(2))

    async with working(new_worker(backend, queue, batch_size=1), new_worker(backend, queue, batch_size=1)):
        await diary.until("try", 0, 0)
        await queue.register(Resting, Item(0, 2), Item(1, 3))
        await diary.until("done", 1, 3)

    assert tries() == [0, 3]
    assert await queue.storage.length(Tube(Resting, Route()).pipe) == 3


async def test_while_threads_rest_their_worker_serves_others(queue: Queue, worker: Worker) -> None:
    trouble[0] = broken
    await queue.register(Resting, *one_each(1, *range(5)))

    async with working(worker):
        for thread in range(5):
            await diary.until("try", thread, 0)
        for number in range(1, 4):
            await queue.register(Fragile, Item(5, number))
            await diary.until("done", 5, number)
        await queue.register(Resting, Item(6, 1))
        await diary.until("done", 6, 1)

    assert len(diary.of("try")) == 5 + 3 + 1
    assert (await queue.storage.backlog()).queued == 5


async def test_a_new_worker_leaves_a_resting_thread_alone(backend: Backend, queue: Queue, worker: Worker) -> None:
    trouble[0] = broken
    await queue.register(Resting, Item(0, 0))
    async with working(worker):
        await diary.until("stop")

    assert await queue.storage.wait(None, 0) is None
    async with working(new_worker(backend, queue)):
        await queue.register(Resting, Item(1, 1))
        await diary.until("done", 1, 1)

    assert tries() == [0, 1]


# The culprit


@pytest.mark.parametrize("culprit", [0, 77, 127])
async def test_of_128_only_the_culprit_becomes_a_dead_letter(queue: Queue, worker: Worker, culprit: int) -> None:
    trouble[culprit] = broken
    await queue.register(Fragile, *one_each(128))

    await run(worker, 128)

    assert numbers(await letters(queue)) == [culprit]
    assert done() == [number for number in range(128) if number != culprit]
    assert await queue.storage.backlog() == Counts(128, 128, buried=1, dead=1)


async def test_what_stands_behind_the_culprit_waits_for_its_end(backend: Backend, queue: Queue) -> None:
    trouble[1] = broken
    await queue.register(Fragile, *one_each(10))

    await run(new_worker(backend, queue), 10)

    steps = [entry[0::2] for entry in diary.of("try", "done")]
    last_attempt = max(place for place, step in enumerate(steps) if step == ("try", 1))
    assert all(steps.index(("done", number)) > last_attempt for number in range(2, 10))
    assert steps.index(("done", 0)) < last_attempt


async def test_several_culprits_are_all_found(queue: Queue, worker: Worker) -> None:
    culprits = [3, 4, 40, 63]
    trouble.update(dict.fromkeys(culprits, broken))
    await queue.register(Fragile, *one_each(64))

    await run(worker, 64)

    assert numbers(await letters(queue)) == culprits
    assert done() == [number for number in range(64) if number not in culprits]


async def test_the_culprit_stands_alone_for_each_of_its_attempts(queue: Queue, worker: Worker) -> None:
    trouble[2] = broken
    await queue.register(Fragile, *one_each(4))

    await run(worker, 4)

    [letter] = await letters(queue)
    assert letter.attempts == 3
    # Twice among others, 4 and 2 of them, and then three times alone.
    assert tries().count(2) == 2 + 3


async def test_skipping_goes_on_after_the_first_failure_of_one_that_stands_alone(queue: Queue, worker: Worker) -> None:
    trouble[5] = broken
    await queue.register(Skipping, *one_each(16))

    await run(worker, 16)

    [letter] = await letters(queue)
    assert (item_of(letter).number, letter.attempts) == (5, 1)
    assert done() == [number for number in range(16) if number != 5]


async def test_one_attempt_is_one_attempt(queue: Queue, worker: Worker) -> None:
    trouble[0] = broken
    await queue.register(Once, Item(0, 0))

    await run(worker, 1)

    assert tries() == [0]
    assert [letter.attempts for letter in await letters(queue)] == [1]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_a_limit_counts_what_became_a_dead_letter(queue: Queue, worker: Worker, limit: int) -> None:
    trouble.update({0: broken, 2: broken})
    await queue.register(Skipping, *one_each(5))

    await run(worker, limit)

    assert (await queue.storage.backlog()).handled == limit


async def test_requests_whose_attempts_are_spent_are_not_tried(queue: Queue, worker: Worker, lock: Lock) -> None:
    await queue.register(Fragile, *one_each(3))
    tube = Tube(Fragile, Route())
    token = await lock.acquire(tube.key)
    for _ in range(3):
        await hands.take(queue.storage, [tube.pipe], 1, token)
        await hands.fail(queue.storage, tube.pipe, token)
    await lock.release(tube.key)

    await run(worker, 3)

    assert tries() == done() == [1, 2]
    [letter] = await letters(queue)
    assert (item_of(letter).number, letter.attempts) == (0, 3)


@pytest.mark.requires("time_leases")
async def test_requests_that_took_their_workers_down_become_dead_letters(backend: Backend, queue: Queue) -> None:
    await queue.register(Fragile, *one_each(3))
    tube = Tube(Fragile, Route())
    for _ in range(3):
        lock = backend.new_lock()
        await hands.take(queue.storage, [tube.pipe], 1, await lock.acquire(tube.key))
        await lock.ttl(tube.key, 0.001)
        assert await queue.storage.wait(None, LIMIT_S)

    await run(new_worker(backend, queue), 3)

    [letter] = await letters(queue)
    assert (item_of(letter).number, letter.reason, letter.attempts) == (0, "died", 3)
    assert "died" in letter.error
    assert done() == [1, 2]


@pytest.mark.requires("time_leases")
async def test_after_the_first_death_there_is_no_wait_and_after_the_second_there_is(
    backend: Backend, queue: Queue
) -> None:
    tube = Tube(Resting, Route())

    async def die_with_one() -> None:
        lock = backend.new_lock()
        await hands.take(queue.storage, [tube.pipe], 1, await lock.acquire(tube.key))
        await lock.ttl(tube.key, 0.001)
        assert await queue.storage.wait(None, LIMIT_S) == tube.key

    await queue.register(Resting, *one_each(2))
    await die_with_one()
    await run(new_worker(backend, queue), 1)
    assert done() == [0]

    await die_with_one()
    await die_with_one()
    async with working(new_worker(backend, queue)):
        await diary.until("stop")
        await queue.register(Fragile, Item(1, 1))
        await diary.until("done", 1, 1)
    assert done() == [0]


@pytest.mark.requires("time_leases")
async def test_what_was_in_hand_with_others_at_a_death_comes_alone_and_uncounted(
    backend: Backend, queue: Queue
) -> None:
    tube, lock = Tube(Once, Route()), backend.new_lock()
    await queue.register(Once, *one_each(6))
    await hands.take(queue.storage, [tube.pipe], 4, await lock.acquire(tube.key))
    await lock.ttl(tube.key, 0.001)
    assert await queue.storage.wait(None, LIMIT_S) == tube.key

    await run(new_worker(backend, queue), 6)

    assert diary.of("batch") == [(1,)] * 4 + [(2,)]
    assert await letters(queue) == []


# All together


@pytest.mark.parametrize("seed", range(3))
async def test_with_many_workers_and_failures_each_request_is_done_or_a_letter(
    backend: Backend, queue: Queue, seed: int
) -> None:
    chance = Random(seed)
    count, threads = 60, range(4)
    culprits = set(chance.sample(range(count), 9))
    trouble.update(dict.fromkeys(culprits, broken))
    items = one_each(count, *threads)
    workers = [new_worker(backend, queue, batch_size=size, quantum=1e-9) for size in (1, 3, 16, 128)]

    async with working(*workers):
        while items:
            many = chance.randint(1, 40)
            await queue.register(AsyncFragile, *items[:many])
            del items[:many]
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    whole = [number for number in range(count) if number not in culprits]
    assert all(done(thread) == whole for thread in threads)
    assert sorted(map(item_of, await letters(queue))) == sorted(
        Item(thread, number) for thread in threads for number in culprits
    )
    assert await queue.storage.backlog() == Counts(240, 240, buried=36, dead=36)
