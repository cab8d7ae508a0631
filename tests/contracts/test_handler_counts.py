"""What is counted of handlers: O7 of `shardq.protocols.Observer`, on every driver that several processes can use."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shardq import observe
from shardq.model import BOUNDS_S, Ending, Hand, HandlerView, Terms, Times, dead_pipe, split_key
from shardq.protocols import Lock, Observer, Storage
from tests.conftest import OpenBackend
from tests.contracts.kit.holder import holding
from tests.contracts.test_storage import CHUNK, KEY, OTHER, OTHER_KEY, PIPE, claimed, fill, numbered
from tests.support.drivers import MIB, Backend, Driver
from tests.support.tasks import cancelled, suspended

pytestmark = pytest.mark.requires("multiprocess")

HANDLER, CROP = split_key(KEY)[0], split_key(OTHER_KEY)[0]
GRAVE = dead_pipe(HANDLER)
NOTHING_FAILED = {"raised": 0, "died": 0, "timeout": 0, "undecodable": 0}


@pytest.fixture
async def observer(backend: Backend) -> AsyncIterator[Observer]:
    observer = observe(backend.url)
    yield observer
    observer.close()


async def view_of(observer: Observer, handler: str = HANDLER) -> HandlerView:
    [view] = [view for view in await observer.handlers() if view.handler == handler]
    return view


async def taken(storage: Storage, token: int, limit: int) -> Hand:
    return Hand(KEY, token, await storage.take(KEY, token, Terms((0,), limit)))


async def test_O7_what_became_of_requests_is_counted_by_handler(
    storage: Storage, lock: Lock, observer: Observer
) -> None:
    assert await observer.handlers() == []
    assert await storage.append([(PIPE, numbered(9)), (OTHER, numbered(2))])
    token = await claimed(lock)
    hand = await taken(storage, token, 3)
    assert await storage.pop(hand, hand.batch.count)
    hand = await taken(storage, token, 1)
    assert await storage.bury(hand, hand.batch.sequence, GRAVE, b"letter", "undecodable")
    assert await storage.remove(PIPE, b"message-8") == 1
    await lock.release(KEY)

    assert [view.handler for view in await observer.handlers()] == [CROP, HANDLER]
    view, other = await view_of(observer), await view_of(observer, CROP)
    assert (view.accepted, view.done, view.dead, view.cancelled) == (9, 3, 1, 1)
    assert view.failed == NOTHING_FAILED | {"undecodable": 1}
    assert (other.accepted, other.done, other.batches) == (2, 0, 0)
    assert other.wait == other.work == Times.counted([0] * len(BOUNDS_S))


async def test_O7_attempts_that_failed_are_counted_by_reason(storage: Storage, lock: Lock, observer: Observer) -> None:
    assert await storage.append([(PIPE, numbered(4))])
    token = await claimed(lock)
    await storage.fail(await taken(storage, token, 1))
    await storage.fail(await taken(storage, token, 1), "timeout")
    await storage.give_back(await taken(storage, token, 1), 1, "raised")
    await storage.give_back(await taken(storage, token, 1), 1)
    assert await lock.release(KEY)

    view = await view_of(observer)

    assert view.failed == NOTHING_FAILED | {"raised": 2, "timeout": 1}
    assert view.batches == view.wait.count == view.work.count == 4
    assert (view.accepted, view.done, view.dead, view.cancelled) == (4, 0, 0, 0)


async def test_O7_a_batch_is_measured_once_however_it_leaves(storage: Storage, lock: Lock, observer: Observer) -> None:
    """In parts, as one, and not at all."""
    assert await storage.append([(PIPE, numbered(9))])
    token = await claimed(lock)
    hand = await taken(storage, token, 3)
    for done in range(1, 4):
        assert await storage.pop(hand, done)
    hand = await taken(storage, token, 3)
    assert await storage.pop(hand, 3)
    await taken(storage, token, 3)
    assert await lock.release(KEY)

    view = await view_of(observer)
    assert (view.batches, view.wait.count, view.work.count, view.done) == (3, 3, 3, 6)
    for times, total_s in ((view.wait, view.waited_s), (view.work, view.busy_s)):
        assert 0 <= total_s <= sum(bound * count for bound, count in zip(BOUNDS_S, times.buckets, strict=True) if count)
        assert times.p50_s is not None


async def test_O7_turns_count_what_they_acknowledge(storage: Storage, observer: Observer) -> None:
    assert await storage.append([(PIPE, numbered(6)), (OTHER, numbered(3))])
    terms = {HANDLER: Terms((0,), 2), CROP: Terms((0,), 2)}
    hand = await storage.turn(None, None, terms)
    while hand and hand.batch.count:
        hand = await storage.turn(hand, None, terms)
    assert hand
    assert await storage.unclaim(hand.key, hand.token)

    assert [(its.accepted, its.done, its.batches) for its in await observer.handlers()] == [(3, 3, 2), (6, 6, 3)]


async def test_O7_each_of_the_threads_that_a_process_has_at_once_is_counted(
    storage: Storage, observer: Observer
) -> None:
    assert await storage.append([(PIPE, numbered(6)), (OTHER, numbered(3))])
    terms = {HANDLER: Terms((0,), 2), CROP: Terms((0,), 2)}
    hands = [await storage.turn(None, None, terms) for _ in range(2)]
    while hands:
        hand = hands.pop(0)
        assert hand
        if hand.batch.count:
            hands.append(await storage.turn(hand, None, terms))
        else:
            assert await storage.unclaim(hand.key, hand.token)

    assert [(its.accepted, its.done) for its in await observer.handlers()] == [(3, 3), (6, 6)]


@pytest.mark.requires("noted_deaths")
async def test_O7_workers_that_died_are_counted(
    storage: Storage, backend: Backend, lock: Lock, driver: Driver, root: Path, observer: Observer
) -> None:
    """As their supervisor says that they ended: it killed the second one, whose handler hung."""
    assert backend.note_death
    assert await storage.append([(PIPE, numbered(1))])
    for ending in (Ending(signal=9), Ending(signal=9, timed_out=True)):
        async with holding(root, driver.name, backend.address, KEY, "take=1") as pid:
            pass
        backend.note_death(pid, ending)
        await claimed(lock)
        assert await lock.release(KEY)

    assert (await view_of(observer)).failed == NOTHING_FAILED | {"died": 1, "timeout": 1}


@pytest.mark.requires("bounded")
async def test_O7_calls_that_found_no_room_are_counted(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, observer = backend.storage, observe(backend.url)
    await fill(storage)
    assert (await view_of(observer)).full == {"waited": 0, "raised": 0}
    waits = await suspended(storage.append_when_room([(PIPE, [CHUNK])]))
    assert (await view_of(observer)).full == {"waited": 1, "raised": 0}
    await cancelled(waits)
    storage.settings.when_full = "raise"
    assert await storage.append([(PIPE, [CHUNK])]) is None
    storage.settings.when_full = "wait"
    assert (await view_of(observer)).full == {"waited": 1, "raised": 1}
    observer.close()
