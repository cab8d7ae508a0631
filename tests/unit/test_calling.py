"""A sleeping process is rung when there is work: by each process once, until it looks for work again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from shardq.drivers import SharedStorage
from shardq.model import Terms, When
from shardq.shm import words as at
from shardq.shm.files.names import bell_path
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.store import Store
from tests.faults.kit.points import Child
from tests.support.drivers import MIB
from tests.support.segments import NewStore, stores
from tests.support.tasks import NEVER_S, eventually, suspended

A = frozenset(("m/A",))
Verb = Callable[[SharedStorage, float | None], Coroutine[Any, Any, object]]


@pytest.fixture
def new_store() -> Iterator[NewStore]:
    with stores() as opener:
        yield opener


@pytest.fixture
def store(new_store: NewStore) -> Store:
    store = new_store()
    assert store.delivering.claim("m/B/0")  # a first claim rings all that sleep
    return store


class Sleeper:
    """Another process that sleeps, and looks and sleeps again when it is told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._orders, self._order = os.pipe()
        self._reports, self._report = os.pipe()
        self._child = Child(self._sleep)
        os.read(self._reports, 1)
        [self.slot] = [slot for slot in range(store.segment.layout.slots) if self._state(slot) == at.ASLEEP]
        self._bell = os.open(bell_path(store.segment.system_name, self.slot), os.O_RDONLY | os.O_NONBLOCK)

    @property
    def state(self) -> int:
        return self._state(self.slot)

    def rings(self) -> int:
        """How often it was rung since this was called last."""
        try:
            return len(os.read(self._bell, 4096))
        except BlockingIOError:
            return 0

    def look_again(self) -> None:
        os.write(self._order, b"!")
        assert os.read(self._reports, 1)

    def end(self) -> None:
        self._child.kill()
        for descriptor in (self._bell, self._orders, self._order, self._reports, self._report):
            os.close(descriptor)

    def _sleep(self) -> None:
        store = self._store
        store.doorbell.open()
        while True:
            assert store.waiting.lie_down(A, None)[0] is None
            os.write(self._report, b"!")
            os.read(self._orders, 1)
            store.waiting.rise(None)

    def _state(self, slot: int) -> int:
        return self._store.segment.bytes[self._store.segment.layout.sleep_map + slot]


@pytest.fixture
def sleeper(store: Store) -> Iterator[Sleeper]:
    one = Sleeper(store)
    yield one
    one.end()


def test_a_process_that_was_rung_is_not_rung_again_until_it_looked(store: Store, sleeper: Sleeper) -> None:
    append(store, 0)
    assert (sleeper.state, sleeper.rings()) == (at.CALLED, 1)

    append(store, 1)
    assert (sleeper.state, sleeper.rings()) == (at.CALLED, 0)


def test_each_other_process_rings_it_as_well(store: Store, sleeper: Sleeper) -> None:
    append(store, 0)

    assert Child(lambda: append(store, 1)).end() == 0

    assert sleeper.rings() == 2


def test_it_is_rung_again_once_it_looked(store: Store, sleeper: Sleeper) -> None:
    for turn in range(2):
        append(store, turn)
        assert sleeper.rings() == 1
        assert store.delivering.claim(f"m/A/{turn}")
        sleeper.look_again()


def test_it_is_rung_where_the_process_that_called_it_died_before_it_rang(store: Store, sleeper: Sleeper) -> None:
    append(store, 0)
    assert sleeper.rings() == 1
    assert store.delivering.claim("m/A/0")
    sleeper.look_again()

    assert Child(without_ring(lambda: append(store, 1))).end() == signal.SIGKILL
    assert (sleeper.state, sleeper.rings()) == (at.CALLED, 0)

    append(store, 2)
    assert sleeper.rings() == 1


def test_it_is_rung_again_where_its_bell_could_not_be_reached(store: Store, sleeper: Sleeper) -> None:
    path = bell_path(store.segment.system_name, sleeper.slot)
    elsewhere = path.with_name(f"{path.name}.away")
    path.rename(elsewhere)
    append(store, 0)
    elsewhere.rename(path)
    assert (sleeper.state, sleeper.rings()) == (at.CALLED, 0)

    append(store, 1)
    assert sleeper.rings() == 1


async def wait(storage: SharedStorage, timeout_s: float | None) -> object:
    return await storage.wait(A, timeout_s)


async def rest(storage: SharedStorage, timeout_s: float | None) -> object:
    return await storage.rest(None, A, {"m/A": Terms((0,), 1)}, timeout_s)


@pytest.fixture
async def storage(name: str) -> AsyncIterator[SharedStorage]:
    storage = SharedStorage.create(name, MIB)
    yield storage
    storage.destroy()


@pytest.fixture
def another(storage: SharedStorage) -> Iterator[Sleeper]:
    one = Sleeper(storage.store)
    yield one
    one.end()


@pytest.mark.parametrize("verb", [wait, rest])
async def test_who_is_cancelled_has_another_process_watch_the_clock(
    storage: SharedStorage, another: Sleeper, verb: Verb
) -> None:
    """And who only looks again does not: two of them would wake each other for ever."""
    task = await lying_down(verb(storage, None), another)
    woken = storage.ears._times_woken
    await due_later(storage)
    await eventually(lambda: storage.ears._times_woken > woken, "this process, which has the lowest slot, is called")
    assert another.rings() == 0

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert another.rings() == 1


@pytest.mark.parametrize("verb", [wait, rest])
async def test_who_waited_for_long_enough_has_another_process_watch_the_clock(
    storage: SharedStorage, another: Sleeper, verb: Verb
) -> None:
    task = await lying_down(verb(storage, NEVER_S), another)
    await due_later(storage)

    assert await task is None

    assert another.rings() == 1


async def lying_down(verb: Coroutine[Any, Any, object], another: Sleeper) -> asyncio.Task[object]:
    """A task that sleeps: at the first sleep of its process all that sleep are rung."""
    task = await suspended(verb)
    another.rings()
    return task


async def due_later(storage: SharedStorage) -> None:
    assert await storage.append([("m/A/0/0", [b"later"])], when=When(after_us=3_600_000_000))


def append(store: Store, thread: int) -> None:
    assert store.appending.append([(f"m/A/{thread}/0", [b"one"])])


def without_ring(act: Callable[[], None]) -> Callable[[], None]:
    """Do it, and die where the first bell is rung."""

    def die(doorbell: Doorbell, slot: int) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    def run() -> None:
        Doorbell.ring = die  # type: ignore[method-assign]
        act()

    return run
