"""A worker that goes on from thread to thread of one handler, as the storage claims them for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from shardq import Handler, Queue, Route, Worker
from shardq.drivers import SharedLock, SharedStorage
from shardq.working.hooks import Hooks
from tests.support.drivers import MIB

THREADS = 5
#: So many batches take much longer than a millisecond.
MANY = 2000


class Visit(NamedTuple):
    thread: int


#: Of each batch: its thread, the handler that had it, and its token.
seen = list[tuple[int, Handler[Visit], int]]()


class Visited(Handler[Visit]):
    @classmethod
    def route(cls, *requests: Visit) -> list[Route]:
        return [Route(request.thread) for request in requests]

    def handle(self, *requests: Visit) -> None:
        assert self.fencing_token
        seen.append((requests[0].thread, self, self.fencing_token))


@pytest.fixture
def storage(name: str) -> Iterator[SharedStorage]:
    storage = SharedStorage.create(name, MIB)
    seen.clear()
    yield storage
    storage.destroy()


async def test_each_thread_has_a_handler_and_a_token_of_its_own_and_is_let_go(storage: SharedStorage) -> None:
    queue = Queue(storage)
    await queue.register(Visited, *(Visit(thread) for thread in range(THREADS) for _ in range(2)))

    def stop_at_the_end(done: int) -> None:
        if len(seen) == THREADS:
            worker.stop()

    worker = Worker(SharedLock(storage), queue, hooks=Hooks(after_batch=stop_at_the_end))
    await worker.loop(handler=Visited)

    threads, handlers, tokens = zip(*seen, strict=True)
    assert sorted(threads) == list(range(THREADS))
    assert len(set(map(id, handlers))) == len(set(tokens)) == THREADS
    assert not [key for key in range(THREADS) if await storage.claimed(f"{__name__}/Visited/{key}")]
    assert not (await storage.backlog()).queued


async def test_the_loop_has_its_turn_also_where_each_rest_finds_work_at_once(storage: SharedStorage) -> None:
    """Such a rest suspends nowhere, so it is no turn of the loop."""
    queue, loop, turns = Queue(storage), asyncio.get_running_loop(), list[int]()
    await queue.register(Visited, Visit(0))

    def turn() -> None:
        turns.append(len(seen))
        if len(seen) < MANY:
            loop.call_soon(turn)

    def stop_at_the_end(done: int) -> None:
        if len(seen) == MANY:
            worker.stop()

    def come() -> None:
        queue.register_sync(Visited, Visit(0))

    loop.call_soon(turn)
    worker = Worker(SharedLock(storage), queue, hooks=Hooks(before_sleep=come, after_batch=stop_at_the_end))
    await worker.loop(handler=Visited)

    assert [done for done in turns if MANY // 10 < done < MANY]
