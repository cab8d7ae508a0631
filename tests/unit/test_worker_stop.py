"""A worker that is told to stop lies down no more, whatever it was waiting for."""

from __future__ import annotations

import asyncio

from shardq import Queue, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from tests.support.tasks import finished
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
