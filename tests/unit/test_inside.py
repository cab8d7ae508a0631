"""A handler's code does not wait for room, in whatever thread it runs; the application's threads beside it may."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shardq import Queue, Route, Tube, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.handling.inside import threads_noted
from shardq.settings import StorageSettings
from tests.support import hands
from tests.support.tasks import LIMIT_S, finished
from tests.support.threading_handlers import WHERE, Ask, Sink, Threading


def full_queue() -> Queue:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=256 << 10)))
    while asyncio.run(queue.storage.append([(Tube(Sink, Route()).pipe, [bytes(2000)])])):
        continue
    return queue


@pytest.mark.parametrize("where", [where for where in WHERE if where != "forked"])
def test_threads_of_a_handler_do_not_wait(where: str) -> None:
    queue = full_queue()

    async def serve() -> None:
        assert await queue.storage.append([(Tube(Threading, Route()).pipe, queue.serializer.encode(Ask, [Ask(where)]))])
        await finished(asyncio.create_task(Worker(RuntimeLock(), queue).loop(1, Threading)))

    asyncio.run(serve())


async def test_what_another_library_put_in_the_place_of_start_is_called_and_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As tracers do, before a worker's loop or within it."""
    seen, start = list[str](), threading.Thread.start

    def traced(thread: threading.Thread) -> None:
        seen.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", traced)
    with threads_noted():
        threading.Thread(target=int, name="within").start()
        noting = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: noting(thread))
    threading.Thread(target=int, name="after").start()
    with threads_noted():
        threading.Thread(target=int, name="once more").start()
    assert seen == ["within", "after", "once more"]


async def test_threads_of_the_application_may_wait_meanwhile() -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=256 << 10)))
    worker = Worker(RuntimeLock(), queue)
    assert await queue.register(Threading, Ask("thread"))
    await worker.loop(1, Threading)  # fills the storage
    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(queue.register_sync(Sink, bytes(2000))))

    waiting.start()
    while not queue.storage._room._futures:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0)
    token = await queue.storage.claim(Tube(Sink, Route()).pipe.rpartition("/")[0])
    await hands.pop(queue.storage, Tube(Sink, Route()).pipe, 50, token)
    await asyncio.to_thread(waiting.join, LIMIT_S)

    assert results == [1]
    assert threading.Thread.start.__module__ == "threading", "it is as it was before the worker's loop"
