"""Code that outlives its batch has no say over the next one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from shardq import Queue, Worker
from shardq.errors import HandlerError
from tests.support.workers import Item, Once, letters, one_each, plans, run


async def test_a_task_of_an_earlier_batch_acknowledges_nothing_of_this_one(queue: Queue, worker: Worker) -> None:
    stray: list[asyncio.Task[None]] = []
    go_on = asyncio.Event()

    async def leaves_a_task(handler: Once, items: Sequence[Item]) -> None:
        async def acknowledge_later() -> None:
            await go_on.wait()
            await handler.acknowledge(1)

        stray.append(asyncio.create_task(acknowledge_later()))

    async def fails_while_that_runs(handler: Once, items: Sequence[Item]) -> None:
        go_on.set()
        with pytest.raises(HandlerError, match="does not belong to the batch in hand"):
            await stray[0]
        raise ValueError("this request is not done")

    plans.extend([leaves_a_task, fails_while_that_runs])
    await queue.register(Once, *one_each(1))
    await queue.register(Once, *one_each(1))

    worker.settings.batch_size = 1
    await run(worker, 2, handler=Once)

    [letter] = await letters(queue)
    assert "this request is not done" in letter.error
    assert (await queue.storage.backlog()).queued == 0


async def test_a_thread_of_its_own_hands_its_results_to_the_handler(queue: Queue, worker: Worker) -> None:
    refused: list[BaseException] = []

    async def starts_a_thread(handler: Once, items: Sequence[Item]) -> None:
        def acknowledge() -> None:
            try:
                handler.acknowledge_sync(1)
            except HandlerError as error:
                refused.append(error)

        thread = threading.Thread(target=acknowledge)
        thread.start()
        thread.join()
        await asyncio.to_thread(handler.acknowledge_sync, 1)

    plans.append(starts_a_thread)
    await queue.register(Once, *one_each(1))

    await run(worker, 1, handler=Once)

    assert "does not belong to the batch in hand" in str(refused[0])
    assert await letters(queue) == []
