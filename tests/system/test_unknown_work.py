"""Work that a storage offers and a worker does not know: of a priority that its handler lists no more, and damaged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from shardq import Queue, Retry, Worker
from shardq.drivers import SharedLock, SharedStorage
from shardq.errors import SegmentForeign
from shardq.model import EMPTY, handler_name
from shardq.protocols import Storage
from shardq.shm import words as at
from tests.support import hands
from tests.support.drivers import MIB, Backend
from tests.support.programs import until
from tests.support.tasks import LIMIT_S, finished
from tests.support.workers import Item, Routed, diary, letters, new_worker, run, working


class Listed(Routed):
    priorities: ClassVar[list[int] | None] = [1, 0]
    retry = Retry(max_attempts=1)

    def perform(self, *items: Item) -> None:
        for item in items:
            if item.number < 0:
                raise ValueError("refused")
            diary.add("done", item.thread, item.number)


class InTurns(Listed):
    starvation_limit = 4


class Unlimited(Listed):
    priorities = None


async def register_unlisted(queue: Queue, handler: type[Listed], *items: Item, front: bool = False) -> None:
    """As an earlier version did, whose handler listed their priorities."""
    for item in items:
        pipe = f"{handler_name(handler)}/{item.thread}/{item.priority}"
        messages = queue.serializer.encode(Item, [item])
        if front:
            await hands.put_in_front(queue.storage, pipe, *messages)
        else:
            assert await queue.storage.append([(pipe, messages)])


@pytest.mark.parametrize("handler", [Listed, InTurns, Unlimited])
async def test_they_are_done_and_the_loop_serves_other_threads(
    handler: type[Listed], backend: Backend, queue: Queue
) -> None:
    async with working(new_worker(backend, queue)):
        await register_unlisted(queue, handler, Item(0, 5, 9), Item(0, 6, 9), Item(0, 7, -3))
        await queue.register(handler, Item(1, 1))
        await diary.until("done", 1, 1)
        await diary.until("done", 0, times=3)
    assert [number for thread, number in diary.of("done") if thread == 0 and number < 7] == [5, 6]


async def test_they_come_behind_all_that_are_listed(backend: Backend, queue: Queue) -> None:
    await register_unlisted(queue, Listed, Item(0, 9, 9))
    await queue.register(Listed, Item(0, 0), Item(0, 1, 1))

    await run(new_worker(backend, queue), 3)

    assert diary.of("done") == [(0, 1), (0, 0), (0, 9)]


async def test_they_do_not_wait_for_the_worker_to_leave_the_thread(backend: Backend, queue: Queue) -> None:
    await register_unlisted(queue, Listed, Item(0, 8, 9), Item(0, 9, 9))
    await queue.register(Listed, Item(0, 1))

    async with working(new_worker(backend, queue, batch_size=1, empty_limit=1, empty_pause=10 * LIMIT_S)):
        await diary.until("done", 0, 9)

    assert diary.of("done") == [(0, 1), (0, 8), (0, 9)]


async def test_one_in_front_of_the_others_of_its_priority_stays_so(backend: Backend, queue: Queue) -> None:
    await register_unlisted(queue, Listed, Item(0, 2, 9))
    await register_unlisted(queue, Listed, Item(0, 1, 9), front=True)

    await run(new_worker(backend, queue), 2)

    assert diary.of("done") == [(0, 1), (0, 2)]


async def test_one_that_fails_becomes_a_dead_letter(backend: Backend, queue: Queue) -> None:
    await register_unlisted(queue, Listed, Item(0, -1, 9), Item(0, 2, 9))

    await run(new_worker(backend, queue), 2)

    assert diary.of("done") == [(0, 2)]
    assert len(await letters(queue)) == 1


async def test_a_worker_can_be_stopped_beside_a_storage_that_offers_what_it_does_not_hand_out(
    queue: Queue, worker: Worker, storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual_take = storage.take

    async def take(key: str, *arguments: Any) -> Any:
        return EMPTY if key.endswith("/13") else await usual_take(key, *arguments)

    def without(usual: Callable[..., Any]) -> Callable[..., Any]:
        async def handing_out_none(*arguments: Any, **options: Any) -> Any:
            hand = await usual(*arguments, **options)
            return hand._replace(batch=EMPTY) if hand and hand.key.endswith("/13") else hand

        return handing_out_none

    monkeypatch.setattr(storage, "take", take)
    monkeypatch.setattr(storage, "rest", without(storage.rest))
    monkeypatch.setattr(storage, "turn", without(storage.turn))
    await queue.register(Listed, Item(13, 1), Item(1, 2))
    task = asyncio.create_task(worker.loop())
    await diary.until("done", 1, 2)
    await asyncio.to_thread(until, lambda: "hands out none" in caplog.text, "the worker says so")
    worker.stop()
    await finished(task)
    assert await storage.pipes()


class Other(Listed):
    """The same, under another name."""


async def test_a_thread_that_its_name_does_not_lead_to_is_damage(name: str) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    try:
        queue, segment = Queue(storage), storage.store.segment
        await queue.register(Listed, Item(0, 1))
        place = segment.layout.thread_name(0) + len(handler_name(Listed)) - 1
        segment.bytes[place : place + 1] = b"?"
        worker = Worker(SharedLock(storage), queue)
        with pytest.raises(SegmentForeign, match="name"):
            await run(worker, handler=Listed)
    finally:
        storage.destroy()


async def test_a_worker_serves_on_beside_a_thread_that_is_offered_to_it_by_mistake(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    try:
        queue, segment = Queue(storage), storage.store.segment
        await queue.register(Listed, Item(0, 1))
        await queue.register(Other, Item(0, 1))
        its, others = segment.layout.thread_word(0) + at.THREAD_HANDLER, segment.layout.thread_word(1)
        segment.words[others + at.THREAD_HANDLER] = segment.words[its]
        segment.bytes[segment.layout.ready_map + 1] = segment.words[its]
        worker = Worker(SharedLock(storage), queue)
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            group.create_task(worker.loop(handler=Listed))
            await diary.until("done", 0, 1)
            await asyncio.to_thread(until, lambda: "is not here" in caplog.text, "the worker was offered the other one")
            await queue.register(Listed, Item(7, 2))
            await diary.until("done", 7, 2)
            worker.stop()
        assert await storage.length(f"{handler_name(Other)}/0/0") == 1
    finally:
        storage.destroy()
