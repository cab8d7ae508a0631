"""Workers on every driver and both event loops: what handlers see, in which order, and when a worker leaves."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import pytest

from shardq import Handler, Queue, Retry, Route, Tube, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.errors import ConfigurationError, HandlerError, shown
from shardq.protocols import Storage
from shardq.working.waiting import LOOP_TURN_S
from tests.support.drivers import Backend, Driver
from tests.support.tasks import LIMIT_S, cancelled, finished, in_thread, suspended
from tests.support.workers import NO_HOLD, Item, Routed, diary, new_worker, one_each, run, working

#: A worker that stays longer than any test takes.
LONG_HOLD = {"empty_limit": 1, "empty_pause": 10 * LIMIT_S}


class Record(Routed):
    """Writes down every item."""

    def start(self) -> None:
        diary.add("start", id(self))

    def perform(self, *items: Item) -> None:
        for item in items:
            diary.add("done", item.thread, item.number)
        diary.add("batch", len(items))

    def stop(self) -> None:
        diary.add("stop", id(self))


class Other(Record):
    """The same, under another name."""


class Gated(Routed):
    """Begins a batch, and ends it when the gate is open."""

    async def perform(self, *items: Item) -> None:
        diary.add("begin", items[0].thread, items[0].number)
        await diary.gate.wait()
        for item in items:
            diary.add("done", item.thread, item.number)

    async def stop(self) -> None:
        diary.add("stop")


# What the ancestor's users know


class NotifyRequest(NamedTuple):
    user_id: int


class Notify(Handler[NotifyRequest]):
    @classmethod
    async def create(cls) -> Self:
        return cls()

    @classmethod
    async def route(cls, *requests: NotifyRequest) -> list[Route]:
        return [Route(thread=request.user_id % 3, priority=0) for request in requests]

    async def perform(self, *requests: NotifyRequest) -> None:
        diary.add("notified", *(request.user_id for request in requests))


async def lengths(storage: Storage) -> list[int]:
    return [await storage.length(Tube(Notify, Route(thread)).pipe) for thread in range(3)]


@pytest.mark.requires("lone_locks")
async def test_three_workers_with_locks_of_their_own_share_nine_users(driver: Driver, storage: Storage) -> None:
    assert driver.lone_lock is not None
    queue = Queue(storage)
    await queue.register(Notify, *map(NotifyRequest, range(1, 10)))
    assert await lengths(storage) == [3, 3, 3]

    workers = [Worker(driver.lone_lock(), queue) for _ in range(3)]
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(worker.loop(3) for worker in workers))

    assert sorted(diary.of("notified")) == [(1, 4, 7), (2, 5, 8), (3, 6, 9)]
    assert await lengths(storage) == [0, 0, 0]


async def test_three_workers_over_one_storage_share_nine_users(backend: Backend, storage: Storage) -> None:
    queue = Queue(storage)
    await queue.register(Notify, *map(NotifyRequest, range(1, 10)))
    assert await lengths(storage) == [3, 3, 3]

    workers = [Worker(backend.new_lock(), queue) for _ in range(3)]
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(worker.loop(3) for worker in workers))

    assert sorted(diary.of("notified")) == [(1, 4, 7), (2, 5, 8), (3, 6, 9)]
    assert await lengths(storage) == [0, 0, 0]


# Order and exclusion


async def test_requests_of_a_thread_are_handled_in_the_order_of_their_registration(
    backend: Backend, queue: Queue
) -> None:
    items = one_each(60, 0, 1, 2)
    workers = [new_worker(backend, queue, batch_size=7) for _ in range(3)]

    async with working(*workers):
        for start in range(0, len(items), 20):
            await queue.register(Record, *items[start : start + 20])
        await queue.storage.wait_for_quiet(LIMIT_S)

    for thread in range(3):
        assert [number for done, number in diary.of("done") if done == thread] == list(range(60))


class Exclusive(Routed):
    """Fails where another one is inside its thread, and gives it every chance to be."""

    inside: ClassVar[set[int]] = set()

    async def perform(self, *items: Item) -> None:
        (thread,) = {item.thread for item in items}
        assert thread not in self.inside
        self.inside.add(thread)
        for _ in range(3):
            await asyncio.sleep(0)
        self.inside.remove(thread)
        for item in items:
            diary.add("done", item.thread, item.number)


async def test_no_two_workers_of_a_loop_are_in_one_thread(backend: Backend, queue: Queue) -> None:
    await queue.register(Exclusive, *one_each(50, 0, 1, 2))
    workers = [new_worker(backend, queue, batch_size=3, quantum=1e-9) for _ in range(8)]

    async with working(*workers):
        await queue.storage.wait_for_quiet(LIMIT_S)

    assert len(diary.of("done")) == 150
    for thread in range(3):
        assert [number for done, number in diary.of("done") if done == thread] == list(range(50))


async def test_no_two_workers_of_several_loops_are_in_one_thread(backend: Backend, queue: Queue) -> None:
    async def work() -> None:
        worker = new_worker(backend, queue, batch_size=3, quantum=1e-9)
        async with working(worker):
            await queue.storage.wait_for_quiet(LIMIT_S)

    await queue.register(Exclusive, *one_each(50, 0, 1, 2))
    await asyncio.gather(*(in_thread(work) for _ in range(4)))

    assert len(diary.of("done")) == 150
    for thread in range(3):
        assert [number for done, number in diary.of("done") if done == thread] == list(range(50))


# The life of a handler


class AsyncHandle(Handler[Item]):
    @classmethod
    async def create(cls) -> Self:
        diary.add("create")
        return cls()

    @classmethod
    async def route(cls, *items: Item) -> list[Route]:
        diary.add("route")
        await asyncio.sleep(0)
        return [Route()] * len(items)

    async def start(self) -> None:
        assert isinstance(self.queue, Queue)
        diary.add("start")

    async def handle(self, *items: Item) -> None:
        await asyncio.sleep(0)
        diary.add("handle", len(items))

    async def stop(self) -> None:
        diary.add("stop")


class PlainHandle(Handler[Item]):
    @classmethod
    def create(cls) -> Self:
        diary.add("create")
        return cls()

    @classmethod
    def route(cls, *items: Item) -> list[Route]:
        diary.add("route")
        return [Route()] * len(items)

    def start(self) -> None:
        assert isinstance(self.queue, Queue)
        diary.add("start")

    def handle(self, *items: Item) -> None:
        diary.add("handle", len(items))

    def stop(self) -> None:
        diary.add("stop")


class AsyncPerform(AsyncHandle):
    handle = Handler.handle

    async def perform(self, *items: Item) -> None:
        await asyncio.sleep(0)
        diary.add("handle", len(items))


class PlainPerform(PlainHandle):
    handle = Handler.handle

    def perform(self, *items: Item) -> None:
        diary.add("handle", len(items))


@pytest.mark.parametrize("handler", [AsyncHandle, PlainHandle, AsyncPerform, PlainPerform])
async def test_each_method_may_be_async_or_plain(handler: type[Handler[Item]], queue: Queue, worker: Worker) -> None:
    await queue.register(handler, Item(0, 0), Item(0, 1))

    await run(worker, 2)

    steps = ("route", "create", "start", "handle", "stop")
    assert diary.of(*steps) == [("route",), ("create",), ("start",), ("handle", 2), ("stop",)]


class Nothing(Handler[Item]):
    """Overrides neither `handle` nor `perform`."""


class Unlimited(Record):
    timeout_s = 1e12


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (Nothing, r"test_worker/Nothing overrides neither handle\(\) nor perform\(\)"),
        (Unlimited, r"test_worker/Unlimited\.timeout_s must be None or a number of seconds"),
    ],
)
async def test_a_handler_that_cannot_be_used_does_not_start_and_others_are_served(
    handler: type[Handler[Any]], reason: str, queue: Queue, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = Tube(handler, Route()).pipe
    await queue.storage.append([(pipe, [b"\x93\x00\x00\x00"])])

    async with working(worker):
        await queue.register(Record, *one_each(3))
        await diary.until("batch")

    assert diary.of("done") == [(0, 0), (0, 1), (0, 2)]
    assert await queue.storage.pipes() == [pipe]
    assert "handler did not start" in caplog.text
    assert re.search(reason, caplog.text)


async def test_a_handler_stays_with_its_empty_thread_for_the_hold_time(backend: Backend, queue: Queue) -> None:
    async with working(new_worker(backend, queue, **LONG_HOLD)):
        for number in range(3):
            await queue.register(Record, Item(0, number))
            await diary.until("done", 0, number)
        assert len(diary.of("start")) == 1
        assert diary.of("stop") == []

    assert diary.of("stop") == diary.of("start")


async def test_a_held_thread_is_left_when_another_one_has_work(backend: Backend, queue: Queue) -> None:
    async with working(new_worker(backend, queue, **LONG_HOLD)):
        await queue.register(Record, Item(0, 0))
        await diary.until("batch")
        await queue.register(Record, Item(1, 0))
        await diary.until("batch", times=2)

    steps = [entry[0] for entry in diary.of("start", "batch", "stop")]
    assert steps == ["start", "batch", "stop"] * 2


async def test_a_handler_is_stopped_when_the_hold_time_is_over(backend: Backend, queue: Queue) -> None:
    worker = new_worker(backend, queue, empty_limit=2, empty_pause=0.01)
    async with working(worker):
        await queue.register(Record, Item(0, 0))
        await diary.until("stop")
        async with asyncio.timeout(LIMIT_S):
            while await worker.lock.exists(Tube(Record, Route()).key):
                await asyncio.to_thread(time.sleep, 0.001)
        await queue.register(Record, Item(0, 1))
        await diary.until("stop", times=2)

    assert diary.of("done") == [(0, 0), (0, 1)]


# Batches and limits


class Pairs(Record):
    def batch_size(self) -> int:
        return 2


async def test_the_handler_says_how_large_its_batches_are(backend: Backend, queue: Queue) -> None:
    await queue.register(Pairs, *one_each(5))

    await run(new_worker(backend, queue, batch_size=4), 5)

    assert diary.of("batch") == [(2,), (2,), (1,)]


async def test_a_batch_size_assigned_later_takes_effect(queue: Queue, worker: Worker) -> None:
    await queue.register(Record, *one_each(10))

    worker.settings.batch_size = 2
    await run(worker, 4)
    worker.settings.batch_size = 3
    await run(worker, 6)

    assert diary.of("batch") == [(2,), (2,), (3,), (3,)]


@pytest.mark.parametrize("threads", [(0,), (0, 1, 2)])
async def test_a_limit_is_met_exactly(threads: tuple[int, ...], backend: Backend, queue: Queue) -> None:
    await queue.register(Record, *one_each(12 // len(threads), *threads))
    worker = new_worker(backend, queue, batch_size=3)

    await run(worker, 5)
    assert len(diary.of("done")) == 5
    await run(worker, 1)
    assert len(diary.of("done")) == 6

    assert (await queue.storage.backlog()).handled == 6
    assert (await queue.storage.backlog()).queued == 6


@pytest.mark.parametrize("limit", [-1, 1.0, float("nan"), True, "x", [], -(10**5000)], ids=lambda n: shown(n)[:9])
async def test_what_is_no_number_of_requests_is_no_limit(limit: Any, worker: Worker) -> None:
    with pytest.raises(ConfigurationError, match=r"limit=.* cannot be: give a number of requests from 0 up, or None"):
        await run(worker, limit)


async def test_a_lock_serves_one_storage_in_memory() -> None:
    lock = RuntimeLock()
    await run(Worker(lock, Queue(RuntimeStorage())), 0)

    with pytest.raises(ConfigurationError, match="give each storage a lock of its own"):
        await run(Worker(lock, Queue(RuntimeStorage())), 0)


async def test_a_limit_of_nothing_is_met_at_once(queue: Queue, worker: Worker) -> None:
    await queue.register(Record, Item(0, 0))

    await run(worker, 0)

    assert diary.of("start") == []


class Spin(Record):
    """Takes longer than a worker goes on without a turn of the event loop."""

    def perform(self, *items: Item) -> None:
        end = time.monotonic() + 2 * LOOP_TURN_S
        while time.monotonic() < end:
            pass
        super().perform(*items)


async def tick() -> None:
    """Write down each turn of the event loop."""
    while True:
        diary.add("tick")
        await asyncio.sleep(0)


async def test_the_event_loop_has_its_turn_between_batches_that_take_their_time(backend: Backend, queue: Queue) -> None:
    await queue.register(Spin, *one_each(20))
    ticker = await suspended(tick())

    await run(new_worker(backend, queue, batch_size=1), 20)
    await cancelled(ticker)

    steps = diary.of("tick", "batch")
    assert all(("tick",) in pair for pair in pairwise(steps))


class Broken(Spin):
    """Fails after such a time, and opens the gate with the last thread. Each rests for longer than any test takes."""

    retry = Retry(backoff_s=10 * LIMIT_S)

    def perform(self, *items: Item) -> None:
        super().perform(*items)
        if items[0].thread == 9:
            diary.gate.set()
        raise ValueError


async def test_the_event_loop_has_its_turn_between_batches_that_fail(backend: Backend, queue: Queue) -> None:
    async def stop() -> None:
        await diary.gate.wait()
        worker.stop()

    await queue.register(Broken, *one_each(1, *range(10)))
    worker, ticker, stopper = new_worker(backend, queue), await suspended(tick()), await suspended(stop())

    await run(worker)
    await stopper
    await cancelled(ticker)

    steps = diary.of("tick", "batch")
    assert all(("tick",) in pair for pair in pairwise(steps))


class Endless(Routed):
    """Registers each item again, and needs neither start nor stop."""

    def perform(self, *items: Item) -> None:
        self.queue.register_sync(Endless, *items)


@pytest.mark.requires("immediate")
@pytest.mark.parametrize("threads", [(0,), tuple(range(16))], ids=["one thread", "many threads"])
async def test_the_event_loop_has_its_turn_beside_work_without_end(
    threads: tuple[int, ...], backend: Backend, queue: Queue
) -> None:
    await queue.register(Endless, *one_each(1, *threads))
    worker = new_worker(backend, queue, batch_size=1)

    async def stop() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        worker.stop()

    stopper = asyncio.ensure_future(stop())
    await run(worker)
    await stopper
    assert (await queue.storage.backlog()).handled >= 1


# Which handlers a worker serves


async def test_a_worker_for_one_handler_leaves_the_tubes_of_others(queue: Queue, worker: Worker) -> None:
    await queue.register(Record, *one_each(3))
    await queue.register(Other, *one_each(3, 7))

    await run(worker, 3, handler=Other)

    assert {thread for thread, _ in diary.of("done")} == {7}
    assert await queue.storage.pipes() == [Tube(Record, Route()).pipe]


async def test_a_worker_for_two_handlers_serves_both(queue: Queue, worker: Worker) -> None:
    await queue.register(Record, *one_each(3, 1))
    await queue.register(Pairs, *one_each(3, 2))
    await queue.register(Other, *one_each(3, 3))

    await run(worker, 6, handler=(Record, Other))

    assert {thread for thread, _ in diary.of("done")} == {1, 3}
    assert await queue.storage.pipes() == [Tube(Pairs, Route(2)).pipe]


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (Item, "Item'> is no handler class"),
        (int, "<class 'int'> is no handler class"),
        (Record(), "Record object at .* is no handler class"),
        (5, "5 is no handler class"),
        ("x", "'x' is no handler class"),
        (["app.jobs/Greeter"], "'app.jobs/Greeter' is no handler class"),
        ((Record, None), "None is no handler class"),
        ([], r"handler=\[\] names no handler"),
        (Nothing, r"Nothing overrides neither handle\(\) nor perform\(\)"),
        ((Record, Unlimited), "Unlimited.timeout_s must be"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_cannot_be_served_is_refused(handler: Any, reason: str, worker: Worker) -> None:
    with pytest.raises(HandlerError, match=reason):
        await run(worker, 1, handler=handler)


async def test_an_imported_handler_is_served_though_it_was_registered_elsewhere(
    storage: Storage, worker: Worker
) -> None:
    await Queue(storage).register(Record, Item(0, 0))

    await run(worker, 1)

    assert diary.of("done") == [(0, 0)]


async def test_requests_of_unknown_handlers_stay_and_nothing_is_imported(queue: Queue, worker: Worker) -> None:
    unknown = ["antigravity/Handler/0/0", f"{__name__}/Missing/0/0", f"{__name__}/Item/0/0", "no.such.module/X/0/0"]
    for pipe in unknown:
        await queue.storage.append([(pipe, [b"\x93\x00\x00\x00"])])
    await queue.register(Record, *one_each(3))

    await run(worker, 3)

    assert sorted(await queue.storage.pipes()) == sorted(unknown)
    assert "antigravity" not in sys.modules


async def test_an_unknown_handler_keeps_no_worker_from_its_sleep(queue: Queue, worker: Worker) -> None:
    await queue.storage.append([("no.such.module/X/0/0", [b"\x90"])])

    loop = await suspended(worker.loop())
    await queue.register(Record, Item(0, 0))
    await diary.until("stop")
    worker.stop()
    await finished(loop)

    assert await queue.storage.pipes() == ["no.such.module/X/0/0"]


class Ranked(Record):
    priorities: ClassVar[list[int] | None] = [5, 0, 9]


async def test_priorities_are_served_in_the_order_the_handler_lists_them(backend: Backend, queue: Queue) -> None:
    items = [Item(0, 10 * priority + number, priority) for number in range(3) for priority in (0, 5, 9)]
    await queue.register(Ranked, *items)

    await run(new_worker(backend, queue, batch_size=2), 9)

    assert [number for _, number in diary.of("done")] == [50, 51, 52, 0, 1, 2, 90, 91, 92]
    assert len(diary.of("start")) == 1


class Urgent(Ranked):
    """The first item of the lowest priority brings an urgent one about."""

    def perform(self, *items: Item) -> None:
        super().perform(*items)
        if items[0] == Item(0, 0, 9):
            self.queue.register_sync(Urgent, Item(0, 50, 5))


async def test_a_higher_priority_overtakes_after_the_batch_in_hand(backend: Backend, queue: Queue) -> None:
    await queue.register(Urgent, *(Item(0, number, 9) for number in range(3)))

    await run(new_worker(backend, queue, batch_size=1), 4)

    assert [number for _, number in diary.of("done")] == [0, 50, 1, 2]


# Fairness


async def test_after_its_quantum_a_worker_leaves_for_a_thread_that_waits(backend: Backend, queue: Queue) -> None:
    await queue.register(Record, *one_each(10, 0))
    await queue.register(Record, Item(1, 0))

    await run(new_worker(backend, queue, batch_size=1, quantum=1e-9), 11)

    assert diary.of("done")[:3] == [(0, 0), (1, 0), (0, 1)]


async def test_within_its_quantum_a_worker_stays(backend: Backend, queue: Queue) -> None:
    await queue.register(Record, *one_each(10, 0))
    await queue.register(Record, Item(1, 0))

    await run(new_worker(backend, queue, batch_size=1, quantum=10 * LIMIT_S), 11)

    assert diary.of("done") == [*((0, number) for number in range(10)), (1, 0)]


async def test_after_its_quantum_a_worker_stays_where_no_thread_waits(backend: Backend, queue: Queue) -> None:
    await queue.register(Record, *one_each(10))

    await run(new_worker(backend, queue, batch_size=1, quantum=1e-9), 10)

    assert len(diary.of("start")) == 1


class Flood(Routed):
    """Fills its thread again with every batch, until another thread was served."""

    def perform(self, *items: Item) -> None:
        diary.add("done", items[0].thread)
        if not items[0].thread and (1,) not in diary.of("done"):
            self.queue.register_sync(Flood, *items)


async def test_a_thread_that_is_never_empty_does_not_keep_a_worker_from_others(backend: Backend, queue: Queue) -> None:
    async with working(new_worker(backend, queue, quantum=0.01)):
        await queue.register(Flood, Item(0, 0))
        await diary.until("done", 0, times=2)
        await queue.register(Flood, Item(1, 0))
        await diary.until("done", 1)
        assert await queue.storage.wait_for_quiet(LIMIT_S)


# Stopping


async def test_stop_finishes_the_batch_in_hand_and_leaves(backend: Backend, queue: Queue) -> None:
    await queue.register(Gated, *one_each(5))
    worker = new_worker(backend, queue, batch_size=2)
    loop = await suspended(worker.loop())
    await diary.until("begin")

    worker.stop()
    diary.gate.set()
    await finished(loop)

    assert diary.of("done") == [(0, 0), (0, 1)]
    assert diary.of("stop") == [()]
    assert (await queue.storage.backlog()).queued == 3
    assert not await backend.new_lock().exists(Tube(Gated, Route()).key)


@pytest.mark.parametrize("hold", [NO_HOLD, LONG_HOLD])
async def test_stop_ends_an_idle_worker(hold: dict[str, Any], backend: Backend, queue: Queue) -> None:
    worker = new_worker(backend, queue, **hold)
    loop = await suspended(worker.loop())
    await queue.register(Record, Item(0, 0))
    await diary.until("batch")

    worker.stop()
    await finished(loop)

    assert diary.of("stop") == diary.of("start")
    assert not await backend.new_lock().exists(Tube(Record, Route()).key)


async def test_a_stopped_worker_can_serve_again(queue: Queue, worker: Worker) -> None:
    for number in range(3):
        loop = await suspended(worker.loop())
        await queue.register(Record, Item(0, number))
        await diary.until("done", 0, number)
        worker.stop()
        worker.stop()
        await finished(loop)

    assert diary.of("done") == [(0, 0), (0, 1), (0, 2)]


async def test_a_cancelled_loop_releases_the_thread_and_keeps_what_is_not_acknowledged(
    backend: Backend, queue: Queue
) -> None:
    await queue.register(Gated, *one_each(5))
    loop = await suspended(new_worker(backend, queue, batch_size=2).loop())
    await diary.until("begin", 0, 0)

    await cancelled(loop)

    assert diary.of("stop") == [()]
    assert (await queue.storage.backlog()).queued == 5
    assert not await backend.new_lock().exists(Tube(Gated, Route()).key)
    diary.gate.set()
    await run(new_worker(backend, queue), 5)
    assert [number for _, number in diary.of("done")] == list(range(5))


@pytest.mark.parametrize("hold", [NO_HOLD, LONG_HOLD])
async def test_an_idle_loop_can_be_cancelled(hold: dict[str, Any], backend: Backend, queue: Queue) -> None:
    loop = await suspended(new_worker(backend, queue, **hold).loop())
    await queue.register(Record, Item(0, 0))
    await diary.until("batch")

    await cancelled(loop)

    assert diary.of("stop") == diary.of("start")
    assert not await backend.new_lock().exists(Tube(Record, Route()).key)


async def test_a_cancelled_loop_leaves_its_work_to_a_sleeping_worker(backend: Backend, queue: Queue) -> None:
    await queue.register(Gated, *one_each(3))
    first = await suspended(new_worker(backend, queue).loop())
    await diary.until("begin")
    second_worker = new_worker(backend, queue)
    second = await suspended(second_worker.loop())

    await cancelled(first)
    await diary.until("begin", 0, 0, times=2)
    diary.gate.set()
    await diary.until("stop", times=2)
    second_worker.stop()
    await finished(second)

    assert [number for _, number in diary.of("done")] == list(range(3))


# Follow-ups


class AsyncForward(Routed):
    async def perform(self, *items: Item) -> None:
        await self.queue.register(Record, *items)


class PlainForward(Routed):
    def perform(self, *items: Item) -> None:
        self.queue.register_sync(Record, *items)


@pytest.mark.parametrize("handler", [AsyncForward, PlainForward])
async def test_a_handler_registers_with_another_one(
    handler: type[Handler[Item]], backend: Backend, queue: Queue
) -> None:
    await queue.register(handler, *one_each(10, 0, 1))

    await run(new_worker(backend, queue, batch_size=3), 40)

    for thread in range(2):
        assert [number for done, number in diary.of("done") if done == thread] == list(range(10))


class Countdown(Routed):
    """Each item brings about the next one, in its own thread."""

    async def perform(self, *items: Item) -> None:
        for item in items:
            diary.add("done", item.thread, item.number)
        await self.queue.register(Countdown, *(item._replace(number=item.number - 1) for item in items if item.number))


async def test_a_handler_registers_with_itself(queue: Queue, worker: Worker) -> None:
    await queue.register(Countdown, Item(0, 9))

    await run(worker, 10)

    assert [number for _, number in diary.of("done")] == list(range(9, -1, -1))
    assert (await queue.storage.backlog()).queued == 0


async def test_a_follow_up_wakes_a_sleeping_worker(backend: Backend, queue: Queue) -> None:
    first = await suspended(new_worker(backend, queue).loop(handler=PlainForward))
    second = await suspended(new_worker(backend, queue).loop(handler=Record))

    await queue.register(PlainForward, Item(0, 0))
    await diary.until("done", 0, 0)

    await cancelled(first)
    await cancelled(second)


@pytest.mark.requires("immediate")
async def test_while_other_tasks_run_a_worker_has_nothing_in_hand(backend: Backend, queue: Queue) -> None:
    """Should one of them end the process, no request would be to blame. What is in hand cannot be removed."""
    await queue.register(Endless, *one_each(1, *range(16)))
    worker = new_worker(backend, queue, batch_size=1)
    removed = []

    async def look() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
            removed.append(await queue.cancel(Endless, *one_each(1, *range(16))))
            await queue.register(Endless, *one_each(1, *range(16)))
        worker.stop()

    looking = asyncio.ensure_future(look())
    await run(worker)
    await looking
    assert removed == [16] * 20
