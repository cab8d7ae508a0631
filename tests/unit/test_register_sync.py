"""Registering without `await`: with a running loop and without one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shardq import Handler, Queue, Route, Tube
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.errors import HandlerError, QueueFull, RequestError
from shardq.settings import StorageSettings
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.programs import until
from tests.support.tasks import finished
from tests.unit.queue_handlers import (
    AtOnce,
    Job,
    Later,
    Plain,
    Task,
    Threaded,
    jobs,
    stored,
)


@pytest.mark.parametrize("handler", [Plain, Threaded, AtOnce])
async def test_register_sync_inside_a_loop(queue: Queue, handler: type[Handler[Job]]) -> None:
    assert queue.register_sync(handler, *jobs(5)) == 5

    assert (await queue.storage.backlog()).queued == 5


@pytest.mark.parametrize("handler", [Plain, Threaded, AtOnce, Later])
def test_register_sync_without_a_loop(queue: Queue, handler: type[Handler[Job]]) -> None:
    assert queue.register_sync(handler, *jobs(5)) == 5

    assert asyncio.run(queue.storage.backlog()).queued == 5


def test_register_sync_through_shared_memory(shared: Queue) -> None:
    assert shared.register_sync(Threaded, *jobs(5)) == 5

    assert asyncio.run(shared.storage.backlog()).queued == 5


async def test_register_sync_cannot_wait_for_route_inside_a_loop(queue: Queue) -> None:
    with pytest.raises(HandlerError, match=r"form with `await`"):
        queue.register_sync(Later, Job(1))

    assert await stored(queue) == []


async def test_register_sync_cannot_wait_for_room_inside_a_loop() -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="wait")))
    queue.register_sync(Plain, Job(0, bytes(900_000)))

    with pytest.raises(QueueFull, match="does not wait") as raised:
        queue.register_sync(Plain, *jobs(3, 100_000))

    assert raised.value.not_accepted == jobs(3, 100_000)


async def test_register_sync_waits_for_room_without_a_loop() -> None:
    storage = RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="wait"))
    queue = Queue(storage)
    await queue.register(Plain, Job(0, bytes(900_000)))
    pipe, lock = Tube(Plain, Route()).pipe, RuntimeLock(storage)
    waiting = asyncio.create_task(asyncio.to_thread(queue.register_sync, Plain, *jobs(3, 100_000)))
    await asyncio.to_thread(until, lambda: bool(storage._room._futures), "it waits for room")

    token = await lock.acquire(pipe.rpartition("/")[0])
    await hands.pop(storage, pipe, (await storage.range(pipe, 1)).through, token)

    assert await finished(waiting) == 3


def test_register_sync_refuses_as_register_does(queue: Queue) -> None:
    with pytest.raises(RequestError):
        queue.register_sync(Plain, Task(1))  # type: ignore[arg-type]

    assert asyncio.run(stored(queue)) == []


def test_threads_may_share_a_queue(queue: Queue) -> None:
    threads = [
        threading.Thread(target=lambda: [queue.register_sync(Threaded, *jobs(6)) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asyncio.run(queue.storage.backlog()).queued == 4 * 50 * 6
