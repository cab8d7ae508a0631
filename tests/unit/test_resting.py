"""A worker that sleeps: what a ring finds, in the loop's own callback, and what becomes of it."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shardq.drivers import SharedStorage
from shardq.drivers.shared import waiters
from shardq.errors import SegmentBusy, StorageDamaged
from shardq.model import EMPTY, Hand, Terms
from tests.support.drivers import MIB
from tests.support.tasks import suspended

TERMS = {"m/H": Terms((0,), 10)}
NAMES = frozenset(TERMS)


@pytest.fixture
async def storage(name: str) -> AsyncIterator[SharedStorage]:
    storage = SharedStorage.create(name, MIB)
    yield storage
    storage.destroy()


async def lying_down(storage: SharedStorage, hand: Hand | None = None) -> asyncio.Task[Hand | None]:
    """A task that rests, once it sleeps."""
    task = asyncio.create_task(storage.rest(hand, NAMES, TERMS, 60))
    await asyncio.sleep(0)
    assert storage.store.waiting.asleep()
    return task


async def test_a_ring_finds_the_batch_before_the_task_goes_on(storage: SharedStorage) -> None:
    task = await lying_down(storage)
    await storage.append([("m/H/1/0", [b"a", b"b"])])

    storage.ears._heard(asyncio.get_running_loop())

    assert await storage.claimed("m/H/1")
    assert not task.done()
    found = await task
    assert found is not None
    assert (found.key, found.batch.messages) == ("m/H/1", [b"a", b"b"])


async def test_a_thread_that_a_ring_claimed_for_a_cancelled_task_is_there_for_others(storage: SharedStorage) -> None:
    task = await lying_down(storage)
    await storage.append([("m/H/1/0", [b"a"])])

    storage.ears._heard(asyncio.get_running_loop())
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await storage.claimed("m/H/1")
    assert not storage.store.waiting.asleep()
    found = await storage.turn(None, NAMES, TERMS)
    assert found is not None
    assert found.batch.messages == [b"a"]


async def test_more_of_the_thread_in_hand_stays_in_hand_where_the_task_is_cancelled(storage: SharedStorage) -> None:
    token = await storage.claim("m/H/1")
    hand = Hand("m/H/1", token, EMPTY)
    task = await lying_down(storage, hand)
    await storage.append([("m/H/1/0", [b"a"])])

    storage.ears._heard(asyncio.get_running_loop())
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await storage.holds("m/H/1", token)
    found = await storage.rest(hand, NAMES, TERMS, 0)
    assert found is not None
    assert (found.token, found.batch.messages) == (token, [b"a"])


@pytest.mark.parametrize("verb", ["rest", "unclaim"])
async def test_a_claim_ends_later_where_the_guard_is_held_when_the_task_is_cancelled(
    storage: SharedStorage, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    task: asyncio.Task[Any] | None = None
    if verb == "rest":
        task = await lying_down(storage)
        await storage.append([("m/H/1/0", [b"a"])])
        storage.ears._heard(asyncio.get_running_loop())
    token = 0 if task else await storage.claim("m/H/1")
    unclaim, refusals = storage.store.delivering.unclaim, [SegmentBusy("held"), SegmentBusy("held")]

    def busy_at_first(*arguments: Any) -> bool:
        if refusals:
            raise refusals.pop()
        return unclaim(*arguments)

    monkeypatch.setattr(storage.store.delivering, "unclaim", busy_at_first)
    before = asyncio.all_tasks()
    task = task or await suspended(storage.unclaim("m/H/1", token))
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(asyncio.gather(*asyncio.all_tasks() - before), 10)
    assert not await storage.claimed("m/H/1")


async def test_a_ring_while_the_guard_is_held_has_the_task_look_again(
    storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await lying_down(storage)
    await storage.append([("m/H/1/0", [b"a"])])
    rest, refusals = storage.store.delivering.rest, [SegmentBusy("held")]

    def busy_at_first(*arguments: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return rest(*arguments, **options)

    monkeypatch.setattr(storage.store.delivering, "rest", busy_at_first)
    storage.ears._heard(asyncio.get_running_loop())

    found = await asyncio.wait_for(task, 10)
    assert found is not None
    assert found.batch.messages == [b"a"]


async def test_before_a_task_sleeps_again_rings_are_taken_in_and_then_it_looks(
    storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round, a ring that comes after the look would be taken in unheard."""
    task = await lying_down(storage)
    rest, bell = storage.store.delivering.rest, storage.store.doorbell.open()
    rung, looked = list[bool](), asyncio.Event()

    def watched(*arguments: Any, **options: Any) -> Any:
        rung.append(bool(select.select([bell], [], [], 0)[0]))
        if len(rung) == 2:
            looked.set()
        return rest(*arguments, **options)

    monkeypatch.setattr(storage.store.delivering, "rest", watched)
    storage.store.doorbell.ring(storage.store.slot)
    await asyncio.wait_for(looked.wait(), 10)

    assert rung[:2] == [True, False]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_look_raises_in_the_callback_is_the_tasks(
    storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await lying_down(storage)

    def broken(*arguments: Any, **options: Any) -> Any:
        raise StorageDamaged("broken")

    with monkeypatch.context() as patch:
        patch.setattr(storage.store.delivering, "rest", broken)
        storage.ears._heard(asyncio.get_running_loop())
        with pytest.raises(StorageDamaged):
            await task
    assert not storage.store.waiting.asleep()


async def test_a_look_in_the_callback_waits_for_the_guard_only_a_moment(storage: SharedStorage) -> None:
    limits = list[float | None]()
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiters._tell, future, lambda: limits.append(waiters.limit_of_coroutines()))

    await future

    assert limits == [waiters.SHORT_S]
