"""A supervised segment and what a test does to it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from shardq import Handler, Queue, connect
from shardq.deadletters import Buried
from shardq.drivers import SharedStorage
from tests.support.drivers import MIB
from tests.support.programs import Supervise, until

#: Starts a supervisor with these arguments.
Start = Callable[..., Supervise]


def attached(program: Supervise, name: str, count: int) -> set[int]:
    """Wait until so many of its workers came as far as the segment. One that dies before counts as unable to boot."""
    found: set[int] = set()
    storage = SharedStorage.attach(name)

    def complete() -> bool:
        nonlocal found
        found = set(storage.store.supervision.workers())
        return len(found) == count and found == program.some_workers()

    until(complete, f"{program.pid} has {count} workers that are attached")
    asyncio.run(storage.close())
    return found


@contextmanager
def client(url: str) -> Iterator[Queue]:
    """A queue of this process, which is no relative of the workers."""
    queue = asyncio.run(connect(url))
    try:
        yield queue
    finally:
        asyncio.run(queue.close())


def leave_in_segment(name: str, handler: type[Handler[Any]], requests: Sequence[Any]) -> None:
    """Make a segment with requests in it that no worker serves yet."""
    storage = SharedStorage.create(name, 8 * MIB)
    assert Queue(storage).register_sync(handler, *requests) == len(requests)
    asyncio.run(storage.close())


def left_in(url: str) -> int:
    """How many requests a segment holds that no worker serves any more."""
    with client(url) as queue:
        return asyncio.run(queue.storage.backlog()).queued


def dead_letters(queue: Queue) -> Sequence[Buried]:
    """The dead letters of all handlers."""
    return asyncio.run(queue.dead_letters.list())


def until_dead(queue: Queue, count: int) -> Sequence[Buried]:
    """Wait until there are so many dead letters, and return them."""
    until(lambda: len(dead_letters(queue)) >= count, f"{count} requests became dead letters")
    return dead_letters(queue)


def forget_dead(queue: Queue) -> None:
    """Drop all dead letters, so that the segment can go."""
    asyncio.run(queue.dead_letters.drop(*dead_letters(queue)))
