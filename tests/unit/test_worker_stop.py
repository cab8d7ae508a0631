"""A worker that is told to stop lies down no more, whatever it was waiting for, and its loops end as they began."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from shardq import Handler, Queue, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.settings import WorkerSettings
from shardq.working import binding
from tests.support.tasks import cancelled, finished, suspended
from tests.unit.queue_handlers import Job, Plain


class Stopping(RuntimeLock):
    """Another worker was faster, and the stop comes while that is found out."""

    worker: Worker

    async def acquire(self, key: str) -> int:
        await asyncio.sleep(0)
        self.worker.stop()
        return 0


async def test_a_stop_that_comes_while_a_thread_is_claimed_is_heard() -> None:
    queue = Queue(RuntimeStorage())
    lock = Stopping(queue.storage)
    lock.worker = worker = Worker(lock, queue)
    worker._offered = "m/H/0"

    await finished(asyncio.create_task(worker.loop(handler=Plain)))

    assert await queue.register(Plain, Job(1)) == 1


class Other(Plain):
    """Another handler."""


class Waiting(Handler[Job, int]):
    """Waits in its only batch, and tells of its stop."""

    began: ClassVar[asyncio.Event]
    gate: ClassVar[asyncio.Event]
    stopped: ClassVar[asyncio.Event]

    @classmethod
    def begin_anew(cls) -> None:
        cls.began, cls.gate, cls.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def perform(self, *jobs: Job) -> list[int]:
        self.began.set()
        await self.gate.wait()
        return [0 for _ in jobs]

    def stop(self) -> None:
        self.stopped.set()


async def test_a_stop_does_not_outlast_a_loop_that_is_cancelled() -> None:
    Waiting.begin_anew()
    queue = Queue(RuntimeStorage())
    worker = Worker(RuntimeLock(queue.storage), queue)
    await queue.register(Waiting, Job(1))
    loop = asyncio.create_task(worker.loop(handler=Waiting))
    await finished(asyncio.create_task(Waiting.began.wait()))

    worker.stop()
    await cancelled(loop)
    Waiting.gate.set()
    await finished(asyncio.create_task(worker.loop(1, handler=Waiting)))

    assert (await queue.storage.backlog()).queued == 0


async def test_a_thread_that_one_loop_would_go_to_next_is_nothing_to_another_loop() -> None:
    """Which may serve other handlers, and have the thread rest then."""
    queue = Queue(RuntimeStorage())
    worker = Worker(RuntimeLock(queue.storage), queue, WorkerSettings(quantum_items=1))
    await queue.register(Plain, Job(1))
    await queue.register(Other, Job(1))
    await finished(asyncio.create_task(worker.loop(1, handler=[Plain, Other])))
    left = await queue.storage.wait(None, 0)
    assert left

    idle = await suspended(worker.loop(handler=Waiting))
    worker.stop()
    await finished(idle)

    assert await queue.storage.wait(None, 0) == left


async def test_a_handler_is_stopped_whose_worker_is_cancelled_as_it_tells_of_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Waiting.begin_anew()
    telling = asyncio.Event()

    async def tell(*_: Any) -> None:
        telling.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(binding, "tell_holders", tell)
    queue = Queue(RuntimeStorage())
    worker = Worker(RuntimeLock(queue.storage), queue)
    await queue.submit(Waiting, Job(1))
    loop = asyncio.create_task(worker.loop(handler=Waiting))
    await finished(asyncio.create_task(Waiting.began.wait()))
    worker.stop()
    Waiting.gate.set()
    await finished(asyncio.create_task(telling.wait()))

    await cancelled(loop)

    assert Waiting.stopped.is_set()
