"""Observers: O1 and following of `shardq.protocols.Observer`, on every driver that several processes can use."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from shardq import observe
from shardq.drivers.shared.storage import SharedStorage
from shardq.errors import StorageClosed
from shardq.handler import drive
from shardq.model import MOST_ACTIONS, Action, Hand, Terms, TubeView, When, dead_pipe
from shardq.pages import each
from shardq.protocols import Lock, Observer, Storage
from tests.contracts.test_storage import KEY, OTHER, PIPE, claimed, numbered
from tests.faults.kit.points import Child, Gate
from tests.support import hands
from tests.support.clock import now_us
from tests.support.drivers import Backend, Driver
from tests.support.forked import Forked

pytestmark = pytest.mark.requires("multiprocess")

GRAVE = dead_pipe("app.jobs/Resize")
#: In the year 2100.
LATER_US = 4_102_444_800_000_000


@pytest.fixture
async def observer(backend: Backend) -> AsyncIterator[Observer]:
    observer = observe(backend.url)
    yield observer
    observer.close()


async def something_of_everything(storage: Storage, lock: Lock) -> None:
    """Requests, some in hand and some taken out, dead letters, and what comes again."""
    assert await storage.append([(PIPE, numbered(6)), (OTHER, numbered(2))])
    await hands.put_in_front(storage, PIPE, b"ahead")
    token = await claimed(lock)
    batch = await storage.take(KEY, token, Terms((0,), 1))
    assert await storage.bury(Hand(KEY, token, batch), batch.sequence, GRAVE, b"letter")
    await hands.take(storage, [PIPE], 2, token)
    assert await storage.remove(PIPE, b"message-4") == 1
    assert await storage.append([("app.jobs/Often/1/0", [b"often"])], when=When(LATER_US, "every 3600")) is not None


async def test_O1_its_looks_are_those_of_the_storage(storage: Storage, lock: Lock, observer: Observer) -> None:
    await something_of_everything(storage, lock)

    for pipe in (PIPE, OTHER, GRAVE, "app.jobs/None/1/0"):
        theirs = await storage.range(pipe, 100)
        seen = await observer.range(pipe, 100)
        assert (seen.messages, list(seen.numbers)) == (theirs.messages, list(theirs.numbers))
        assert await observer.length(pipe) == await storage.length(pipe)
    assert sorted([pipe async for pipe in each(observer.pipes)]) == sorted([pipe async for pipe in each(storage.pipes)])
    assert list(await observer.graves()) == list(await storage.graves()) == [GRAVE]
    assert list(await observer.scheduled()) == list(await storage.scheduled())
    assert await observer.backlog() == await storage.backlog()
    await lock.release(KEY)


async def test_O1_a_look_after_its_end_says_so(observer: Observer) -> None:
    observer.close()
    for look in (
        observer.overview,
        observer.backlog,
        observer.handlers,
        observer.tubes,
        observer.graves,
        observer.scheduled,
        observer.pauses,
        observer.actions,
        partial(observer.facts, PIPE),
        partial(observer.range, PIPE, 1),
        partial(observer.length, PIPE),
    ):
        with pytest.raises(StorageClosed):
            await look()


async def test_O1_a_tube_is_read_page_by_page(storage: Storage, observer: Observer) -> None:
    for start in range(0, 50, 5):
        assert await storage.append([(PIPE, numbered(5, start))])
    found, after = list[bytes](), None
    while (batch := await observer.range(PIPE, 7, after)).count:
        found += batch.messages
        after = batch.through - 1
    assert found == numbered(50)


async def test_O1_recurrent_requests_are_listed_page_by_page(storage: Storage, observer: Observer) -> None:
    pipes = [f"app.jobs/Often/{thread}/0" for thread in range(20)]
    for place, pipe in enumerate(pipes):
        assert await storage.append([(pipe, [b"often"])], when=When(LATER_US + place, "every 3600")) is not None
    found, after = list[str](), None
    while True:
        page = await observer.scheduled(after, 3)
        found += [scheduled.pipe for scheduled in page]
        if (after := page.after) is None:
            break
    assert found == pipes


@pytest.mark.parametrize("limit", [1, 4, 100])
async def test_O1_what_waits_is_listed_page_by_page(storage: Storage, observer: Observer, limit: int) -> None:
    """From the begin, and behind an id."""
    for start in range(0, 12, 3):
        when = When(LATER_US + start // 6)
        assert await storage.append([(PIPE, numbered(3, start))], when=when) is not None
    assert await storage.remove(PIPE, *numbered(2, 4)) == 2
    every = list(await storage.deferrals.page(None, 100))

    assert [its async for its in each(lambda after: observer.deferrals.page(after, limit))] == every
    for place, its in enumerate(every):
        found = [its async for its in each(lambda after, its=its: observer.deferrals.page(after or its.id, limit))]  # type: ignore[misc]
        assert found == every[place + 1 :]


async def test_O9_pauses_are_shown(storage: Storage, observer: Observer) -> None:
    assert await storage.append([(PIPE, numbered(2)), (OTHER, numbered(1))])
    await storage.pause("app.jobs/Resize", reason="why")
    await storage.pause("app.jobs/Later", When(LATER_US))
    await storage.pause("app.jobs/Over", When(1_000_000))

    assert await observer.pauses() == await storage.pauses()
    assert [its.handler for its in await observer.pauses()] == ["app.jobs/Later", "app.jobs/Resize"]
    assert list((await observer.overview()).paused) == await storage.pauses()
    paused = (await observer.facts(PIPE)).paused
    assert paused is not None
    assert paused.reason == "why"
    assert (await observer.facts(OTHER)).paused is None
    assert {view.pipe: view.paused for view in await observer.tubes()} == {PIPE: True, OTHER: False}
    assert await storage.resume("app.jobs/Resize")
    assert [its.handler for its in await observer.pauses()] == ["app.jobs/Later"]
    assert not any(view.paused for view in await observer.tubes())


async def test_O10_actions_of_operators_are_shown(storage: Storage, observer: Observer) -> None:
    assert await observer.actions() == []
    for number in range(300):
        await storage.record(Action("pause", f"app.jobs/H{number}"))

    assert await observer.actions() == await storage.actions()
    assert [its.target for its in await observer.actions(2)] == ["app.jobs/H299", "app.jobs/H298"]


async def test_O10_each_is_whole_while_others_record(backend: Backend, driver: Driver, observer: Observer) -> None:
    def record() -> None:
        storage = driver.attach(backend.address).storage  # type: ignore[misc]
        for number in range(2000):
            drive(storage.record(Action(f"action {number}", "x" * (number % 150))))

    other = Forked(record, [])
    seen = 0
    while seen < 2000:
        found = await observer.actions()
        last = found[0].number if found else seen
        assert [its.number for its in found] in ([], [*range(last, max(0, last - MOST_ACTIONS), -1)])
        for its in found:
            assert (its.what, its.target) == (f"action {its.number - 1}", "x" * ((its.number - 1) % 150))
        assert last >= seen
        seen = last
    assert other.wait() == 0


async def test_O2_it_changes_nothing(storage: Storage, lock: Lock, observer: Observer) -> None:
    await something_of_everything(storage, lock)
    before = await storage.backlog(), (await storage.range(PIPE, 100)).messages

    await observer.overview()
    await observer.tubes()
    await observer.range(PIPE, 3)

    assert (await storage.backlog(), (await storage.range(PIPE, 100)).messages) == before
    assert await lock.exists(KEY)
    await lock.release(KEY)


async def test_O3_it_waits_for_no_process(storage: Storage, observer: Observer) -> None:
    assert await storage.append([(PIPE, numbered(3))])
    await storage.record(Action("pause"))

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        """Another process stays in the guard, where there is one."""
        if not isinstance(storage, SharedStorage):
            yield
            return
        gate, store = Gate(), storage.store
        child = Child(lambda: [store.begin_section(), gate.wait()][:0])
        gate.reached()
        try:
            yield
        finally:
            gate.open()
            child.kill()

    async with held():
        assert (await observer.range(PIPE, 3)).messages == numbered(3)
        assert [view.queued for view in await observer.tubes()] == [3]
        assert (await observer.overview()).counts.queued == 3
        assert [its.what for its in await observer.actions()] == ["pause"]


async def test_O4_tubes_that_are_not_empty_are_listed(storage: Storage, lock: Lock, observer: Observer) -> None:
    pipes = {f"app.jobs/Resize/{thread}/{priority}" for thread in range(20) for priority in (0, 1)}
    for pipe in pipes:
        assert await storage.append([(pipe, numbered(2))])
    token = await claimed(lock)
    while (batch := await hands.take(storage, [PIPE], 10, token)).count:
        await hands.pop(storage, PIPE, batch.through, token)
    await lock.release(KEY)

    found, after = list[TubeView](), None
    while True:
        page = await observer.tubes(after, 3)
        found += page
        if (after := page.after) is None:
            break

    assert {view.pipe: view.queued for view in found} == dict.fromkeys(pipes - {PIPE}, 2)


@pytest.mark.parametrize("size", [1, 5000], ids=["small", "large"])
async def test_O4_how_long_the_first_request_waits_is_seen(
    storage: Storage, lock: Lock, observer: Observer, size: int
) -> None:
    async def waits_us() -> int:
        [view] = [view for view in await observer.tubes() if view.pipe == PIPE]
        assert view.oldest_age_s is not None
        return round(view.oldest_age_s * 1e6)

    begun_us = await now_us(storage)
    assert await storage.append([(PIPE, [b"1" * size, b"2" * size])])
    accepted_us = await now_us(storage)
    while (second_us := await now_us(storage)) < accepted_us + 50_000:
        pass
    assert await storage.append([(PIPE, [b"3" * size])])
    assert second_us - accepted_us <= await waits_us() <= await now_us(storage) - begun_us

    token = await claimed(lock)
    for _ in range(2):
        batch = await storage.take(KEY, token, Terms((0,), 1))
        assert await waits_us() >= second_us - accepted_us
        assert await storage.pop(Hand(KEY, token, batch), 1)
    assert await waits_us() <= await now_us(storage) - second_us
    await lock.release(KEY)


async def test_O4_who_has_a_thread_and_what_keeps_it_is_seen(storage: Storage, lock: Lock, observer: Observer) -> None:
    async def view_of(pipe: str) -> TubeView:
        [found] = [view for view in await observer.tubes() if view.pipe == pipe]
        return found

    assert await storage.append([(PIPE, numbered(2)), (OTHER, numbered(1))])
    assert (await view_of(PIPE)).worker_pid is None
    token = await claimed(lock)
    assert (await view_of(PIPE)).worker_pid == os.getpid()
    batch = await storage.take(KEY, token, Terms((0,), 1))
    assert await storage.fail(Hand(KEY, token, batch))
    assert await storage.unclaim(KEY, token, 600.0)

    failed, other = await view_of(PIPE), await view_of(OTHER)
    assert (failed.attempts, other.attempts) == (1, 0)
    assert failed.rests_s is not None
    assert 0 < failed.rests_s <= 600
    assert not other.rests_s
    assert failed.worker_pid is None


async def test_O5_nothing_is_left_out_where_nothing_changes(storage: Storage, lock: Lock, observer: Observer) -> None:
    await something_of_everything(storage, lock)
    [view async for view in each(observer.tubes)]
    await observer.range(GRAVE, 10)
    assert observer.missed == 0
    await lock.release(KEY)


async def test_O6_the_overview_counts_as_the_backlog_does(storage: Storage, lock: Lock, observer: Observer) -> None:
    await something_of_everything(storage, lock)

    overview = await observer.overview()

    assert overview.counts == await storage.backlog()
    assert overview.as_dict()["queued"] == 7
    await lock.release(KEY)


async def test_O6_what_no_worker_serves_has_no_crew(storage: Storage, observer: Observer) -> None:
    assert await storage.append([(PIPE, numbered(3))])

    overview = await observer.overview()

    assert (overview.is_served, list(overview.crew)) == (False, [])
