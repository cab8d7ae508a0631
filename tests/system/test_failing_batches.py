"""What handlers can do about their batch: acknowledge a part of it, run out of time or of room, and not even start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from shardq import Queue, Route, Tube, Worker
from shardq.errors import FencedError, HandlerError
from shardq.model import Counts
from shardq.working import time_limit
from shardq.working.hooks import Hooks
from tests.support.drivers import Backend
from tests.support.tasks import LIMIT_S, cancelled
from tests.support.workers import (
    Impatient,
    Item,
    Once,
    Planned,
    batches,
    diary,
    failing_after,
    letters,
    new_worker,
    one_each,
    plans,
    run,
    working,
)


class PlannedSync(Impatient):
    def perform(self, *items: Item) -> None:
        diary.add("batch", *(item.number for item in items))
        if plans:
            plans.pop(0)(self, items)


class Hasty(Once):
    timeout_s = 0.05


class Unhurried(Once):
    timeout_s = 10 * LIMIT_S


# A part of the batch


async def test_after_a_failure_only_what_was_not_acknowledged_comes_again(queue: Queue, worker: Worker) -> None:
    plans.append(failing_after(3, ValueError))
    await queue.register(Planned, *one_each(6))

    await run(worker, 6)

    assert batches() == [(0, 1, 2, 3, 4, 5), (3,), (4,), (5,)]
    assert await queue.storage.backlog() == Counts(6, 6)


async def test_plain_handlers_acknowledge_without_waiting(queue: Queue, worker: Worker) -> None:
    def half(handler: PlannedSync, items: Sequence[Item]) -> None:
        handler.acknowledge_sync(2)
        raise ValueError("at the third")

    plans.append(half)
    await queue.register(PlannedSync, *one_each(3))

    await run(worker, 3)

    assert batches() == [(0, 1, 2), (2,)]
    assert await queue.storage.backlog() == Counts(3, 3)


async def test_what_is_acknowledged_has_left_at_once(queue: Queue, worker: Worker) -> None:
    lengths = []

    async def one_by_one(handler: Planned, items: Sequence[Item]) -> None:
        for count in range(len(items) + 1):
            await handler.acknowledge(count)
            lengths.append((await queue.storage.backlog()).queued)

    plans.append(one_by_one)
    await queue.register(Planned, *one_each(4))

    await run(worker, 4)

    assert lengths == [4, 3, 2, 1, 0]
    assert await queue.storage.backlog() == Counts(4, 4)


async def test_acknowledging_less_than_before_changes_nothing(queue: Queue, worker: Worker) -> None:
    async def back(handler: Planned, items: Sequence[Item]) -> None:
        for count in (2, 1, 0, 2):
            await handler.acknowledge(count)
        raise ValueError("at the third")

    plans.append(back)
    await queue.register(Planned, *one_each(3))

    await run(worker, 3)

    assert batches() == [(0, 1, 2), (2,)]


async def test_the_last_one_left_of_a_batch_fails_alone(queue: Queue, worker: Worker) -> None:
    async def all_but_one(handler: Once, items: Sequence[Item]) -> None:
        await handler.acknowledge(len(items) - 1)
        raise ValueError("the last one")

    plans.append(all_but_one)
    await queue.register(Once, *one_each(4))

    await run(worker, 4)

    [letter] = await letters(queue)
    assert letter.message == b"\x93\x00\x03\x00"
    assert (letter.attempts, batches()) == (1, [(0, 1, 2, 3)])


async def test_a_failure_behind_the_last_request_is_that_of_none(
    queue: Queue, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    async def all_and_more(handler: Once, items: Sequence[Item]) -> None:
        await handler.acknowledge(len(items))
        raise ValueError("afterwards")

    plans.append(all_and_more)
    await queue.register(Once, *one_each(3))

    await run(worker, 3)

    assert await queue.storage.backlog() == Counts(3, 3)
    assert "handler failed after its last acknowledgement" in caplog.messages


async def test_the_limit_counts_what_was_acknowledged_before_a_failure(queue: Queue, worker: Worker) -> None:
    plans.append(failing_after(2, ValueError))
    await queue.register(Planned, *one_each(6))

    await run(worker, 3)

    assert (await queue.storage.backlog()).handled == 3


async def test_a_part_is_acknowledged_over_gaps(queue: Queue, worker: Worker) -> None:
    plans.append(failing_after(2, ValueError))
    await queue.register(Planned, *one_each(9))
    unwanted = [b"\x93\x00%c\x00" % number for number in (0, 2, 3, 5, 6)]
    assert await queue.storage.remove(Tube(Planned, Route()).pipe, *unwanted) == 5

    await run(worker, 4)

    assert batches() == [(1, 4, 7, 8), (7,), (8,)]
    assert await queue.storage.backlog() == Counts(9, 9)


async def test_cancelling_a_loop_keeps_what_was_acknowledged(backend: Backend, queue: Queue) -> None:
    async def half(handler: Planned, items: Sequence[Item]) -> None:
        await handler.acknowledge(2)
        diary.add("half")
        await diary.gate.wait()

    plans.append(half)
    await queue.register(Planned, *one_each(4))
    loop = asyncio.create_task(new_worker(backend, queue).loop())
    await diary.until("half")
    await cancelled(loop)

    await run(new_worker(backend, queue), 2)

    assert batches() == [(0, 1, 2, 3), (2, 3)]


async def test_a_part_is_counted_from_the_first_that_decodes(queue: Queue, worker: Worker) -> None:
    async def too_many(handler: Planned, items: Sequence[Item]) -> None:
        with pytest.raises(HandlerError, match="its batch has 2 requests"):
            await handler.acknowledge(3)
        await handler.acknowledge(1)
        raise ValueError("at the second")

    plans.append(too_many)
    good = [b"\x93\x00%c\x00" % number for number in range(3)]
    await queue.storage.append([(Tube(Planned, Route()).pipe, [*good[:2], b"\xc1", good[2]])])

    await run(worker, 4, handler=Planned)

    assert batches() == [(0, 1), (1,), (2,)]
    assert await queue.storage.backlog() == Counts(4, 4, buried=1, dead=1)


async def test_who_counts_batches_hears_of_every_request(queue: Queue, worker: Worker) -> None:
    counted: list[int] = []
    worker.hooks = Hooks(after_batch=counted.append)
    plans.append(failing_after(2, ValueError))
    await queue.register(Planned, *one_each(5))

    await run(worker, 5)

    assert sum(counted) == (await queue.storage.backlog()).handled == 5


@pytest.mark.parametrize("count", [-1, 4, 1_000_000, 1.5])
async def test_a_count_that_the_batch_does_not_have_is_misuse(queue: Queue, worker: Worker, count: Any) -> None:
    async def wrong(handler: Planned, items: Sequence[Item]) -> None:
        with pytest.raises(HandlerError):
            await handler.acknowledge(count)
        diary.add("refused")

    plans.append(wrong)
    await queue.register(Planned, *one_each(3))

    await run(worker, 3)

    assert diary.of("refused") == [()]
    assert batches() == [(0, 1, 2)]
    assert await queue.storage.backlog() == Counts(3, 3)


class TooEarly(Impatient):
    """Acknowledges where there is no batch."""

    async def start(self) -> None:
        with pytest.raises(HandlerError, match="no batch in hand"):
            await self.acknowledge(0)
        diary.add("refused")

    async def perform(self, *items: Item) -> None:
        diary.add("handler", self)

    async def stop(self) -> None:
        with pytest.raises(HandlerError, match="no batch in hand"):
            self.acknowledge_sync(1)
        diary.add("refused")


async def test_acknowledging_without_a_batch_is_misuse(queue: Queue, worker: Worker) -> None:
    await queue.register(TooEarly, Item(0, 0))

    await run(worker, 1)

    assert diary.of("refused") == [(), ()]
    [(handler,)] = diary.of("handler")
    with pytest.raises(HandlerError, match="no batch in hand"):
        await handler.acknowledge(1)
    with pytest.raises(HandlerError, match="no batch in hand"):
        await TooEarly().acknowledge(1)


async def test_a_batch_of_a_thread_that_is_anothers_by_now_is_fenced(backend: Backend, queue: Queue) -> None:
    worker, other = new_worker(backend, queue), backend.new_lock()
    key = Tube(Once, Route()).key

    async def lose_the_thread(handler: Once, items: Sequence[Item]) -> None:
        await worker.lock.release(key)
        assert await other.acquire(key)
        try:
            await handler.acknowledge(1)
        except FencedError:
            diary.add("fenced")
            raise

    plans.append(lose_the_thread)
    await queue.register(Once, *one_each(3))

    async with working(worker):
        await diary.until("stop")
        assert await queue.storage.backlog() == Counts(3, 0)
        assert await other.exists(key)
        await other.release(key)
        await diary.until("stop", times=2)

    assert diary.of("fenced") == [()]
    assert batches() == [(0, 1, 2), (0, 1, 2)]
    assert await letters(queue) == []


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_late_worker_neither_acknowledges_nor_fails(
    backend: Backend, queue: Queue, count: int, fails: bool
) -> None:
    worker, other = new_worker(backend, queue), backend.new_lock()
    key = Tube(Once, Route()).key

    async def return_late(handler: Once, items: Sequence[Item]) -> None:
        await worker.lock.release(key)
        assert await other.acquire(key)
        if fails:
            raise ValueError("too late")

    plans.append(return_late)
    await queue.register(Once, *one_each(count))

    async with working(worker):
        await diary.until("stop")
        assert await queue.storage.backlog() == Counts(count, 0)
        await other.release(key)
        await diary.until("stop", times=2)

    everything = tuple(range(count))
    assert batches() == [everything, everything]
    assert await queue.storage.backlog() == Counts(count, count)


# Time


async def test_an_async_handler_that_takes_too_long_has_failed(queue: Queue, worker: Worker) -> None:
    async def for_ever(handler: Hasty, items: Sequence[Item]) -> None:
        try:
            await diary.gate.wait()
        finally:
            diary.add("interrupted")

    plans.append(for_ever)
    await queue.register(Hasty, Item(0, 0))

    await run(worker, 1)

    [letter] = await letters(queue)
    assert "HandlerTimeout" in letter.error
    assert "0.05" in letter.error
    assert (letter.reason, letter.attempts) == ("raised", 1)
    assert diary.of("interrupted") == [()]


async def test_of_a_batch_that_takes_too_long_the_culprit_is_found(queue: Queue, worker: Worker) -> None:
    async def hang_at_two(handler: Hasty, items: Sequence[Item]) -> None:
        if any(item.number == 2 for item in items):
            await diary.gate.wait()

    plans.extend([hang_at_two] * 50)
    await queue.register(Hasty, *one_each(4))

    await run(worker, 4)

    assert [letter.message for letter in await letters(queue)] == [b"\x93\x00\x02\x00"]
    assert await queue.storage.backlog() == Counts(4, 4, buried=1, dead=1)


async def test_a_timeout_of_the_handlers_own_is_its_own(queue: Queue, worker: Worker) -> None:
    plans.append(failing_after(0, TimeoutError, "of its own"))
    await queue.register(Hasty, Item(0, 0))

    await run(worker, 1)

    [letter] = await letters(queue)
    assert letter.error == "TimeoutError: of its own"


async def test_who_is_interrupted_keeps_what_it_acknowledged(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = list[asyncio.Timeout]()
    monkeypatch.setattr(time_limit, "_running_out", lambda limit, timeout_s: nullcontext(limits.append(limit)))

    async def hang_in_the_middle(handler: Hasty, items: Sequence[Item]) -> None:
        await handler.acknowledge(2)
        limits[-1].reschedule(asyncio.get_running_loop().time())  # its time is over now, however long that took
        await diary.gate.wait()

    plans.append(hang_in_the_middle)
    await queue.register(Hasty, *one_each(3))

    await run(worker, 3)

    assert [letter.message for letter in await letters(queue)] == [b"\x93\x00\x02\x00"]


async def test_cancelling_a_loop_with_a_time_limit_counts_nothing(backend: Backend, queue: Queue) -> None:
    async def hang(handler: Unhurried, items: Sequence[Item]) -> None:
        diary.add("begin")
        await diary.gate.wait()

    plans.extend([hang] * 3)
    await queue.register(Unhurried, Item(0, 0))
    for times in range(1, 4):
        loop = asyncio.create_task(new_worker(backend, queue).loop())
        await diary.until("begin", times=times)
        await cancelled(loop)

    await run(new_worker(backend, queue), 1)

    assert await queue.storage.backlog() == Counts(1, 1)
