"""Handlers that find no room for what they register, on every driver and both event loops."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from shardq import Queue, Worker
from shardq.errors import QueueFull
from shardq.model import Counts
from tests.conftest import OpenBackend
from tests.support.drivers import MIB, Backend
from tests.support.tasks import LIMIT_S
from tests.support.workers import (
    Impatient,
    Item,
    Once,
    Padded,
    Planned,
    Second,
    batches,
    diary,
    failing_after,
    fill,
    letters,
    new_worker,
    one_each,
    plans,
    run,
    working,
)


def in_tasks(text: str) -> Exception:
    """As a `TaskGroup` raises it whose tasks register."""
    return ExceptionGroup("tasks", [QueueFull(text), ExceptionGroup("further", [QueueFull(text)])])


@pytest.mark.parametrize("error", [QueueFull, in_tasks])
async def test_no_room_in_a_handler_costs_no_attempt(
    backend: Backend, queue: Queue, error: Callable[[str], Exception]
) -> None:
    plans.extend([failing_after(0, error)] * 4)
    await queue.register(Once, *one_each(4))

    await run(new_worker(backend, queue), 4)

    assert batches()[:3] == [(0, 1, 2, 3), (0, 1), (0,)]
    assert await letters(queue) == []
    assert await queue.storage.backlog() == Counts(4, 4)


async def test_without_room_only_what_was_not_acknowledged_comes_again(queue: Queue, worker: Worker) -> None:
    plans.append(failing_after(2, QueueFull))
    await queue.register(Once, *one_each(6))

    await run(worker, 6)

    assert batches() == [(0, 1, 2, 3, 4, 5), (2, 3), (4, 5)]
    assert await queue.storage.backlog() == Counts(6, 6)


async def test_what_fails_beside_tasks_without_room_costs_an_attempt(backend: Backend, queue: Queue) -> None:
    plans.append(failing_after(0, lambda text: ExceptionGroup("tasks", [QueueFull(text), ValueError(text)])))
    await queue.register(Once, Item(0, 0))

    await run(new_worker(backend, queue), 1)

    assert len(await letters(queue)) == 1


async def test_a_thread_without_room_does_not_keep_others_waiting(backend: Backend, queue: Queue) -> None:
    plans.append(failing_after(0, QueueFull))
    await queue.register(Planned, Item(0, 0))
    await queue.register(Planned, Item(1, 1))

    await run(new_worker(backend, queue), 2)

    assert [numbers for numbers in batches() if numbers == (1,)] == [(1,)]
    assert len(batches()) == 3


class First(Second):
    """Brings about one of the other for each of its own."""

    def perform(self, *requests: Padded) -> Any:
        self.queue.register_sync(Second, *requests)
        for request in requests:
            diary.add("first", request.number)


class AsyncFirst(First):
    async def perform(self, *requests: Padded) -> None:
        await self.queue.register(Second, *requests)
        for request in requests:
            diary.add("first", request.number)


@pytest.mark.requires("bounded")
@pytest.mark.parametrize("handler", [First, AsyncFirst])
@pytest.mark.parametrize("size", [128, 2_000, 8_000])
async def test_follow_ups_in_a_full_storage_come_to_their_end(
    open_backend: OpenBackend, handler: type[First], size: int
) -> None:
    backend = open_backend(1 * MIB)
    queue = Queue(backend.storage)
    registered = await fill(queue, handler, size)

    async with working(new_worker(backend, queue)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert [number for (number,) in diary.of("first")] == list(range(registered))
    assert [number for (number,) in diary.of("second")] == list(range(registered))
    assert await letters(queue) == []


@pytest.mark.requires("bounded")
async def test_a_process_with_hundreds_of_handlers_leaves_follow_ups_their_room(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    queue = Queue(backend.storage)
    registered = await fill(queue, First, 8_000)
    others = frozenset(f"app.jobs:Handler{number}" for number in range(300))

    assert await queue.storage.wait(others, 0.0) is None
    async with working(new_worker(backend, queue)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert [number for (number,) in diary.of("second")] == list(range(registered))


class ThreadedSecond(Impatient):
    def perform(self, *items: Item) -> None:
        for item in items:
            diary.add("second", item.thread)


class ThreadedFirst(Impatient):
    """Brings about one of the other in the thread of the same number."""

    async def perform(self, *items: Item) -> None:
        await self.queue.register(ThreadedSecond, *items)
        for item in items:
            diary.add("first", item.thread)


@pytest.mark.requires("bounded")
async def test_follow_ups_in_a_storage_full_of_threads_come_to_their_end(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    queue = Queue(backend.storage)
    queue.storage.settings.when_full = "raise"
    threads = 0
    with suppress(QueueFull):
        for threads in range(1_000):
            await queue.register(ThreadedFirst, Item(threads, 0))

    async with working(new_worker(backend, queue)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert len(diary.of("first")) == len(diary.of("second")) >= threads
