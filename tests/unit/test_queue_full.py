"""Registering without room: what waits, what raises, and what the error holds."""

from __future__ import annotations

import asyncio

import pytest

from shardq import Queue, Route, Tube
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.errors import QueueFull
from shardq.handler import call
from shardq.model import Batch
from shardq.settings import StorageSettings
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.tasks import finished, suspended
from tests.unit.queue_handlers import (
    Job,
    Plain,
    Threaded,
    jobs,
)


@pytest.fixture
def small() -> Queue:
    """Full after about a mebibyte, and then it raises."""
    return Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="raise")))


async def test_when_full_what_was_not_accepted_is_in_the_error(small: Queue) -> None:
    requests = [Job(0), Job(1, bytes(300_000)), Job(2, bytes(900_000)), Job(3), Job(4), Job(5)]

    with pytest.raises(QueueFull, match=r"no room for 2 requests of .*Threaded") as raised:
        await small.register(Threaded, *requests)

    # Thread 2 was refused; threads 0 and 1 were stored before it.
    assert raised.value.not_accepted == [requests[2], requests[5]]
    assert (await small.storage.backlog()).accepted == 4


async def test_what_was_not_accepted_can_be_registered_again(small: Queue) -> None:
    await small.register(Plain, Job(0, bytes(900_000)))
    with pytest.raises(QueueFull) as raised:
        await small.register(Plain, *jobs(3, 100_000))
    pipe = Tube(Plain, Route()).pipe
    lock = RuntimeLock(small.storage)
    token = await lock.acquire(pipe.rpartition("/")[0])
    await hands.pop(small.storage, pipe, (await small.storage.range(pipe, 1)).through, token)

    assert await small.register(Plain, *raised.value.not_accepted) == 3
    assert raised.value.not_accepted == jobs(3, 100_000)


async def test_a_ticket_that_was_not_given_leaves_its_request_to_the_caller(small: Queue) -> None:
    await small.register(Plain, Job(0, bytes(900_000)))
    with pytest.raises(QueueFull) as raised:
        await small.submit(Plain, Job(1, bytes(100_000)))
    assert raised.value.not_accepted == [Job(1, bytes(100_000))]


async def test_a_handler_never_waits(queue: Queue) -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="wait")))
    await queue.register(Plain, Job(0, bytes(900_000)))

    with pytest.raises(QueueFull, match="inside a handler no call waits") as raised:
        await call(queue.register, Plain, *jobs(3, 100_000))

    assert len(raised.value.not_accepted) == 3


async def test_elsewhere_register_waits_for_room() -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="wait")))
    await queue.register(Plain, Job(0, bytes(900_000)))
    waiting = await suspended(queue.register(Plain, *jobs(3, 100_000)))
    pipe, lock = Tube(Plain, Route()).pipe, RuntimeLock(queue.storage)

    token = await lock.acquire(pipe.rpartition("/")[0])
    await hands.pop(queue.storage, pipe, (await queue.storage.range(pipe, 1)).through, token)

    assert await finished(waiting) == 3
    assert await queue.storage.length(pipe) == 3


async def test_a_call_that_is_larger_than_the_storage_waits_between_its_steps() -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="wait")))
    registering = await suspended(queue.register(Plain, *jobs(40, 100_000)))
    pipe, lock = Tube(Plain, Route()).pipe, RuntimeLock(queue.storage)

    token, handled = await lock.acquire(pipe.rpartition("/")[0]), list[bytes]()
    while len(handled) < 40:
        await queue.storage.wait_for_quiet(0)
        batch = await hands.take(queue.storage, [pipe], 7, token)
        handled += batch.messages
        await hands.pop(queue.storage, pipe, batch.through, token)
        await asyncio.sleep(0)

    assert await finished(registering) == 40
    assert len(handled) == 40
    assert queue.serializer.decode(Job, Batch.of(handled)) == jobs(40, 100_000)


async def test_of_a_call_in_several_steps_the_error_says_which_requests_are_left(small: Queue) -> None:
    requests = [Job(number % 3, bytes(100_000)) for number in range(30)]
    with pytest.raises(QueueFull, match=r"no room for \d+ requests") as raised:
        await small.register(Threaded, *requests)

    accepted = (await small.storage.backlog()).accepted
    assert 0 < accepted < 30
    assert len(raised.value.not_accepted) == 30 - accepted
    # Steps go thread by thread, and of each thread in the order of the call.
    by_thread = sorted(range(30), key=lambda number: (number % 3, number))
    assert raised.value.not_accepted == [requests[number] for number in sorted(by_thread[accepted:])]
