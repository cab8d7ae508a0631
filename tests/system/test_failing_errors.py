"""What counts as a failure and what does not, on every driver and both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shardq import Queue, Retry, Route, Tube, Worker
from shardq.deadletters import DeadLetter
from shardq.errors import ClaimLost, HandlerError, StorageMoved
from tests.support.drivers import Backend
from tests.support.tasks import cancelled, finished, suspended
from tests.support.workers import Item, Routed, diary, letters, new_worker, one_each, run, trouble

AT_ONCE = Retry(max_attempts=3, backoff_s=0.001, jitter=False)


class Fragile(Routed):
    """Raises what the test prepared for an item, else does the batch."""

    retry = AT_ONCE

    def perform(self, *items: Item) -> Any:
        for item in items:
            if item.number in trouble:
                raise trouble[item.number]()
        for item in items:
            diary.add("done", item.thread, item.number)

    def stop(self) -> None:
        diary.add("stop")


class AsyncFragile(Fragile):
    async def perform(self, *items: Item) -> None:
        diary.add("begin")
        await asyncio.sleep(0)
        super().perform(*items)


class Once(Fragile):
    retry = Retry(max_attempts=1)


class Halt(BaseException):
    """Of those that are not for a worker to handle."""


def broken() -> Exception:
    return ValueError("broken")


def numbers(found: list[DeadLetter]) -> list[int]:
    """Numbers of the items in the letters."""
    return [item_of(letter).number for letter in found]


def item_of(letter: DeadLetter) -> Item:
    return msgspec.msgpack.decode(letter.message, type=Item)


def done(thread: int = 0) -> list[int]:
    return [number for where, number in diary.of("done") if where == thread]


# What is a failure


def too_deep() -> BaseException:
    def dig() -> None:
        dig()

    try:
        dig()
    except RecursionError as error:
        return error
    raise AssertionError("deeper than deep")


class Unspeakable(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def not_text() -> Exception:
    """As for a file whose name is no UTF-8."""
    return ValueError(b"cannot read \xff.png".decode(errors="surrogateescape"))


errors = pytest.mark.parametrize(
    "error",
    [
        lambda: SystemExit(3),
        asyncio.CancelledError,
        too_deep,
        MemoryError,
        TimeoutError,
        StopIteration,
        lambda: ExceptionGroup("two", [ValueError(), KeyError()]),
        lambda: ValueError("long" * 100_000),
        Unspeakable,
        not_text,
        lambda: StorageMoved("redis://elsewhere"),
        lambda: ClaimLost("of a lock of the handler's own"),
    ],
    ids=[
        "SystemExit",
        "CancelledError",
        "RecursionError",
        "MemoryError",
        "TimeoutError",
        "StopIteration",
        "ExceptionGroup",
        "a long one",
        "one that cannot be printed",
        "one with a name that is no text",
        "the move of a storage that is not the worker's",
        "the loss of a claim that is not the worker's",
    ],
)


@errors
@pytest.mark.parametrize("count", [1, 4])
async def test_whatever_a_handler_raises_is_a_failure(
    queue: Queue, worker: Worker, error: Callable[[], BaseException], count: int
) -> None:
    trouble[0] = error
    await queue.register(Fragile, *one_each(count))

    await run(worker, count)

    [letter] = await letters(queue)
    assert (item_of(letter).number, letter.reason, letter.attempts) == (0, "raised", 3)
    assert type(error()).__name__ in letter.error
    assert "in perform" in letter.traceback or error is too_deep
    assert done() == list(range(1, count))


@pytest.mark.parametrize("error", [asyncio.CancelledError, lambda: SystemExit(3)], ids=["CancelledError", "SystemExit"])
async def test_an_async_handler_that_ends_itself_has_failed(
    queue: Queue, worker: Worker, error: Callable[[], BaseException]
) -> None:
    trouble[0] = error
    await queue.register(AsyncFragile, *one_each(2))

    await run(worker, 2)

    assert numbers(await letters(queue)) == [0]
    assert done() == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Halt])
@pytest.mark.parametrize("count", [1, 3])
async def test_what_is_not_for_a_worker_goes_through_and_counts_nothing(
    backend: Backend, queue: Queue, error: type[BaseException], count: int
) -> None:
    await queue.register(Once, *one_each(count))
    for _ in range(3):
        trouble[0] = error
        with pytest.raises(error):
            await run(new_worker(backend, queue))
        assert not await backend.new_lock().exists(Tube(Once, Route()).key)

    assert len(diary.of("stop")) == 3
    del trouble[0]
    await run(new_worker(backend, queue, batch_size=128), count)

    assert await letters(queue) == []
    assert done() == list(range(count))
    assert len(diary.of("stop")) == 4


class Hanging(Once):
    """Begins, and ends when the gate is open."""

    async def perform(self, *items: Item) -> None:
        diary.add("begin", len(items))
        await diary.gate.wait()
        super().perform(*items)


@pytest.mark.parametrize("count", [1, 3])
async def test_cancelling_a_loop_counts_nothing(backend: Backend, queue: Queue, count: int) -> None:
    await queue.register(Hanging, *one_each(count))
    for times in range(1, 4):
        loop = await suspended(new_worker(backend, queue).loop())
        await diary.until("begin", count, times=times)
        await cancelled(loop)

    diary.gate.set()
    await run(new_worker(backend, queue), count)

    assert diary.of("begin") == [(count,)] * 4
    assert await letters(queue) == []


async def test_a_worker_that_is_stopped_while_it_fails_leaves(backend: Backend, queue: Queue) -> None:
    trouble[0] = broken
    await queue.register(AsyncFragile, *one_each(2))
    worker = new_worker(backend, queue)
    loop = asyncio.create_task(worker.loop())
    await diary.until("begin")

    worker.stop()
    await finished(loop)

    assert (await queue.storage.backlog()).queued in (1, 2)
    assert not await backend.new_lock().exists(Tube(AsyncFragile, Route()).key)


# Misuse


@pytest.mark.parametrize("wrong", [None, 3, "block", {"max_attempts": 3}, Retry])
async def test_a_retry_of_a_wrong_type_is_refused_when_registering(queue: Queue, wrong: Any) -> None:
    class Wrong(Fragile):
        retry = wrong

    with pytest.raises(HandlerError, match=r"retry must be a shardq\.Retry"):
        await queue.register(Wrong, Item(0, 0))
    assert (await queue.storage.backlog()).accepted == 0
