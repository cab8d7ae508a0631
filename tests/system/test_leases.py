"""A worker that loses its claim in the middle of its work: it stops, acknowledges nothing, and another one goes on.

A lock with a `lease_s` is one whose claims have to be renewed, on every driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shardq import Queue, Retry, Worker
from shardq.handler import drive
from shardq.model import Counts, Route, Tube
from shardq.protocols import Lock
from shardq.working.hooks import Hooks
from shardq.working.lease import Lease
from tests.support.drivers import Backend
from tests.support.tasks import LIMIT_S, NEVER_S, eventually, finished
from tests.support.workers import (
    Item,
    Once,
    Routed,
    batches,
    diary,
    letters,
    new_worker,
    one_each,
    plans,
    run,
    working,
)

TUBE = Tube(Once, Route())


@pytest.fixture(autouse=True)
def _renewed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a short lease is, which would run out where the machine is busy."""
    made = Lease.__init__

    def make(lease: Lease, lock: Lock, key: str, lease_s: float, *, renews: bool) -> None:
        made(lease, lock, key, 0.15, renews=renews)

    monkeypatch.setattr(Lease, "__init__", make)


def leased(backend: Backend, queue: Queue, lease_s: float = LIMIT_S, **settings: Any) -> Worker:
    """A worker whose lock lives by time."""
    worker = new_worker(backend, queue, **settings)
    worker.lock.lease_s = lease_s
    return worker


async def until_cancelled(handler: Once, items: Sequence[Item]) -> None:
    """Wait in the middle of the batch, and say how that ends."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        diary.add("cancelled")
        raise


async def going_on(handler: Once, items: Sequence[Item]) -> None:
    """As if nothing had happened."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        diary.add("cancelled")


async def raising(handler: Once, items: Sequence[Item]) -> None:
    """Another exception in place of the cancellation."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        diary.add("cancelled")
        raise ValueError("broken off") from None


async def take_away(queue: Queue, handler: Any) -> None:
    """End the claim of the worker that has this handler, which does not know of it."""
    assert await queue.storage.unclaim(TUBE.key, handler.fencing_token)


@pytest.mark.parametrize("plan", [until_cancelled, going_on, raising], ids=lambda plan: plan.__name__)
async def test_a_waiting_handler_is_cancelled_and_its_successor_does_it_all(
    backend: Backend, queue: Queue, plan: Any
) -> None:
    begun = asyncio.Future[Any]()

    async def waiting(handler: Once, items: Sequence[Item]) -> None:
        begun.set_result(handler)
        await plan(handler, items)

    plans.append(waiting)
    await queue.register(Once, *one_each(5))
    first = leased(backend, queue)
    serving = asyncio.create_task(first.loop(handler=Once))
    await take_away(queue, await begun)
    successor = await backend.new_lock().acquire(TUBE.key)
    await diary.until("cancelled")
    first.stop()
    await finished(serving)

    assert await queue.storage.backlog() == Counts(5, 0)
    assert await queue.storage.unclaim(TUBE.key, successor)
    await run(new_worker(backend, queue), 5)
    assert batches() == [(0, 1, 2, 3, 4)] * 2
    assert await queue.storage.backlog() == Counts(5, 5)
    assert await letters(queue) == []


async def test_what_was_acknowledged_before_does_not_come_again(backend: Backend, queue: Queue) -> None:
    async def half(handler: Once, items: Sequence[Item]) -> None:
        await handler.acknowledge(2)
        await take_away(queue, handler)
        await until_cancelled(handler, items)

    plans.append(half)
    await queue.register(Once, *one_each(5))
    await run(leased(backend, queue), 5)

    assert batches() == [(0, 1, 2, 3, 4), (2, 3, 4)]
    assert diary.of("cancelled") == [()]
    assert await queue.storage.backlog() == Counts(5, 5)


class Plain(Routed):
    """Does its work without waiting; loses its claim in the middle of its first batch."""

    retry = Retry(max_attempts=1)

    def perform(self, *items: Item) -> None:
        diary.add("batch", *(item.number for item in items))
        if len(batches()) == 1:
            storage: Any = self.queue.storage  # type: ignore[attr-defined]
            assert drive(storage.unclaim(Tube(Plain, Route()).key, self.fencing_token))
            diary.add("token", self.fencing_token, drive(storage.claim(Tube(Plain, Route()).key)))
        diary.add("end")


async def test_a_plain_handler_comes_to_its_end_and_its_acknowledgement_is_refused(
    backend: Backend, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    await queue.register(Plain, *one_each(3))
    first = leased(backend, queue)
    async with working(first):
        await diary.until("end")
        [(mine, successor)] = diary.of("token")
        assert successor > mine
        assert await queue.storage.backlog() == Counts(3, 0)
        assert await queue.storage.unclaim(Tube(Plain, Route()).key, successor)
        await diary.until("end", times=2)

    assert batches() == [(0, 1, 2)] * 2
    assert "batch not acknowledged" in caplog.text
    assert await queue.storage.backlog() == Counts(3, 3)


def renewals_of(worker: Worker) -> asyncio.Semaphore:
    """It is released with each renewal from now on."""
    renew, renewals = worker.lock.renew, asyncio.Semaphore(0)

    async def counted(key: str) -> bool:
        held = await renew(key)
        renewals.release()
        return held

    worker.lock.renew = counted  # type: ignore[method-assign]
    return renewals


async def test_a_worker_renews_for_as_long_as_a_batch_takes(backend: Backend, queue: Queue) -> None:
    worker = leased(backend, queue)
    renewals = renewals_of(worker)

    async def long(handler: Once, items: Sequence[Item]) -> None:
        for _ in range(5):
            await renewals.acquire()
        diary.add("renewed")

    plans.append(long)
    await queue.register(Once, *one_each(2))
    await run(worker, 2)

    assert diary.of("renewed") == [()]
    assert batches() == [(0, 1)]


class LongStopping(Once):
    async def stop(self) -> None:
        diary.add("stop", self.fencing_token)
        await diary.gate.wait()
        diary.add("stopped")


async def test_a_worker_renews_for_as_long_as_its_handler_stops(backend: Backend, queue: Queue) -> None:
    worker = leased(backend, queue)
    renewals = renewals_of(worker)
    await queue.register(LongStopping, Item(0, 1))
    serving = asyncio.create_task(run(worker, 1))
    await diary.until("stop")
    async with asyncio.timeout(LIMIT_S):
        for _ in range(5):
            await renewals.acquire()
    diary.gate.set()
    await finished(serving)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_handler_whose_claim_is_lost_while_it_stops_comes_to_its_end(backend: Backend, queue: Queue) -> None:
    worker, key = leased(backend, queue), Tube(LongStopping, Route()).key
    await queue.register(LongStopping, Item(0, 1))
    serving = asyncio.create_task(run(worker, 1))
    await diary.until("stop")
    lost, [token] = worker.lock.lost(key), diary.of("stop")[0]
    assert await queue.storage.unclaim(key, token)
    async with asyncio.timeout(LIMIT_S):
        await lost
    diary.gate.set()
    await finished(serving)
    assert diary.of("stopped") == [()]


async def test_it_renews_no_more_once_it_left_the_thread(backend: Backend, queue: Queue) -> None:
    await queue.register(Once, *one_each(1))
    await run(leased(backend, queue), 1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.requires("time_leases")
async def test_a_lease_that_is_not_renewed_ends_the_batch_in_time_and_nothing_is_counted(
    backend: Backend, queue: Queue
) -> None:
    """The single request would be a dead letter at its first failure."""
    plans.append(until_cancelled)
    await queue.register(Once, Item(0, 7))
    worker = leased(backend, queue, 2.0)
    worker.hooks = Hooks(renews=False)

    await run(worker, 1)

    assert diary.of("cancelled") == [()]
    assert batches() == [(7,), (7,)]
    assert await letters(queue) == []


async def test_a_bound_worker_leaves_an_empty_thread_that_is_not_its_own_any_more(
    backend: Backend, queue: Queue
) -> None:
    """It would stay for an hour."""
    begun = asyncio.Future[Any]()

    async def note(handler: Once, items: Sequence[Item]) -> None:
        begun.set_result(handler)

    plans.append(note)
    await queue.register(Once, Item(0, 1))
    async with working(leased(backend, queue, empty_limit=3600, empty_pause=1.0)):
        handler = await begun
        assert await queue.storage.wait_for_quiet(LIMIT_S)
        await take_away(queue, handler)
        await diary.until("stop")


class Starting(Once):
    async def start(self) -> None:
        diary.add("start", self.fencing_token)
        if len(diary.of("start")) == 1:
            assert await self.queue.storage.unclaim(Tube(Starting, Route()).key, self.fencing_token)  # type: ignore[attr-defined]
            await asyncio.Event().wait()


async def test_a_claim_that_is_lost_at_the_start_is_not_the_handlers_fault(
    backend: Backend, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    await queue.register(Starting, Item(0, 1))
    await run(leased(backend, queue), 1)

    first, second = (token for (token,) in diary.of("start"))
    assert first < second
    assert "handler did not start" not in caplog.text


async def test_a_cancelled_loop_is_not_mistaken_for_a_lost_claim(backend: Backend, queue: Queue) -> None:
    plans.append(until_cancelled)
    await queue.register(Once, *one_each(2))
    serving = asyncio.create_task(leased(backend, queue).loop())
    await diary.until("batch")
    serving.cancel()
    await asyncio.wait({serving}, timeout=LIMIT_S)

    assert serving.cancelled()
    assert await queue.storage.wait(None, NEVER_S) == TUBE.key


@pytest.mark.parametrize("where", ["batch", "rest"])
async def test_a_loop_that_is_cancelled_again_and_again_releases_its_thread(
    backend: Backend, queue: Queue, where: str
) -> None:
    """As anyio cancels: at each turn of the event loop. The lease would end in an hour."""
    if where == "batch":
        plans.append(until_cancelled)
    await queue.register(Once, Item(0, 1))
    worker = leased(backend, queue, 3600.0, empty_limit=3600, empty_pause=1.0)
    serving = asyncio.create_task(worker.loop())
    await diary.until("batch")
    if where == "rest":
        assert await queue.storage.wait_for_quiet(LIMIT_S)
    while not serving.done():
        serving.cancel()
        await asyncio.sleep(0)

    assert serving.cancelled()
    await eventually(lambda: is_free(queue), "the thread is released")


async def is_free(queue: Queue) -> bool:
    return not await queue.storage.claimed(TUBE.key)
